package conversation

import (
	"bytes"
	"errors"
	"slices"

	"github.com/troupe-llm/troupe/http/internal/dialect/apierr"
	"github.com/troupe-llm/troupe/http/internal/dialect/model"
	"github.com/troupe-llm/troupe/tokenize/grammar"
	"github.com/troupe-llm/troupe/tokenize/reply"
)

// Calls that tool_choice demands, or that keep to their schemas, are a grammar: that of
// the family's syntax around the tools' schemas.

// maxCalls is how many calls a reply can be made to have.
const maxCalls = 64

// chooseCalls sets the answer's grammar as tool_choice and strict tools need
// it, or says why that cannot be. It comes after all fields were read.
func (c *Conversation) chooseCalls() *apierr.Error {
	must := c.mustCall()
	strict := slices.IndexFunc(c.Tools, func(t Tool) bool { return t.Strict })
	switch {
	case must && len(c.Tools) == 0:
		return apierr.Invalid("tool_choice", "tool_choice: needs tools")
	case c.ToolChoice == ToolsNone || len(c.Tools) == 0:
		if c.Engine.Grammar != nil {
			c.Engine.Grammar = c.Model.Family.Format.Text(c.Engine.Grammar).At(c.Engine.Grammar.Path())
		}
		return nil
	case !must && !c.Model.Family.ShowsTools:
		return apierr.Invalid("tools", "tools: the served model's chat template does not show them to the model; tool_choice can demand a call all the same")
	case must && c.Engine.Grammar != nil:
		return apierr.Invalid("tool_choice", "tool_choice: a call that must come cannot be combined with %s", c.Engine.Grammar.Path())
	case !must && c.Model.Family.Format == nil && strict >= 0:
		path := c.Tools[strict].StrictPath
		return apierr.Invalid(path, "%s: how the served model writes calls is not known, so they can be kept to a schema only when tool_choice forces one", path)
	case !must && (c.Model.Family.Format == nil || strict < 0 && c.Engine.Grammar == nil):
		return nil
	}
	tools := c.Tools
	if c.ToolChoice == ToolsNamed {
		tools = nil
		for _, t := range c.Tools {
			if t.Name == c.ToolNamed {
				tools = append(tools, t)
			}
		}
		if tools == nil {
			return apierr.Invalid("tool_choice", "tool_choice: no tool is named %q", c.ToolNamed)
		}
	}
	calls, fault := c.callsSpec(tools, must)
	if fault != nil {
		return fault
	}
	switch {
	case must:
		c.Engine.Grammar = calls.At("tool_choice")
	case c.Engine.Grammar != nil: // the one or the other
		c.Engine.Grammar = grammar.Choice(c.Model.Family.Format.Text(c.Engine.Grammar), calls).At(c.Engine.Grammar.Path())
	default:
		c.Engine.Grammar = c.Model.Family.Format.TextOr(calls).At(c.Tools[strict].StrictPath)
	}
	return nil
}

// mustCall reports whether the answer has to be a call.
func (c *Conversation) mustCall() bool {
	return c.ToolChoice == ToolsRequired || c.ToolChoice == ToolsNamed
}

// callsSpec is one call of any of the tools, or several.
func (c *Conversation) callsSpec(tools []Tool, schemas bool) (*grammar.Spec, *apierr.Error) {
	var all []reply.Callable
	for i := range tools {
		t := &tools[i]
		one := reply.Callable{Name: t.Name, Loose: !t.Strict}
		if schemas || t.Strict {
			var err error
			if one.Schema, err = t.schema(); err != nil {
				return nil, apierr.InField(t.Path, err)
			}
			one.Path, one.Rules, one.Text = t.Path, t.Rules, t.Text
		}
		all = append(all, one)
	}
	most := 1
	if c.ParallelCalls && c.ToolChoice != ToolsNamed {
		most = maxCalls
	}
	calls, err := c.Model.Family.CallFormat().Calls(all, most)
	if fault := (*reply.ToolError)(nil); errors.As(err, &fault) {
		return nil, apierr.InField(tools[fault.Tool].Path, fault.Err)
	}
	if err != nil {
		return nil, apierr.InField("tools", err)
	}
	return calls, nil
}

// schema is what a tool's arguments have to be: an object in any case; a tool
// that says nothing of them has none.
func (t *Tool) schema() ([]byte, error) {
	if t.Parameters == nil {
		return []byte(`{"type":"object","additionalProperties":false}`), nil
	}
	schema := t.Parameters
	given := false
	for key, v := range schema.Members() {
		if key == "type" {
			given = true
			if string(v) != `"object"` {
				return nil, apierr.At(".type", errors.New(`must be "object"`))
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
func (c *Conversation) reasonFirst(tok model.Tokenizer) {
	if tok.LeastChatTokens(&c.Chat) > c.Model.Context {
		return // the request will fail of this
	}
	prompt, err := tok.Render(c.Chat)
	if err != nil {
		return // or of this
	}
	o := c.Reply.After(prompt)
	path := c.Engine.Grammar.Path()
	c.Engine.Grammar = o.Before(c.Engine.Grammar).At(path)
}
