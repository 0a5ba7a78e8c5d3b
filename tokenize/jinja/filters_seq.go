package jinja

import (
	"errors"
	"slices"
	"strings"
)

func filterList(st *state, v Value, _ []Value) (Value, error) {
	l, err := st.list(v)
	return l, err
}

func filterItems(st *state, v Value, _ []Value) (Value, error) {
	return lazy(func(st *state) (*iterator, error) {
		switch d := v.(type) {
		case *Undefined:
			return &iterator{}, nil
		case *Dict:
			return indexed(d.Len(), (&view{d, 'i'}).at), nil
		}
		return nil, typeErr("Can only get item pairs from a mapping.")
	}), nil
}

func filterFirst(st *state, v Value, _ []Value) (Value, error) {
	it, err := st.iterate(v)
	return firstOf(st, it, err, "No first item, sequence was empty.")
}

func filterLast(st *state, v Value, _ []Value) (Value, error) {
	it, err := st.reversed(v)
	return firstOf(st, it, err, "No last item, sequence was empty.")
}

func filterReverse(st *state, v Value, _ []Value) (Value, error) {
	if _, ok := textOf(v); ok {
		return st.slice(v, nil, nil, int64(-1))
	}
	if it, err := st.reversed(v); err == nil {
		return it, nil
	}
	l, err := st.list(v)
	if err != nil {
		return nil, errf("FilterArgumentError", "argument must be iterable")
	}
	slices.Reverse(l)
	return l, nil
}

func filterJoin(st *state, v Value, a []Value) (Value, error) {
	sep := ""
	if a[0] != missing {
		var err error
		if sep, err = st.str(a[0]); err != nil {
			return nil, err
		}
	}
	if a[1] == missing {
		a[1] = nil
	}
	get := attrGetter(a[1], nil, false)
	return st.join("", sep, v, func(_ int, x Value) (string, error) {
		x, err := get(st, x)
		if err != nil {
			return "", err
		}
		return st.str(x)
	})
}

func filterSum(st *state, v Value, a []Value) (Value, error) {
	if a[0] == missing {
		a[0] = nil
	}
	total := a[1]
	if total == missing {
		total = int64(0)
	} else if _, text := textOf(total); text {
		return nil, typeErr("sum() can't sum strings [use ''.join(seq) instead]")
	}
	get := attrGetter(a[0], nil, false)
	err := st.each(v, func(x Value) error {
		x, err := get(st, x)
		if err == nil {
			total, err = st.binary("+", total, x)
		}
		return err
	})
	return total, err
}

func filterSort(st *state, v Value, a []Value) (Value, error) {
	items, err := st.list(v)
	if err != nil {
		return nil, err
	}
	attr := Value(nil)
	if a[2] != missing {
		attr = a[2]
	}
	fold := !optBool(a[1], false)
	var parts []getter
	if s, ok := textOf(attr); ok {
		if err := st.allocList(1 + strings.Count(s, ",")); err != nil {
			return nil, err
		}
		for _, p := range strings.Split(s, ",") {
			parts = append(parts, attrGetter(p, nil, fold))
		}
	} else {
		parts = []getter{attrGetter(attr, nil, fold)}
	}
	return st.sortBy(items, optBool(a[0], false), func(x Value) (Value, error) {
		key := make([]any, len(parts))
		if err := st.allocList(len(parts)); err != nil {
			return nil, err
		}
		for i, get := range parts {
			var err error
			if key[i], err = get(st, x); err != nil {
				return nil, err
			}
		}
		return key, nil
	})
}

func filterDictSort(st *state, v Value, a []Value) (Value, error) {
	d, ok := v.(*Dict)
	if !ok {
		if u, ok := v.(*Undefined); ok {
			return nil, u.fail(st)
		}
		return nil, errf("AttributeError", "'%s' object has no attribute 'items'", typeName(v))
	}
	by := "key"
	if a[1] != missing {
		by, _ = textOf(a[1])
	}
	pos := map[string]int{"key": 0, "value": 1}
	i, ok := pos[by]
	if !ok {
		return nil, errf("FilterArgumentError", `You can only sort by either "key" or "value"`)
	}
	items, err := st.list(&view{d, 'i'})
	if err != nil {
		return nil, err
	}
	return st.sortBy(items, optBool(a[2], false), func(x Value) (Value, error) {
		return st.foldCase(x.(Tuple)[i], !optBool(a[0], false))
	})
}

func filterUnique(st *state, v Value, a []Value) (Value, error) {
	seen := map[any]bool{}
	attr := Value(nil)
	if a[1] != missing {
		attr = a[1]
	}
	get := attrGetter(attr, nil, !optBool(a[0], false))
	return sieve(v, func(st *state, x Value) (bool, error) {
		key, err := get(st, x)
		if err != nil {
			return false, err
		}
		h, err := st.hash(key)
		if err != nil || seen[h] {
			return false, err
		}
		seen[h] = true
		return true, st.allocList(4)
	}), nil
}

// lazy is a generator whose source is opened by the first item asked for.
func lazy(open func(*state) (*iterator, error)) *iterator {
	var it *iterator
	return generator(func(st *state) (Value, bool, error) {
		if it == nil {
			var err error
			if it, err = open(st); err != nil {
				return nil, false, err
			}
		}
		return it.pull(st)
	})
}

// sieve is a generator of the items that keep lets through.
func sieve(v Value, keep func(*state, Value) (bool, error)) *iterator {
	return lazy(func(st *state) (*iterator, error) {
		it, err := st.iterate(v)
		if err != nil {
			return nil, err
		}
		return generator(func(st *state) (Value, bool, error) {
			for {
				x, ok, err := it.pull(st)
				if !ok || err != nil {
					return nil, false, err
				}
				if ok, err := keep(st, x); ok || err != nil {
					return x, ok, err
				}
			}
		}), nil
	})
}

func firstOf(st *state, it *iterator, err error, hint string) (Value, error) {
	if err != nil {
		return nil, err
	}
	x, ok, err := it.pull(st)
	if err == nil && !ok {
		return undefinedHint(hint), nil
	}
	return x, err
}

func (st *state) foldCase(v Value, fold bool) (Value, error) {
	if s, ok := textOf(v); ok && fold {
		if err := errors.Join(st.chew(s), st.alloc(len(s))); err != nil {
			return nil, err
		}
		return lower(s), nil
	}
	return v, nil
}

// getter reads a key from an item.
type getter func(*state, Value) (Value, error)

// attrGetter follows a dotted path of attributes and indices; nil is the value
// itself. A default, if not nil, stands in for what is undefined.
func attrGetter(path, def Value, fold bool) getter {
	var parts []Value
	if s, ok := textOf(path); ok {
		if len(s) > maxPath {
			return func(*state, Value) (Value, error) {
				return nil, limitErr("the name of an attribute is longer than %d bytes", maxPath)
			}
		}
		for _, p := range strings.Split(s, ".") {
			if n, ok := parseInt(p, 10); ok && all(p, isDigit) {
				parts = append(parts, n)
			} else {
				parts = append(parts, p)
			}
		}
	} else if path != nil {
		parts = []Value{path}
	}
	return func(st *state, v Value) (Value, error) {
		for _, p := range parts {
			var err error
			if v, err = st.getitem(v, p); err != nil {
				return nil, err
			}
			if _, undefined := v.(*Undefined); undefined && def != nil {
				v = def
			}
		}
		return st.foldCase(v, fold)
	}
}

// maxPath bounds what is taken apart once for each use of a filter.
const maxPath = 1 << 12

// each visits every item of v.
func (st *state) each(v Value, visit func(Value) error) error {
	it, err := st.iterate(v)
	for err == nil {
		var x Value
		var ok bool
		if x, ok, err = it.pull(st); !ok || err != nil {
			break
		}
		err = visit(x)
	}
	return err
}

func extreme(op string, want int) filterFunc {
	return func(st *state, v Value, a []Value) (Value, error) {
		if a[1] == missing {
			a[1] = nil
		}
		get := attrGetter(a[1], nil, !optBool(a[0], false))
		best, bestKey := Value(undefinedHint("No aggregated item, sequence was empty.")), Value(nil)
		first := true
		err := st.each(v, func(x Value) error {
			key, err := get(st, x)
			if err != nil {
				return err
			}
			if !first {
				c, err := st.order(key, bestKey, op, 0)
				if err != nil || c != want {
					return err
				}
			}
			best, bestKey, first = x, key, false
			return nil
		})
		return best, err
	}
}

// sortBy sorts a list stably by a key.
func (st *state) sortBy(items []any, reverse bool, key func(Value) (Value, error)) (Value, error) {
	type keyed struct{ key, val Value }
	if err := st.allocList(4 * len(items)); err != nil {
		return nil, err
	}
	pairs := make([]keyed, len(items))
	for i, x := range items {
		k, err := key(x)
		if err != nil {
			return nil, err
		}
		pairs[i] = keyed{k, x}
	}
	var failed error
	slices.SortStableFunc(pairs, func(a, b keyed) int {
		if failed != nil {
			return 0
		}
		c, err := st.order(a.key, b.key, "<", 0)
		if err != nil {
			failed = err
		}
		switch {
		case c == unordered:
			return 0
		case reverse:
			return -c
		}
		return c
	})
	for i, p := range pairs {
		items[i] = p.val
	}
	return items, failed
}
