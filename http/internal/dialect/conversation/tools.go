package conversation

import (
	"errors"
	"fmt"
	"slices"

	"github.com/troupe-llm/troupe/http/internal/dialect/apierr"
	"github.com/troupe-llm/troupe/http/internal/dialect/field"
	"github.com/troupe-llm/troupe/http/internal/dialect/model"
	"github.com/troupe-llm/troupe/tokenize"
	"github.com/troupe-llm/troupe/tokenize/reply"
)

// Tool is a function the model may call.
type Tool struct {
	Name       string
	Parameters field.Value // a JSON schema, an object; nil: none given. A copy
	Strict     bool        // calls keep to it
	// Rules, if any, are what the text keeps to that is its only argument, Text: see
	// reply.Callable.
	Rules, Text string
	// Where in the request the schema is, and what asks for strictness: errors say so.
	Path, StrictPath string
}

// ToolChoice says whether tools may or must be called.
type ToolChoice uint8

// The choices.
const (
	ToolsAuto     ToolChoice = iota // they may be called
	ToolsNone                       // they may not
	ToolsRequired                   // one must be
	ToolsNamed                      // the one that was named must be
)

// setTools takes the functions a template shows to the model.
func setTools(c *Conversation, v field.Value) error {
	if v[0] != '[' {
		return v.Want("an array of tools")
	}
	c.Tools = nil
	for i, e := range v.Elements() {
		t, err := readTool(e)
		place := "tools" + apierr.Index(i) + ".function"
		t.Path, t.StrictPath = place+".parameters", place+".strict"
		if err == nil && slices.ContainsFunc(c.Tools, func(other Tool) bool { return other.Name == t.Name }) {
			err = apierr.At(".function.name", fmt.Errorf("%q is the name of two tools", t.Name))
		}
		if err != nil {
			return apierr.At(apierr.Index(i), err)
		}
		c.Tools = append(c.Tools, t)
	}
	return c.SetTools(c.Tools, v)
}

// SetTools has these tools, none twice of a name, shown to the model as JSON: an
// array of them as OpenAI's chat has it.
func (c *Conversation) SetTools(tools []Tool, shown field.Value) (err error) {
	if c.Tools = tools; len(tools) > 0 {
		c.Chat.Tools, err = tokenize.DecodeTools(shown)
	}
	if c.Model.Family.WholeTools {
		complete(c.Chat.Tools)
	}
	return err
}

func readTool(v field.Value) (t Tool, err error) {
	if v[0] != '{' {
		return t, v.Want("an object")
	}
	found := false
	for name, v := range v.Members() {
		switch {
		case name == "type" && string(v) != `"function"`:
			return t, apierr.At(".type", fmt.Errorf("only \"function\" is supported, got %s", v))
		case name == "function":
			found = true
			if t, err = readFunction(v); err != nil {
				return t, apierr.At(".function", err)
			}
		}
	}
	if !found {
		return t, apierr.At(".function", errors.New("required"))
	}
	return t, nil
}

func readFunction(v field.Value) (t Tool, err error) {
	if v[0] != '{' {
		return t, v.Want("an object")
	}
	for name, v := range v.Members() {
		switch {
		case v.Null():
		case name == "name":
			t.Name, err = v.Text()
		case name == "parameters" && v[0] != '{':
			err = v.Want("a JSON schema, an object")
		case name == "parameters":
			t.Parameters = slices.Clone(v)
		case name == "strict":
			t.Strict, err = v.Boolean()
		case name == "description":
			_, err = v.Text()
		}
		if err != nil {
			return t, apierr.At("."+name, err)
		}
	}
	if t.Name == "" {
		return t, apierr.At(".name", errors.New("required"))
	}
	return t, nil
}

// ToolChoices are OpenAI's words for those that name no tool; "any" is others' for
// the last.
var ToolChoices = map[string]ToolChoice{"auto": ToolsAuto, "none": ToolsNone, "required": ToolsRequired, "any": ToolsRequired}

// setToolChoice reads a word, {"type":"function","function":{"name":…}}, or
// {"type":"allowed_tools","allowed_tools":{"mode":…,"tools":[…]}}.
func setToolChoice(c *Conversation, v field.Value) error {
	switch v[0] {
	case '"':
		choice, known := ToolChoices[v.Unquote()]
		if !known {
			return fmt.Errorf(`must be "none", "auto", "required" or a function, got %s`, v)
		}
		c.ToolChoice = choice
		return nil
	case '{':
	default:
		return v.Want("a string or an object")
	}
	var kind, of field.Value
	for name, v := range v.Members() {
		switch name {
		case "type":
			kind = v
		case allowedTools:
			of = v
		}
	}
	if of != nil {
		if kind != nil && string(kind) != `"`+allowedTools+`"` {
			return apierr.At(".type", fmt.Errorf("must be %q beside that, got %s", allowedTools, kind))
		}
		return apierr.In("."+allowedTools, setAllowed(c, of))
	}
	t, err := readTool(v)
	c.ToolChoice, c.ToolNamed = ToolsNamed, t.Name
	return err
}

const allowedTools = "allowed_tools"

// setAllowed reads which of the tools the model may call; the others are not shown.
func setAllowed(c *Conversation, v field.Value) error {
	if v[0] != '{' {
		return v.Want("an object")
	}
	mode, known := ToolsAuto, false
	for name, v := range v.Members() {
		switch name {
		case "mode":
			word, _ := v.Text()
			mode, known = ToolChoices[word]
		case "tools":
			if v[0] != '[' {
				return apierr.At(".tools", v.Want("an array of tools"))
			}
			c.allowed = []string{}
			for i, e := range v.Elements() {
				t, err := readTool(e)
				if err != nil {
					return apierr.At(".tools"+apierr.Index(i), err)
				}
				c.allowed = append(c.allowed, t.Name)
			}
		}
	}
	switch {
	case !known || mode == ToolsNone:
		return apierr.At(".mode", errors.New(`must be "auto" or "required"`))
	case c.allowed == nil:
		return apierr.At(".tools", errors.New("required"))
	}
	c.ToolChoice = mode
	return nil
}

// leaveAllowed leaves the tools that may be called, once both are known.
func (c *Conversation) leaveAllowed() *apierr.Error {
	if c.allowed == nil {
		return nil
	}
	for _, name := range c.allowed {
		if !slices.ContainsFunc(c.Tools, func(t Tool) bool { return t.Name == name }) {
			return apierr.Invalid("tool_choice", "tool_choice: no tool is named %q", name)
		}
	}
	var tools []Tool
	var left []tokenize.Tool
	for i, t := range c.Tools {
		if slices.Contains(c.allowed, t.Name) {
			tools, left = append(tools, t), append(left, c.Chat.Tools[i])
		}
	}
	c.Tools, c.Chat.Tools = tools, left
	return nil
}

// expect says what the replies may hold.
func (c *Conversation) expect(tok model.Tokenizer) {
	if c.ToolChoice == ToolsNone {
		c.Chat.Tools, c.Tools = nil, nil
	}
	c.Reply = reply.Options{One: !c.ParallelCalls || c.ToolChoice == ToolsNamed, Required: c.mustCall(), Joined: !c.Separate}
	if c.Separate {
		c.Reply.Reasoning = c.Model.Family.Reasoning
	}
	if f := c.Model.Family.CallFormat(); len(c.Tools) > 0 && (c.Model.Family.Format != nil || c.mustCall()) || c.Model.Family.Channels() {
		c.Reply.Format = f
	}
	for i := range c.Tools {
		t := reply.Tool{Name: c.Tools[i].Name}
		if c.Reply.Format.Typed() {
			t.Types = reply.ParameterTypes(c.Tools[i].Parameters)
		}
		c.Reply.Tools = append(c.Reply.Tools, t)
	}
	if c.Chat.ContinueFinalMessage {
		c.Reply = c.Reply.Continues(lastContent(c.Chat.Messages))
	}
	if c.Engine.TextEnds = c.Reply.Thinks(); c.Engine.Grammar != nil && (c.Reply.Reasoning != nil || c.Model.Family.Channels()) {
		c.reasonFirst(tok)
	}
	if len(c.Engine.Stop) > 0 && c.Reply.Parsed() {
		c.Engine.Reply = &c.Reply
	}
	for _, mark := range c.Reply.Tokens() {
		if id, ok := tok.TokenID(mark); ok && tok.IsSpecial(id) {
			c.Engine.Show = append(c.Engine.Show, id)
		}
	}
}
