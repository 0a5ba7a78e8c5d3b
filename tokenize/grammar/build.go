package grammar

import "slices"

// build matches a value that all of these describe.
func (c *compiler) build(words []*keywords) (*expr, error) {
	t, about := typeAny, types(0)
	var values, except []*value
	listed := false
	for _, k := range words {
		except = append(except, k.except...)
		t &= k.types
		about |= k.about
		if k.listed {
			if listed {
				values = shared(values, k.values)
			} else {
				values, listed = k.values, true
			}
		}
	}
	if listed {
		return c.listed(words, without(values, except), t, about)
	}
	if t == typeAny && about != 0 {
		t = about
	}
	if t == typeAny && len(except) == 0 {
		return jsonValue, nil
	}
	for _, v := range except {
		if v.types()&t&^(typeString|typeBoolean|typeNull) != 0 {
			return nil, errorf(v.path, "%v cannot be kept from, only strings, booleans and null, and what is listed in an enum", v.kind)
		}
	}
	var parts []*expr
	for _, kind := range []struct {
		of   types
		make func([]*keywords, types) (*expr, error)
	}{
		{typeObject, c.object},
		{typeArray, c.array},
		{typeString, c.str},
		{typeNumber, c.number},
		{typeBoolean, literals(except, "true", "false")},
		{typeNull, literals(except, "null")},
	} {
		if t&kind.of == 0 {
			continue
		}
		e, err := kind.make(words, t)
		if err != nil {
			return nil, err
		}
		parts = append(parts, e)
	}
	return alt(parts...), nil
}

// without are the values that are none of the others.
func without(values, others []*value) []*value {
	return slices.DeleteFunc(slices.Clone(values), func(v *value) bool {
		return slices.ContainsFunc(others, v.same)
	})
}

// literals matches these words, but for values that are excepted.
func literals(except []*value, words ...string) func([]*keywords, types) (*expr, error) {
	var parts []*expr
	for _, w := range words {
		if !slices.ContainsFunc(except, func(v *value) bool { return v.literal() == w }) {
			parts = append(parts, text(w))
		}
	}
	e := alt(parts...)
	return func([]*keywords, types) (*expr, error) { return e, nil }
}

// listed matches those of the values that everything else allows.
func (c *compiler) listed(words []*keywords, values []*value, t, about types) (*expr, error) {
	var parts []*expr
	var strs *expr
	for _, v := range values {
		is := v.types()
		if is&t == 0 {
			continue
		}
		fits := true
		switch {
		case is&about == 0:
		case v.kind == isString:
			if strs == nil {
				var err error
				if strs, err = c.str(words, t); err != nil {
					return nil, err
				}
			}
			fits = strs.matches(v.literal())
		case v.kind == isNumber:
			n := merged(words, t)
			x, _ := parseDecimal(v.text)
			fits = n.has(x)
		default:
			return nil, errorf(v.path, "%v cannot be listed beside other keywords about them", v.kind)
		}
		if fits {
			parts = append(parts, text(v.literal()))
		}
	}
	return alt(parts...), nil
}

// types are those that the value has.
func (v *value) types() types {
	switch v.kind {
	case isObject:
		return typeObject
	case isArray:
		return typeArray
	case isString:
		return typeString
	case isBool:
		return typeBoolean
	case isNull:
		return typeNull
	}
	if x, err := parseDecimal(v.text); err == nil && x.IsInt() {
		return typeInteger
	}
	return typeFraction
}

// merged is what all say of numbers.
func merged(words []*keywords, t types) numbers {
	n := numbers{integer: t&typeFraction == 0}
	for _, k := range words {
		n.low = tighter(n.low, k.numbers.low, 1)
		n.high = tighter(n.high, k.numbers.high, -1)
		if k.numbers.multipleOf != nil {
			n.multipleOf = k.numbers.multipleOf
		}
	}
	return n
}

func (c *compiler) number(words []*keywords, t types) (*expr, error) {
	n := merged(words, t)
	for _, k := range words {
		m := k.numbers.multipleOf
		if m != nil && m.Cmp(n.multipleOf) != 0 {
			return nil, errorf(member(k.schema.path, "multipleOf"), "only one multipleOf for the same number is supported")
		}
	}
	e, err := n.expr()
	if err != nil {
		for _, k := range words {
			if k.numbers.multipleOf != nil {
				return nil, errorf(member(k.schema.path, "multipleOf"), "%v", err)
			}
		}
	}
	return e, err
}

func (c *compiler) array(words []*keywords, _ types) (*expr, error) {
	low, high, n := 0, -1, 0
	open := true // nothing says that there is no more than the first items
	items := false
	for _, k := range words {
		low, high = max(low, k.minItems), lower(high, k.maxItems)
		n = max(n, len(k.prefix))
		if k.prefix != nil && k.items == nil {
			high = lower(high, len(k.prefix))
		}
		items = items || k.items != nil
		open = open && !k.noMoreItems
	}
	if !open && !items {
		high = lower(high, n)
	}
	at := func(i int) (*expr, error) {
		var all []*value
		for _, k := range words {
			switch {
			case i < len(k.prefix):
				all = append(all, k.prefix[i])
			case k.items != nil:
				all = append(all, k.items)
			}
		}
		return c.schema(all)
	}
	rest, err := at(n)
	if err != nil {
		return nil, err
	}
	if err := c.spend(n); err != nil {
		return nil, err
	}
	if n == 0 {
		return brackets(rest, low, high), nil
	}
	end := seq(gap, text("]"))
	more := -1
	if high >= 0 {
		more = max(high-n, 0)
	}
	e := seq(repeat(seq(comma, rest), max(low-n, 0), more), end)
	for i := n - 1; i >= 0; i-- {
		one, err := at(i)
		if err != nil {
			return nil, err
		}
		before, stop := comma, end
		if i == 0 {
			before, stop = gap, text("]")
		}
		if e = seq(before, one, e); high >= 0 && i >= high {
			e = never
		}
		if i >= low {
			e = alt(stop, e)
		}
	}
	return seq(text("["), e), nil
}
