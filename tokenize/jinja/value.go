package jinja

import "math/big"

// Value is what a template works on, by its Go type:
//
//	None nil            int   int64, *big.Int beyond    str   string, Markup
//	bool bool           float float64                   list  []any, never changed once made
//	dict *Dict          tuple Tuple                     plus the types below and functions
type Value = any

type (
	// Tuple is an immutable list with its own repr and hash.
	Tuple []any
	// Markup is a string marked safe: joined by + to a plain one, it escapes that one.
	Markup string
	// missingType is the type of missing: a slot nothing was stored in.
	missingType struct{ _ byte }
)

var missing = &missingType{}

// Undefined stands for a name or attribute that is not there: it prints
// nothing, is false, iterates over nothing, and fails in any other use.
type Undefined struct {
	hint string
	name Value
	obj  Value // whose attribute or element; missing for a variable
	kind string
}

func undefinedName(name string) *Undefined { return &Undefined{name: name, obj: missing} }
func undefinedHint(hint string) *Undefined { return &Undefined{hint: hint, obj: missing} }

func (u *Undefined) fail(*state) error {
	kind := u.kind
	if kind == "" {
		kind = "UndefinedError"
	}
	switch name := u.name.(type) {
	case string:
		if u.hint != "" {
			break
		}
		if u.obj == missing {
			return errf(kind, "'%s' is undefined", clip(name))
		}
		return errf(kind, "'%s' has no attribute '%s'", objectName(u.obj), clip(name))
	default:
		if u.hint != "" {
			break
		}
		return errf(kind, "%s has no element %s", objectName(u.obj), shortRepr(name))
	}
	return errf(kind, "%s", u.hint)
}

func objectName(v Value) string {
	if v == nil {
		return "None"
	}
	return typeName(v) + " object"
}

// Range is Python's range: a list of numbers that is not stored.
type Range struct{ start, stop, step int64 }

func (r *Range) len() int {
	switch {
	case r.step > 0 && r.start < r.stop:
		return int((r.stop-r.start-1)/r.step) + 1
	case r.step < 0 && r.start > r.stop:
		return int((r.start-r.stop-1)/-r.step) + 1
	}
	return 0
}

func (r *Range) at(i int) int64 { return r.start + int64(i)*r.step }

// view is what dict.keys(), values() and items() return.
type view struct {
	d    *Dict
	kind byte // 'k', 'v' or 'i'
}

func (w *view) at(i int) Value {
	e := &w.d.entries[i]
	switch w.kind {
	case 'k':
		return e.key
	case 'v':
		return e.val
	}
	return Tuple{e.key, e.val}
}

// namespace is the one value a template can change.
type namespace struct{ attrs *Dict }

func truth(v Value) bool {
	switch v := v.(type) {
	case nil:
		return false
	case bool:
		return v
	case string:
		return v != ""
	case Markup:
		return v != ""
	case int64:
		return v != 0
	case float64:
		return v != 0
	case []any:
		return len(v) > 0
	case Tuple:
		return len(v) > 0
	case *Dict:
		return len(v.entries) > 0
	case *Undefined:
		return false
	case *Range:
		return v.len() > 0
	case *view:
		return len(v.d.entries) > 0
	}
	return true
}

func typeName(v Value) string {
	switch v := v.(type) {
	case nil:
		return "NoneType"
	case bool:
		return "bool"
	case int64, *big.Int:
		return "int"
	case float64:
		return "float"
	case string:
		return "str"
	case Markup:
		return "Markup"
	case []any:
		return "list"
	case Tuple:
		return "tuple"
	case *Dict:
		return "dict"
	case *Undefined:
		return "Undefined"
	case *Range:
		return "range"
	case *view:
		return map[byte]string{'k': "dict_keys", 'v': "dict_values", 'i': "dict_items"}[v.kind]
	case *iterator:
		return v.name
	case *namespace:
		return "TemplateNamespace"
	case *macro:
		return "Macro"
	case *loop:
		return "LoopContext"
	case *method:
		return "builtin_function_or_method"
	case *function:
		return v.class
	case *cycler:
		return "Cycler"
	case *joiner:
		return "Joiner"
	}
	return "object"
}
