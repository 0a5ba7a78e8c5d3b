package jinja

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
		if err := st.open(f, n.bodyScope); err != nil {
			return at(err, n.line)
		}
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
	if err := st.open(f, n.elseScope); err != nil {
		return at(err, n.line)
	}
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
			if err := st.open(f, n.testScope); err != nil {
				return nil, false, err
			}
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
