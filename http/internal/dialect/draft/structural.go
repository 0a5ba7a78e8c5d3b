package draft

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/troupe-llm/troupe/http/internal/dialect/apierr"
	"github.com/troupe-llm/troupe/http/internal/dialect/field"
	"github.com/troupe-llm/troupe/tokenize/grammar"
)

// A structural tag is text of which only some is held to a form: between a tag's
// begin and its end. It comes as XGrammar has it ("format", a tree of forms) or as
// it was before ("structures" and "triggers"), in vLLM's structured_outputs or as
// a response_format.

// structuralTag reads one, which may be within a string.
func structuralTag(v field.Value, path string) (*grammar.Spec, error) {
	if v[0] == '"' {
		body, fault := field.Parse([]byte(v.Unquote()))
		if fault != nil {
			return nil, errors.New(strings.TrimPrefix(fault.Message, "the body "))
		}
		v = body
	}
	if v[0] != '{' {
		return nil, v.Want("a structural tag, as an object or a string")
	}
	f := form{path: path}
	if err := f.read(v); err != nil {
		return nil, err
	}
	if kind := f.kind; kind != "" && kind != "structural_tag" {
		return nil, apierr.At(".type", fmt.Errorf("expected \"structural_tag\", got %.40q", kind))
	}
	switch tree, old := f.fields["format"], f.fields["structures"]; {
	case tree != nil && old == nil:
		if err := f.only("format"); err != nil {
			return nil, err
		}
		return f.child(".format", tree, nil)
	case old != nil && tree == nil:
		if err := f.only("structures", "triggers"); err != nil {
			return nil, err
		}
		return f.triggered("structures", nil)
	}
	return nil, errors.New(`needs either "format", or "structures" and "triggers"`)
}

// form is a form that is being read: one object of the tree.
type form struct {
	path   string
	depth  int
	kind   string
	fields map[string]field.Value // but for type, and none that is null
}

// deepest is how deep forms may be within each other.
const deepest = 32

func (f *form) read(v field.Value) error {
	if v[0] != '{' {
		return v.Want("an object")
	}
	if f.depth > deepest {
		return fmt.Errorf("is nested deeper than %d", deepest)
	}
	f.fields = map[string]field.Value{}
	for key, v := range v.Members() {
		switch {
		case v.Null():
		case key == "type":
			var err error
			if f.kind, err = v.Text(); err != nil {
				return apierr.At(".type", err)
			}
		default:
			f.fields[key] = v
		}
	}
	return nil
}

// only refuses fields but these.
func (f *form) only(names ...string) error {
	for key := range f.fields {
		if !slices.Contains(names, key) {
			return apierr.At("."+key, errors.New("unknown field"))
		}
	}
	return nil
}

// formKind is a kind of form: its fields, and what it stands for. What free text
// in it may not hold, since what comes after the form begins so, is given down.
type formKind struct {
	fields []string
	spec   func(f *form, without []string) (*grammar.Spec, error)
}

func formKinds() map[string]formKind {
	return map[string]formKind{
		"const_string":        {[]string{"value"}, (*form).constant},
		"json_schema":         {[]string{"json_schema", "style"}, (*form).schema},
		"any_text":            {[]string{"excludes"}, (*form).free},
		"regex":               {[]string{"pattern"}, (*form).regex},
		"grammar":             {[]string{"grammar"}, (*form).rules},
		"sequence":            {[]string{"elements"}, (*form).sequence},
		"or":                  {[]string{"elements"}, (*form).or},
		"optional":            {[]string{"content"}, (*form).repeated},
		"star":                {[]string{"content"}, (*form).repeated},
		"plus":                {[]string{"content"}, (*form).repeated},
		"tag":                 {[]string{"begin", "content", "end"}, (*form).tag},
		"triggered_tags":      {[]string{"triggers", "tags", "at_least_one", "stop_after_first", "excludes"}, (*form).triggeredTags},
		"tags_with_separator": {[]string{"tags", "separator", "at_least_one", "stop_after_first"}, (*form).separated},
	}
}

// child reads a form within f.
func (f *form) child(part string, v field.Value, without []string) (*grammar.Spec, error) {
	c := form{path: f.path + part, depth: f.depth + 1}
	s, err := c.make(v, without)
	if err != nil {
		return nil, apierr.At(part, err)
	}
	if s.Path() == "" { // else it knows better
		s.At(c.path)
	}
	return s, nil
}

func (f *form) make(v field.Value, without []string) (*grammar.Spec, error) {
	if err := f.read(v); err != nil {
		return nil, err
	}
	kinds := formKinds()
	k, ok := kinds[f.kind]
	if !ok {
		names := slices.Sorted(maps.Keys(kinds))
		return nil, apierr.At(".type", fmt.Errorf("%.40q is not supported, only %s are", f.kind, strings.Join(names, ", ")))
	}
	if err := f.only(k.fields...); err != nil {
		return nil, err
	}
	return k.spec(f, without)
}

func (f *form) text(name string) (string, error) {
	v := f.fields[name]
	if v == nil {
		return "", apierr.At("."+name, errors.New("required"))
	}
	s, err := v.Text()
	if err != nil {
		return "", apierr.At("."+name, err)
	}
	return s, nil
}

// texts is a list of strings that are not empty, or one of them; none when it is
// not there.
func (f *form) texts(name string) (all []string, err error) {
	v := f.fields[name]
	switch {
	case v == nil:
		return nil, nil
	case v[0] == '"':
		all = []string{v.Unquote()}
	case v[0] != '[':
		return nil, apierr.At("."+name, v.Want("strings"))
	default:
		for i, e := range v.Elements() {
			s, err := e.Text()
			if err != nil {
				return nil, apierr.At("."+name+apierr.Index(i), err)
			}
			all = append(all, s)
		}
	}
	return all, nil
}

func (f *form) flag(name string) (bool, error) {
	v := f.fields[name]
	if v == nil {
		return false, nil
	}
	b, err := v.Boolean()
	if err != nil {
		return false, apierr.At("."+name, err)
	}
	return b, nil
}

func (f *form) constant([]string) (*grammar.Spec, error) {
	s, err := f.text("value")
	return grammar.Literal(s), err
}

func (f *form) schema([]string) (*grammar.Spec, error) {
	v := f.fields["json_schema"]
	if style := f.fields["style"]; style != nil && string(style) != `"json"` {
		return nil, apierr.At(".style", errors.New(`only "json" is supported`))
	}
	if v == nil {
		return nil, apierr.At(".json_schema", errors.New("required"))
	}
	return f.jsonSchema("json_schema"), nil
}

func (f *form) jsonSchema(name string) *grammar.Spec {
	return grammar.Schema(f.fields[name]).At(f.path + "." + name)
}

func (f *form) free(without []string) (*grammar.Spec, error) {
	more, err := f.texts("excludes")
	if err != nil {
		return nil, err
	}
	return freeText(slices.Concat(without, more)), nil
}

func freeText(without []string) *grammar.Spec {
	if without = slices.DeleteFunc(without, func(s string) bool { return s == "" }); len(without) == 0 {
		return grammar.AnyText()
	}
	return grammar.WithoutAny(without)
}

func (f *form) regex([]string) (*grammar.Spec, error) {
	s, err := f.text("pattern")
	return grammar.Regex(s), err
}

func (f *form) rules([]string) (*grammar.Spec, error) {
	s, err := f.text("grammar")
	return grammar.Rules(s), err
}

// children are the forms of a list, the last of which is followed by what f is.
func (f *form) children(name string, without []string) (all []*grammar.Spec, err error) {
	v := f.fields[name]
	if v == nil || v[0] != '[' {
		return nil, apierr.At("."+name, errors.New("expected an array"))
	}
	for i, e := range v.Elements() {
		s, err := f.child("."+name+apierr.Index(i), e, without)
		if err != nil {
			return nil, err
		}
		all = append(all, s)
	}
	if len(all) == 0 {
		return nil, apierr.At("."+name, errors.New("must not be empty"))
	}
	return all, nil
}

func (f *form) sequence(without []string) (*grammar.Spec, error) {
	all, err := f.children("elements", without)
	return grammar.Sequence(all...), err
}

func (f *form) or(without []string) (*grammar.Spec, error) {
	all, err := f.children("elements", without)
	return grammar.Choice(all...), err
}

func (f *form) repeated(without []string) (*grammar.Spec, error) {
	v := f.fields["content"]
	if v == nil {
		return nil, apierr.At(".content", errors.New("required"))
	}
	s, err := f.child(".content", v, without)
	if err != nil {
		return nil, err
	}
	low, high := 0, -1
	switch f.kind {
	case "optional":
		high = 1
	case "plus":
		low = 1
	}
	return grammar.Repeat(s, low, high), nil
}
