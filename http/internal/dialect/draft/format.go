package draft

import (
	"cmp"
	"errors"
	"fmt"
	"strings"

	"github.com/troupe-llm/troupe/http/internal/dialect/apierr"
	"github.com/troupe-llm/troupe/http/internal/dialect/field"
	"github.com/troupe-llm/troupe/tokenize/grammar"
)

// What an answer is to keep to comes under several names: OpenAI's
// response_format, vLLM's structured_outputs and its older guided_…, SGLang's
// regex. One of them may be given. What is wrong within a schema or a regular
// expression is found when it is compiled, and still a 400.

// Formats are those fields.
var Formats = field.Table[Draft]{
	"response_format":    setResponseFormat,
	"structured_outputs": setStructuredOutputs,
	"guided_json":        constrained("guided_json", jsonFormat),
	"guided_regex":       constrained("guided_regex", regexFormat),
	"guided_choice":      constrained("guided_choice", choiceFormat),
	"guided_grammar":     constrained("guided_grammar", rulesFormat),
	"regex":              constrained("regex", regexFormat),
}

// constrained makes a setter of what reads a format.
func constrained(name string, read func(field.Value) (*grammar.Spec, error)) field.Setter[Draft] {
	return func(d *Draft, v field.Value) error {
		s, err := read(v)
		if err == nil {
			err = d.Constrain(name, "", s)
		}
		return err
	}
}

// Constrain keeps the answer to s, which came from a part of a field.
func (d *Draft) Constrain(name, part string, s *grammar.Spec) error {
	if d.Engine.Grammar != nil {
		return fmt.Errorf("cannot be combined with %s", d.Engine.Grammar.Path())
	}
	d.Engine.Grammar = s.At(name + part)
	return nil
}

// responseFormat is what response_format says.
type responseFormat struct {
	kind   string      // its type
	schema field.Value // nil: none
	part   string      // where that stands
	given  int         // how many there are
	tag    bool        // there is some of a structural tag, which structuralTag reads
}

func (f *responseFormat) read(v field.Value) (err error) {
	for key, v := range v.Members() {
		if v.Null() {
			continue
		}
		switch key {
		case "type":
			f.kind, err = v.Text()
		case "json_schema":
			if f.schema, err = responseSchema(v); err != nil {
				return apierr.At(".json_schema", err)
			}
			f.part = ".json_schema.schema"
			f.given++
		case "schema": // llama.cpp's and others' place of it
			f.schema, f.part, err = v, ".schema", wantSchema(v)
			f.given++
		case "format", "structures", "triggers":
			f.tag = true
		default:
			err = errors.New("unknown field")
		}
		if err != nil {
			return apierr.At("."+key, err)
		}
	}
	return f.check()
}

// check finds what does not go together.
func (f *responseFormat) check() error {
	switch {
	case f.kind == "":
		return apierr.At(".type", errors.New("required"))
	case f.given > 1:
		return apierr.At(".schema", errors.New("cannot be combined with json_schema"))
	case f.kind != "json_schema" && f.schema != nil && (f.kind != "json_object" || f.part != ".schema"):
		return apierr.At(cmp.Or(strings.TrimSuffix(f.part, ".schema"), f.part), errors.New(`needs the type "json_schema"`))
	case f.kind != "structural_tag" && f.tag:
		return errors.New(`format, structures and triggers need the type "structural_tag"`)
	}
	return nil
}

func setResponseFormat(d *Draft, v field.Value) error {
	const name = "response_format"
	if v[0] != '{' {
		return v.Want("an object")
	}
	var f responseFormat
	if err := f.read(v); err != nil {
		return err
	}
	switch f.kind {
	case "text":
		return nil
	case "json_object":
		if f.schema == nil {
			return d.Constrain(name, "", grammar.JSONObject())
		}
		return d.Constrain(name, f.part, grammar.Schema(f.schema))
	case "json_schema":
		if f.schema == nil {
			return apierr.At(".json_schema.schema", errors.New("required"))
		}
		return d.Constrain(name, f.part, grammar.Schema(f.schema))
	case "structural_tag":
		s, err := structuralTag(v, name)
		if err != nil {
			return err
		}
		return d.Constrain(name, "", s)
	}
	return apierr.At(".type", fmt.Errorf("%q is not supported, only \"text\", \"json_object\", \"json_schema\" and \"structural_tag\" are", f.kind))
}

// responseSchema reads the schema and its labels. Whether strict or not, the
// answer keeps to it.
func responseSchema(v field.Value) (schema field.Value, err error) {
	if v[0] != '{' {
		return nil, v.Want("an object")
	}
	for key, v := range v.Members() {
		switch {
		case v.Null():
		case key == "schema":
			schema, err = v, wantSchema(v)
		case key == "name", key == "description":
			_, err = v.Text()
		case key == "strict":
			_, err = v.Boolean()
		default:
			err = errors.New("unknown field")
		}
		if err != nil {
			return nil, apierr.At("."+key, err)
		}
	}
	return schema, nil
}

func wantSchema(v field.Value) error {
	if v[0] != '{' {
		return v.Want("a JSON schema, an object")
	}
	return nil
}

// structureOptions are vLLM's of how a format is kept to, each with the value by
// which it changes nothing.
var structureOptions = map[string]string{
	"disable_fallback": "", "_backend": "", "_backend_was_auto": "",
	"disable_any_whitespace": "false", "disable_additional_properties": "false",
}

func setStructuredOutputs(d *Draft, v field.Value) error {
	if v[0] != '{' {
		return v.Want("an object")
	}
	given := false
	for key, v := range v.Members() {
		if v.Null() {
			continue
		}
		read := map[string]func(field.Value) (*grammar.Spec, error){
			"json": jsonFormat, "regex": regexFormat, "choice": choiceFormat, "json_object": anyObjectFormat, "grammar": rulesFormat,
			"structural_tag": func(v field.Value) (*grammar.Spec, error) {
				return structuralTag(v, "structured_outputs.structural_tag")
			},
		}[key]
		if same, is := structureOptions[key]; is && (same == "" || same == string(v)) {
			continue
		}
		if read == nil {
			return apierr.At("."+key, errors.New("not supported, only json, json_object, regex, choice, grammar and structural_tag are"))
		}
		s, err := read(v)
		if err == nil && s != nil {
			given = true
			err = d.Constrain("structured_outputs", "."+key, s)
		}
		if err != nil {
			return apierr.At("."+key, err)
		}
	}
	if !given {
		return errors.New("needs one of json, json_object, regex, choice, grammar and structural_tag")
	}
	return nil
}

// jsonFormat takes a schema, or a string that is one.
func jsonFormat(v field.Value) (*grammar.Spec, error) {
	switch v[0] {
	case '{':
		return grammar.Schema(v), nil
	case '"':
		return grammar.Schema([]byte(v.Unquote())), nil
	}
	return nil, v.Want("a JSON schema, as an object or a string")
}

func regexFormat(v field.Value) (*grammar.Spec, error) {
	s, err := v.Text()
	if err != nil {
		return nil, err
	}
	return grammar.Regex(s), nil
}

func rulesFormat(v field.Value) (*grammar.Spec, error) {
	s, err := v.Text()
	if err != nil {
		return nil, err
	}
	return grammar.Rules(s), nil
}

func choiceFormat(v field.Value) (*grammar.Spec, error) {
	if v[0] != '[' {
		return nil, v.Want("an array of strings")
	}
	var parts []*grammar.Spec
	for i, e := range v.Elements() {
		s, err := e.Text()
		if err != nil {
			return nil, apierr.At(apierr.Index(i), err)
		}
		parts = append(parts, grammar.Literal(s))
	}
	if len(parts) == 0 {
		return nil, errors.New("must not be empty")
	}
	return grammar.Choice(parts...), nil
}

// anyObjectFormat is nil for false.
func anyObjectFormat(v field.Value) (*grammar.Spec, error) {
	b, err := v.Boolean()
	if err != nil || !b {
		return nil, err
	}
	return grammar.JSONObject(), nil
}
