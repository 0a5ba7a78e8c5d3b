package http

import (
	"bytes"
	"errors"
	"slices"

	"github.com/troupe-llm/troupe/tokenize/grammar"
	"github.com/troupe-llm/troupe/tokenize/reply"
)

// Calls that must come, or must keep to their schemas, are a grammar: that of
// the family's syntax around the tools' schemas.

// maxCalls is how many calls a reply can be made to have.
const maxCalls = 64

// forceCalls sets the answer's grammar as tool_choice and strict tools need
// it, or says why that cannot be. It comes after all fields were read.
func (c *call) forceCalls() *Error {
	must := c.mustCall()
	strict := slices.IndexFunc(c.tools, func(t tool) bool { return t.strict })
	switch {
	case must && len(c.tools) == 0:
		return badRequest("tool_choice", "tool_choice: needs tools")
	case c.toolChoice == toolsNone || len(c.tools) == 0:
		return nil
	case !must && !c.family.showsTools:
		return badRequest("tools", "tools: the served model's chat template does not show them to the model; tool_choice can demand a call all the same")
	case must && c.req.Grammar != nil:
		return badRequest("tool_choice", "tool_choice: a call that must come cannot be combined with %s", c.req.Grammar.Path())
	case !must && c.family.format == reply.None && strict >= 0:
		return badRequest(strictPath(strict), "%s: how the served model writes calls is not known, so they can be kept to a schema only when tool_choice forces one", strictPath(strict))
	case !must && (c.family.format == reply.None || strict < 0 && c.req.Grammar == nil):
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
		c.req.Grammar = grammar.Choice(c.req.Grammar, calls).At(c.req.Grammar.Path())
	default:
		c.req.Grammar = c.textOr(calls).At(strictPath(strict))
	}
	return nil
}

// mustCall reports whether the answer has to be a call.
func (c *call) mustCall() bool { return c.toolChoice == toolsRequired || c.toolChoice == toolsNamed }

func strictPath(tool int) string { return "tools" + index(tool) + ".function.strict" }

// callFormat is how calls are written: the family's way, or, when it is not
// known, one that needs no marks.
func (c *call) callFormat() reply.Format {
	if c.family.format == reply.None {
		return reply.Llama3
	}
	return c.family.format
}

// callsSpec is one call of any of the tools, or several.
func (c *call) callsSpec(tools []tool, schemas bool) (*grammar.Spec, error) {
	var calls []*grammar.Spec
	for i := range tools {
		t := &tools[i]
		arguments := grammar.JSONObject()
		if schemas || t.strict {
			var err error
			if arguments, err = t.arguments(); err != nil {
				return nil, at(index(t.index)+".function.parameters", err)
			}
		}
		before, after := c.family.syntax.Around(t.name)
		calls = append(calls, grammar.Sequence(grammar.Literal(before), arguments, grammar.Literal(after)))
	}
	one := grammar.Choice(calls...)
	further := 0
	if c.parallelCalls && c.toolChoice != toolsNamed {
		further = maxCalls - 1
	}
	s := &c.family.syntax
	return grammar.Sequence(
		grammar.Literal(s.Begin), one,
		grammar.Repeat(grammar.Sequence(grammar.Literal(s.Between), one), 0, further),
		grammar.Literal(s.End),
	), nil
}

// arguments is what a tool's parameters allow. They are an object in any case;
// a tool that says nothing of them has none.
func (t *tool) arguments() (*grammar.Spec, error) {
	if t.parameters == nil {
		return grammar.Literal("{}"), nil
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
	return grammar.Schema(schema).At("tools" + index(t.index) + ".function.parameters"), nil
}

// textOr is a text that may end in calls, or be them.
func (c *call) textOr(calls *grammar.Spec) *grammar.Spec {
	if mark := c.callFormat().Mark(); mark != "" {
		return grammar.Sequence(grammar.Without(mark), grammar.Repeat(calls, 0, 1))
	}
	return grammar.Choice(calls, grammar.Literal(""), grammar.Sequence(grammar.Regex(`\s{0,4}[^\s{]`), grammar.AnyText()))
}

// thinkFirst lets reasoning come before what the grammar says. Whether the
// prompt begins it is seen by writing the prompt.
func (c *call) thinkFirst(tok tokenizer) {
	if tok.LeastChatTokens(&c.chat) > c.limits.context {
		return // the request will fail of this
	}
	prompt, err := tok.Render(c.chat)
	if err != nil {
		return // or of this
	}
	before, after := reply.Think()
	rest := grammar.Sequence(grammar.Until(after), grammar.Regex(`\n{0,2}`))
	path := c.req.Grammar.Path()
	if c.opened(prompt) {
		c.req.Grammar = grammar.Sequence(rest, c.req.Grammar)
	} else {
		c.req.Grammar = grammar.Sequence(grammar.Repeat(grammar.Sequence(grammar.Literal(before), rest), 0, 1), c.req.Grammar)
	}
	c.req.Grammar.At(path)
}
