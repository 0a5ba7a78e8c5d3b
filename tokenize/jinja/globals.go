package jinja

import (
	"errors"
	"strings"
)

// function is a global function of the library.
type function struct {
	name  string
	class string // of its Python type
	fn    func(st *state, args []Value, kwargs []kwarg) (Value, error)
	attrs map[string]methodFunc
}

func (f *function) call(st *state, args []Value, kwargs []kwarg) (Value, error) {
	return f.fn(st, args, kwargs)
}

var globals = map[string]Value{
	"range":           &function{name: "range", class: "function", fn: makeRange},
	"dict":            &function{name: "dict", class: "TemplateDict", fn: makeDict, attrs: map[string]methodFunc{"fromkeys": fromKeys}},
	"namespace":       &function{name: "namespace", class: "type", fn: makeNamespace},
	"cycler":          &function{name: "cycler", class: "type", fn: makeCycler},
	"joiner":          &function{name: "joiner", class: "type", fn: makeJoiner},
	"raise_exception": &function{name: "raise_exception", class: "function", fn: raise},
	"strftime_now":    &function{name: "strftime_now", class: "function", fn: strftimeNow},
	"lipsum": &function{name: "lipsum", class: "function", fn: func(*state, []Value, []kwarg) (Value, error) {
		return nil, typeErr("lipsum is not supported in a chat template")
	}},
}

const maxRange = 100_000 // as jinja2's sandbox has it

func makeRange(_ *state, args []Value, kwargs []kwarg) (Value, error) {
	if len(kwargs) > 0 || len(args) < 1 || len(args) > 3 {
		return nil, typeErr("range expected 1 to 3 arguments, got %d", len(args)+len(kwargs))
	}
	n := []int64{0, 0, 1}
	for i, a := range args {
		v, ok := intOf(a)
		if !ok {
			if _, big := bigInt(a); big {
				return nil, limitErr("range beyond 64 bits")
			}
			return nil, typeErr("'%s' object cannot be interpreted as an integer", typeName(a))
		}
		n[i] = v
	}
	r := &Range{n[0], n[1], n[2]}
	if len(args) == 1 {
		r.start, r.stop = 0, n[0]
	}
	if r.step == 0 {
		return nil, valueErr("range() arg 3 must not be zero")
	}
	const far = 1 << 61
	for _, x := range n {
		if x > far || x < -far {
			return nil, limitErr("range beyond 61 bits")
		}
	}
	if r.len() > maxRange {
		return nil, errf("OverflowError", "Range too big. The sandbox blocks ranges larger than MAX_RANGE (%d).", maxRange)
	}
	return r, nil
}

func makeDict(st *state, args []Value, kwargs []kwarg) (Value, error) {
	d := NewDict(len(kwargs))
	if len(args) > 1 {
		return nil, typeErr("dict expected at most 1 argument, got %d", len(args))
	}
	for _, a := range args {
		if src, ok := a.(*Dict); ok {
			for _, e := range src.entries {
				if err := st.put(d, e.key, e.val); err != nil {
					return nil, err
				}
			}
			continue
		}
		err := st.each(a, func(x Value) error {
			pair, err := st.list(x)
			if err != nil {
				return err
			}
			if len(pair) != 2 {
				return valueErr("dictionary update sequence element has length %d; 2 is required", len(pair))
			}
			return st.put(d, pair[0], pair[1])
		})
		if err != nil {
			return nil, err
		}
	}
	for _, k := range kwargs {
		d.Set(k.name, k.val)
	}
	return d, st.allocList(2 * d.Len())
}

func makeNamespace(st *state, args []Value, kwargs []kwarg) (Value, error) {
	v, err := makeDict(st, args, kwargs)
	if err != nil {
		return nil, err
	}
	d := v.(*Dict)
	for _, e := range d.entries {
		if k, ok := e.key.(string); ok {
			if err := checkNamespaceKey(k); err != nil {
				return nil, err
			}
		}
	}
	return &namespace{d}, nil
}

func checkNamespaceKey(name string) error {
	if strings.HasPrefix(name, "_") {
		return errf("SecurityError", "Chat templates cannot store underscore-prefixed attributes on a namespace, but got '%s'. "+
			"Please rename the attribute.", name)
	}
	return nil
}

func raise(st *state, args []Value, kwargs []kwarg) (Value, error) {
	s := sig("raise_exception", "message")
	a, err := s.bind(args, kwargs)
	if err != nil {
		return nil, err
	}
	msg, err := st.str(a[0])
	if err != nil {
		return nil, err
	}
	return nil, &RaisedError{Message: msg}
}

func strftimeNow(st *state, args []Value, kwargs []kwarg) (Value, error) {
	s := sig("strftime_now", "format")
	a, err := s.bind(args, kwargs)
	if err != nil {
		return nil, err
	}
	format, err := argText(a[0])
	if err != nil {
		return nil, err
	}
	if err := errors.Join(st.alloc(16*len(format)), st.step(2*len(format))); err != nil {
		return nil, err
	}
	return strftime(st.now(), format), nil
}

// cycler gives its items in turn.
type cycler struct {
	items []Value
	pos   int
}

func makeCycler(_ *state, args []Value, kwargs []kwarg) (Value, error) {
	if len(args) == 0 || len(kwargs) > 0 {
		return nil, errf("RuntimeError", "at least one item has to be provided")
	}
	return &cycler{items: args}, nil
}

func (c *cycler) attr(name string) (Value, bool, error) {
	switch name {
	case "items":
		return Tuple(c.items), true, nil
	case "pos":
		return int64(c.pos), true, nil
	case "current":
		return c.items[c.pos], true, nil
	case "next", "reset":
		return &method{c, name, with(sig(name), func(*state, Value, []Value) (Value, error) {
			if name == "reset" {
				c.pos = 0
				return nil, nil
			}
			v := c.items[c.pos]
			c.pos = (c.pos + 1) % len(c.items)
			return v, nil
		})}, true, nil
	}
	return nil, false, nil
}

// joiner is empty the first time it is called, then its separator.
type joiner struct {
	sep  Value
	used bool
}

func makeJoiner(_ *state, args []Value, kwargs []kwarg) (Value, error) {
	s := sig("joiner", "sep=")
	a, err := s.bind(args, kwargs)
	if err != nil {
		return nil, err
	}
	if a[0] == missing {
		a[0] = ", "
	}
	return &joiner{sep: a[0]}, nil
}

func (j *joiner) call(_ *state, args []Value, kwargs []kwarg) (Value, error) {
	if len(args)+len(kwargs) > 0 {
		return nil, typeErr("a joiner takes no arguments")
	}
	if !j.used {
		j.used = true
		return "", nil
	}
	return j.sep, nil
}
