package grammar

// exactlyOne makes a oneOf's schemas those of an anyOf: where a value may be
// valid by two of them, each is made to say that the other is not.
func (c *compiler) exactlyOne(of []*value) ([]*value, error) {
	flats := make([][][]*keywords, len(of))
	for i, v := range of {
		err := c.alternatives([]*value{v}, func(words []*keywords) error {
			flats[i] = append(flats[i], words)
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	exact := make([]*value, len(of))
	for i, v := range of {
		all := []*value{v}
		for j := range of {
			if i == j || c.allApart(flats[i], flats[j], 2) {
				continue
			}
			not, ok := c.negation(of[j], negationDepth)
			if !ok {
				return nil, errorf(v.path, "a value may be valid by this schema and by %d as well, which a oneOf forbids and cannot be kept from; use anyOf", j)
			}
			all = append(all, v.anyOf(not))
		}
		if exact[i] = v; len(all) > 1 {
			exact[i] = v.made("allOf", v.madeList(all...))
		}
	}
	return exact, nil
}

func (c *compiler) allApart(as, bs [][]*keywords, depth int) bool {
	for _, a := range as {
		for _, b := range bs {
			if !c.areApart(a, b, depth) {
				return false
			}
		}
	}
	return true
}

// areApart reports whether it is plain to see that no value is valid by both:
// by type, by what is listed, by a range, or by a required member, so deep.
func (c *compiler) areApart(a, b []*keywords, depth int) bool {
	ta, va := summary(a)
	tb, vb := summary(b)
	switch {
	case ta&tb == 0:
		return true
	case va != nil && vb != nil:
		return len(shared(va, vb)) == 0
	case ta&tb == typeInteger || (ta&tb)&^typeNumber == 0:
		m, n := merged(a, ta), merged(b, tb)
		return below(m.high, n.low) || below(n.high, m.low)
	case ta&tb != typeObject || depth == 0:
		return false
	}
	for _, pair := range [][2][]*keywords{{a, b}, {b, a}} {
		for _, k := range pair[0] {
			for _, name := range k.required {
				if c.memberApart(pair[0], pair[1], name, depth-1) {
					return true
				}
			}
		}
	}
	return false
}

// memberApart reports whether a's required member keeps a and b apart: b
// forbids it, or requires another value.
func (c *compiler) memberApart(a, b []*keywords, name string, depth int) bool {
	alternatives := func(words []*keywords) (flats [][]*keywords, required bool) {
		var all []*value
		for _, k := range words {
			for _, r := range k.required {
				required = required || r == name
			}
			var v *value
			if k.properties != nil {
				v = k.properties.get(name)
			}
			if v == nil && k.patternProps == nil {
				v = k.additional
			}
			if v != nil {
				all = append(all, v)
			}
		}
		if err := c.alternatives(all, func(words []*keywords) error {
			flats = append(flats, words)
			return nil
		}); err != nil {
			return [][]*keywords{nil}, required // it will be told when it is made
		}
		return flats, required
	}
	as, _ := alternatives(a)
	bs, required := alternatives(b)
	return len(bs) == 0 || required && c.allApart(as, bs, depth)
}

// summary is the types that words allow, and the values when they are listed.
func summary(words []*keywords) (t types, values []*value) {
	t = typeAny
	for _, k := range words {
		t &= k.types
		if k.listed {
			if values == nil {
				values = append([]*value{}, k.values...)
			} else {
				values = shared(values, k.values)
			}
		}
	}
	if values == nil {
		return t, nil
	}
	var of types
	for _, v := range values {
		of |= v.types()
	}
	return t & of, values
}

// below reports whether a range that ends at high lies below one that begins
// at low.
func below(high, low *bound) bool {
	if high == nil || low == nil {
		return false
	}
	c := high.at.Cmp(low.at)
	return c < 0 || c == 0 && (high.strict || low.strict)
}
