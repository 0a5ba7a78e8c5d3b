package jinja

import "unicode/utf8"

// iterator yields values once: over a list, or as next makes them.
type iterator struct {
	list []any
	i    int
	next func(*state) (Value, bool, error) // nil for a list
	name string                            // of its Python type
	done bool
}

func (it *iterator) pull(st *state) (Value, bool, error) {
	if err := st.step(1); err != nil || it.done {
		return nil, false, err
	}
	if it.next == nil {
		if it.i == len(it.list) {
			it.done = true
			return nil, false, nil
		}
		it.i++
		return it.list[it.i-1], true, nil
	}
	v, ok, err := it.next(st)
	it.done = !ok
	return v, ok, err
}

// generator makes a lazy sequence; nothing of it runs before it is asked for.
func generator(next func(*state) (Value, bool, error)) *iterator {
	return &iterator{next: next, name: "generator"}
}

// indexed iterates over n values found by position.
func indexed(n int, at func(int) Value) *iterator {
	i := 0
	return &iterator{name: "iterator", next: func(*state) (Value, bool, error) {
		if i == n {
			return nil, false, nil
		}
		i++
		return at(i - 1), true, nil
	}}
}

func chars(s string) *iterator {
	return &iterator{name: "str_iterator", next: func(*state) (Value, bool, error) {
		if s == "" {
			return nil, false, nil
		}
		_, n := utf8.DecodeRuneInString(s)
		c := s[:n]
		s = s[n:]
		return c, true, nil
	}}
}

// iterate is Python's iter.
func (st *state) iterate(v Value) (*iterator, error) {
	switch v := v.(type) {
	case []any:
		return &iterator{list: v}, nil
	case Tuple:
		return &iterator{list: v}, nil
	case *Dict:
		return indexed(len(v.entries), func(i int) Value { return v.entries[i].key }), nil
	case string:
		return chars(v), nil
	case Markup:
		return chars(string(v)), nil
	case *Range:
		return indexed(v.len(), func(i int) Value { return v.at(i) }), nil
	case *view:
		return indexed(len(v.d.entries), v.at), nil
	case *iterator:
		return v, nil
	case *Undefined:
		return &iterator{}, nil
	}
	return nil, typeErr("'%s' object is not iterable", typeName(v))
}

// reversed is Python's reversed.
func (st *state) reversed(v Value) (*iterator, error) {
	n, at := 0, func(int) Value { return nil }
	name := "reversed"
	switch v := v.(type) {
	case []any:
		n, at, name = len(v), func(i int) Value { return v[i] }, "list_reverseiterator"
	case Tuple:
		n, at = len(v), func(i int) Value { return v[i] }
	case *Dict:
		n, at, name = len(v.entries), func(i int) Value { return v.entries[i].key }, "dict_reversekeyiterator"
	case *view:
		n, at = len(v.d.entries), v.at
	case *Range:
		n, at = v.len(), func(i int) Value { return v.at(i) }
	case string, Markup:
		l, err := st.list(v)
		if err != nil {
			return nil, err
		}
		n, at = len(l), func(i int) Value { return l[i] }
	case *Undefined:
	default:
		return nil, typeErr("'%s' object is not reversible", typeName(v))
	}
	it := indexed(n, func(i int) Value { return at(n - 1 - i) })
	it.name = name
	return it, nil
}

// drain collects what is left of an iterator.
func (st *state) drain(it *iterator) ([]any, error) {
	if it.next == nil && !it.done {
		rest := it.list[it.i:]
		it.i = len(it.list)
		if err := st.allocList(len(rest)); err != nil {
			return nil, err
		}
		return append(make([]any, 0, len(rest)), rest...), nil
	}
	out := []any{}
	for {
		v, ok, err := it.pull(st)
		if err != nil {
			return nil, err
		}
		if !ok {
			return out, st.allocList(0)
		}
		if len(out) == cap(out) {
			if err := st.allocList(2*cap(out) + 8); err != nil {
				return nil, err
			}
		}
		out = append(out, v)
	}
}

// list is Python's list(v), a new one.
func (st *state) list(v Value) ([]any, error) {
	it, err := st.iterate(v)
	if err != nil {
		return nil, err
	}
	return st.drain(it)
}

// length is Python's len.
func (st *state) length(v Value) (int, error) {
	switch v := v.(type) {
	case string:
		return runeLen(v), st.scan(len(v))
	case Markup:
		return runeLen(string(v)), st.scan(len(v))
	case []any:
		return len(v), nil
	case Tuple:
		return len(v), nil
	case *Dict:
		return len(v.entries), nil
	case *view:
		return len(v.d.entries), nil
	case *Range:
		return v.len(), nil
	case *Undefined:
		return 0, nil
	case *loop:
		return v.length(st)
	}
	return 0, typeErr("object of type '%s' has no len()", typeName(v))
}

// sliceBounds is what Python makes of start:stop:step over n elements.
func sliceBounds(n int, start, stop, step Value) (from, count, by int, err error) {
	read := func(v Value, def int) int {
		if v == nil {
			return def
		}
		i, ok := intOf(v)
		if b, big := bigInt(v); big {
			i, ok = int64(b.Sign())*int64(1<<62), true
		}
		if !ok {
			err = typeErr("slice indices must be integers or None or have an __index__ method")
		}
		return int(i)
	}
	by = read(step, 1)
	if err == nil && by == 0 {
		err = valueErr("slice step cannot be zero")
	}
	clamp := func(v Value, def, low, high int) int {
		i := read(v, def)
		if v != nil && i < 0 {
			i += n
		}
		return min(max(i, low), high)
	}
	var to int
	if by > 0 {
		from, to = clamp(start, 0, 0, n), clamp(stop, n, 0, n)
		if to > from {
			count = (to-from-1)/by + 1
		}
	} else {
		from, to = clamp(start, n-1, -1, n-1), clamp(stop, -1, -1, n-1)
		if from > to && by != 0 {
			count = (from-to-1)/-max(by, -1<<62) + 1
		}
	}
	return from, count, by, err
}

// slice is v[start:stop:step].
func (st *state) slice(v Value, start, stop, step Value) (Value, error) {
	switch s := v.(type) {
	case *Undefined:
		return nil, s.fail(st)
	case string, Markup:
		text, _ := textOf(s)
		return st.sliceText(s, text, start, stop, step)
	case []any:
		return st.sliceList(s, start, stop, step)
	case Tuple:
		l, err := st.sliceList(s, start, stop, step)
		return Tuple(l), err
	case *Range:
		from, count, by, err := sliceBounds(s.len(), start, stop, step)
		if err != nil {
			return nil, err
		}
		r := &Range{start: s.at(from), step: s.step * int64(by)}
		r.stop = r.start + int64(count)*r.step
		return r, nil
	case *Dict:
		return nil, typeErr("unhashable type: 'slice'")
	}
	return nil, typeErr("'%s' object is not subscriptable", typeName(v))
}

func (st *state) sliceList(s []any, start, stop, step Value) ([]any, error) {
	from, count, by, err := sliceBounds(len(s), start, stop, step)
	if err != nil {
		return nil, err
	}
	if by == 1 { // lists never change: share it
		return s[from : from+count : from+count], nil
	}
	if err := st.allocList(count); err != nil {
		return nil, err
	}
	out := make([]any, count)
	for i := range out {
		out[i] = s[from+i*by]
	}
	return out, nil
}

func (st *state) sliceText(orig Value, s string, start, stop, step Value) (Value, error) {
	if err := st.scan(len(s)); err != nil {
		return nil, err
	}
	if isASCII(s) {
		from, count, by, err := sliceBounds(len(s), start, stop, step)
		if err != nil {
			return nil, err
		}
		if by == 1 {
			return like(orig, s[from:from+count]), nil
		}
		b := make([]byte, count)
		for i := range b {
			b[i] = s[from+i*by]
		}
		return like(orig, string(b)), st.alloc(count)
	}
	from, count, by, err := sliceBounds(runeLen(s), start, stop, step)
	if err != nil {
		return nil, err
	}
	if by == 1 {
		i := byteOffset(s, from)
		return like(orig, s[i:i+byteOffset(s[i:], count)]), nil
	}
	if err := st.alloc(4 * len(s)); err != nil {
		return nil, err
	}
	runes := []rune(s)
	out := make([]rune, count)
	for i := range out {
		out[i] = runes[from+i*by]
	}
	return like(orig, string(out)), nil
}
