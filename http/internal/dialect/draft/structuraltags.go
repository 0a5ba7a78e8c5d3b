package draft

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/troupe-llm/troupe/http/internal/dialect/apierr"
	"github.com/troupe-llm/troupe/tokenize/grammar"
)

// The forms that have tags in them, see structural.go.

func (f *form) tag([]string) (*grammar.Spec, error) {
	begin, rest, err := f.tagParts("content")
	return grammar.Sequence(grammar.Literal(begin), rest), err
}

// tagParts is what a tag begins with, and what follows.
func (f *form) tagParts(content string) (begin string, rest *grammar.Spec, err error) {
	if begin, err = f.text("begin"); err != nil {
		return "", nil, err
	}
	ends, err := f.texts("end")
	if err != nil {
		return "", nil, err
	}
	if len(ends) == 0 {
		return "", nil, apierr.At(".end", errors.New("required"))
	}
	v := f.fields[content]
	var inside *grammar.Spec
	switch {
	case v == nil:
		return "", nil, apierr.At("."+content, errors.New("required"))
	case content == "schema":
		inside = f.jsonSchema(content)
	default:
		if inside, err = f.child("."+content, v, ends); err != nil {
			return "", nil, err
		}
	}
	var end []*grammar.Spec
	for _, e := range ends {
		end = append(end, grammar.Literal(e))
	}
	return begin, grammar.Sequence(inside, grammar.Choice(end...)), nil
}

// tags are the begins of a list of tags, and what follows each.
func (f *form) tags(name string) (begins []string, rests []*grammar.Spec, err error) {
	v := f.fields[name]
	if v == nil || v[0] != '[' {
		return nil, nil, apierr.At("."+name, errors.New("expected an array of tags"))
	}
	content := map[string]string{"structures": "schema"}[name]
	if content == "" {
		content = "content"
	}
	for i, e := range v.Elements() {
		part := "." + name + apierr.Index(i)
		t := form{path: f.path + part, depth: f.depth + 1}
		err := t.read(e)
		if err == nil && t.kind != "" && t.kind != "tag" {
			err = apierr.At(".type", errors.New(`expected "tag"`))
		}
		if err == nil {
			err = t.only("begin", content, "end")
		}
		var begin string
		var rest *grammar.Spec
		if err == nil {
			begin, rest, err = t.tagParts(content)
		}
		if err != nil {
			return nil, nil, apierr.At(part, err)
		}
		begins, rests = append(begins, begin), append(rests, rest)
	}
	if len(begins) == 0 {
		return nil, nil, apierr.At("."+name, errors.New("must not be empty"))
	}
	return begins, rests, nil
}

func (f *form) triggeredTags(without []string) (*grammar.Spec, error) {
	more, err := f.texts("excludes")
	if err != nil {
		return nil, err
	}
	return f.triggered("tags", slices.Concat(without, more))
}

// triggered is free text with tags in it: what begins as a trigger has to go on as
// one of the tags that begin so.
func (f *form) triggered(name string, without []string) (*grammar.Spec, error) {
	triggers, err := f.texts("triggers")
	if err != nil {
		return nil, err
	}
	if len(triggers) == 0 || slices.Contains(triggers, "") {
		return nil, apierr.At(".triggers", errors.New("expected strings that are not empty"))
	}
	begins, rests, err := f.tags(name)
	if err != nil {
		return nil, err
	}
	markers := slices.Concat(triggers, without)
	var all []*grammar.Spec
	used := make([]bool, len(begins))
	for i, trigger := range triggers {
		var tags []*grammar.Spec
		for j, begin := range begins {
			if tail, ok := strings.CutPrefix(begin, trigger); ok {
				used[j] = true
				tags = append(tags, grammar.Sequence(grammar.Literal(tail), rests[j]))
			}
		}
		if tags != nil {
			all = append(all, grammar.Sequence(grammar.UntilFirst(markers, i), grammar.Choice(tags...)))
		}
	}
	if j := slices.Index(used, false); j >= 0 {
		return nil, apierr.At("."+name+apierr.Index(j)+".begin", fmt.Errorf("%.40q begins with none of the triggers", begins[j]))
	}
	return f.often(grammar.Choice(all...), nil, freeText(markers))
}

// often is one thing as often as f asks for, with this between any two, and free
// text after the last where more could come.
func (f *form) often(one, between, free *grammar.Spec) (*grammar.Spec, error) {
	least, err := f.flag("at_least_one")
	if err != nil {
		return nil, err
	}
	once, err := f.flag("stop_after_first")
	if err != nil {
		return nil, err
	}
	some := one
	switch {
	case once:
	case between != nil:
		some = grammar.Sequence(one, grammar.Repeat(grammar.Sequence(between, one), 0, -1))
	default:
		some = grammar.Sequence(grammar.Repeat(one, 1, -1), free)
	}
	if least {
		return some, nil
	}
	return grammar.Choice(some, free), nil
}

func (f *form) separated([]string) (*grammar.Spec, error) {
	separator, err := f.text("separator")
	if err != nil {
		return nil, err
	}
	begins, rests, err := f.tags("tags")
	if err != nil {
		return nil, err
	}
	var all []*grammar.Spec
	for i := range begins {
		all = append(all, grammar.Sequence(grammar.Literal(begins[i]), rests[i]))
	}
	return f.often(grammar.Choice(all...), grammar.Literal(separator), grammar.Literal(""))
}
