package messages

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/troupe-llm/troupe/http/internal/dialect/apierr"
	"github.com/troupe-llm/troupe/http/internal/dialect/conversation"
	"github.com/troupe-llm/troupe/http/internal/dialect/field"
)

// setTools takes the tools, and has them shown as OpenAI's chat has them.
func setTools(c *conversation.Conversation, v field.Value) error {
	var all []conversation.Tool
	shown := []byte{'['}
	for i, e := range v.Elements() {
		if kind := typeOf(e); isHosted(kind) {
			if c.Notes.Ignore("tools."+kind) != nil {
				return apierr.At(apierr.Index(i), fmt.Errorf("%q is run by Anthropic's servers, and not here", kind))
			}
			continue
		}
		place := "tools" + apierr.Index(i)
		t, description, err := readTool(e, c.Notes)
		if err == nil && slices.ContainsFunc(all, func(other conversation.Tool) bool { return other.Name == t.Name }) {
			err = apierr.At(".name", fmt.Errorf("%q is the name of two tools", t.Name))
		}
		if err != nil {
			return apierr.At(apierr.Index(i), err)
		}
		t.Path, t.StrictPath = place+".input_schema", place+".strict"
		if all = append(all, t); len(all) > 1 {
			shown = append(shown, ',')
		}
		shown = appendTool(shown, &t, description)
	}
	return c.SetTools(all, append(shown, ']'))
}

// hosted are how types begin of tools that Anthropic's servers run themselves. Agents
// offer some by default; the model is not told of them.
var hosted = []string{"web_search_", "web_fetch_", "code_execution_", "tool_search_tool_"}

func isHosted(kind string) bool {
	return slices.ContainsFunc(hosted, func(of string) bool { return strings.HasPrefix(kind, of) })
}

// typeOf is a tool's type, "" when it has none.
func typeOf(v field.Value) string {
	if v[0] != '{' {
		return ""
	}
	for name, v := range v.Members() {
		if name == "type" && v[0] == '"' {
			return v.Unquote()
		}
	}
	return ""
}

func readTool(v field.Value, notes *field.Notes) (t conversation.Tool, description field.Value, err error) {
	if v[0] != '{' {
		return t, nil, v.Want("an object")
	}
	for name, v := range v.Members() {
		switch {
		case v.Null():
		case name == "type" && string(v) != `"custom"`:
			err = fmt.Errorf("only \"custom\" is supported, got %s: tools that a model brings are not here", v)
		case name == "type":
		case name == "name":
			t.Name, err = v.Text()
		case name == "description":
			description, err = v, kindOf(v, '"', "a string")
		case name == "input_schema":
			t.Parameters, err = slices.Clone(v), kindOf(v, '{', "a JSON schema, an object")
		case name == "strict":
			t.Strict, err = v.Boolean()
		case name == "cache_control": // prefixes are cached whatever is said of them
			err = kindOf(v, '{', "an object")
		case name == "eager_input_streaming": // arguments always come as they are written
			_, err = v.Boolean()
		default: // defer_loading, too: without a search for tools all are shown
			err = notes.Ignore("tools." + name)
		}
		if err != nil {
			return t, nil, apierr.At("."+name, err)
		}
	}
	switch {
	case t.Name == "":
		return t, nil, apierr.At(".name", errors.New("required"))
	case t.Parameters == nil:
		return t, nil, apierr.At(".input_schema", errors.New("required"))
	}
	return t, description, nil
}

func appendTool(out []byte, t *conversation.Tool, description field.Value) []byte {
	out = quoted(append(out, `{"type":"function","function":{"name":`...), t.Name)
	if description != nil {
		out = append(append(out, `,"description":`...), description...)
	}
	return append(append(append(out, `,"parameters":`...), t.Parameters...), "}}"...)
}

// setToolChoice reads {"type":…}.
func setToolChoice(r *Request, v field.Value) error {
	if v[0] != '{' {
		return v.Want("an object")
	}
	kind, one := "", false
	for name, v := range v.Members() {
		var err error
		switch {
		case v.Null():
		case name == "type":
			kind, err = v.Text()
		case name == "name":
			r.ToolNamed, err = v.Text()
		case name == "disable_parallel_tool_use":
			one, err = v.Boolean()
		default:
			err = errors.New("unknown field")
		}
		if err != nil {
			return apierr.At("."+name, err)
		}
	}
	choice, known := map[string]conversation.ToolChoice{
		"auto": conversation.ToolsAuto, "any": conversation.ToolsRequired, "tool": conversation.ToolsNamed, "none": conversation.ToolsNone,
	}[kind]
	switch {
	case !known:
		return apierr.At(".type", fmt.Errorf(`must be "auto", "any", "tool" or "none", got %.40q`, kind))
	case (choice == conversation.ToolsNamed) != (r.ToolNamed != ""):
		return apierr.At(".name", errors.New(`goes with the type "tool", which needs one`))
	}
	r.ToolChoice, r.ParallelCalls = choice, !one
	return nil
}

// thinking is what a request says of reasoning.
type thinking struct {
	kind   string // "enabled", "adaptive", "between_tools", "disabled"; "": nothing
	budget int64  // tokens
	omit   bool   // its text is not shown
}

func setThinking(r *Request, v field.Value) error {
	if v[0] != '{' {
		return v.Want("an object")
	}
	t := &r.thinking
	for name, v := range v.Members() {
		var err error
		switch {
		case v.Null():
		case name == "type":
			if t.kind, err = v.Text(); err == nil && !slices.Contains([]string{"enabled", "adaptive", "between_tools", "disabled"}, t.kind) {
				err = fmt.Errorf(`must be "enabled", "adaptive", "between_tools" or "disabled", got %s`, v)
			}
		case name == "budget_tokens":
			if t.budget, err = v.Integer(); err == nil && t.budget < 1 {
				err = fmt.Errorf("must be at least 1, got %d", t.budget)
			}
		case name == "display":
			var display string
			if display, err = v.Text(); err == nil && display != "summarized" && display != "omitted" {
				err = fmt.Errorf(`must be "summarized" or "omitted", got %s`, v)
			}
			t.omit = display == "omitted"
		default:
			err = r.Notes.Ignore("thinking." + name)
		}
		if err != nil {
			return apierr.At("."+name, err)
		}
	}
	if t.kind == "" {
		return apierr.At(".type", errors.New("required"))
	}
	return nil
}

// efforts are the words of output_config, with those that conversation.Efforts
// has for them.
var efforts = map[string]string{"low": "low", "medium": "medium", "high": "high", "xhigh": "xhigh", "max": "xhigh"}

func readEffort(v field.Value) (string, error) {
	s, err := v.Text()
	if err != nil {
		return "", err
	}
	effort, known := efforts[s]
	if !known {
		return "", fmt.Errorf(`must be "low", "medium", "high", "xhigh" or "max", got %s`, v)
	}
	return effort, nil
}

// From how many tokens on a budget is a medium or a high effort.
const (
	mediumBudget = 4096
	highBudget   = 16384
)

// think tells the template what it can be told: how much to reason, or whether to,
// as conversation.SetEffort has it. A budget is no limit, but an effort.
func (r *Request) think() {
	t := &r.thinking
	switch {
	case t.kind == "disabled":
		r.Effort = conversation.Efforts[0]
	case r.effort != "":
		r.Effort = r.effort
	case t.budget >= highBudget:
		r.Effort = "high"
	case t.budget >= mediumBudget:
		r.Effort = "medium"
	case t.budget > 0:
		r.Effort = "low"
	case t.kind != "": // as much as the model likes to
		r.Thinks = true
	}
}
