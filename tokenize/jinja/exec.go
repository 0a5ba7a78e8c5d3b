package jinja

import "time"

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
	if err := st.open(f, t.scope); err != nil {
		return "", in(err, t.name)
	}
	if _, err := st.run(t.body, f); err != nil {
		return "", in(err, t.name)
	}
	return string(st.out), nil
}

// open enters a scope: every variable it owns gets its first value.
func (st *state) open(f *frame, sc scope) error {
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
	return st.step(len(sc.loads) >> 2)
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
	if err := st.open(f, sc); err != nil {
		return nil, proceed, err
	}
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
	if err := st.open(f, n.scope); err != nil {
		return proceed, err
	}
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
