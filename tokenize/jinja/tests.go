package jinja

import (
	"errors"
	"unicode"
)

// test is what follows `is`.
type test struct {
	name string
	args int // required after the value; there are no optional ones
	fn   func(st *state, v Value, a []Value) (bool, error)
}

func (t *test) run(st *state, v Value, args []Value, kwargs []kwarg) (bool, error) {
	if len(kwargs) == 1 && len(args) == 0 && t.args == 1 &&
		(kwargs[0].name == "num" && t.name == "divisibleby" || kwargs[0].name == "other" && t.name == "sameas" ||
			kwargs[0].name == "seq" && t.name == "in") {
		args, kwargs = []Value{kwargs[0].val}, nil
	}
	if len(args) != t.args || len(kwargs) > 0 {
		return false, typeErr("the test '%s' takes %d argument(s), got %d", t.name, t.args, len(args)+len(kwargs))
	}
	return t.fn(st, v, args)
}

var tests map[string]*test

func init() { // `is filter` and `is test` look into the maps
	plain := func(f func(v Value) bool) func(*state, Value, []Value) (bool, error) {
		return func(_ *state, v Value, _ []Value) (bool, error) { return f(v), nil }
	}
	isUndefined := func(v Value) bool { _, ok := v.(*Undefined); return ok }
	cased := func(want func(rune) bool) func(*state, Value, []Value) (bool, error) {
		return func(st *state, v Value, _ []Value) (bool, error) {
			s, err := st.str(v)
			if err := errors.Join(err, st.scan(len(s))); err != nil {
				return false, err
			}
			return allCased(s, want), nil
		}
	}
	modulo := func(want int64) func(*state, Value, []Value) (bool, error) {
		return func(st *state, v Value, _ []Value) (bool, error) {
			m, err := st.binary("%", v, int64(2))
			if err != nil {
				return false, err
			}
			return st.equal(m, want, 0)
		}
	}
	named := func(has func(string) bool) func(*state, Value, []Value) (bool, error) {
		return func(st *state, v Value, _ []Value) (bool, error) {
			s, ok := textOf(v)
			_, err := st.hash(v)
			return ok && has(s), err
		}
	}
	compares := func(op string) func(*state, Value, []Value) (bool, error) {
		return func(st *state, v Value, a []Value) (bool, error) { return st.compare(op, v, a[0]) }
	}
	tests = map[string]*test{
		"defined":   {fn: plain(func(v Value) bool { return !isUndefined(v) })},
		"undefined": {fn: plain(isUndefined)},
		"none":      {fn: plain(func(v Value) bool { return v == nil })},
		"true":      {fn: plain(func(v Value) bool { b, ok := v.(bool); return ok && b })},
		"false":     {fn: plain(func(v Value) bool { b, ok := v.(bool); return ok && !b })},
		"boolean":   {fn: plain(func(v Value) bool { _, ok := v.(bool); return ok })},
		"integer":   {fn: plain(func(v Value) bool { _, b := v.(bool); return isInt(v) && !b })},
		"float":     {fn: plain(func(v Value) bool { _, ok := v.(float64); return ok })},
		"number":    {fn: plain(isNumber)},
		"string":    {fn: plain(func(v Value) bool { _, ok := textOf(v); return ok })},
		"mapping":   {fn: plain(func(v Value) bool { _, ok := v.(*Dict); return ok })},
		"sequence":  {fn: plain(isSequence)},
		"iterable":  {fn: plain(isIterable)},
		"callable":  {fn: plain(isCallable)},
		"escaped":   {fn: plain(func(v Value) bool { _, ok := v.(Markup); return ok })},
		"lower":     {fn: cased(unicode.IsLower)},
		"upper":     {fn: cased(unicode.IsUpper)},
		"odd":       {fn: modulo(1)},
		"even":      {fn: modulo(0)},
		"divisibleby": {args: 1, fn: func(st *state, v Value, a []Value) (bool, error) {
			m, err := st.binary("%", v, a[0])
			if err != nil {
				return false, err
			}
			return st.equal(m, int64(0), 0)
		}},
		"sameas": {args: 1, fn: func(st *state, v Value, a []Value) (bool, error) {
			s, _ := textOf(v)
			return same(v, a[0]), st.weigh(len(s) + intSize(v))
		}},
		"in":     {args: 1, fn: compares("in")},
		"filter": {fn: named(func(name string) bool { return filters[name] != nil || refused[name] })},
		"test":   {fn: named(func(name string) bool { return tests[name] != nil })},
	}
	for op, names := range map[string][]string{
		"==": {"==", "eq", "equalto"}, "!=": {"!=", "ne"}, "<": {"<", "lt", "lessthan"},
		"<=": {"<=", "le"}, ">": {">", "gt", "greaterthan"}, ">=": {">=", "ge"},
	} {
		for _, name := range names {
			tests[name] = &test{args: 1, fn: compares(op)}
		}
	}
	for name, t := range tests {
		t.name = name
	}
}

func isSequence(v Value) bool {
	switch v.(type) {
	case string, Markup, []any, Tuple, *Dict, *Range, *Undefined:
		return true
	}
	return false
}

func isIterable(v Value) bool {
	switch v.(type) {
	case *view, *iterator, *loop:
		return true
	}
	return isSequence(v)
}

func isCallable(v Value) bool {
	switch v.(type) {
	case callable, *loop, *Undefined:
		return true
	}
	return false
}
