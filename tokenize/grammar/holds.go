package grammar

import (
	"math/big"
	"slices"
	"unicode/utf8"
)

// verdict is whether a value is valid: what is listed is tried out.
type verdict int8

const (
	no    verdict = -1
	maybe verdict = 0
	yes   verdict = 1
)

func verdictOf(ok bool) verdict {
	if ok {
		return yes
	}
	return no
}

// holds is whether a value is valid by what all of these say themselves.
func (c *compiler) holds(v *value, words []*keywords) verdict {
	ok := yes
	for _, k := range words {
		if ok = min(ok, c.itself(v, k)); ok == no {
			break
		}
	}
	return ok
}

// valid is whether a value is valid by a schema and all that it refers to.
func (c *compiler) valid(v, schema *value) verdict {
	if schema.kind == isBool {
		return verdictOf(schema.text == "true")
	}
	if schema.negates != nil {
		return -c.valid(v, schema.negates)
	}
	k, err := c.keywords(schema)
	if err != nil || c.spend(1) != nil || c.trying > maxNesting {
		return maybe
	}
	c.trying++
	defer func() { c.trying-- }()
	ok := c.itself(v, k)
	if k.ref != nil {
		to, err := c.resolve(k.ref)
		if err != nil {
			return maybe
		}
		ok = min(ok, c.valid(v, to))
	}
	for _, s := range k.allOf {
		ok = min(ok, c.valid(v, s))
	}
	for _, of := range k.anyOf {
		some := no
		for _, s := range of {
			some = max(some, c.valid(v, s))
		}
		ok = min(ok, some)
	}
	for _, of := range k.oneOf {
		ok = min(ok, c.one(v, of))
	}
	if k.not != nil {
		ok = min(ok, -c.valid(v, k.not))
	}
	if k.when != nil {
		when := c.valid(v, k.when)
		if k.then != nil {
			ok = min(ok, max(-when, c.valid(v, k.then)))
		}
		if k.otherwise != nil {
			ok = min(ok, max(when, c.valid(v, k.otherwise)))
		}
	}
	return ok
}

// one is whether exactly one of the schemas is valid.
func (c *compiler) one(v *value, of []*value) verdict {
	counts := map[verdict]int{}
	for _, s := range of {
		counts[c.valid(v, s)]++
	}
	switch {
	case counts[yes] > 1 || counts[yes]+counts[maybe] == 0:
		return no
	case counts[maybe] > 0:
		return maybe
	}
	return yes
}

// itself is whether a value is as keywords say, but for what they refer to.
func (c *compiler) itself(v *value, k *keywords) verdict {
	c.budget.spend(4)
	is := v.types()
	if k.types&is == 0 || k.listed && !k.lists(v) || slices.ContainsFunc(k.except, v.same) {
		return no
	}
	switch v.kind {
	case isNumber:
		x, err := v.decimal()
		if err != nil {
			return maybe
		}
		return verdictOf(k.numbers.has(x))
	case isString:
		return c.stringHolds(v, k)
	case isArray:
		return min(c.arrayHolds(v, k), c.brokenBy(v, k))
	case isObject:
		return min(c.objectHolds(v, k), c.brokenBy(v, k))
	}
	return yes
}

// lists reports whether v is one of k's values.
func (k *keywords) lists(v *value) bool {
	if k.inValues == nil {
		k.inValues = standards(k.values)
	}
	return k.inValues[v.standard()]
}

// within reports whether n is from low to high (-1: not said).
func within(n, low, high int) bool { return n >= low && (high < 0 || n <= high) }

func (c *compiler) stringHolds(v *value, k *keywords) verdict {
	if !within(utf8.RuneCountInString(v.text), k.minLen, k.maxLen) {
		return no
	}
	ok := yes
	for _, p := range k.patterns {
		ok = min(ok, c.finds(p, v.text))
	}
	for _, p := range k.notPatterns {
		ok = min(ok, -c.finds(p, v.text))
	}
	for _, f := range k.formats {
		ok = min(ok, c.hasFormat(v.text, f.text))
	}
	for _, f := range k.notFormats {
		ok = min(ok, -c.hasFormat(v.text, f.text))
	}
	return ok
}

// hasFormat is whether a text has a format: unknown where what is known here
// does not look so, and what others take may.
func (c *compiler) hasFormat(text, name string) verdict {
	f := formats[name]
	switch {
	case f.all().matches(c.budget, spelled(text)), f.also != nil && f.also(text):
		return yes
	case f.beyond != nil && !f.beyond().matches(c.budget, spelled(text)):
		return no
	}
	return maybe
}

// finds is whether a pattern is found in a text.
func (c *compiler) finds(pattern *value, in string) verdict {
	e, err := c.pattern(pattern)
	if err != nil || c.spend(1) != nil {
		return maybe
	}
	return verdictOf(e.matches(c.budget, spelled(in)))
}

func (c *compiler) arrayHolds(v *value, k *keywords) verdict {
	ok := verdictOf(within(len(v.items), k.minItems, k.maxItems))
	for i, e := range v.items {
		for _, s := range k.item(i) {
			ok = min(ok, c.valid(e, s))
		}
		if k.unique != nil && slices.ContainsFunc(v.items[:i], e.same) {
			return no
		}
	}
	if k.contains != nil {
		sure, perhaps := 0, 0
		for _, e := range v.items {
			switch c.valid(e, k.contains) {
			case yes:
				sure++
			case maybe:
				perhaps++
			}
		}
		low, high := k.contained()
		switch {
		case !within(sure+perhaps, low, -1) || !within(sure, 0, high):
			return no
		case perhaps > 0:
			ok = min(ok, maybe)
		}
	}
	if k.noMoreItems {
		ok = min(ok, maybe)
	}
	return ok
}

func (c *compiler) objectHolds(v *value, k *keywords) verdict {
	ok := verdictOf(within(len(v.keys), k.minProps, k.maxProps))
	for _, name := range k.required {
		if v.get(name) == nil {
			return no
		}
	}
	for i, name := range v.keys {
		all, err := c.said(k, name)
		if err != nil {
			return maybe
		}
		for _, s := range all {
			ok = min(ok, c.valid(v.items[i], s))
		}
		if k.propertyNames != nil {
			ok = min(ok, c.valid(&value{path: v.path, kind: isString, text: name}, k.propertyNames))
		}
	}
	if k.noMore {
		ok = min(ok, maybe)
	}
	return ok
}

// brokenBy is whether an array or object is not as k.breaks has it.
func (c *compiler) brokenBy(v *value, k *keywords) verdict {
	switch {
	case k.breaks == nil:
		return yes
	case v.kind == isArray:
		return -c.arrayHolds(v, k.breaks.keywords)
	}
	return -c.objectHolds(v, k.breaks.keywords)
}

// has reports whether x is in the range.
func (n *numbers) has(x *big.Rat) bool {
	if n.low != nil && (x.Cmp(n.low.at) < 0 || x.Cmp(n.low.at) == 0 && n.low.strict) {
		return false
	}
	if n.high != nil && (x.Cmp(n.high.at) > 0 || x.Cmp(n.high.at) == 0 && n.high.strict) {
		return false
	}
	multiple := func(m *big.Rat) bool { return new(big.Rat).Quo(x, m).IsInt() }
	for _, m := range n.multiples {
		if !multiple(m) {
			return false
		}
	}
	return !slices.ContainsFunc(n.notMultiples, multiple)
}
