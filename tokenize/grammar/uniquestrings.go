package grammar

// uniqueStrings matches an array of strings that all differ, of which there are
// too many to list: an automaton cannot remember them, so the matcher of a text
// does (track.go). Each string has one spelling.
func (a *arrays) uniqueStrings() (*expr, error) {
	if a.first > 0 || len(a.tasks) > 0 {
		return nil, a.notDistinct()
	}
	all := append(a.at(0), stringSchema)
	only := true
	err := a.c.alternatives(a.at(0), looks, func(words []*keywords) error {
		only = only && typesOf(words) == typeString
		return nil
	})
	if err != nil {
		return nil, err
	}
	if !only {
		return nil, a.notDistinct()
	}
	e, err := a.c.schema(all)
	if err != nil {
		return nil, err
	}
	item, ok := common(a.c.budget, e, jsonKey)
	switch {
	case !ok:
		return nil, errorf(a.unique.path, "uniqueItems is supported for strings of some hundred characters at most, or of any number; these are too large")
	case item.op == opNever && a.low > 0:
		return never, nil
	case item.op == opNever:
		return brackets(never, 0, 0), nil
	}
	if err := a.c.spend(len(item.states())); err != nil {
		return nil, err
	}
	sizes := item.table.sizes()
	if n := int(sizes[0]); n < many {
		a.high = lower(a.high, n)
	}
	if a.high >= 0 && a.low > a.high {
		return never, nil
	}
	u := &expr{op: opUnique, subs: []*expr{item}, sizes: sizes, min: many}
	for i, s := range item.table.states {
		if len(s.edges) > 0 {
			u.min = min(u.min, sizes[i])
		}
	}
	return brackets(u, a.low, a.high), nil
}

// many is more than a text holds.
const many = 1 << 24

// sizes are how many texts each state of a table accepts, many if they are that
// many or without end.
func (t *table) sizes() []int32 {
	const unknown, open = -1, -2
	size := make([]int32, len(t.states))
	for i := range size {
		size[i] = unknown
	}
	var count func(s int32) int32
	count = func(s int32) int32 {
		switch size[s] {
		case unknown:
		case open: // it comes back to itself, and every state leads to an end
			return many
		default:
			return size[s]
		}
		size[s] = open
		n := int64(0)
		if t.states[s].accepts {
			n = 1
		}
		for _, e := range t.states[s].edges {
			n = min(n+int64(count(e.to))*int64(e.hi-e.lo+1), many)
		}
		size[s] = int32(n)
		return size[s]
	}
	for s := range size {
		count(int32(s))
	}
	return size
}
