package grammar

import (
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
	e, err := o.c.pattern(pattern)
	if err != nil {
		return nil, err
	}
	e = seq(quote, e, quote)
	in, ok := e, true
	if r.key != jsonKey {
		in, ok = common(e, r.key)
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
		if e, ok = complement(e); ok {
			e, ok = common(e, r.key)
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

// addOthers adds the ways to write a member whose key is in the region.
func (o *objects) addOthers(r region) error {
	var all []*value
	for _, k := range o.words {
		all = append(all, r.said(k)...)
	}
	if len(all) == 0 && o.isClosed(false) {
		return nil
	}
	var tasks []task
	for _, t := range o.tasks {
		tasks = append(tasks, o.c.breaking(t, r.said(t.keywords)))
	}
	kinds, err := o.c.kinds(all, tasks)
	if err != nil {
		return err
	}
	for _, k := range kinds {
		o.others = append(o.others, form{seq(r.key, colon, k.e), k.done})
	}
	for j, t := range o.tasks {
		if t.propertyNames == nil {
			continue
		}
		wrong, err := o.c.schema([]*value{o.c.not(t.propertyNames, t.quiet), stringSchema})
		if err != nil {
			return err
		}
		key, ok := common(wrong, r.key)
		if !ok {
			return errorf(t.propertyNames.path, "the names of its properties are too much to tell from others")
		}
		for _, k := range kinds {
			if e := seq(key, colon, k.e); e.op != opNever {
				o.others = append(o.others, form{e, k.done | 1<<j})
			}
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
	var parts []*expr
	if len(names) > 0 {
		parts = append(parts, seq(quote, notAny(names), quote))
	}
	if o.keys != nil {
		parts = append(parts, o.keys)
	}
	for _, p := range parts {
		var ok bool
		if e, ok = common(e, p); !ok {
			return nil, errorf(o.words[0].schema.path, "the names of its properties are too much to tell others from")
		}
	}
	return e, nil
}

// notAny matches any bytes but these names, in the spelling of asJSON.
func notAny(names []string) *expr {
	t := &table{states: []tableState{{accepts: true}}}
	all := func(to int32) []edge { return []edge{{0, 255, to}} }
	children := []map[byte]int32{{}}
	for _, name := range names {
		at := int32(0)
		s := quoted(name)
		for _, b := range []byte(s[1 : len(s)-1]) {
			to, ok := children[at][b]
			if !ok {
				to = int32(len(t.states))
				t.states = append(t.states, tableState{accepts: true})
				children = append(children, map[byte]int32{})
				children[at][b] = to
			}
			at = to
		}
		t.states[at].accepts = false
	}
	free := int32(len(t.states)) // no name goes on like this
	for i := range t.states {
		from := 0
		for b := range 256 {
			if to, ok := children[i][byte(b)]; ok {
				if from < b {
					t.states[i].edges = append(t.states[i].edges, edge{byte(from), byte(b - 1), free})
				}
				t.states[i].edges = append(t.states[i].edges, edge{byte(b), byte(b), to})
				from = b + 1
			}
		}
		if from < 256 {
			t.states[i].edges = append(t.states[i].edges, edge{byte(from), 255, free})
		}
	}
	t.states = append(t.states, tableState{accepts: true, edges: all(free)})
	return t.expr()
}
