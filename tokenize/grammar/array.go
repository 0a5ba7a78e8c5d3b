package grammar

// array matches an array.
func (c *compiler) array(words []*keywords, _ types) (*expr, error) {
	a := &arrays{c: c, words: words, high: -1, memo: map[arrayKey]*expr{}}
	a.read()
	if a.unique != nil && (a.high < 0 || a.high > 1) {
		return a.distinct()
	}
	if err := a.bound(); err != nil {
		return nil, err
	}
	for i := range a.first + 1 {
		a.items = append(a.items, &slot{all: a.at(i), tasks: a.tasksAt(i)})
	}
	if a.counted == 0 {
		item, err := c.schema(a.at(0))
		if err != nil {
			return nil, err
		}
		return brackets(item, a.low, a.high), nil
	}
	e := a.from(0, string(make([]byte, len(a.tasks))))
	return seq(text("["), e), a.err
}

// arrays makes one array's expression.
type arrays struct {
	c         *compiler
	words     []*keywords
	tasks     []arrayTask
	unique    *value
	first     int     // items that have schemas of their own
	items     []*slot // of each of the first, and of the others
	low, high int     // items; high -1: no bound
	counted   int     // items from there on are not told apart
	memo      map[arrayKey]*expr
	err       error // of from
}

// arrayTask is that so many items (high -1: no bound) are valid by a schema, or
// that one is not as it should be.
type arrayTask struct {
	low, high int
	contains  *value
	breaks    *broken
}

type arrayKey struct {
	i    int
	done string // a byte a task: of how many items
}

func (a *arrays) read() {
	open := true // nothing says that there is no more than the first items
	items := false
	for _, k := range a.words {
		a.low, a.high = max(a.low, k.minItems), lower(a.high, k.maxItems)
		a.first = max(a.first, len(k.prefix))
		if k.prefix != nil && k.items == nil {
			a.high = lower(a.high, len(k.prefix))
		}
		items = items || k.items != nil
		open = open && !k.noMoreItems
		if k.unique != nil {
			a.unique = k.unique
		}
		if k.contains != nil {
			low, high := k.contained()
			a.tasks = append(a.tasks, arrayTask{low: low, high: high, contains: k.contains})
		}
		if k.breaks != nil {
			a.tasks = append(a.tasks, arrayTask{low: 1, high: -1, breaks: k.breaks})
			a.first = max(a.first, len(k.breaks.prefix))
		}
	}
	if !open && !items {
		a.high = lower(a.high, a.first)
	}
}

// bound says how many items are told apart: with tasks, as many as matter to
// the array's length.
func (a *arrays) bound() error {
	a.counted = a.first
	if len(a.tasks) > 0 {
		a.counted = max(1, a.first, a.low, a.high)
		most := a.counted
		for _, t := range a.tasks {
			most = max(most, t.low, t.high)
		}
		if most > maxCounted {
			return errorf(a.words[0].schema.path, "contains, and the opposite of items, are supported for at most %d items", maxCounted)
		}
	}
	return a.c.spend(a.first)
}

// item is what keywords say of item i.
func (k *keywords) item(i int) []*value {
	switch {
	case i < len(k.prefix):
		return k.prefix[i : i+1]
	case k.items == nil:
		return nil
	}
	return []*value{k.items}
}

func (a *arrays) at(i int) (all []*value) {
	for _, k := range a.words {
		all = append(all, k.item(i)...)
	}
	return all
}

func (a *arrays) tasksAt(i int) (tasks []task) {
	for _, t := range a.tasks {
		if t.contains != nil {
			tasks = append(tasks, task{do: []*value{t.contains}, leave: []*value{a.c.not(t.contains, false)}, exact: t.high >= 0})
		} else {
			tasks = append(tasks, a.c.breaking(t.breaks, t.breaks.item(i)))
		}
	}
	return tasks
}

// from matches what follows i items, of which tasks have so many, up to the
// closing bracket.
func (a *arrays) from(i int, done string) *expr {
	key := arrayKey{i, done}
	if e := a.memo[key]; e != nil {
		return e
	}
	before, end := comma, seq(gap, text("]"))
	if i == 0 {
		before, end = gap, text("]")
	}
	if i < min(a.low, a.counted) || !a.isDone(done) {
		end = never
	}
	parts := []*expr{end}
	stay := never // items after which nothing is different
	last := i == a.counted
	if a.high < 0 || i < a.high {
		kinds, err := a.c.kinds(a.items[min(i, a.first)], a.undone(done))
		if a.err == nil {
			a.err = err
		}
		for _, k := range kinds {
			switch then, ok := a.after(done, k); {
			case !ok:
			case last && then == done:
				stay = alt(stay, k.e)
			default:
				parts = append(parts, seq(before, k.e, a.from(min(i+1, a.counted), then)))
			}
		}
	}
	e := alt(parts...)
	if last {
		more := -1
		if a.high >= 0 {
			more = max(a.high-i, 0)
		}
		e = seq(repeat(seq(comma, stay), max(a.low-i, 0), more), e)
	}
	a.memo[key] = e
	return e
}

// after is what is done after an item like k; false when that is too much.
func (a *arrays) after(done string, k form) (string, bool) {
	counts := []byte(done)
	for j, t := range a.tasks {
		if k.done>>j&1 == 0 {
			continue
		}
		if t.high >= 0 && int(counts[j]) == t.high {
			return "", false
		}
		if t.high >= 0 || int(counts[j]) < t.low {
			counts[j]++
		}
	}
	return string(counts), true
}

// undone are the tasks for which it matters what items do.
func (a *arrays) undone(done string) (undone uint64) {
	for j, t := range a.tasks {
		if int(done[j]) < t.low || t.high >= 0 {
			undone |= 1 << j
		}
	}
	return undone
}

func (a *arrays) isDone(done string) bool {
	for j, t := range a.tasks {
		if int(done[j]) < t.low {
			return false
		}
	}
	return true
}
