package jinja

func filterGroupBy(st *state, v Value, a []Value) (Value, error) {
	def := a[1]
	if def == missing {
		def = nil
	}
	fold := !optBool(a[2], false)
	get, shown := attrGetter(a[0], def, fold), attrGetter(a[0], def, false)
	items, err := st.list(v)
	if err != nil {
		return nil, err
	}
	sorted, err := st.sortBy(items, false, func(x Value) (Value, error) { return get(st, x) })
	if err != nil {
		return nil, err
	}
	groups := []any{}
	var members []any
	var last Value
	for i, x := range sorted.([]any) {
		key, err := get(st, x)
		if err != nil {
			return nil, err
		}
		fresh := i == 0
		if !fresh {
			eq, err := st.equal(key, last, 0)
			if err != nil {
				return nil, err
			}
			fresh = !eq
		}
		if fresh {
			name, err := shown(st, x)
			if err != nil {
				return nil, err
			}
			members, last = nil, key
			groups = append(groups, Tuple{name, nil})
		}
		members = append(members, x)
		groups[len(groups)-1].(Tuple)[1] = members
	}
	return groups, nil
}

func filterBatch(_ *state, v Value, a []Value) (Value, error) {
	n, fill := a[0], a[1]
	return lazy(func(st *state) (*iterator, error) {
		size, err := optInt(n, 0)
		if err != nil {
			return nil, err
		}
		it, err := st.iterate(v)
		if err != nil {
			return nil, err
		}
		var held []Value // an item read beyond the last batch
		return generator(func(st *state) (Value, bool, error) {
			batch := append([]any{}, held...)
			held = nil
			for {
				x, ok, err := it.pull(st)
				if err != nil {
					return nil, false, err
				}
				if !ok {
					break
				}
				if int64(len(batch)) == size {
					held = []Value{x}
					return batch, true, st.allocList(len(batch))
				}
				batch = append(batch, x)
			}
			if len(batch) == 0 {
				return nil, false, nil
			}
			if gap := size - int64(len(batch)); gap > 0 && fill != missing && fill != nil {
				more, err := st.repeat([]any{fill}, gap, n)
				if err != nil {
					return nil, false, err
				}
				batch = append(batch, more.([]any)...)
			}
			return batch, true, st.allocList(len(batch))
		}), nil
	}), nil
}

func filterSlice(_ *state, v Value, a []Value) (Value, error) {
	return lazy(func(st *state) (*iterator, error) {
		items, err := st.list(v)
		if err != nil {
			return nil, err
		}
		count, err := optInt(a[0], 0)
		if err != nil {
			return nil, err
		}
		if count == 0 {
			return nil, zeroDivision("integer division or modulo by zero")
		}
		if count < 0 {
			return &iterator{}, nil
		}
		n := int64(len(items))
		each, extra := n/count, n%count
		i, from := int64(0), int64(0)
		return generator(func(st *state) (Value, bool, error) {
			if i == count {
				return nil, false, nil
			}
			to := from + each
			if i < extra {
				to++
			}
			part := append([]any{}, items[from:to]...)
			if i >= extra && a[1] != missing && a[1] != nil {
				part = append(part, a[1])
			}
			i, from = i+1, to
			return part, true, st.allocList(len(part))
		}), nil
	}), nil
}

func filterMap(_ *state, v Value, args []Value, kwargs []kwarg) (Value, error) {
	return lazy(func(st *state) (*iterator, error) {
		if !truth(v) {
			return &iterator{}, nil
		}
		apply, err := mapper(args, kwargs)
		if err != nil {
			return nil, err
		}
		it, err := st.iterate(v)
		if err != nil {
			return nil, err
		}
		return generator(func(st *state) (Value, bool, error) {
			x, ok, err := it.pull(st)
			if !ok || err != nil {
				return nil, false, err
			}
			x, err = apply(st, x)
			return x, true, err
		}), nil
	}), nil
}

// mapper reads the arguments of map: a filter and its arguments, or attribute=.
func mapper(args []Value, kwargs []kwarg) (func(*state, Value) (Value, error), error) {
	if len(args) == 0 {
		var attr, def Value = missing, nil
		for _, k := range kwargs {
			switch k.name {
			case "attribute":
				attr = k.val
			case "default":
				def = k.val
			default:
				return nil, errf("FilterArgumentError", "Unexpected keyword argument '%s'", k.name)
			}
		}
		if attr == missing {
			return nil, errf("FilterArgumentError", "map requires a filter argument")
		}
		return attrGetter(attr, def, false), nil
	}
	name, _ := textOf(args[0])
	f := filters[name]
	if f == nil {
		return nil, errf("TemplateRuntimeError", "No filter named %s.", shortRepr(args[0]))
	}
	return func(st *state, x Value) (Value, error) { return f.run(st, x, args[1:], kwargs) }, nil
}

// selecting is the filter of those items that a test, also of an attribute, is as wanted of.
func selecting(want, attr bool) rawFilter {
	return func(_ *state, v Value, args []Value, kwargs []kwarg) (Value, error) {
		return selected(v, args, kwargs, want, attr), nil
	}
}

// selected are the items, or with attr the items whose attribute, passes a test.
func selected(v Value, args []Value, kwargs []kwarg, want, attr bool) *iterator {
	return lazy(func(st *state) (*iterator, error) {
		if !truth(v) {
			return &iterator{}, nil
		}
		get := attrGetter(nil, nil, false)
		if attr {
			if len(args) == 0 {
				return nil, errf("FilterArgumentError", "Missing parameter for attribute name")
			}
			get = attrGetter(args[0], nil, false)
			args = args[1:]
		}
		check := func(_ *state, x Value) (bool, error) { return truth(x), nil }
		if len(args) > 0 {
			name, _ := textOf(args[0])
			t := tests[name]
			if t == nil {
				return nil, errf("TemplateRuntimeError", "No test named %s.", shortRepr(args[0]))
			}
			check = func(st *state, x Value) (bool, error) { return t.run(st, x, args[1:], kwargs) }
		}
		return sieve(v, func(st *state, x Value) (bool, error) {
			x, err := get(st, x)
			if err != nil {
				return false, err
			}
			ok, err := check(st, x)
			return ok == want && err == nil, err
		}), nil
	})
}
