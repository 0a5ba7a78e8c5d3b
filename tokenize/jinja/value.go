package jinja

import (
	"math"
	"math/big"
	"sort"
)

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
			return errf(kind, "'%s' is undefined", name)
		}
		return errf(kind, "'%s' has no attribute '%s'", objectName(u.obj), name)
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

// Dict is Python's dict: it keeps the order of insertion. Once it is a
// template's variable it must not change.
type Dict struct {
	entries []entry
	index   map[any]int // by hashKey, once there are many
}

type entry struct{ key, val Value }

const dictScan = 8 // up to so many entries, searching in order is faster

// NewDict returns an empty Dict with room for n entries.
func NewDict(n int) *Dict { return &Dict{entries: make([]entry, 0, n)} }

// Len is the number of entries.
func (d *Dict) Len() int { return len(d.entries) }

// At returns the i-th entry in order of insertion.
func (d *Dict) At(i int) (key, val Value) { return d.entries[i].key, d.entries[i].val }

// Get returns the value under a string key.
func (d *Dict) Get(key string) (Value, bool) {
	if i := d.findString(key); i >= 0 {
		return d.entries[i].val, true
	}
	return nil, false
}

// Set stores a value under a string key, in the place of an older one.
func (d *Dict) Set(key string, val Value) {
	if i := d.findString(key); i >= 0 {
		d.entries[i].val = val
		return
	}
	d.add(key, val, key)
}

func (d *Dict) add(key, val Value, hash any) {
	d.entries = append(d.entries, entry{key, val})
	switch {
	case d.index != nil:
		d.index[hash] = len(d.entries) - 1
	case len(d.entries) > dictScan:
		d.index = make(map[any]int, 2*len(d.entries))
		for i, e := range d.entries {
			h, _ := hashKey(e.key, 0)
			d.index[h] = i
		}
	}
}

func (d *Dict) findString(key string) int {
	if d.index != nil {
		if i, ok := d.index[key]; ok {
			return i
		}
		return -1
	}
	for i := range d.entries {
		if k, ok := d.entries[i].key.(string); ok && k == key {
			return i
		}
	}
	return -1
}

// find returns the entry under any key, or -1. A key that cannot be hashed is an error.
func (d *Dict) find(key Value) (int, error) {
	if s, ok := key.(string); ok {
		return d.findString(s), nil
	}
	h, err := hashKey(key, 0)
	if err != nil {
		return -1, err
	}
	if d.index != nil {
		if i, ok := d.index[h]; ok {
			return i, nil
		}
		return -1, nil
	}
	for i := range d.entries {
		if k, _ := hashKey(d.entries[i].key, 0); k == h {
			return i, nil
		}
	}
	return -1, nil
}

func (d *Dict) put(key, val Value) error {
	i, err := d.find(key)
	if err != nil {
		return err
	}
	if i >= 0 {
		d.entries[i].val = val
		return nil
	}
	h, _ := hashKey(key, 0)
	d.add(key, val, h)
	return nil
}

type (
	hashNone  struct{}
	hashTuple string
	hashRange struct{ n, start, step int64 }
)

const maxHashDepth = 64

// hashKey maps keys that Python holds equal to one comparable Go value.
func hashKey(v Value, depth int) (any, error) {
	if depth > maxHashDepth {
		return nil, errf("RecursionError", "a key is nested too deep")
	}
	switch v := v.(type) {
	case nil:
		return hashNone{}, nil
	case string:
		return v, nil
	case Markup:
		return string(v), nil
	case bool:
		if v {
			return int64(1), nil
		}
		return int64(0), nil
	case int64:
		return v, nil
	case *big.Int:
		return hashTuple("i" + v.String()), nil
	case float64:
		if v == math.Trunc(v) {
			if math.Abs(v) < 1<<62 {
				return int64(v), nil
			}
			if !math.IsInf(v, 0) {
				b, _ := big.NewFloat(v).Int(nil)
				return hashTuple("i" + b.String()), nil
			}
		}
		return v, nil
	case Tuple:
		s := make([]byte, 0, 32)
		for _, x := range v {
			h, err := hashKey(x, depth+1)
			if err != nil {
				return nil, err
			}
			if len(s) > 1<<16 {
				return nil, limitErr("a tuple used as a key is too long")
			}
			s = appendHash(s, h)
		}
		return hashTuple("t" + string(s)), nil
	case []any, *Dict, *view:
		return nil, typeErr("unhashable type: '%s'", typeName(v))
	case *Range:
		n := int64(v.len())
		switch n {
		case 0:
			return hashRange{}, nil
		case 1:
			return hashRange{1, v.start, 0}, nil
		}
		return hashRange{n, v.start, v.step}, nil
	case *Undefined:
		return Undefined{}, nil
	}
	return v, nil // by identity
}

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

// FromGo turns what Go programs hold into what templates work on: any integer
// into an int, maps with string keys into Dicts (keys sorted, as a Go map has no
// order), slices into lists. Values that already are a template's come back as
// they are. The second result is false for a type with no counterpart.
func FromGo(v any) (Value, bool) { return fromGo(v, 0) }

func fromGo(v any, depth int) (Value, bool) {
	if depth > maxJSONDepth {
		return nil, false
	}
	switch v := v.(type) {
	case nil, bool, int64, *big.Int, float64, string, Markup, *Range:
		return v, true
	case int:
		return int64(v), true
	case int32:
		return int64(v), true
	case uint32:
		return int64(v), true
	case float32:
		return float64(v), true
	case []any:
		return fromSlice(v, depth)
	case Tuple:
		s, ok := fromSlice(v, depth)
		if l, isList := s.([]any); isList {
			return Tuple(l), ok
		}
		return nil, false
	case *Dict:
		return fromDict(v, depth)
	case []string:
		l := make([]any, len(v))
		for i, s := range v {
			l[i] = s
		}
		return l, true
	case []map[string]any:
		l := make([]any, len(v))
		for i, m := range v {
			l[i] = m
		}
		return fromSlice(l, depth)
	case map[string]any:
		keys := make([]string, 0, len(v))
		for k := range v {
			keys = append(keys, k)
		}
		sort.Strings(keys)
		d := NewDict(len(v))
		for _, k := range keys {
			x, ok := fromGo(v[k], depth+1)
			if !ok {
				return nil, false
			}
			d.Set(k, x)
		}
		return d, true
	}
	return nil, false
}

// scalar holds the types fromGo passes through untouched.
func scalar(v any) bool {
	switch v.(type) {
	case nil, bool, int64, *big.Int, float64, string, Markup, *Range:
		return true
	}
	return false
}

func fromSlice(s []any, depth int) (Value, bool) {
	out, copied := s, false
	for i, x := range s {
		if scalar(x) {
			continue
		}
		y, ok := fromGo(x, depth+1)
		if !ok {
			return nil, false
		}
		if same(x, y) {
			continue
		}
		if !copied {
			out, copied = append([]any(nil), s...), true
		}
		out[i] = y
	}
	return out, true
}

func fromDict(d *Dict, depth int) (Value, bool) {
	out := d
	for i, e := range d.entries {
		if scalar(e.val) {
			continue
		}
		y, ok := fromGo(e.val, depth+1)
		if !ok {
			return nil, false
		}
		if same(e.val, y) {
			continue
		}
		if out == d {
			out = &Dict{entries: append([]entry(nil), d.entries...), index: d.index}
		}
		out.entries[i].val = y
	}
	return out, true
}
