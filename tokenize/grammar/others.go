package grammar

import (
	"fmt"
	"maps"
	"slices"
)

// readOthers finds what members there may be that are not declared: for each
// set of patterns that their keys may be found in, a way to write them.
func (o *objects) readOthers(names []string) error {
	open := !o.isClosed(false)
	var patterns []*value // as strings
	for _, k := range o.words {
		open = open || k.additional != nil
		patterns = k.addPatterns(patterns)
	}
	if !open && len(patterns) == 0 {
		return nil
	}
	for _, t := range o.tasks {
		patterns = t.addPatterns(patterns)
	}
	first, err := o.otherKey(names)
	if err != nil {
		return err
	}
	regions := []region{{key: first, found: map[string]bool{}}}
	for i, p := range patterns {
		var next []region
		for _, r := range regions {
			some, err := o.split(r, p, open || len(r.found) > 0 || i < len(patterns)-1)
			if err != nil {
				return err
			}
			next = append(next, some...)
		}
		regions = next
	}
	for _, r := range regions {
		if err := o.addOthers(r); err != nil {
			return err
		}
	}
	return nil
}

// addPatterns adds k's patternProperties to patterns.
func (k *keywords) addPatterns(patterns []*value) []*value {
	if k.patternProps == nil {
		return patterns
	}
	for _, p := range k.patternProps.keys {
		if !slices.ContainsFunc(patterns, func(v *value) bool { return v.text == p }) {
			patterns = append(patterns, &value{path: member(k.patternProps.path, p), kind: isString, text: p})
		}
	}
	return patterns
}

// region is keys, with quotes, of which the same is said: those that these
// patterns are found in, and no others.
type region struct {
	key   *expr
	found map[string]bool
}

// split parts a region by a pattern; without beside, only what it is found in
// is wanted. What is beside is left out when it is too much to tell.
func (o *objects) split(r region, pattern *value, beside bool) (parts []region, err error) {
	e, err := o.c.keyPattern(pattern)
	if err != nil {
		return nil, err
	}
	in, ok := e, true
	if r.key != jsonKey {
		in, ok = common(o.c.budget, e, r.key)
	}
	if !ok {
		return nil, errorf(pattern.path, "together with the names and patterns of other properties it is too large")
	}
	if in.op != opNever {
		found := maps.Clone(r.found)
		found[pattern.text] = true
		parts = append(parts, region{in, found})
	}
	switch {
	case in.op == opNever:
		parts = append(parts, r)
	case beside:
		if e, ok = o.c.complement(e); ok {
			e, ok = common(o.c.budget, e, r.key)
		}
		if ok && e.op != opNever {
			parts = append(parts, region{e, r.found})
		}
	}
	for _, p := range parts {
		if err := o.c.spend(len(p.key.states())); err != nil {
			return nil, err
		}
	}
	return parts, nil
}

// said is what keywords say of members of the region.
func (r region) said(k *keywords) (all []*value) {
	if k.patternProps != nil {
		for i, p := range k.patternProps.keys {
			if r.found[p] {
				all = append(all, k.patternProps.items[i])
			}
		}
	}
	if len(all) == 0 && k.additional != nil {
		all = append(all, k.additional)
	}
	return all
}

// addOthers adds the slots of members whose keys are in the region.
func (o *objects) addOthers(r region) error {
	s := slot{key: r.key}
	for _, k := range o.words {
		s.all = append(s.all, r.said(k)...)
	}
	if len(s.all) == 0 && o.isClosed(false) {
		return nil
	}
	for _, t := range o.tasks {
		s.tasks = append(s.tasks, o.c.breaking(t, r.said(t.keywords)))
	}
	kinds, err := o.c.kinds(&s, 0)
	if err != nil || len(kinds) == 0 {
		return err
	}
	o.others = append(o.others, &s)
	for j, t := range o.tasks {
		if t.propertyNames == nil {
			continue
		}
		wrong, err := o.c.schema([]*value{o.c.not(t.propertyNames, t.quiet), stringSchema})
		if err != nil {
			return err
		}
		key, ok := common(o.c.budget, wrong, r.key)
		if !ok {
			return errorf(t.propertyNames.path, "the names of its properties are too much to tell from others")
		}
		if key.op != opNever {
			named := slot{key: key, all: s.all, tasks: slices.Clone(s.tasks)}
			named.tasks[j].sure = true
			o.others = append(o.others, &named)
		}
	}
	return nil
}

// stringSchema is what a key is before anything is said of it.
var stringSchema = &value{kind: isObject, keys: []string{"type"}, items: []*value{{kind: isString, text: "string"}}}

// allowedKeys matches what propertyNames allows, with quotes; nil: anything.
func (o *objects) allowedKeys() (*expr, error) {
	var all []*value
	for _, k := range o.words {
		if k.propertyNames != nil {
			all = append(all, k.propertyNames)
		}
	}
	if len(all) == 0 {
		return nil, nil
	}
	return o.c.schema(append(all, stringSchema))
}

// otherKey matches the key of a member that is not declared, with quotes.
func (o *objects) otherKey(names []string) (*expr, error) {
	e := jsonKey
	if len(names) > 0 {
		e = seq(quote, o.c.noneOf(names), quote)
	}
	if o.keys != nil {
		var ok bool
		if e, ok = common(o.c.budget, e, o.keys); !ok {
			return nil, errorf(o.words[0].schema.path, "together with its properties' names propertyNames is too large")
		}
	}
	return e, o.c.spend(len(e.states()))
}

// noneOf matches all texts but these, in the spelling of asJSON.
func (c *compiler) noneOf(texts []string) *expr {
	key := fmt.Sprintf("%q", texts)
	c.budget.spend(len(key))
	if c.nones[key] == nil {
		c.budget.spend(32 * len(key))
		c.nones[key] = noneOf(texts)
	}
	return c.nones[key]
}

// anyKey is what a key may be, without quotes, as a table.
var anyKey = func() *table {
	e, _ := tabled(nil, repeat(keyChar, 0, -1))
	return e.table
}()

// noneOf is a trie of the texts, each node of which is a state of anyKey, too:
// what leaves the trie goes on there.
func noneOf(texts []string) *expr {
	type node struct {
		at       int32 // in anyKey
		ends     bool  // here one of the texts does
		children map[byte]int32
	}
	nodes := []node{{}}
	for _, s := range texts {
		i := int32(0)
		s = spelled(s)
		for _, b := range []byte(s) {
			to, ok := nodes[i].children[b]
			if !ok {
				to = int32(len(nodes))
				if nodes[i].children == nil {
					nodes[i].children = map[byte]int32{}
				}
				nodes[i].children[b] = to
				nodes = append(nodes, node{at: anyKey.step(nodes[i].at, b)})
			}
			i = to
		}
		nodes[i].ends = true
	}
	t := &table{}
	shift := int32(len(nodes))
	for _, n := range nodes {
		from := &anyKey.states[n.at]
		s := tableState{accepts: from.accepts && !n.ends}
		for _, e := range from.edges {
			lo := int(e.lo)
			for b := lo; b <= int(e.hi); b++ {
				if to, ok := n.children[byte(b)]; ok {
					if lo < b {
						s.edges = append(s.edges, edge{byte(lo), byte(b - 1), e.to + shift})
					}
					s.edges = append(s.edges, edge{byte(b), byte(b), to})
					lo = b + 1
				}
			}
			if lo <= int(e.hi) {
				s.edges = append(s.edges, edge{byte(lo), e.hi, e.to + shift})
			}
		}
		t.states = append(t.states, s)
	}
	for _, s := range anyKey.states {
		s.edges = slices.Clone(s.edges)
		for i := range s.edges {
			s.edges[i].to += shift
		}
		t.states = append(t.states, s)
	}
	return t.expr()
}
