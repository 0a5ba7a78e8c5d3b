package jinja

import (
	"errors"
	"math/big"
	"strings"
	"unicode/utf8"
)

// method is a method bound to the value it was taken from.
type method struct {
	recv Value
	name string
	fn   methodFunc
}

type methodFunc func(st *state, recv Value, args []Value, kwargs []kwarg) (Value, error)

func (m *method) call(st *state, args []Value, kwargs []kwarg) (Value, error) {
	return m.fn(st, m.recv, args, kwargs)
}

func unsafeAttr(v Value, name string) *Undefined {
	return &Undefined{
		hint: "access to attribute '" + clip(name) + "' of '" + typeName(v) + "' object is unsafe.",
		name: name, obj: v, kind: "SecurityError",
	}
}

// attr finds a Python attribute: a method, mostly. What could change a value or
// reach the interpreter comes back as an Undefined that fails when used.
func (st *state) attr(v Value, name string) (Value, bool, error) {
	if err := st.weigh(len(name)); err != nil {
		return nil, false, err
	}
	if strings.HasPrefix(name, "__") && strings.HasSuffix(name, "__") {
		if ns, ok := v.(*namespace); ok {
			x, found := ns.attrs.Get(name)
			return x, found, nil
		}
		return unsafeAttr(v, name), true, nil
	}
	if methods, unsafe := methodsOf(v); methods[name] != nil {
		return &method{v, name, methods[name]}, true, nil
	} else if unsafe[name] {
		return unsafeAttr(v, name), true, nil
	}
	switch v := v.(type) {
	case *namespace:
		x, ok := v.attrs.Get(name)
		return x, ok, nil
	case *loop:
		return v.attr(st, name)
	case *macro:
		return v.attr(name)
	case *cycler:
		return v.attr(name)
	}
	return data(v, name)
}

// methodsOf are the methods that values of a type have, and the names of those that would change a value.
func methodsOf(v Value) (methods map[string]methodFunc, unsafe map[string]bool) {
	switch v := v.(type) {
	case string, Markup:
		return strMethods, nil
	case *Dict:
		return dictMethods, unsafeOfDicts
	case []any:
		return listMethods, unsafeOfLists
	case Tuple:
		return tupleMethods, nil
	case bool, int64, *big.Int:
		return intMethods, nil
	case float64:
		return floatMethods, nil
	case *function:
		return v.attrs, nil
	}
	return nil, nil
}

var (
	unsafeOfDicts = set("clear", "pop", "popitem", "setdefault", "update")
	unsafeOfLists = set("append", "clear", "pop", "reverse", "insert", "sort", "extend", "remove")
	tupleMethods  = map[string]methodFunc{"count": listMethods["count"], "index": listMethods["index"]}
)

func set(names ...string) map[string]bool {
	all := make(map[string]bool, len(names))
	for _, name := range names {
		all[name] = true
	}
	return all
}

// data is an attribute that is no method.
func data(v Value, name string) (Value, bool, error) {
	switch v := v.(type) {
	case *Range:
		return member(name, "start", v.start, "stop", v.stop, "step", v.step)
	case bool, int64, *big.Int:
		switch name {
		case "real", "numerator":
			n, err := normInt(bigOf(v))
			return n, true, err
		}
		return member(name, "imag", int64(0), "denominator", int64(1))
	case float64:
		return member(name, "real", v, "imag", float64(0))
	case *joiner:
		return member(name, "sep", v.sep, "used", v.used)
	}
	return nil, false, nil
}

// member is the value behind its name.
func member(name string, members ...Value) (Value, bool, error) {
	for i := 0; i < len(members); i += 2 {
		if members[i] == name {
			return members[i+1], true, nil
		}
	}
	return nil, false, nil
}

func (m *macro) attr(name string) (Value, bool, error) {
	switch name {
	case "name":
		if m.def.name == "" {
			return nil, true, nil
		}
		return m.def.name, true, nil
	case "arguments":
		t := Tuple{}
		for _, p := range m.def.params {
			t = append(t, p.name)
		}
		return t, true, nil
	case "catch_kwargs":
		return m.def.kwargs >= 0, true, nil
	case "catch_varargs":
		return m.def.varargs >= 0, true, nil
	case "caller":
		return m.def.hasCaller, true, nil
	}
	return nil, false, nil
}

// safeAttr is the attribute, unless a template must not see it.
func (st *state) safeAttr(v Value, name string) (Value, bool, error) {
	x, ok, err := st.attr(v, name)
	if err == nil && ok && strings.HasPrefix(name, "_") {
		return unsafeAttr(v, name), true, nil
	}
	return x, ok, err
}

// getattr is v.name: the attribute first, then the element.
func (st *state) getattr(v Value, name string) (Value, error) {
	if u, ok := v.(*Undefined); ok {
		return nil, u.fail(st)
	}
	if d, ok := v.(*Dict); ok && dictMethods[name] == nil { // the common case
		if x, ok := d.Get(name); ok && !strings.HasPrefix(name, "_") {
			if _, found, _ := st.attr(v, name); !found {
				return x, nil
			}
		}
	}
	if x, ok, err := st.safeAttr(v, name); err != nil || ok {
		return x, err
	}
	if d, isDict := v.(*Dict); isDict {
		if x, ok := d.Get(name); ok {
			return x, nil
		}
	}
	return &Undefined{name: name, obj: v}, nil
}

// getitem is v[key]: the element first, then the attribute.
func (st *state) getitem(v, key Value) (Value, error) {
	x, ok, err := st.element(v, key)
	if err != nil || ok {
		return x, err
	}
	if name, isText := textOf(key); isText {
		if x, ok, err := st.safeAttr(v, name); err != nil || ok {
			return x, err
		}
	}
	return &Undefined{name: key, obj: v}, nil
}

// element is Python's v[key]; false where it raises TypeError or LookupError.
func (st *state) element(v, key Value) (Value, bool, error) {
	switch s := v.(type) {
	case *Undefined:
		return nil, false, s.fail(st)
	case *Dict:
		i, err := st.place(s, key)
		if err == nil && i >= 0 {
			return s.entries[i].val, true, nil
		}
		var e *Error
		if errors.As(err, &e) && e.Kind == "LimitError" {
			return nil, false, err
		}
		return nil, false, nil // an unhashable key is not there either
	case []any:
		if i, ok := position(key, len(s)); ok {
			return s[i], true, nil
		}
	case Tuple:
		if i, ok := position(key, len(s)); ok {
			return s[i], true, nil
		}
	case *Range:
		if i, ok := position(key, s.len()); ok {
			return s.at(i), true, nil
		}
	case string, Markup:
		text, _ := textOf(s)
		if err := st.scan(len(text)); err != nil {
			return nil, false, err
		}
		if isASCII(text) {
			if i, ok := position(key, len(text)); ok {
				return like(s, text[i:i+1]), true, nil
			}
			break
		}
		if i, ok := position(key, runeLen(text)); ok {
			from := byteOffset(text, i)
			_, n := utf8.DecodeRuneInString(text[from:])
			return like(s, text[from:from+n]), true, nil
		}
	}
	return nil, false, nil
}

// position reads an index into n elements, from the end when negative.
func position(key Value, n int) (int, bool) {
	i, ok := intOf(key)
	if !ok {
		return 0, false
	}
	if i < 0 {
		i += int64(n)
	}
	return int(i), i >= 0 && i < int64(n)
}

func bigInt(v Value) (*big.Int, bool) {
	b, ok := v.(*big.Int)
	return b, ok
}
