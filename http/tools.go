package http

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/troupe-llm/troupe/tokenize/reply"
)

// family is what the served model's chat templates tell of it.
type family struct {
	format        *reply.Format // how it writes tool calls; nil: not known
	reasoning     *reply.Marks  // what sets its reasoning apart; nil: nothing
	showsTools    bool
	textArguments bool                            // see tokenize.ChatTemplates.TextArguments
	leastMarks    func(users, assistants int) int // tokens around messages; nil without a tokenizer
	nineLetterIDs bool                            // see tokenize.ChatTemplates.NineLetterIDs
	parts         map[string]bool                 // see tokenize.ChatTemplates.ContentParts
	developers    bool                            // messages may be theirs
	efforts       bool                            // it can be told how much to reason
	quiet         bool                            // it can be told not to
}

// newFamily takes from the templates what the configuration leaves to them.
func newFamily(cfg *Config, tok tokenizer) family {
	f := family{reasoning: reply.FindReasoning(cfg.ReasoningParser)}
	if tok == nil {
		return f
	}
	with, without := tok.ChatTemplate(true), tok.ChatTemplate(false)
	if f.format = reply.FindFormat(cfg.ToolCallParser, with); cfg.ToolCallParser == parserAuto {
		f.format = reply.DetectFormat(with)
	}
	if f.format == nil && cfg.ReasoningParser == parserChannels {
		f.format = reply.FindFormat("openai", with)
	}
	if cfg.ReasoningParser == parserAuto {
		f.reasoning = reply.DetectReasoning(with, without)
	}
	f.showsTools = strings.Contains(with, "tools")
	f.leastMarks = tok.LeastMarks
	f.textArguments, f.nineLetterIDs, f.parts = tok.TextArguments(), tok.NineLetterIDs(), tok.ContentParts()
	both := with + without
	f.developers = strings.Contains(both, "developer")
	f.efforts, f.quiet = strings.Contains(both, effortVariable), strings.Contains(both, quietVariable)
	return f
}

// tool is a function the model may call.
type tool struct {
	index      int // among the request's
	name       string
	parameters raw // a JSON schema; nil: none given. A copy
	strict     bool
}

// toolChoice says whether tools may or must be called.
type toolChoice uint8

const (
	toolsAuto toolChoice = iota
	toolsNone
	toolsRequired
	toolsNamed
)

// setTools takes the functions a template shows to the model.
func setTools(c *call, v raw) (err error) {
	if v[0] != '[' {
		return v.want("an array of tools")
	}
	c.tools = nil
	for i, e := range v.elements() {
		t, err := readTool(e)
		t.index = i
		if err == nil && slices.ContainsFunc(c.tools, func(other tool) bool { return other.name == t.name }) {
			err = at(".function.name", fmt.Errorf("%q is the name of two tools", t.name))
		}
		if err != nil {
			return at(index(i), err)
		}
		c.tools = append(c.tools, t)
	}
	if c.tools != nil {
		c.chat.Tools, err = ordered(v)
	}
	return err
}

func readTool(v raw) (t tool, err error) {
	if v[0] != '{' {
		return t, v.want("an object")
	}
	found := false
	for name, v := range v.members() {
		switch {
		case name == "type" && string(v) != `"function"`:
			return t, at(".type", fmt.Errorf("only \"function\" is supported, got %s", v))
		case name == "function":
			found = true
			if t, err = readFunction(v); err != nil {
				return t, at(".function", err)
			}
		}
	}
	if !found {
		return t, at(".function", errors.New("required"))
	}
	return t, nil
}

func readFunction(v raw) (t tool, err error) {
	if v[0] != '{' {
		return t, v.want("an object")
	}
	for name, v := range v.members() {
		switch {
		case v.null():
		case name == "name":
			t.name, err = v.text()
		case name == "parameters" && v[0] != '{':
			err = v.want("a JSON schema, an object")
		case name == "parameters":
			t.parameters = slices.Clone(v)
		case name == "strict":
			t.strict, err = v.boolean()
		}
		if err != nil {
			return t, at("."+name, err)
		}
	}
	if t.name == "" {
		return t, at(".name", errors.New("required"))
	}
	return t, nil
}

// setToolChoice reads a word, or {"type":"function","function":{"name":…}}.
func setToolChoice(c *call, v raw) error {
	switch v[0] {
	case '"':
		choice, known := map[string]toolChoice{"auto": toolsAuto, "none": toolsNone, "required": toolsRequired}[unquote(v)]
		if !known {
			return fmt.Errorf(`must be "none", "auto", "required" or a function, got %s`, v)
		}
		c.toolChoice = choice
		return nil
	case '{':
	default:
		return v.want("a string or an object")
	}
	t, err := readTool(v)
	c.toolChoice, c.toolNamed = toolsNamed, t.name
	return err
}

// expect says what the replies may hold.
func (c *call) expect(tok tokenizer) {
	if c.toolChoice == toolsNone {
		c.chat.Tools, c.tools = nil, nil
	}
	c.reply = reply.Options{One: !c.parallelCalls || c.toolChoice == toolsNamed, Required: c.mustCall(), Joined: !c.separate}
	if c.separate {
		c.reply.Reasoning = c.family.reasoning
	}
	if f := c.callFormat(); len(c.tools) > 0 && (c.family.format != nil || c.mustCall()) || c.family.channels() {
		c.reply.Format = f
	}
	for i := range c.tools {
		t := reply.Tool{Name: c.tools[i].name}
		if c.reply.Format.Typed() {
			t.Types = reply.ParameterTypes(c.tools[i].parameters)
		}
		c.reply.Tools = append(c.reply.Tools, t)
	}
	if c.chat.ContinueFinalMessage {
		c.reply = c.reply.Continues(lastContent(c.chat.Messages))
	}
	if c.req.TextEnds = c.reply.Thinks(); c.req.Grammar != nil && (c.reply.Reasoning != nil || c.family.channels()) {
		c.reasonFirst(tok)
	}
	if len(c.req.Stop) > 0 && c.reply.Parsed() {
		c.req.Reply = &c.reply
	}
	for _, mark := range c.reply.Tokens() {
		if id, ok := tok.TokenID(mark); ok && tok.IsSpecial(id) {
			c.req.Show = append(c.req.Show, id)
		}
	}
}

// channels reports whether replies are divided into messages.
func (f *family) channels() bool { return f.format != nil && f.format.Channels != nil }
