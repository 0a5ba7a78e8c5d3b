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
	format        reply.Format // how it writes tool calls
	thinks        bool         // it may put reasoning before its answer
	showsTools    bool
	textArguments bool                            // see tokenize.ChatTemplates.TextArguments
	leastMarks    func(users, assistants int) int // tokens around messages; nil without a tokenizer
	nineLetterIDs bool                            // see tokenize.ChatTemplates.NineLetterIDs
	parts         map[string]bool                 // see tokenize.ChatTemplates.ContentParts
	developers    bool                            // messages may be theirs
	efforts       bool                            // it can be told how much to reason
	quiet         bool                            // it can be told not to
	syntax        reply.Syntax                    // how to write tool calls
}

// newFamily takes from the templates what the configuration leaves to them.
func newFamily(cfg *Config, tok tokenizer) family {
	f := family{format: reply.Format(cfg.ToolCallParser), thinks: cfg.ReasoningParser == parserThink}
	if tok == nil {
		f.format = reply.None
		return f
	}
	with, without := tok.ChatTemplate(true), tok.ChatTemplate(false)
	if cfg.ToolCallParser == parserAuto {
		f.format = reply.Detect(with)
	}
	if cfg.ReasoningParser == parserAuto {
		f.thinks = reply.Thinks(with) || reply.Thinks(without)
	}
	f.syntax = f.format.Syntax(with)
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
	c.reply = reply.Options{One: !c.parallelCalls || c.toolChoice == toolsNamed, Think: c.family.thinks && c.separate}
	if len(c.tools) > 0 {
		if c.reply.Format = c.family.format; c.mustCall() {
			c.reply.Format = c.callFormat()
		}
		for i := range c.tools {
			c.reply.Names = append(c.reply.Names, c.tools[i].name)
		}
	}
	if c.req.TextEnds = c.reply.Think; c.reply.Think && c.req.Grammar != nil {
		c.thinkFirst(tok)
	}
	for _, mark := range c.reply.Marks() {
		if id, ok := tok.TokenID(mark); ok && tok.IsSpecial(id) {
			c.req.Show = append(c.req.Show, id)
		}
	}
}

// parsed reports whether replies are looked at for more than text.
func (c *call) parsed() bool {
	return c.reply.Think || c.reply.Format != reply.None && c.reply.Format != ""
}
