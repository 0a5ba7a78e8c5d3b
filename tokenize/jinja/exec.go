package jinja

import (
	"fmt"
	"time"
)

// Render writes the template's text for the given variables, which FromGo must
// know. An error is an *Error, or a *RaisedError when the template itself
// refuses; no text comes with it.
func (t *Template) Render(vars map[string]any, o Options) (text string, err error) {
	st := &state{lim: o.Limits.withDefaults(), now: o.Now, vars: make(map[string]Value, len(vars))}
	if st.now == nil {
		st.now = time.Now
	}
	for name, v := range vars {
		x, ok := FromGo(v)
		if !ok {
			return "", in(typeErr("the variable '%s' is of Go type %T, or holds such a value", name, v), t.name)
		}
		st.vars[name] = x
	}
	f := newFrame(t.slots, nil)
	st.open(f, t.scope)
	if _, err := st.run(t.body, f); err != nil {
		return "", in(err, t.name)
	}
	return string(st.out), nil
}

// open enters a scope: every variable it owns gets its first value.
func (st *state) open(f *frame, sc scope) {
	for _, l := range sc.loads {
		switch l.kind {
		case loadAlias:
			f.vars[l.dst] = f.outer(l.from.up).vars[l.from.idx]
		case loadResolve:
			f.vars[l.dst] = st.lookup(l.name)
		case loadUndefined:
			f.vars[l.dst] = missing
		}
	}
}

// shut leaves a scope: its variables are gone.
func (st *state) shut(f *frame, sc scope) {
	for _, i := range sc.clear {
		f.vars[i] = missing
	}
}

// run executes statements until one jumps out of a loop.
func (st *state) run(body []stmt, f *frame) (control, error) {
	for _, s := range body {
		if c, err := s.exec(st, f); c != proceed || err != nil {
			return c, err
		}
	}
	return proceed, nil
}

func (n *dataStmt) exec(st *state, _ *frame) (control, error) {
	if err := st.step(1); err != nil {
		return proceed, err
	}
	return proceed, st.write(n.text)
}

func (n *outputStmt) exec(st *state, f *frame) (control, error) {
	v, err := n.x.eval(st, f)
	if err != nil {
		return proceed, at(err, n.line)
	}
	s, err := st.str(v)
	if err == nil {
		err = st.write(s)
	}
	if err != nil {
		err = at(err, n.line)
	}
	return proceed, err
}

func (n *ifStmt) exec(st *state, f *frame) (control, error) {
	for i, test := range n.tests {
		v, err := test.eval(st, f)
		if err != nil {
			return proceed, at(err, n.line)
		}
		if truth(v) {
			return st.run(n.bodies[i], f)
		}
	}
	return st.run(n.orelse, f)
}

func (n *setStmt) exec(st *state, f *frame) (control, error) {
	for _, ns := range n.refs {
		if _, ok := f.outer(ns.ref.up).vars[ns.ref.idx].(*namespace); !ok {
			return proceed, at(errf("TemplateRuntimeError", "cannot assign attribute on non-namespace object"), n.line)
		}
	}
	v, err := n.value.eval(st, f)
	if err == nil {
		err = st.assign(n.target, v, f)
	}
	if err != nil {
		return proceed, at(err, n.line)
	}
	return proceed, nil
}

// assign stores a value in a target, taking it apart for a tuple.
func (st *state) assign(target expr, v Value, f *frame) error {
	switch t := target.(type) {
	case *nameExpr:
		f.outer(t.ref.up).vars[t.ref.idx] = v
		return nil
	case *nsTarget:
		ns, ok := f.outer(t.ref.up).vars[t.ref.idx].(*namespace)
		if !ok {
			return errf("TemplateRuntimeError", "cannot assign attribute on non-namespace object")
		}
		if err := checkNamespaceKey(t.attr); err != nil {
			return err
		}
		ns.attrs.Set(t.attr, v)
		return nil
	}
	t := target.(*tupleExpr)
	it, err := st.iterate(v)
	if err != nil {
		return typeErr("cannot unpack non-iterable %s object", typeName(v))
	}
	parts := make([]Value, 0, len(t.items))
	for {
		x, ok, err := it.pull(st)
		if err != nil {
			return err
		}
		if !ok {
			break
		}
		if len(parts) == len(t.items) {
			return valueErr("too many values to unpack (expected %d)", len(t.items))
		}
		parts = append(parts, x)
	}
	if len(parts) < len(t.items) {
		return valueErr("not enough values to unpack (expected %d, got %d)", len(t.items), len(parts))
	}
	for i, x := range parts {
		if err := st.assign(t.items[i], x, f); err != nil {
			return err
		}
	}
	return nil
}

// filtered captures the text of a body inside a scope and applies a filter, if
// any, to it.
func (st *state) filtered(body []stmt, sc scope, fl *filterExpr, f *frame) (Value, control, error) {
	st.open(f, sc)
	defer st.shut(f, sc)
	text, c, err := st.capture(func() (control, error) { return st.run(body, f) })
	if err != nil || c != proceed || fl == nil {
		return text, c, err
	}
	st.captured = text // read by the first filter before anything else runs
	v, err := fl.eval(st, f)
	return v, c, err
}

func (n *setBlock) exec(st *state, f *frame) (control, error) {
	v, c, err := st.filtered(n.body, n.scope, n.filter, f)
	if err == nil && c == proceed {
		err = st.assign(n.target, v, f)
	}
	if err != nil {
		err = at(err, n.line)
	}
	return c, err
}

func (n *filterBlock) exec(st *state, f *frame) (control, error) {
	v, c, err := st.filtered(n.body, n.scope, n.filter, f)
	if err == nil && c == proceed {
		var s string
		if s, err = st.str(v); err == nil {
			err = st.write(s)
		}
	}
	if err != nil {
		err = at(err, n.line)
	}
	return c, err
}

func (n *withStmt) exec(st *state, f *frame) (control, error) {
	st.open(f, n.scope)
	defer st.shut(f, n.scope)
	for i, x := range n.values {
		v, err := x.eval(st, f)
		if err == nil {
			err = st.assign(n.targets[i], v, f)
		}
		if err != nil {
			return proceed, at(err, n.line)
		}
	}
	return st.run(n.body, f)
}

func (n *macroStmt) exec(st *state, f *frame) (control, error) {
	f.outer(n.dst.up).vars[n.dst.idx] = &macro{def: n.def, defined: f}
	return proceed, nil
}

func (n *callBlock) exec(st *state, f *frame) (control, error) {
	caller := &macro{def: n.def, defined: f}
	var v Value
	var err error
	if n.call == nil {
		v, err = caller.call(st, nil, nil)
	} else {
		v, err = n.call.invoke(st, f, caller)
	}
	if err == nil {
		var s string
		if s, err = st.str(v); err == nil {
			err = st.write(s)
		}
	}
	if err != nil {
		err = at(err, n.line)
	}
	return proceed, err
}

func (n *jumpStmt) exec(*state, *frame) (control, error) { return n.to, nil }

func (n *forStmt) exec(st *state, f *frame) (control, error) {
	v, err := n.iter.eval(st, f)
	if err != nil {
		return proceed, at(err, n.line)
	}
	if !n.recursive {
		return proceed, n.loop(st, f, v, nil, 0)
	}
	text, err := n.recurse(st, f, v, 0)
	if err == nil {
		err = st.write(text)
	}
	if err != nil {
		err = at(err, n.line)
	}
	return proceed, err
}

// recurse runs a recursive loop in a frame of its own and returns its text.
func (n *forStmt) recurse(st *state, f *frame, v Value, depth int) (string, error) {
	if err := st.enter(); err != nil {
		return "", err
	}
	defer st.leave()
	again := func(st *state, v Value) (string, error) { return n.recurse(st, f, v, depth+1) }
	text, _, err := st.capture(func() (control, error) {
		return proceed, n.loop(st, newFrame(n.slots, f), v, again, depth)
	})
	return text, err
}

func (n *forStmt) loop(st *state, f *frame, v Value, again func(*state, Value) (string, error), depth int) error {
	it, err := st.iterate(v)
	if err != nil {
		return at(err, n.line)
	}
	source := v
	if n.test != nil {
		it, source = n.filtered(st, f, it), nil
	}
	lp := &loop{it: it, source: source, again: again, depth0: depth, index: -1, size: -1}
	if n.loopSlot >= 0 {
		f.vars[n.loopSlot] = lp
	}
	finished := false // a round came to its end; with none the else part runs, break or not
	for {
		x, ok, err := lp.advance(st)
		if err != nil {
			return at(err, n.line)
		}
		if !ok {
			break
		}
		if err := st.assign(n.target, x, f); err != nil {
			return at(err, n.line)
		}
		if n.loopSlot >= 0 {
			f.vars[n.loopSlot] = lp
		}
		st.open(f, n.bodyScope)
		c, err := st.run(n.body, f)
		if err != nil {
			return err
		}
		if c == breakLoop {
			break
		}
		finished = finished || c == proceed
	}
	st.shut(f, n.bodyScope)
	if finished || n.orelse == nil {
		return nil
	}
	st.open(f, n.elseScope)
	_, err = st.run(n.orelse, f)
	st.shut(f, n.elseScope)
	return err
}

// filtered is the items that pass the loop's test, found one at a time as the
// loop asks for them.
func (n *forStmt) filtered(st *state, f *frame, it *iterator) *iterator {
	opened := false
	return &iterator{name: "generator", next: func(st *state) (Value, bool, error) {
		if !opened {
			st.open(f, n.testScope)
			opened = true
		}
		for {
			x, ok, err := it.pull(st)
			if !ok || err != nil {
				return nil, false, err
			}
			if err := st.assign(n.testTarget, x, f); err != nil {
				return nil, false, err
			}
			v, err := n.test.eval(st, f)
			if err != nil {
				return nil, false, err
			}
			if truth(v) {
				return x, true, nil
			}
		}
	}}
}

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

// macro is a macro or the body of a call block, with the frame it was defined in.
type macro struct {
	def     *macroDef
	defined *frame
}

func (m *macro) call(st *state, args []Value, kwargs []kwarg) (Value, error) {
	if err := st.enter(); err != nil {
		return nil, err
	}
	defer st.leave()
	f := newFrame(m.def.slots, m.defined)
	if err := m.bind(st, f, args, kwargs); err != nil {
		return nil, err
	}
	text, _, err := st.capture(func() (control, error) {
		st.open(f, m.def.scope)
		first := len(m.def.params) - len(m.def.defaults)
		for i, p := range m.def.params {
			if f.vars[p.ref.idx] != missing {
				continue
			}
			f.vars[p.ref.idx] = Value(&Undefined{hint: fmt.Sprintf("parameter '%s' was not provided", p.name), name: p.name, obj: missing})
			if i >= first {
				f.vars[p.ref.idx] = missing
				v, err := m.def.defaults[i-first].eval(st, f)
				if err != nil {
					return proceed, at(err, m.def.line)
				}
				f.vars[p.ref.idx] = v
			}
		}
		return st.run(m.def.body, f)
	})
	return text, err
}

// bind gives the parameters their arguments.
func (m *macro) bind(st *state, f *frame, args []Value, kwargs []kwarg) error {
	def := m.def
	left := append([]kwarg(nil), kwargs...)
	take := func(name string) (Value, bool) {
		for i, k := range left {
			if k.name == name {
				left = append(left[:i], left[i+1:]...)
				return k.val, true
			}
		}
		return nil, false
	}
	foundCaller := false
	for i, p := range def.params {
		if i < len(args) {
			f.vars[p.ref.idx] = args[i]
			continue
		}
		if p.name == "caller" {
			foundCaller = true
		}
		if v, ok := take(p.name); ok {
			f.vars[p.ref.idx] = v
		}
	}
	if len(args) >= len(def.params) {
		for _, p := range def.params {
			foundCaller = foundCaller || p.name == "caller"
		}
	}
	if def.hasCaller && !foundCaller && def.caller >= 0 {
		v, ok := take("caller")
		if !ok || v == nil {
			v = &Undefined{hint: "No caller defined", name: "caller", obj: missing}
		}
		f.vars[def.caller] = v
	}
	if def.kwargs >= 0 {
		d := NewDict(len(left))
		for _, k := range left {
			d.Set(k.name, k.val)
		}
		f.vars[def.kwargs] = d
	} else if len(left) > 0 {
		if left[0].name == "caller" {
			return typeErr("macro '%s' was invoked with two values for the special caller argument. This is most likely a bug.", def.name)
		}
		return typeErr("macro '%s' takes no keyword argument '%s'", def.name, left[0].name)
	}
	extra := args[min(len(args), len(def.params)):]
	if def.varargs >= 0 {
		f.vars[def.varargs] = Tuple(append([]any{}, extra...))
	} else if len(extra) > 0 {
		return typeErr("macro '%s' takes not more than %d argument(s)", def.name, len(def.params))
	}
	return nil
}
