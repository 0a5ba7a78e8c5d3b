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
	textArguments bool // see tokenize.ChatTemplates.TextArguments
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
	f.showsTools = strings.Contains(with, "tools")
	f.textArguments = tok.TextArguments()
	return f
}

// tool is a function the model may call.
type tool struct{ name string }

// toolChoice says whether tools may or must be called.
type toolChoice uint8

const (
	toolsAuto toolChoice = iota
	toolsNone
)

// setTools takes the functions a template shows to the model.
func setTools(c *call, v raw) (err error) {
	if v[0] != '[' {
		return v.want("an array of tools")
	}
	c.tools = nil
	for i, e := range v.elements() {
		t, err := readTool(e)
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
			err = v.want("a JSON schema")
		case name == "strict":
			var strict bool
			if strict, err = v.boolean(); strict {
				err = errors.New("only false is supported: arguments are not constrained")
			}
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

// setToolChoice takes what needs no constraint on the answer.
func setToolChoice(c *call, v raw) error {
	if v[0] == '"' {
		switch unquote(v) {
		case "auto":
			c.toolChoice = toolsAuto
			return nil
		case "none":
			c.toolChoice = toolsNone
			return nil
		}
	}
	return fmt.Errorf("only \"none\" and \"auto\" are supported, got %s", v)
}

// checkTools finds what is wrong between the tools and the model.
func (c *call) checkTools() *Error {
	if len(c.tools) > 0 && c.toolChoice == toolsAuto && !c.family.showsTools {
		return badRequest("tools", "tools: the served model's chat template does not show them to the model")
	}
	return nil
}

// expect says what the replies may hold.
func (c *call) expect(tok tokenizer) {
	if c.toolChoice == toolsNone {
		c.chat.Tools, c.tools = nil, nil
	}
	c.reply = reply.Options{Format: reply.None, One: !c.parallelCalls, Think: c.family.thinks && c.separate}
	if len(c.tools) > 0 {
		c.reply.Format = c.family.format
		for i := range c.tools {
			c.reply.Names = append(c.reply.Names, c.tools[i].name)
		}
	}
	c.req.TextEnds = c.reply.Think
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
