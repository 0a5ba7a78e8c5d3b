package jinja

import "strings"

func (n *constExpr) eval(*state, *frame) (Value, error) { return n.v, nil }

func (n *nameExpr) eval(st *state, f *frame) (Value, error) {
	v := f.outer(n.ref.up).vars[n.ref.idx]
	if v == missing {
		return undefinedName(n.name), nil
	}
	return v, st.step(1)
}

func (n *nsTarget) eval(*state, *frame) (Value, error) {
	return nil, errf("TemplateRuntimeError", "%s.%s is a target, not a value", n.name, n.attr)
}

func (st *state) evalAll(xs []expr, f *frame) ([]Value, error) {
	if err := st.allocList(len(xs)); err != nil {
		return nil, err
	}
	out := make([]Value, len(xs))
	for i, x := range xs {
		v, err := x.eval(st, f)
		if err != nil {
			return nil, err
		}
		out[i] = v
	}
	return out, nil
}

func (n *tupleExpr) eval(st *state, f *frame) (Value, error) {
	l, err := st.evalAll(n.items, f)
	return Tuple(l), err
}

func (n *listExpr) eval(st *state, f *frame) (Value, error) {
	return st.evalAll(n.items, f)
}

func (n *dictExpr) eval(st *state, f *frame) (Value, error) {
	if err := st.allocList(2 * len(n.keys)); err != nil {
		return nil, err
	}
	d := NewDict(len(n.keys))
	for i := range n.keys {
		k, err := n.keys[i].eval(st, f)
		if err != nil {
			return nil, err
		}
		v, err := n.vals[i].eval(st, f)
		if err != nil {
			return nil, err
		}
		if err := st.put(d, k, v); err != nil {
			return nil, err
		}
	}
	return d, nil
}

func (n *condExpr) eval(st *state, f *frame) (Value, error) {
	t, err := n.test.eval(st, f)
	if err != nil {
		return nil, err
	}
	if truth(t) {
		return n.then.eval(st, f)
	}
	if n.orelse == nil {
		return undefinedHint("the inline if-expression evaluated to false and no else section was defined."), nil
	}
	return n.orelse.eval(st, f)
}

func (n *andExpr) eval(st *state, f *frame) (Value, error) {
	v, err := n.l.eval(st, f)
	if err != nil || !truth(v) {
		return v, err
	}
	return n.r.eval(st, f)
}

func (n *orExpr) eval(st *state, f *frame) (Value, error) {
	v, err := n.l.eval(st, f)
	if err != nil || truth(v) {
		return v, err
	}
	return n.r.eval(st, f)
}

func (n *notExpr) eval(st *state, f *frame) (Value, error) {
	v, err := n.x.eval(st, f)
	return !truth(v), err
}

func (n *compareExpr) eval(st *state, f *frame) (Value, error) {
	l, err := n.first.eval(st, f)
	if err != nil {
		return nil, err
	}
	for i, op := range n.ops {
		r, err := n.rest[i].eval(st, f)
		if err != nil {
			return nil, err
		}
		ok, err := st.compare(op, l, r)
		if !ok || err != nil {
			return false, err
		}
		l = r
	}
	return true, nil
}

func (st *state) compare(op string, l, r Value) (bool, error) {
	switch op {
	case "==":
		return st.equal(l, r, 0)
	case "!=":
		eq, err := st.equal(l, r, 0)
		return !eq, err
	case "in":
		return st.contains(r, l)
	case "not in":
		in, err := st.contains(r, l)
		return !in, err
	}
	c, err := st.order(l, r, op, 0)
	if err != nil || c == unordered {
		return false, err
	}
	switch op {
	case "<":
		return c < 0, nil
	case "<=":
		return c <= 0, nil
	case ">":
		return c > 0, nil
	}
	return c >= 0, nil
}

func (n *binaryExpr) eval(st *state, f *frame) (Value, error) {
	l, err := n.l.eval(st, f)
	if err != nil {
		return nil, err
	}
	r, err := n.r.eval(st, f)
	if err != nil {
		return nil, err
	}
	return st.binary(n.op, l, r)
}

func (n *unaryExpr) eval(st *state, f *frame) (Value, error) {
	v, err := n.x.eval(st, f)
	if err != nil {
		return nil, err
	}
	return st.unary(n.op, v)
}

func (n *concatExpr) eval(st *state, f *frame) (Value, error) {
	if err := st.allocList(len(n.items)); err != nil {
		return nil, err
	}
	parts := make([]string, len(n.items))
	size := 0
	for i, x := range n.items {
		v, err := x.eval(st, f)
		if err != nil {
			return nil, err
		}
		if parts[i], err = st.str(v); err != nil {
			return nil, err
		}
		size += len(parts[i])
	}
	if err := st.alloc(size); err != nil {
		return nil, err
	}
	return strings.Join(parts, ""), nil
}

func (n *attrExpr) eval(st *state, f *frame) (Value, error) {
	v, err := n.x.eval(st, f)
	if err != nil {
		return nil, err
	}
	return st.getattr(v, n.name)
}

func (n *indexExpr) eval(st *state, f *frame) (Value, error) {
	v, err := n.x.eval(st, f)
	if err != nil {
		return nil, err
	}
	k, err := n.key.eval(st, f)
	if err != nil {
		return nil, err
	}
	return st.getitem(v, k)
}

func (n *sliceExpr) eval(st *state, f *frame) (Value, error) {
	v, err := n.x.eval(st, f)
	if err != nil {
		return nil, err
	}
	var bounds [3]Value
	for i, x := range []expr{n.start, n.stop, n.step} {
		if x == nil {
			continue
		}
		if bounds[i], err = x.eval(st, f); err != nil {
			return nil, err
		}
	}
	return st.slice(v, bounds[0], bounds[1], bounds[2])
}

// kwarg is one keyword argument of a call.
type kwarg struct {
	name string
	val  Value
}

func (a *arguments) eval(st *state, f *frame) ([]Value, []kwarg, error) {
	if len(a.args)+len(a.kwargs) == 0 && a.dynArgs == nil && a.dynKwargs == nil {
		return nil, nil, nil
	}
	args, err := st.evalAll(a.args, f)
	if err != nil {
		return nil, nil, err
	}
	kwargs := make([]kwarg, len(a.kwargs))
	for i, k := range a.kwargs {
		kwargs[i].name = k.name
		if kwargs[i].val, err = k.value.eval(st, f); err != nil {
			return nil, nil, err
		}
	}
	if a.dynArgs != nil {
		v, err := a.dynArgs.eval(st, f)
		if err != nil {
			return nil, nil, err
		}
		more, err := st.list(v)
		if err != nil {
			return nil, nil, err
		}
		args = append(args, more...)
	}
	if a.dynKwargs != nil {
		v, err := a.dynKwargs.eval(st, f)
		if err != nil {
			return nil, nil, err
		}
		d, ok := v.(*Dict)
		if !ok {
			return nil, nil, typeErr("argument after ** must be a mapping, not %s", typeName(v))
		}
		given := kwargs // a dict has each of its own names once
		if err := st.step(len(d.entries) * (1 + len(given))); err != nil {
			return nil, nil, err
		}
		for _, e := range d.entries {
			name, ok := textOf(e.key)
			if !ok {
				return nil, nil, typeErr("keywords must be strings")
			}
			for _, k := range given {
				if k.name == name {
					return nil, nil, typeErr("got multiple values for keyword argument '%s'", name)
				}
			}
			kwargs = append(kwargs, kwarg{name, e.val})
		}
	}
	return args, kwargs, nil
}

func (n *callExpr) eval(st *state, f *frame) (Value, error) { return n.invoke(st, f, nil) }

// invoke calls; a call block passes itself along as caller.
func (n *callExpr) invoke(st *state, f *frame, caller *macro) (Value, error) {
	fn, err := n.fn.eval(st, f)
	if err != nil {
		return nil, err
	}
	args, kwargs, err := n.arguments.eval(st, f)
	if err != nil {
		return nil, err
	}
	if caller != nil {
		kwargs = append(kwargs, kwarg{"caller", caller})
	}
	if err := st.step(1); err != nil {
		return nil, err
	}
	v, err := st.call(fn, args, kwargs)
	if err != nil {
		return nil, at(err, n.line)
	}
	return v, nil
}

// callable is what can be called.
type callable interface {
	call(st *state, args []Value, kwargs []kwarg) (Value, error)
}

func (st *state) call(fn Value, args []Value, kwargs []kwarg) (Value, error) {
	switch c := fn.(type) {
	case callable:
		return c.call(st, args, kwargs)
	case *Undefined:
		return nil, c.fail(st)
	case *loop:
		if c.again == nil {
			return nil, typeErr("The loop must have the 'recursive' marker to be called recursively.")
		}
		if len(args) != 1 || len(kwargs) > 0 {
			return nil, typeErr("loop() takes exactly one argument")
		}
		return c.again(st, args[0])
	}
	return nil, typeErr("'%s' object is not callable", typeName(fn))
}

func (n *filterExpr) eval(st *state, f *frame) (Value, error) {
	var v Value = st.captured
	var err error
	if n.x != nil {
		if v, err = n.x.eval(st, f); err != nil {
			return nil, err
		}
	}
	args, kwargs, err := n.arguments.eval(st, f)
	if err != nil {
		return nil, err
	}
	if n.f == nil {
		return nil, at(errf("TemplateRuntimeError", "No filter named '%s' found.", n.name), n.line)
	}
	if err := st.step(1); err != nil {
		return nil, err
	}
	if v, err = n.f.run(st, v, args, kwargs); err != nil {
		return nil, at(err, n.line)
	}
	return v, nil
}

func (n *testExpr) eval(st *state, f *frame) (Value, error) {
	v, err := n.x.eval(st, f)
	if err != nil {
		return nil, err
	}
	args, kwargs, err := n.arguments.eval(st, f)
	if err != nil {
		return nil, err
	}
	if n.t == nil {
		return nil, at(errf("TemplateRuntimeError", "No test named '%s' found.", n.name), n.line)
	}
	if err := st.step(1); err != nil {
		return nil, err
	}
	ok, err := n.t.run(st, v, args, kwargs)
	if err != nil {
		return nil, at(err, n.line)
	}
	return ok, nil
}
