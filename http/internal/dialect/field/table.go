package field

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"path"
	"strings"

	"github.com/troupe-llm/troupe/http/internal/dialect/apierr"
)

// Setter reads one field into a T. Its error says what is wrong with the
// value; Decode adds the field's name.
type Setter[T any] func(*T, Value) error

// Table is every field that a kind of request may have, by name. A name with stars
// in it, each of which stands for anything, is of fields that have no name there.
type Table[T any] map[string]Setter[T]

// Decode reads a request's fields in the order given. Null is as good as
// absent. A field that is not in the table is ignored, see Notes.
func Decode[T any](body []byte, fields Table[T], into *T, notes *Notes) *apierr.Error {
	v, fault := Parse(body)
	if fault != nil {
		return fault
	}
	seen := make(map[string]bool, 16)
	for name, v := range v.Members() {
		set := fields.of(name)
		switch {
		case seen[name]:
			return apierr.Invalid(name, "%s: given twice", name)
		case len(seen) == mostFields:
			return apierr.Invalid("", "a request has at most %d fields", mostFields)
		}
		seen[name] = true
		var err error
		switch {
		case set == nil && notes.Strict:
			return apierr.Invalid(name, "unknown field %q", name)
		case v.Null():
		case set == nil:
			err = notes.Ignore(name)
		default:
			err = set(into, v)
		}
		if err != nil {
			return apierr.InField(name, err)
		}
	}
	return nil
}

// mostFields bounds the work that fields can make that nobody knows: each is
// compared with patterns.
const mostFields = 256

// of is what reads a field; nil: it is not known, or in the table as one that is
// ignored whatever patterns it matches.
func (t Table[T]) of(name string) Setter[T] {
	if set, is := t[name]; is {
		return set
	}
	longest := "" // of the patterns that it matches
	for pattern := range t {
		if is, _ := path.Match(pattern, name); is && strings.Contains(pattern, "*") &&
			cmp.Or(cmp.Compare(len(pattern), len(longest)), cmp.Compare(pattern, longest)) > 0 {
			longest = pattern
		}
	}
	return t[longest]
}

// Join is the tables as one; of fields that are in several, the last has its way.
func Join[T any](tables ...Table[T]) Table[T] {
	all := Table[T]{}
	for _, t := range tables {
		maps.Copy(all, t)
	}
	return all
}

// Lift has a table of what a T has within it serve for a T.
func Lift[T, P any](fields Table[P], of func(*T) *P) Table[T] {
	all := make(Table[T], len(fields))
	for name, set := range fields {
		all[name] = func(t *T, v Value) error { return set(of(t), v) }
	}
	return all
}

// Only is the table of these fields alone.
func (t Table[T]) Only(names ...string) Table[T] {
	some := make(Table[T], len(names))
	for _, name := range names {
		some[name] = t[name]
	}
	return some
}

// Boolean reads true or false.
func Boolean[T any](put func(*T, bool)) Setter[T] {
	return func(t *T, v Value) error {
		b, err := v.Boolean()
		if err == nil {
			put(t, b)
		}
		return err
	}
}

// Integer reads an integer from lo to hi.
func Integer[T any](lo, hi int64, put func(*T, int64)) Setter[T] {
	return func(t *T, v Value) error {
		n, err := v.Integer()
		switch {
		case err != nil:
			return err
		case n < lo:
			return fmt.Errorf("must be at least %d, got %d", lo, n)
		case n > hi:
			return fmt.Errorf("must be at most %d, got %d", hi, n)
		}
		put(t, n)
		return nil
	}
}

// Number reads a number from lo to hi.
func Number[T any](lo, hi float64, put func(*T, float64)) Setter[T] {
	return func(t *T, v Value) error {
		x, err := v.Number()
		if err == nil && (x < lo || x > hi) {
			err = fmt.Errorf("must be between %g and %g, got %s", lo, hi, v)
		}
		if err == nil {
			put(t, x)
		}
		return err
	}
}

// Label accepts any value of a kind, as Value.Kind says it, and drops it.
func Label[T any](kind string) Setter[T] {
	return func(_ *T, v Value) error {
		if v.Kind() != kind {
			return v.Want(kind)
		}
		return nil
	}
}

// Accept accepts one value, which changes nothing.
func Accept[T any](why, value string) Setter[T] {
	return func(_ *T, v Value) error {
		if string(v) != value {
			return fmt.Errorf("only %s is supported: %s", value, why)
		}
		return nil
	}
}

// Refuse refuses a field whatever its value is.
func Refuse[T any](why string) Setter[T] {
	return func(*T, Value) error { return errors.New(why) }
}
