package grammar

// form is a way to write a member or an item, and the tasks that it does.
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

// maxTasks bounds the tasks of one object or array, maxKinds the ways to write
// one member or item that they make.
const (
	maxTasks = 64
	maxKinds = 128
)

// kinds are the ways to write a value that is valid by all of these, told apart
// by the tasks that it does.
func (c *compiler) kinds(all []*value, tasks []task) ([]form, error) {
	type way struct {
		all  []*value
		done uint64
	}
	with := func(w way, more []*value) []*value { return append(w.all[:len(w.all):len(w.all)], more...) }
	ways := []way{{all, 0}}
	for j, t := range tasks {
		var next []way
		for _, w := range ways {
			does := way{with(w, t.do), w.done | 1<<j}
			switch {
			case t.sure || !c.possible(with(w, t.leave), looks):
				next = append(next, way{w.all, does.done})
			case !c.possible(does.all, looks):
				next = append(next, w)
			case t.exact:
				next = append(next, does, way{with(w, t.leave), w.done})
			default:
				next = append(next, does, w)
			}
		}
		if ways = next; len(ways) > maxKinds || j == maxTasks {
			return nil, errorf(c.root.path, "there are too many ways to tell its oneOf, not and if apart")
		}
	}
	var kinds []form
	for _, w := range ways {
		if err := c.spend(1); err != nil {
			return nil, err
		}
		e, err := c.schema(w.all)
		if err != nil {
			return nil, err
		}
		if e.op != opNever {
			kinds = append(kinds, form{e, w.done})
		}
	}
	return kinds, nil
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
