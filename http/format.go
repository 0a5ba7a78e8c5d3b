package http

import (
	"errors"
	"fmt"

	"github.com/troupe-llm/troupe/tokenize/grammar"
)

// What an answer is to keep to comes under several names: OpenAI's
// response_format, vLLM's structured_outputs and its older guided_…, SGLang's
// regex. One of them may be given. What is wrong within a schema or a regular
// expression is found when it is compiled, and still a 400.

var formatFields = table[call]{
	"response_format":    setResponseFormat,
	"structured_outputs": setStructuredOutputs,
	"guided_json":        constrained("guided_json", jsonFormat),
	"guided_regex":       constrained("guided_regex", regexFormat),
	"guided_choice":      constrained("guided_choice", choiceFormat),
	"guided_grammar":     constrained("guided_grammar", rulesFormat),
	"regex":              constrained("regex", regexFormat),

	"ebnf":                      refused("not supported; use guided_grammar or structured_outputs.grammar"),
	"structural_tag":            refused("not supported; use response_format or structured_outputs.structural_tag"),
	"guided_decoding_backend":   refused("there is only one"),
	"guided_whitespace_pattern": refused("not supported; white space in JSON is bounded"),
}

// constrained makes a setter of what reads a format.
func constrained(name string, read func(raw) (*grammar.Spec, error)) setter[call] {
	return func(c *call, v raw) error {
		s, err := read(v)
		if err == nil {
			err = c.constrain(name, "", s)
		}
		return err
	}
}

// constrain keeps the answer to s, which came from a part of a field.
func (c *call) constrain(name, part string, s *grammar.Spec) error {
	if c.req.Grammar != nil {
		return fmt.Errorf("cannot be combined with %s", c.req.Grammar.Path())
	}
	c.req.Grammar = s.At(name + part)
	return nil
}

func setResponseFormat(c *call, v raw) error {
	const name = "response_format"
	if v[0] != '{' {
		return v.want("an object")
	}
	var kind string
	var schema raw
	tag := false
	for key, v := range v.members() {
		if v.null() {
			continue
		}
		var err error
		switch key {
		case "type":
			kind, err = v.text()
		case "json_schema":
			if schema, err = responseSchema(v); err != nil {
				return at(".json_schema", err)
			}
		case "format", "structures", "triggers":
			tag = true // structuralTag reads them
		default:
			err = errors.New("unknown field")
		}
		if err != nil {
			return at("."+key, err)
		}
	}
	switch {
	case kind == "":
		return at(".type", errors.New("required"))
	case kind != "json_schema" && schema != nil:
		return at(".json_schema", errors.New(`needs the type "json_schema"`))
	case kind != "structural_tag" && tag:
		return errors.New(`format, structures and triggers need the type "structural_tag"`)
	}
	switch kind {
	case "text":
		return nil
	case "json_object":
		return c.constrain(name, "", grammar.JSONObject())
	case "json_schema":
		if schema == nil {
			return at(".json_schema.schema", errors.New("required"))
		}
		return c.constrain(name, ".json_schema.schema", grammar.Schema(schema))
	case "structural_tag":
		s, err := structuralTag(v, name)
		if err != nil {
			return err
		}
		return c.constrain(name, "", s)
	}
	return at(".type", fmt.Errorf("%q is not supported, only \"text\", \"json_object\", \"json_schema\" and \"structural_tag\" are", kind))
}

// responseSchema reads the schema and its labels. Whether strict or not, the
// answer keeps to it.
func responseSchema(v raw) (schema raw, err error) {
	if v[0] != '{' {
		return nil, v.want("an object")
	}
	for key, v := range v.members() {
		switch key {
		case "schema":
			if schema = v; v[0] != '{' {
				err = v.want("a JSON schema, an object")
			}
		case "name":
			_, err = v.text()
		case "description":
			if !v.null() {
				_, err = v.text()
			}
		case "strict":
			if !v.null() {
				_, err = v.boolean()
			}
		default:
			err = errors.New("unknown field")
		}
		if err != nil {
			return nil, at("."+key, err)
		}
	}
	return schema, nil
}

func setStructuredOutputs(c *call, v raw) error {
	if v[0] != '{' {
		return v.want("an object")
	}
	given := false
	for key, v := range v.members() {
		if v.null() {
			continue
		}
		read := map[string]func(raw) (*grammar.Spec, error){
			"json": jsonFormat, "regex": regexFormat, "choice": choiceFormat, "json_object": anyObjectFormat, "grammar": rulesFormat,
			"structural_tag": func(v raw) (*grammar.Spec, error) { return structuralTag(v, "structured_outputs.structural_tag") },
		}[key]
		if read == nil {
			return at("."+key, errors.New("not supported, only json, json_object, regex, choice, grammar and structural_tag are"))
		}
		s, err := read(v)
		if err == nil && s != nil {
			given = true
			err = c.constrain("structured_outputs", "."+key, s)
		}
		if err != nil {
			return at("."+key, err)
		}
	}
	if !given {
		return errors.New("needs one of json, json_object, regex, choice, grammar and structural_tag")
	}
	return nil
}

// jsonFormat takes a schema, or a string that is one.
func jsonFormat(v raw) (*grammar.Spec, error) {
	switch v[0] {
	case '{':
		return grammar.Schema(v), nil
	case '"':
		return grammar.Schema([]byte(unquote(v))), nil
	}
	return nil, v.want("a JSON schema, as an object or a string")
}

func regexFormat(v raw) (*grammar.Spec, error) {
	s, err := v.text()
	if err != nil {
		return nil, err
	}
	return grammar.Regex(s), nil
}

func rulesFormat(v raw) (*grammar.Spec, error) {
	s, err := v.text()
	if err != nil {
		return nil, err
	}
	return grammar.Rules(s), nil
}

func choiceFormat(v raw) (*grammar.Spec, error) {
	if v[0] != '[' {
		return nil, v.want("an array of strings")
	}
	var parts []*grammar.Spec
	for i, e := range v.elements() {
		s, err := e.text()
		if err != nil {
			return nil, at(index(i), err)
		}
		parts = append(parts, grammar.Literal(s))
	}
	if len(parts) == 0 {
		return nil, errors.New("must not be empty")
	}
	return grammar.Choice(parts...), nil
}

// anyObjectFormat is nil for false.
func anyObjectFormat(v raw) (*grammar.Spec, error) {
	b, err := v.boolean()
	if err != nil || !b {
		return nil, err
	}
	return grammar.JSONObject(), nil
}
