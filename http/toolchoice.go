package http

import (
	"bytes"
	"errors"
	"slices"

	"github.com/troupe-llm/troupe/tokenize/grammar"
	"github.com/troupe-llm/troupe/tokenize/reply"
)

// Calls that tool_choice demands, or that keep to their schemas, are a grammar: that of
// the family's syntax around the tools' schemas.

// maxCalls is how many calls a reply can be made to have.
const maxCalls = 64

// chooseCalls sets the answer's grammar as tool_choice and strict tools need
// it, or says why that cannot be. It comes after all fields were read.
func (c *call) chooseCalls() *Error {
	must := c.mustCall()
	strict := slices.IndexFunc(c.tools, func(t tool) bool { return t.strict })
	switch {
	case must && len(c.tools) == 0:
		return badRequest("tool_choice", "tool_choice: needs tools")
	case c.toolChoice == toolsNone || len(c.tools) == 0:
		if c.isChat && c.req.Grammar != nil {
			c.req.Grammar = c.family.format.Text(c.req.Grammar).At(c.req.Grammar.Path())
		}
		return nil
	case !must && !c.family.showsTools:
		return badRequest("tools", "tools: the served model's chat template does not show them to the model; tool_choice can demand a call all the same")
	case must && c.req.Grammar != nil:
		return badRequest("tool_choice", "tool_choice: a call that must come cannot be combined with %s", c.req.Grammar.Path())
	case !must && c.family.format == nil && strict >= 0:
		return badRequest(strictPath(strict), "%s: how the served model writes calls is not known, so they can be kept to a schema only when tool_choice forces one", strictPath(strict))
	case !must && (c.family.format == nil || strict < 0 && c.req.Grammar == nil):
		return nil
	}
	tools := c.tools
	if c.toolChoice == toolsNamed {
		tools = nil
		for _, t := range c.tools {
			if t.name == c.toolNamed {
				tools = append(tools, t)
			}
		}
		if tools == nil {
			return badRequest("tool_choice", "tool_choice: no tool is named %q", c.toolNamed)
		}
	}
	calls, err := c.callsSpec(tools, must)
	if err != nil {
		return badField("tools", err)
	}
	switch {
	case must:
		c.req.Grammar = calls.At("tool_choice")
	case c.req.Grammar != nil: // the one or the other
		c.req.Grammar = grammar.Choice(c.family.format.Text(c.req.Grammar), calls).At(c.req.Grammar.Path())
	default:
		c.req.Grammar = c.family.format.TextOr(calls).At(strictPath(strict))
	}
	return nil
}

// mustCall reports whether the answer has to be a call.
func (c *call) mustCall() bool { return c.toolChoice == toolsRequired || c.toolChoice == toolsNamed }

func strictPath(tool int) string { return "tools" + index(tool) + ".function.strict" }

// callFormat is how calls are written: the family's way, or, when it is not
// known, one that needs no marks.
func (c *call) callFormat() *reply.Format {
	if c.family.format == nil {
		return reply.Fallback()
	}
	return c.family.format
}

// callsSpec is one call of any of the tools, or several.
func (c *call) callsSpec(tools []tool, schemas bool) (*grammar.Spec, error) {
	var all []reply.Callable
	for i := range tools {
		t := &tools[i]
		one := reply.Callable{Name: t.name, Loose: !t.strict}
		if schemas || t.strict {
			var err error
			if one.Schema, err = t.schema(); err != nil {
				return nil, at(index(t.index)+".function.parameters", err)
			}
			one.Path = "tools" + index(t.index) + ".function.parameters"
		}
		all = append(all, one)
	}
	most := 1
	if c.parallelCalls && c.toolChoice != toolsNamed {
		most = maxCalls
	}
	calls, err := c.callFormat().Calls(all, most)
	if fault := (*reply.ToolError)(nil); errors.As(err, &fault) {
		return nil, at(index(tools[fault.Tool].index)+".function.parameters", fault.Err)
	}
	return calls, err
}

// schema is what a tool's arguments have to be: an object in any case; a tool
// that says nothing of them has none.
func (t *tool) schema() ([]byte, error) {
	if t.parameters == nil {
		return []byte(`{"type":"object","additionalProperties":false}`), nil
	}
	schema := t.parameters
	given := false
	for key, v := range schema.members() {
		if key == "type" {
			given = true
			if string(v) != `"object"` {
				return nil, at(".type", errors.New(`must be "object"`))
			}
		}
	}
	if !given {
		rest := bytes.TrimLeft(schema[1:], " \n\r\t")
		head := `{"type":"object",`
		if rest[0] == '}' {
			head = `{"type":"object"`
		}
		schema = append([]byte(head), rest...)
	}
	return schema, nil
}

// reasonFirst lets reasoning come before what the grammar says. Whether the
// prompt begins it is seen by writing the prompt.
func (c *call) reasonFirst(tok tokenizer) {
	if tok.LeastChatTokens(&c.chat) > c.limits.context {
		return // the request will fail of this
	}
	prompt, err := tok.Render(c.chat)
	if err != nil {
		return // or of this
	}
	o := c.reply.After(prompt)
	path := c.req.Grammar.Path()
	c.req.Grammar = o.Before(c.req.Grammar).At(path)
}
