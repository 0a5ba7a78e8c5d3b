package jinja

// postfix reads attributes, subscripts and calls.
func (p *parser) postfix(x expr) (expr, error) {
	var err error
	for n := 0; err == nil; n++ {
		if err := p.chain(n); err != nil {
			return nil, err
		}
		switch {
		case p.cur().is("."), p.cur().is("["):
			x, err = p.subscript(x)
		case p.cur().is("("):
			x, err = p.callOf(x)
		default:
			return x, nil
		}
	}
	return nil, err
}

// filterExpr reads filters, tests and calls of their results.
func (p *parser) filterExpr(x expr) (expr, error) {
	var err error
	for n := 0; err == nil; n++ {
		if err := p.chain(n); err != nil {
			return nil, err
		}
		switch t := p.cur(); {
		case t.is("|"):
			x, err = p.filters(x, false)
		case t.kind == tokName && t.text == "is":
			x, err = p.test(x)
		case t.is("("):
			x, err = p.callOf(x)
		default:
			return x, nil
		}
	}
	return nil, err
}

func (p *parser) subscript(x expr) (expr, error) {
	if p.next().text == "." {
		t := p.next()
		switch {
		case t.kind == tokName:
			return &attrExpr{x: x, name: t.text}, nil
		case t.kind == tokNumber && isInt(t.num):
			return &indexExpr{x, &constExpr{t.num}}, nil
		}
		return nil, syntaxErr(t.line, "expected name or number")
	}
	var items []expr
	for !p.cur().is("]") {
		if items != nil {
			if err := p.expect(","); err != nil {
				return nil, err
			}
		}
		it, err := p.subscribed(x)
		if err != nil {
			return nil, err
		}
		items = append(items, it)
	}
	if err := p.expect("]"); err != nil {
		return nil, err
	}
	if len(items) == 1 {
		if s, ok := items[0].(*sliceExpr); ok && s.x == x {
			return s, nil
		}
		return &indexExpr{x, items[0]}, nil
	}
	for _, it := range items {
		if s, ok := it.(*sliceExpr); ok && s.x == x {
			return nil, p.fail("a slice among several subscripts is not supported")
		}
	}
	return &indexExpr{x, &tupleExpr{items: items, line: p.cur().line}}, nil
}

func (p *parser) subscribed(x expr) (expr, error) {
	s := &sliceExpr{x: x}
	var err error
	if !p.cur().is(":") {
		if s.start, err = p.expression(true); err != nil || !p.cur().is(":") {
			return s.start, err
		}
	}
	p.next()
	ends := func() bool { return p.cur().is("]") || p.cur().is(",") || p.cur().is(":") }
	if !ends() {
		if s.stop, err = p.expression(true); err != nil {
			return nil, err
		}
	}
	if p.skip(":") && !ends() {
		s.step, err = p.expression(true)
	}
	return s, err
}

func (p *parser) args() (a arguments, err error) {
	line := p.cur().line
	if err := p.expect("("); err != nil {
		return a, err
	}
	bad := func() error { return syntaxErr(line, "invalid syntax for function call expression") }
	for first := true; !p.cur().is(")"); first = false {
		if !first {
			if err := p.expect(","); err != nil {
				return a, err
			}
			if p.cur().is(")") {
				break
			}
		}
		switch t := p.cur(); {
		case t.is("*"):
			if a.dynArgs != nil || a.dynKwargs != nil {
				return a, bad()
			}
			p.next()
			a.dynArgs, err = p.expression(true)
		case t.is("**"):
			if a.dynKwargs != nil {
				return a, bad()
			}
			p.next()
			a.dynKwargs, err = p.expression(true)
		case t.kind == tokName && p.look().is("="):
			if a.dynKwargs != nil {
				return a, bad()
			}
			for _, k := range a.kwargs {
				if k.name == t.text {
					return a, p.fail("keyword argument repeated: %s", t.text)
				}
			}
			p.next()
			p.next()
			var x expr
			x, err = p.expression(true)
			a.kwargs = append(a.kwargs, keyword{t.text, x})
		default:
			if a.dynArgs != nil || a.dynKwargs != nil || a.kwargs != nil {
				return a, bad()
			}
			var x expr
			x, err = p.expression(true)
			a.args = append(a.args, x)
		}
		if err != nil {
			return a, err
		}
	}
	return a, p.expect(")")
}

func (p *parser) callOf(x expr) (expr, error) {
	line := p.cur().line
	a, err := p.args()
	return &callExpr{fn: x, arguments: a, line: line}, err
}

// dotted reads the name of a filter or test.
func (p *parser) dotted() (string, int, error) {
	t, err := p.expectKind(tokName)
	name := t.text
	for err == nil && p.skip(".") {
		var part token
		part, err = p.expectKind(tokName)
		name += "." + part.text
	}
	return name, t.line, err
}

// filters reads a row of them; inline starts without a bar, as after {% filter.
func (p *parser) filters(x expr, inline bool) (expr, error) {
	for n := 0; inline || p.skip("|"); n++ {
		inline = false
		name, line, err := p.dotted()
		if err != nil {
			return nil, err
		}
		if err := p.chain(n); err != nil {
			return nil, err
		}
		f := &filterExpr{x: x, name: name, line: line}
		if p.cur().is("(") {
			if f.arguments, err = p.args(); err != nil {
				return nil, err
			}
		}
		x = f
	}
	return x, nil
}

func (p *parser) test(x expr) (expr, error) {
	p.next()
	negated := p.skip("not")
	name, line, err := p.dotted()
	if err != nil {
		return nil, err
	}
	t := &testExpr{x: x, name: name, line: line}
	switch c := p.cur(); {
	case c.is("("):
		t.arguments, err = p.args()
	case c.kind == tokString, c.kind == tokNumber, c.is("["), c.is("{"),
		c.kind == tokName && c.text != "else" && c.text != "or" && c.text != "and":
		if c.is("is") {
			return nil, p.fail("You cannot chain multiple tests with is")
		}
		var arg expr
		if arg, err = p.primary(false); err == nil {
			arg, err = p.postfix(arg)
		}
		t.args = []expr{arg}
	}
	if err != nil {
		return nil, err
	}
	if negated {
		return &notExpr{t}, nil
	}
	return t, nil
}
