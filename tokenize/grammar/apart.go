package grammar

import (
	"errors"
	"slices"
)

// exactlyOne makes a oneOf's schemas those of an anyOf: where a value may be
// valid by two of them, each is made to say that the other is not.
func (c *compiler) exactlyOne(at *value, of []*value) []*value {
	exact := make([]*value, len(of))
	for i, v := range of {
		all := []*value{v}
		for j, w := range of {
			if i != j && c.possible([]*value{of[min(i, j)], of[max(i, j)]}, looks) {
				all = append(all, c.not(w, true))
			}
		}
		exact[i] = c.all(at, all...)
	}
	return exact
}

// looks is how deep it is looked for what keeps schemas apart: in members of
// the value's members.
const looks = 2

var errPossible = errors.New("it is possible")

// possible reports whether a value may be valid by all of these: false when it
// is plain to see that none is.
func (c *compiler) possible(all []*value, depth int) bool {
	if len(all) == 0 {
		return true
	}
	key := string(rune(depth)) + c.key(all)
	if known, ok := c.mayBe[key]; ok || c.spend(1) != nil {
		return known || !ok
	}
	c.mayBe[key] = true // within itself
	err := c.alternatives(all, depth, func([]*keywords) error { return errPossible })
	c.mayBe[key] = err != nil // another error is told when the schema is made
	return err != nil
}

// contradict reports whether it is plain to see that no value is valid by all:
// by type, by what is listed, by a range, or by a member that has to be there,
// so deep.
func (c *compiler) contradict(words []*keywords, depth int) bool {
	t := typeAny
	var values []*value
	listed := false
	c.budget.spend(4 * len(words))
	for _, k := range words {
		t &= k.types
		if k.listed && (!listed || len(k.values) < len(values)) {
			values, listed = k.values, true
		}
	}
	switch {
	case t == 0:
		return true
	case listed:
		for _, v := range values {
			if c.holds(v, words) != no {
				return false
			}
		}
		return true
	case t&^typeNumber == 0:
		n := merged(words, t)
		return below(n.high, n.low)
	case t != typeObject || depth == 0:
		return false
	}
	for _, k := range words {
		for _, name := range k.required {
			if !c.memberPossible(words, name, nil, depth-1) {
				return true
			}
		}
		if k.breaks != nil && !c.breakable(words, k.breaks, depth-1) {
			return true
		}
	}
	return false
}

// memberPossible reports whether an object as words say may have this member,
// valid by more as well.
func (c *compiler) memberPossible(words []*keywords, name string, more []*value, depth int) bool {
	all := more
	for _, k := range words {
		some, err := c.said(k, name)
		if err != nil {
			return true
		}
		all = append(all[:len(all):len(all)], some...)
	}
	return c.possible(all, depth)
}

// breakable reports whether an object as words say may be as b denies.
func (c *compiler) breakable(words []*keywords, b *broken, depth int) bool {
	if b.additional != nil || b.patternProps != nil || b.propertyNames != nil {
		return true
	}
	for _, name := range b.required {
		if !slices.ContainsFunc(words, func(k *keywords) bool { return slices.Contains(k.required, name) }) {
			return true
		}
	}
	if b.properties == nil {
		return false
	}
	for i, name := range b.properties.keys {
		if c.memberPossible(words, name, []*value{c.not(b.properties.items[i], b.quiet)}, depth) {
			return true
		}
	}
	return false
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
