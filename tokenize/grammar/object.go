package grammar

import "slices"

// object matches an object: declared members in their order, then others.
func (c *compiler) object(words []*keywords, _ types) (*expr, error) {
	o := &objects{c: c, words: words, high: -1, memo: map[objectKey]*expr{}}
	names, err := o.read()
	if err != nil {
		return nil, err
	}
	if err := o.readOthers(names); err != nil {
		return nil, err
	}
	if err := c.spend(len(o.members)); err != nil {
		return nil, err
	}
	if o.counted() && len(o.members) > maxCounted {
		return nil, errorf(words[0].schema.path, "minProperties and maxProperties are supported for at most %d properties", maxCounted)
	}
	if len(o.others) > 0 && o.low > len(o.members)+1 {
		return nil, errorf(words[0].schema.path, "minProperties is supported up to one more than the properties that are named, got %d: another key may be written twice, and would count once", o.low)
	}
	e := o.from(0, 0, o.done)
	return seq(text("{"), e), o.err
}

// objects makes one object's expression.
type objects struct {
	c     *compiler
	words []*keywords
	tasks []*broken // each is done by a member that is not as it should be, or is missing
	keys  *expr     // what propertyNames allows, with quotes; nil: anything

	members   []declared
	others    []*slot // of those that are not declared
	done      uint64  // tasks that are done whatever is written
	low, high int     // members; high -1: no bound

	memo map[objectKey]*expr
	err  error // of from
}

// declared is a member that is, and what leaving it out does.
type declared struct {
	*slot
	required bool
	absent   uint64 // tasks
}

type objectKey struct {
	i, n int
	done uint64
}

// counted reports whether the number of members matters, beyond there being
// any.
func (o *objects) counted() bool { return o.low > 1 || o.high >= 0 }

// all are the tasks.
func (o *objects) all() uint64 { return 1<<len(o.tasks) - 1 }

// read finds the declared members, and returns their names.
func (o *objects) read() (names []string, err error) {
	required, speaks, seen := map[string]bool{}, map[string]bool{}, map[string]bool{}
	declare := func(some []string, loud bool) {
		for _, name := range some {
			speaks[name] = speaks[name] || loud
			if !seen[name] {
				seen[name] = true
				names = append(names, name)
			}
		}
	}
	for _, k := range o.words {
		o.low, o.high = max(o.low, k.minProps), lower(o.high, k.maxProps)
		if k.properties != nil {
			declare(k.properties.keys, true)
		}
		if k.breaks != nil {
			o.tasks = append(o.tasks, k.breaks)
		}
	}
	for _, k := range o.words {
		declare(k.required, true)
		for _, name := range k.required {
			required[name] = true
		}
	}
	for _, t := range o.tasks {
		if t.properties != nil {
			declare(t.properties.keys, !t.quiet)
		}
		declare(t.required, !t.quiet)
	}
	if o.keys, err = o.allowedKeys(); err != nil {
		return nil, err
	}
	for _, name := range names {
		if err := o.c.spend(16); err != nil {
			return nil, err
		}
		m := declared{required: required[name]}
		if m.slot, err = o.slot(name, speaks[name]); err != nil {
			return nil, err
		}
		for j, t := range o.tasks {
			if slices.Contains(t.required, name) {
				m.absent |= 1 << j
			}
		}
		if m.slot != nil || m.required {
			o.members = append(o.members, m)
		} else {
			o.done |= m.absent
		}
	}
	return names, nil
}

// said is what keywords say of the value of a member.
func (c *compiler) said(k *keywords, name string) (all []*value, err error) {
	if k.properties != nil {
		if v := k.properties.get(name); v != nil {
			all = append(all, v)
		}
	}
	if p := k.patternProps; p != nil {
		for i, pattern := range p.keys {
			e, err := c.pattern(&value{path: member(p.path, pattern), kind: isString, text: pattern})
			if err != nil {
				return nil, err
			}
			if e.matches(c.budget, spelled(name)) {
				all = append(all, p.items[i])
			}
		}
	}
	if len(all) == 0 && k.additional != nil {
		all = append(all, k.additional)
	}
	return all, nil
}

// slot is that of a declared member; nil when it cannot be there. One of which
// only the quiet speak has to be allowed like any that is not declared.
func (o *objects) slot(name string, spoken bool) (*slot, error) {
	if o.keys != nil && !o.keys.matches(o.c.budget, quoted(name)) {
		return nil, nil
	}
	s := &slot{key: text(quoted(name))}
	for _, k := range o.words {
		some, err := o.c.said(k, name)
		if err != nil {
			return nil, err
		}
		s.all = append(s.all, some...)
	}
	if len(s.all) == 0 && o.isClosed(spoken) {
		return nil, nil
	}
	for _, t := range o.tasks {
		some, err := o.c.said(t.keywords, name)
		if err != nil {
			return nil, err
		}
		b := o.c.breaking(t, some)
		b.sure = t.propertyNames != nil && o.c.valid(&value{kind: isString, text: name}, t.propertyNames) == no
		s.tasks = append(s.tasks, b)
	}
	if kinds, err := o.c.kinds(s, 0); err != nil || len(kinds) == 0 {
		return nil, err
	}
	return s, nil
}

// isClosed reports whether members are not allowed of which nothing is said:
// because that is forbidden, or because of others something is said.
func (o *objects) isClosed(spoken bool) bool {
	for _, k := range o.words {
		if k.noMore || !spoken && k.declares() && !k.schema.isMade {
			return true
		}
	}
	return false
}

// declares reports whether keywords name members.
func (k *keywords) declares() bool {
	return k.properties != nil && len(k.properties.keys) > 0 || len(k.required) > 0 || k.patternProps != nil && len(k.patternProps.keys) > 0
}

// from matches what follows once the first i declared members were written or
// left out, n of them written, up to the closing brace.
func (o *objects) from(i, n int, done uint64) *expr {
	if !o.counted() {
		n = min(n, 1)
	}
	key := objectKey{i, n, done}
	if e := o.memo[key]; e != nil {
		return e
	}
	if o.err == nil {
		o.err = o.c.spend(1)
	}
	if o.err != nil {
		return never
	}
	end := seq(gap, text("}"))
	before := comma
	if n == 0 {
		before, end = gap, text("}")
	}
	full := o.high >= 0 && n >= o.high
	var parts []*expr
	switch {
	case i < len(o.members):
		m := o.members[i]
		if !full && m.slot != nil {
			for _, k := range o.kinds(m.slot, done) {
				parts = append(parts, seq(before, k.e, o.from(i+1, n+1, done|k.done)))
			}
		}
		if !m.required {
			parts = append(parts, o.from(i+1, n, done|m.absent))
		}
	default:
		if n >= o.low && done == o.all() {
			parts = append(parts, end)
		}
		if !full && n+1 >= o.low {
			parts = append(parts, o.rest(before, n, done))
		}
	}
	e := alt(parts...)
	o.memo[key] = e
	return e
}

// rest matches members that are not declared, after n that are. What is left to
// do is done by one that is alone: with another, a key could be the same and
// have the other's value. For that reason they count as one, too.
func (o *objects) rest(before *expr, n int, done uint64) *expr {
	var one, some []form
	for _, s := range o.others {
		for _, k := range o.kinds(s, done) {
			if some = append(some, k); done|k.done == o.all() {
				one = append(one, k)
			}
		}
	}
	if done != o.all() {
		return seq(before, either(one), gap, text("}"))
	}
	left := -1
	if o.high >= 0 {
		left = o.high - n - 1
	}
	other := either(some)
	return seq(before, other, repeat(seq(comma, other), 0, left), gap, text("}"))
}

// kinds are those of a slot once tasks are done.
func (o *objects) kinds(s *slot, done uint64) []form {
	kinds, err := o.c.kinds(s, o.all()&^done)
	if o.err == nil {
		o.err = err
	}
	return kinds
}
