package grammar

import "math/bits"

// form is a way to fill a slot, and the tasks that it does.
type form struct {
	e    *expr
	done uint64
}

// task is something that some member or item has to do: to be valid by all of
// do. Else it is valid by all of leave, which has to be made sure of when it
// matters how many do it.
type task struct {
	do, leave []*value
	exact     bool
	sure      bool // it is done whatever the value
}

// maxTasks bounds the tasks of one object or array. Up to maxTold of them, a
// value that may do any is told by which it does; of more, it does one, or all.
const (
	maxTasks = 64
	maxTold  = 3
)

// slot is where a member or an item is written: it has to be valid by all of
// these, and may do tasks.
type slot struct {
	key   *expr // and what comes before it: a member's key; nil: nothing
	all   []*value
	tasks []task
	memo  map[uint64][]form // see kinds
}

// kinds are the ways to fill a slot, told apart by which of the tasks that are
// not done yet it does.
func (c *compiler) kinds(s *slot, undone uint64) ([]form, error) {
	if known, ok := s.memo[undone]; ok {
		return known, nil
	}
	if len(s.tasks) > maxTasks {
		return nil, errorf(c.root.path, "there are more than %d schemas to tell its oneOf, not and if apart from", maxTasks)
	}
	with := func(more ...*value) []*value { return append(s.all[:len(s.all):len(s.all)], more...) }
	var sure uint64
	var open []int // tasks that it may do
	for j, t := range s.tasks {
		switch {
		case undone>>j&1 == 0:
		case t.sure || !c.possible(with(t.leave...), looks):
			sure |= 1 << j
		case c.possible(with(t.do...), looks):
			open = append(open, j)
		}
	}
	var kinds []form
	for _, set := range subsets(len(open)) {
		if err := c.spend(1); err != nil {
			return nil, err
		}
		some, done := s.all, sure
		for i, j := range open {
			switch {
			case set>>i&1 != 0:
				some, done = append(some[:len(some):len(some)], s.tasks[j].do...), done|1<<j
			case s.tasks[j].exact:
				some = append(some[:len(some):len(some)], s.tasks[j].leave...)
			}
		}
		if bits.OnesCount64(set) > 1 && !c.possible(some, looks) {
			continue
		}
		e, err := c.schema(some)
		if err != nil {
			return nil, err
		}
		if s.key != nil {
			e = seq(s.key, colon, e)
		}
		if e.op != opNever {
			kinds = append(kinds, form{e, done})
		}
	}
	if s.memo == nil {
		s.memo = map[uint64][]form{}
	}
	s.memo[undone] = kinds
	return kinds, nil
}

// subsets are those of n tasks that are told apart.
func subsets(n int) (sets []uint64) {
	if n <= maxTold {
		for s := range uint64(1) << n {
			sets = append(sets, s)
		}
		return sets
	}
	sets = append(sets, 0, 1<<n-1)
	for i := range n {
		sets = append(sets, 1<<i)
	}
	return sets
}

// breaking is the task not to be as all of these say.
func (c *compiler) breaking(b *broken, all []*value) task {
	none := &value{path: b.schema.path, kind: isBool, text: "false"}
	if len(all) == 0 {
		return task{do: []*value{none}}
	}
	return task{do: []*value{c.any(b.schema, c.nots(all, b.quiet)...)}, leave: all}
}

// either matches any of the kinds.
func either(kinds []form) *expr {
	var parts []*expr
	for _, k := range kinds {
		parts = append(parts, k.e)
	}
	return alt(parts...)
}
