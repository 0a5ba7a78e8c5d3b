package responses

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"github.com/troupe-llm/troupe/http/internal/dialect/apierr"
	"github.com/troupe-llm/troupe/http/internal/dialect/conversation"
	"github.com/troupe-llm/troupe/http/internal/dialect/field"
	"github.com/troupe-llm/troupe/http/internal/dialect/jsonenc"
)

// tool is one of the request's that a model here can call: a function, or a
// custom tool, which takes a text. To templates the latter is a function, too, of
// one argument.
type tool struct {
	name, namespace string // the latter "" when it is in none
	custom          bool
	rules           string // a grammar that a custom tool's text keeps to; "": none
	chat            []byte // as a chat has it
	path            string // where in the request it is
}

// chatName is what a template calls a tool: it knows of no namespaces.
func chatName(namespace, name string) string {
	if namespace == "" {
		return name
	}
	return namespace + "__" + name
}

func (t *tool) chatName() string { return chatName(t.namespace, t.name) }

// customInput is that argument.
const customInput = "input"

// customArguments are those of a call with this input, a string of JSON.
func customArguments(input field.Value) string {
	return `{"` + customInput + `":` + string(input) + `}`
}

// CustomText is the input in such arguments. What is no such object is a text
// itself: the model wrote none.
func CustomText(arguments []byte) string {
	var in struct{ Input *string }
	if json.Unmarshal(arguments, &in) != nil || in.Input == nil {
		return string(arguments)
	}
	return *in.Input
}

// hostedTools are those that OpenAI's servers run themselves; agents send some by
// default. The model is not told of them.
var hostedTools = []string{
	"web_search", "web_search_2025_08_26", "web_search_preview", "web_search_preview_2025_03_11", "file_search", "code_interpreter",
	"image_generation", "computer_use_preview", "computer", "mcp", "local_shell", "shell", "apply_patch", "tool_search",
}

func setTools(r *Request, v field.Value) error { return r.addTools(v, "", "tools") }

// addTools adds those of a namespace, which are at path.
func (r *Request) addTools(v field.Value, namespace, path string) error {
	if v[0] != '[' {
		return v.Want("an array of tools")
	}
	for i, v := range v.Elements() {
		if err := r.addTool(v, namespace, path+apierr.Index(i)); err != nil {
			return apierr.At(apierr.Index(i), err)
		}
	}
	return nil
}

func (r *Request) addTool(v field.Value, namespace, path string) error {
	if v[0] != '{' {
		return v.Want("a tool, an object")
	}
	m := membersOf(v)
	if namespace == "" && m.text("type") == "namespace" {
		name, err := m.required("name")
		if err != nil {
			return err
		}
		if m["tools"] == nil {
			return apierr.At(".tools", errors.New("required"))
		}
		if err := r.addTools(m["tools"], name, path+".tools"); err != nil {
			return apierr.At(".tools", err)
		}
		return nil
	}
	if kind := m.text("type"); slices.Contains(hostedTools, kind) {
		if r.Notes.Ignore("tools."+kind) != nil {
			return apierr.At(".type", fmt.Errorf("%q is run by OpenAI's servers, and not here", kind))
		}
		return nil
	}
	t, err := readTool(m, namespace)
	if err != nil {
		return err
	}
	if slices.ContainsFunc(r.tools, func(other tool) bool { return other.chatName() == t.chatName() }) {
		return apierr.At(".name", fmt.Errorf("%q is the name of two tools", t.name))
	}
	t.path = path
	r.tools = append(r.tools, *t)
	return nil
}

// readTool reads one that is not hosted.
func readTool(m members, namespace string) (*tool, error) {
	kind, err := m.required("type")
	if err != nil {
		return nil, err
	}
	if kind != "function" && kind != "custom" {
		return nil, apierr.At(".type", fmt.Errorf(`%q is not supported, only "function", "custom" and namespaces of them are`, kind))
	}
	t := &tool{namespace: namespace, custom: kind == "custom"}
	if t.name, err = m.required("name"); err != nil {
		return nil, err
	}
	description := ""
	if d := m["description"]; d != nil {
		if description, err = d.Text(); err != nil {
			return nil, apierr.At(".description", err)
		}
	}
	parameters, strict := m["parameters"], m["strict"]
	if t.custom {
		if err = t.readFormat(m["format"], &parameters, &strict, &description); err != nil {
			return nil, apierr.At(".format", err)
		}
	}
	out := jsonenc.Quoted([]byte(`{"type":"function","function":{"name":`), t.chatName())
	if description != "" {
		out = jsonenc.Quoted(append(out, `,"description":`...), description)
	}
	if parameters != nil {
		out = append(append(out, `,"parameters":`...), parameters...)
	}
	if strict != nil {
		out = append(append(out, `,"strict":`...), strict...)
	}
	t.chat = append(out, "}}"...)
	return t, nil
}

// readFormat reads what a custom tool's text keeps to, and makes the tool a function:
// its text is free, matches a regular expression, or keeps to a grammar, which the
// model is shown.
func (t *tool) readFormat(format field.Value, parameters, strict *field.Value, description *string) error {
	pattern := ""
	if format != nil {
		if format[0] != '{' {
			return format.Want("an object")
		}
		m := membersOf(format)
		kind, err := m.required("type")
		switch {
		case err != nil:
			return err
		case kind == "grammar":
			if pattern, err = t.readGrammar(m); err != nil {
				return err
			}
		case kind != "text":
			return apierr.At(".type", fmt.Errorf(`must be "text" or "grammar", got %q`, kind))
		}
	}
	if t.rules != "" {
		if *description != "" {
			*description += "\n\n"
		}
		*description += "The input has to match this grammar, in Lark's notation:\n" + t.rules
	}
	*parameters = field.Value(`{"type":"object","properties":{"` + customInput + `":{"type":"string"` + pattern +
		`}},"required":["` + customInput + `"],"additionalProperties":false}`)
	*strict = field.Value(fmt.Sprint(pattern != ""))
	return nil
}

// readGrammar reads rules, or a regular expression, which is a keyword of the text's
// schema.
func (t *tool) readGrammar(m members) (pattern string, err error) {
	syntax, err := m.required("syntax")
	if err != nil {
		return "", err
	}
	definition, err := m.required("definition")
	if err != nil {
		return "", err
	}
	switch syntax {
	case "regex":
		return string(jsonenc.Quoted([]byte(`,"pattern":`), "^(?:"+definition+")$")), nil
	case "lark":
		t.rules = definition
		return "", nil
	}
	return "", apierr.At(".syntax", fmt.Errorf(`must be "regex" or "lark", got %q`, syntax))
}

// setToolChoice reads a word, a tool, or those that are allowed.
func setToolChoice(r *Request, v field.Value) error {
	words := map[string]conversation.ToolChoice{"auto": conversation.ToolsAuto, "none": conversation.ToolsNone, "required": conversation.ToolsRequired}
	if v[0] == '"' {
		choice, known := words[v.Unquote()]
		if !known {
			return fmt.Errorf(`must be "none", "auto", "required" or a tool, got %s`, v)
		}
		r.ToolChoice = choice
		return nil
	}
	if v[0] != '{' {
		return v.Want("a string or an object")
	}
	m := membersOf(v)
	kind, err := m.required("type")
	if err != nil {
		return err
	}
	switch kind {
	case "function", "custom":
		r.ToolChoice = conversation.ToolsNamed
		name, err := m.required("name")
		r.ToolNamed = chatName(m.text("namespace"), name)
		return err
	case "allowed_tools":
		mode, known := words[m.text("mode")]
		if !known || mode == conversation.ToolsNone {
			return apierr.At(".mode", errors.New(`must be "auto" or "required"`))
		}
		if m["tools"] == nil || m["tools"][0] != '[' {
			return apierr.At(".tools", errors.New("expected an array of tools"))
		}
		r.ToolChoice, r.allowed = mode, []string{}
		for _, v := range m["tools"].Elements() {
			if v[0] == '{' { // one that is hosted has no name, and is not offered
				m := membersOf(v)
				r.allowed = append(r.allowed, chatName(m.text("namespace"), m.text("name")))
			}
		}
		return nil
	}
	return apierr.At(".type", fmt.Errorf("%q is not supported: only functions and custom tools are called here", kind))
}

// offerTools gives the conversation its tools.
func (r *Request) offerTools() *apierr.Error {
	var offered []tool
	for _, t := range r.tools {
		if r.allowed == nil || slices.Contains(r.allowed, t.chatName()) {
			offered = append(offered, t)
		}
	}
	if len(offered) == 0 {
		if r.ToolChoice == conversation.ToolsRequired && len(r.tools) == 0 && r.echo["tools"] != nil && r.echo["tools"].First() != ']' {
			return apierr.Invalid("tools", "tools: none of them can be called here: only functions and custom tools are")
		}
		return nil
	}
	list := []byte{'['}
	for i, t := range offered {
		list = append(jsonenc.Comma(list, i), t.chat...)
	}
	if err := conversation.Fields["tools"](&r.Conversation, append(list, ']')); err != nil {
		return apierr.InField("tools", err)
	}
	for i := range r.Tools {
		t, from := &r.Tools[i], &offered[i]
		t.Path, t.StrictPath = from.path+".parameters", from.path+".strict"
		if from.rules != "" { // which are kept to where it is known how calls are written
			t.Rules, t.Text, t.Path = from.rules, customInput, from.path+".format.definition"
			t.Strict = r.model().Family.Format != nil
		}
	}
	return nil
}
