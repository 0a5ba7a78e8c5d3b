package grammar

import (
	"errors"
	"math/bits"
	"slices"
)

// anyOrder is up to how many values different items may come in any order;
// those of more come in the order in which the schema lists them.
const anyOrder = 8

// distinct matches an array of items that all differ: those that are listed,
// each at most once.
func (a *arrays) distinct() (*expr, error) {
	if a.first > 0 || len(a.tasks) > 0 {
		return nil, a.notDistinct()
	}
	values, err := a.c.finite(a.at(0))
	if err != nil {
		return nil, err
	}
	if values == nil {
		return a.uniqueStrings()
	}
	if len(values) > maxCounted {
		return nil, a.notDistinct()
	}
	if err := a.c.spend(len(values)); err != nil {
		return nil, err
	}
	d := &distinct{arrays: a, values: values, memo: map[distinctKey]*expr{}}
	return seq(text("["), d.from(0, 0, 0)), nil
}

func (a *arrays) notDistinct() error {
	return errorf(a.unique.path, "uniqueItems is supported for at most one item, for strings, and for at most %d listed values (enum, const, boolean, null), where all items are alike", maxCounted)
}

// distinct makes an expression of values of which each is written once.
type distinct struct {
	*arrays
	values []*value
	memo   map[distinctKey]*expr
}

type distinctKey struct {
	i, n int
	used uint64
}

// from matches what follows n items: of those used none, and none of the first
// i.
func (d *distinct) from(i int, used uint64, n int) *expr {
	if d.low <= 1 && d.high < 0 {
		n = min(n, 1)
	}
	key := distinctKey{i, n, used}
	if e := d.memo[key]; e != nil {
		return e
	}
	before, end := comma, seq(gap, text("]"))
	if n == 0 {
		before, end = gap, text("]")
	}
	var parts []*expr
	item := func(i int, then *expr) { parts = append(parts, seq(before, text(d.values[i].literal()), then)) }
	full := d.high >= 0 && n >= d.high
	switch {
	case len(d.values) <= anyOrder:
		for j := range d.values {
			if used>>j&1 == 0 && !full {
				item(j, d.from(0, used|1<<j, bits.OnesCount64(used)+1))
			}
		}
	case i < len(d.values):
		if !full {
			item(i, d.from(i+1, 0, n+1))
		}
		parts = append(parts, d.from(i+1, 0, n))
	}
	if n >= d.low && (len(d.values) <= anyOrder || i == len(d.values)) {
		parts = append(parts, end)
	}
	e := alt(parts...)
	d.memo[key] = e
	return e
}

// finite are the values that are valid by all of these; nil when they are not
// listed.
func (c *compiler) finite(all []*value) ([]*value, error) {
	found := []*value{}
	err := c.alternatives(all, looks, func(words []*keywords) error {
		t := typeAny
		var values []*value
		listed := false
		for _, k := range words {
			t &= k.types
			if k.listed {
				values, listed = k.values, true
			}
		}
		if !listed && t&^(typeBoolean|typeNull) != 0 {
			return errPossible
		}
		if !listed {
			at := words[0].schema.path
			values = []*value{{path: at, kind: isBool, text: "true"}, {path: at, kind: isBool, text: "false"}, {path: at, kind: isNull, text: "null"}}
		}
		for _, v := range values {
			if c.holds(v, words) == yes && !slices.ContainsFunc(found, v.same) {
				found = append(found, v)
			}
		}
		return nil
	})
	if errors.Is(err, errPossible) {
		return nil, nil
	}
	return found, err
}
