package jinja

// loop is the loop variable. It may look one item ahead.
type loop struct {
	it     *iterator
	source Value // for its length; nil when it must be counted
	again  func(*state, Value) (string, error)
	depth0 int

	index   int // from 0
	size    int // -1: not known yet
	current Value
	before  Value
	after   Value
	peeked  bool
	ended   bool // what was peeked is the end

	changedTo []any
	changed   bool
}

func (l *loop) advance(st *state) (Value, bool, error) {
	x, ok := l.after, !l.ended
	if !l.peeked {
		var err error
		if x, ok, err = l.it.pull(st); err != nil {
			return nil, false, err
		}
	}
	l.peeked, l.after = false, nil
	if !ok {
		return nil, false, nil
	}
	l.index++
	l.before, l.current = l.current, x
	return x, true, nil
}

// peek looks at the next item.
func (l *loop) peek(st *state) (Value, bool, error) {
	if !l.peeked {
		x, ok, err := l.it.pull(st)
		if err != nil {
			return nil, false, err
		}
		l.after, l.ended, l.peeked = x, !ok, true
	}
	return l.after, !l.ended, nil
}

func (l *loop) length(st *state) (int, error) {
	if l.size >= 0 {
		return l.size, nil
	}
	if l.source != nil {
		if n, err := st.length(l.source); err == nil {
			l.size = n
			return n, nil
		}
	}
	rest, err := st.drain(l.it)
	if err != nil {
		return 0, err
	}
	l.it = &iterator{list: rest}
	l.size = len(rest) + l.index + 1
	if l.peeked && !l.ended {
		l.size++
	}
	return l.size, nil
}

func (l *loop) attr(st *state, name string) (Value, bool, error) {
	switch name {
	case "index":
		return int64(l.index + 1), true, nil
	case "index0":
		return int64(l.index), true, nil
	case "first":
		return l.index == 0, true, nil
	case "last":
		_, more, err := l.peek(st)
		return !more, true, err
	case "length":
		n, err := l.length(st)
		return int64(n), true, err
	case "revindex":
		n, err := l.length(st)
		return int64(n - l.index), true, err
	case "revindex0":
		n, err := l.length(st)
		return int64(n - l.index - 1), true, err
	case "depth":
		return int64(l.depth0 + 1), true, nil
	case "depth0":
		return int64(l.depth0), true, nil
	case "previtem":
		if l.index == 0 {
			return undefinedHint("there is no previous item"), true, nil
		}
		return l.before, true, nil
	case "nextitem":
		x, more, err := l.peek(st)
		if err == nil && !more {
			x = undefinedHint("there is no next item")
		}
		return x, true, err
	case "cycle", "changed":
		return &method{recv: l, name: name, fn: loopMethods[name]}, true, nil
	}
	return nil, false, nil
}

var loopMethods = map[string]methodFunc{
	"cycle": func(st *state, recv Value, args []Value, _ []kwarg) (Value, error) {
		if len(args) == 0 {
			return nil, typeErr("no items for cycling given")
		}
		return args[recv.(*loop).index%len(args)], nil
	},
	"changed": func(st *state, recv Value, args []Value, _ []kwarg) (Value, error) {
		l := recv.(*loop)
		if l.changed {
			eq, err := st.equalLists(l.changedTo, args, 0)
			if err != nil || eq {
				return false, err
			}
		}
		l.changed, l.changedTo = true, args
		return true, nil
	},
}
