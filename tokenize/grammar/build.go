package grammar

import (
	"math/big"
	"slices"
)

// build matches a value that all of these describe.
func (c *compiler) build(words []*keywords) (*expr, error) {
	var values, except []*value
	listed := false
	for _, k := range words {
		except = append(except, k.except...)
		if k.listed && (!listed || len(k.values) < len(values)) {
			values, listed = k.values, true
		}
	}
	if listed {
		var parts []*expr
		for _, v := range values {
			if c.holds(v, words) == yes {
				parts = append(parts, text(v.literal()))
			}
		}
		return alt(parts...), nil
	}
	t := typesOf(words)
	if t == typeAny && len(except) == 0 {
		return jsonValue, nil
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

// typesOf are those that a value may have by all of these: by what they say, or
// are about.
func typesOf(words []*keywords) types {
	t, made, about := typeAny, typeAny, types(0)
	for _, k := range words {
		if k.schema.isMade {
			made &= k.types
		} else {
			t &= k.types
			about |= k.about
		}
	}
	if t == typeAny && about&made != 0 {
		t = about
	}
	return t & made
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
	if x, err := v.decimal(); err == nil && x.IsInt() {
		return typeInteger
	}
	return typeFraction
}

// merged is what all say of numbers.
func merged(words []*keywords, t types) numbers {
	n := numbers{integer: t&typeFraction == 0, fraction: t&typeInteger == 0}
	for _, k := range words {
		n.low = tighter(n.low, k.numbers.low, 1)
		n.high = tighter(n.high, k.numbers.high, -1)
		n.multiples = append(n.multiples, k.numbers.multiples...)
		n.notMultiples = append(n.notMultiples, k.numbers.notMultiples...)
	}
	return n
}

func (c *compiler) number(words []*keywords, t types) (*expr, error) {
	var except []*big.Rat
	at := words[0].schema.path
	for _, k := range words {
		for _, v := range k.except {
			if x, err := v.decimal(); v.kind == isNumber && err == nil {
				except = append(except, x)
			}
		}
		if len(k.numbers.multiples) > 0 {
			at = member(k.schema.path, "multipleOf")
		}
	}
	var parts []*expr
	for _, n := range merged(words, t).without(except) {
		e, err := n.expr(c.budget)
		if err != nil {
			return nil, errorf(at, "%v", err)
		}
		parts = append(parts, e)
	}
	return alt(parts...), nil
}
