package grammar

// The opposite of a schema is a schema too: a choice of ways not to be valid,
// of which each denies one thing that the schema says. Opposites of schemas
// within it are made when they are met, so recursive schemas have opposites,
// and are the same value each time, so there are only so many.

// broken is what an object or array must not be as: by a member or an item
// that it should not have, or by a member that it should have.
type broken struct {
	*keywords
	quiet bool // see compiler.not
}

// made is a schema that says what k does.
func (c *compiler) made(at *value, k *keywords) *value {
	k.schema = &value{path: at.path, kind: isObject, isMade: true}
	c.words[k.schema] = k
	return k.schema
}

// all and any are schemas that are valid where all of these are, or any is.
func (c *compiler) all(at *value, of ...*value) *value {
	return c.joined(at, "all", of, func(k *keywords) { k.allOf = of })
}

func (c *compiler) any(at *value, of ...*value) *value {
	return c.joined(at, "any", of, func(k *keywords) { k.anyOf = [][]*value{of} })
}

func (c *compiler) joined(at *value, how string, of []*value, say func(*keywords)) *value {
	if len(of) == 1 {
		return of[0]
	}
	key := how + c.key(of)
	if c.joint[key] == nil {
		k := newKeywords(nil)
		say(k)
		c.joint[key] = c.made(at, k)
	}
	return c.joint[key]
}

// not is a schema that is valid exactly where v is not. A quiet one does not
// bring members that it alone speaks of into objects which have no others.
func (c *compiler) not(v *value, quiet bool) *value {
	if v.negates != nil {
		return v.negates
	}
	key := opposite{v, quiet}
	if c.opposites[key] == nil {
		n := &value{path: v.path, kind: isObject, isMade: true, negates: v, quiet: quiet}
		if v.kind == isBool {
			n = &value{path: v.path, kind: isBool, isMade: true, text: "true"}
			if v.text == "true" {
				n.text = "false"
			}
		}
		c.opposites[key] = n
	}
	return c.opposites[key]
}

type opposite struct {
	of    *value
	quiet bool
}

func (c *compiler) nots(all []*value, quiet bool) []*value {
	var out []*value
	for _, v := range all {
		out = append(out, c.not(v, quiet))
	}
	return out
}

// negation is what the opposite of a schema says.
func (c *compiler) negation(not *value) (*keywords, error) {
	k, err := c.keywords(not.negates)
	if err != nil {
		return nil, err
	}
	n := &negation{c: c, k: k, quiet: not.quiet}
	if err := n.applied(); err != nil {
		return nil, err
	}
	n.typed()
	if err := n.strings(); err != nil {
		return nil, err
	}
	if err := n.nested(); err != nil {
		return nil, err
	}
	made := newKeywords(not)
	made.anyOf = [][]*value{n.ways}
	return made, nil
}

type negation struct {
	c     *compiler
	k     *keywords
	quiet bool
	ways  []*value
}

func (n *negation) not(v *value) *value { return n.c.not(v, n.quiet) }

// way adds a way: a value of these types, of which say says more.
func (n *negation) way(t types, say func(*keywords)) {
	k := newKeywords(nil)
	k.types = t
	if say != nil {
		say(k)
	}
	n.ways = append(n.ways, n.c.made(n.k.schema, k))
}

// applied denies what other schemas say of the same value.
func (n *negation) applied() error {
	k, c := n.k, n.c
	if k.ref != nil {
		to, err := c.resolve(k.ref)
		if err != nil {
			return err
		}
		n.ways = append(n.ways, n.not(to))
	}
	n.ways = append(n.ways, c.nots(k.allOf, n.quiet)...)
	for _, of := range k.anyOf {
		n.ways = append(n.ways, c.all(k.schema, c.nots(of, n.quiet)...))
	}
	for _, of := range k.oneOf {
		n.ways = append(n.ways, c.all(k.schema, c.nots(of, n.quiet)...))
		for i := range of {
			for _, other := range of[:i] {
				n.ways = append(n.ways, c.all(k.schema, other, of[i]))
			}
		}
	}
	if k.not != nil {
		n.ways = append(n.ways, k.not)
	}
	if k.when != nil && k.then != nil {
		n.ways = append(n.ways, c.all(k.schema, k.when, n.not(k.then)))
	}
	if k.when != nil && k.otherwise != nil {
		n.ways = append(n.ways, c.all(k.schema, n.not(k.when), n.not(k.otherwise)))
	}
	return nil
}

// typed denies types, listed values, bounds and lengths.
func (n *negation) typed() {
	k := n.k
	if k.types != typeAny {
		n.way(typeAny&^k.types, nil)
	}
	if k.listed {
		n.way(typeAny, func(w *keywords) { n.except(w, k.values) })
	}
	if b := k.numbers.low; b != nil {
		n.way(typeNumber, func(w *keywords) { w.numbers.high = b.opposite() })
	}
	if b := k.numbers.high; b != nil {
		n.way(typeNumber, func(w *keywords) { w.numbers.low = b.opposite() })
	}
	for _, m := range k.numbers.multiples {
		n.way(typeNumber, func(w *keywords) { w.numbers.notMultiples = append(w.numbers.notMultiples, m) })
	}
	n.outside(typeString, k.minLen, k.maxLen, func(w *keywords, low, high int) { w.minLen, w.maxLen = low, high })
	n.outside(typeArray, k.minItems, k.maxItems, func(w *keywords, low, high int) { w.minItems, w.maxItems = low, high })
	n.outside(typeObject, k.minProps, k.maxProps, func(w *keywords, low, high int) { w.minProps, w.maxProps = low, high })
	if k.contains != nil {
		low, high := k.contained()
		n.outside(typeArray, low, high, func(w *keywords, low, high int) {
			w.contains, w.minContains, w.maxContains = k.contains, max(low, 0), high
		})
	}
}

// outside denies that a count is from low to high (-1: not said).
func (n *negation) outside(t types, low, high int, say func(w *keywords, low, high int)) {
	if low > 0 {
		n.way(t, func(w *keywords) { say(w, -1, low-1) })
	}
	if high >= 0 {
		n.way(t, func(w *keywords) { say(w, high+1, -1) })
	}
}

// except has w say that the value is none of these: of objects and arrays, by
// the opposite of a schema for each.
func (n *negation) except(w *keywords, values []*value) {
	for _, v := range values {
		if v.kind == isObject || v.kind == isArray {
			w.allOf = append(w.allOf, n.not(n.c.exactly(v)))
		} else {
			w.except = append(w.except, v)
		}
	}
}

// exactly is a schema that this object or array alone is valid by.
func (c *compiler) exactly(v *value) *value {
	k := newKeywords(nil)
	parts := &value{path: v.path, kind: v.kind, keys: v.keys}
	for _, e := range v.items {
		one := newKeywords(nil)
		one.values, one.listed = []*value{e}, true
		parts.items = append(parts.items, c.made(e, one))
	}
	if v.kind == isArray {
		k.types, k.prefix, k.minItems, k.maxItems = typeArray, parts.items, len(v.items), len(v.items)
	} else {
		k.types, k.properties, k.required, k.additional = typeObject, parts, v.keys, &value{path: v.path, kind: isBool, text: "false"}
	}
	return c.made(v, k)
}

// strings denies patterns and formats.
func (n *negation) strings() error {
	for _, p := range n.k.patterns {
		n.way(typeString, func(w *keywords) { w.notPatterns = append(w.notPatterns, p) })
	}
	for _, f := range n.k.formats {
		if formats[f.text].beyond == nil {
			return errorf(f.path, "the format %q has no opposite, which not, if, else and oneOf need here; use a pattern", f.text)
		}
		n.way(typeString, func(w *keywords) { w.notFormats = append(w.notFormats, f) })
	}
	return nil
}

// nested denies what is said of members and items.
func (n *negation) nested() error {
	k := n.k
	switch {
	case k.unique != nil:
		return errorf(k.unique.path, "uniqueItems has no opposite, which not, if, else and oneOf need here")
	case k.noMore, k.noMoreItems, k.unevaluated:
		return errorf(k.schema.path, "unevaluatedProperties and unevaluatedItems have no opposite, which not, if, else and oneOf need here")
	}
	breaks := func(w *keywords) { w.breaks = &broken{k, n.quiet} }
	if len(k.prefix) > 0 || k.items != nil {
		n.way(typeArray, breaks)
	}
	if k.properties != nil || len(k.required) > 0 || k.patternProps != nil || k.additional != nil || k.propertyNames != nil {
		n.way(typeObject, breaks)
	}
	return nil
}

// choices are the anyOfs that k stands for: its own, and what oneOf and if are
// turned into.
func (c *compiler) choices(k *keywords) ([][]*value, error) {
	if k.hasChoices {
		return k.choices, nil
	}
	k.choices, k.hasChoices = k.anyOf, true
	for _, of := range k.oneOf {
		k.choices = append(k.choices, c.exactlyOne(k.schema, of))
	}
	if k.when != nil && (k.then != nil || k.otherwise != nil) {
		both := func(v, more *value) *value {
			if more == nil {
				return v
			}
			return c.all(k.schema, v, more)
		}
		k.choices = append(k.choices, []*value{both(k.when, k.then), both(c.not(k.when, false), k.otherwise)})
	}
	return k.choices, nil
}
