// Package leniency is what becomes of a request's fields that a dialect does not
// have itself: OpenAI's and Anthropic's own that change nothing here, and those of
// other servers. rows.go is the table, which all dialects read; http/FIELDS.md is
// the same for people.
//
// The rule: what could make an answer wrong by being ignored is refused by name;
// what this server can do under another name is read as that; everything else is
// ignored, and the response says so.
package leniency

import (
	"fmt"
	"strings"

	"github.com/troupe-llm/troupe/http/internal/dialect/field"
)

// API is an API in which requests come, or several.
type API uint8

// The APIs.
const (
	Chat API = 1 << iota
	Text
	Responses
	Messages

	completions = Chat | Text
	openai      = completions | Responses
	all         = openai | Messages
)

// Fate is what becomes of a field.
type Fate uint8

// The fates. A field that has no row is ignored, too.
const (
	Taken   Fate = iota // what it asks for is what happens anyway, or nothing anyone sees
	Mapped              // it is read as another field
	Refused             // ignoring it could make the answer wrong
	Ignored             // left out, which the response says
)

func (f Fate) String() string {
	return [...]string{"taken", "mapped", "refused", "ignored"}[f]
}

// Row is a field, or a pattern of names with stars in it.
type Row struct {
	API  API
	Name string
	Fate Fate
	// Kind is that of the value, as field.Value has it; "": any, or that of As.
	Kind string
	// Only is the value, in JSON, with which a refused field is taken; "": none.
	Only string
	// As is the field that a mapped one is read as, or a member of it
	// ("object.member").
	As  string
	Why string // said when it is refused, and in the description
}

// Join is a dialect's own fields, and what becomes of others.
//
// It panics when the table is not one for these: a row is of a field that they have,
// or is read as one that they have not.
func Join[T any](api API, own field.Table[T]) field.Table[T] {
	others := make(field.Table[T], len(Rows))
	for i := range Rows {
		row := &Rows[i]
		if own[row.Name] != nil && row.API&api != 0 {
			panic(row.Name + " has a row, and is a dialect's own field")
		}
		if row.API&api != 0 {
			others[row.Name] = setter(row, own)
		}
	}
	return field.Join(others, own)
}

func setter[T any](row *Row, own field.Table[T]) field.Setter[T] {
	switch {
	case row.Fate == Ignored:
		return nil
	case row.Fate == Mapped:
		return mapped(row, own)
	case row.Fate == Refused && row.Only != "":
		return field.Accept[T](row.Why, row.Only)
	case row.Fate == Refused:
		return field.Refuse[T](row.Why)
	case row.Kind != "":
		return field.Label[T](row.Kind)
	}
	return func(*T, field.Value) error { return nil }
}

func mapped[T any](row *Row, own field.Table[T]) field.Setter[T] {
	name, member, within := strings.Cut(row.As, ".")
	set := own[name]
	if set == nil {
		panic(row.Name + " is read as a field that the dialect has not: " + name)
	}
	if !within {
		return set
	}
	return func(t *T, v field.Value) error {
		if row.Kind != "" && v.Kind() != row.Kind {
			return v.Want(row.Kind)
		}
		return set(t, fmt.Appendf(nil, "{%q:%s}", member, v))
	}
}
