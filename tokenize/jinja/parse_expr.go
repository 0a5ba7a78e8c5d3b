package jinja

// tupleOptions say how a list of expressions is read.
type tupleOptions struct {
	cond        bool   // x if y else z allowed
	simple      bool   // names and literals only: an assignment target
	namespace   bool   // ns.attr allowed in a target
	parentheses bool   // in brackets, where () is a tuple
}

func (p *parser) tuple(o tupleOptions) (expr, error) {
	line := p.cur().line
	var items []expr
	isTuple := false
	for {
		if len(items) > 0 {
			if err := p.expect(","); err != nil {
				return nil, err
			}
		}
		t := p.cur()
		if t.kind == tokVarEnd || t.kind == tokBlockEnd || t.is(")") {
			break
		}
		var x expr
		var err error
		if o.simple {
			x, err = p.primary(o.namespace)
		} else {
			x, err = p.expression(o.cond)
		}
		if err != nil {
			return nil, err
		}
		items = append(items, x)
		if !p.cur().is(",") {
			break
		}
		isTuple = true
	}
	if !isTuple {
		if len(items) > 0 {
			return items[0], nil
		}
		if !o.parentheses {
			return nil, p.fail("Expected an expression, got '%s'", p.cur().describe())
		}
	}
	return &tupleExpr{items: items, line: line}, nil
}

// target reads what can be assigned to.
func (p *parser) target(o tupleOptions) (expr, error) {
	o.simple = true
	line := p.cur().line
	x, err := p.tuple(o)
	if err != nil {
		return nil, err
	}
	if !setMode(x, modeStore) {
		return nil, syntaxErr(line, "can't assign to this expression")
	}
	return x, nil
}

func (p *parser) targetName() (*nameExpr, error) {
	t, err := p.expectKind(tokName)
	if err != nil {
		return nil, err
	}
	switch t.text {
	case "true", "false", "none", "True", "False", "None":
		return nil, syntaxErr(t.line, "can't assign to '%s'", t.text)
	}
	return &nameExpr{name: t.text, mode: modeStore, line: t.line}, nil
}

// setMode marks the names of a target; false if it cannot be one.
func setMode(x expr, mode nameMode) bool {
	switch x := x.(type) {
	case *nameExpr:
		x.mode = mode
		return true
	case *nsTarget:
		return true
	case *tupleExpr:
		for _, it := range x.items {
			if !setMode(it, mode) {
				return false
			}
		}
		return true
	}
	return false
}

func (p *parser) expression(cond bool) (expr, error) {
	if err := p.nest(); err != nil {
		return nil, err
	}
	defer func() { p.depth-- }()
	if !cond {
		return p.or()
	}
	line := p.cur().line
	x, err := p.or()
	for n := 0; err == nil && p.skip("if"); n++ {
		c := &condExpr{then: x, line: line}
		if c.test, err = p.or(); err != nil {
			return nil, err
		}
		if p.skip("else") {
			if c.orelse, err = p.expression(true); err != nil {
				return nil, err
			}
		}
		if err := p.chain(n); err != nil {
			return nil, err
		}
		x, line = c, p.cur().line
	}
	return x, err
}

// chain bounds how deep a row of operators makes the tree.
func (p *parser) chain(n int) error {
	if n > maxChain {
		return p.fail("more than %d operators in a row", maxChain)
	}
	return nil
}

// binary reads a row of operators of one level, joined from the left.
func (p *parser) binary(operand func() (expr, error), join func(op string, l, r expr) expr, ops ...string) (expr, error) {
	x, err := operand()
	for n := 0; err == nil; n++ {
		t := p.cur()
		found := false
		for _, op := range ops {
			found = found || t.is(op)
		}
		if !found {
			return x, nil
		}
		p.next()
		if err := p.chain(n); err != nil {
			return nil, err
		}
		var r expr
		if r, err = operand(); err == nil {
			x = join(t.text, x, r)
		}
	}
	return nil, err
}

func (p *parser) or() (expr, error) {
	return p.binary(p.and, func(_ string, l, r expr) expr { return &orExpr{l, r} }, "or")
}

func (p *parser) and() (expr, error) {
	return p.binary(p.not, func(_ string, l, r expr) expr { return &andExpr{l, r} }, "and")
}

func (p *parser) not() (expr, error) {
	if !p.cur().is("not") || p.cur().kind != tokName {
		return p.compare()
	}
	if err := p.nest(); err != nil {
		return nil, err
	}
	defer func() { p.depth-- }()
	p.next()
	x, err := p.not()
	return &notExpr{x}, err
}

func (p *parser) compare() (expr, error) {
	first, err := p.sum()
	if err != nil {
		return nil, err
	}
	c := &compareExpr{first: first}
	for {
		t := p.cur()
		op := ""
		switch {
		case t.kind == tokOp:
			switch t.text {
			case "==", "!=", "<", "<=", ">", ">=":
				op = t.text
				p.next()
			}
		case t.is("in"):
			op = "in"
			p.next()
		case t.is("not") && p.look().kind == tokName && p.look().is("in"):
			op = "not in"
			p.next()
			p.next()
		}
		if op == "" {
			break
		}
		x, err := p.sum()
		if err != nil {
			return nil, err
		}
		c.ops, c.rest = append(c.ops, op), append(c.rest, x)
	}
	if c.ops == nil {
		return first, nil
	}
	return c, nil
}

func newBinary(op string, l, r expr) expr { return &binaryExpr{op, l, r} }

func (p *parser) sum() (expr, error) { return p.binary(p.tilde, newBinary, "+", "-") }

func (p *parser) tilde() (expr, error) {
	x, err := p.product()
	if err != nil || !p.cur().is("~") {
		return x, err
	}
	c := &concatExpr{items: []expr{x}}
	for p.skip("~") {
		if x, err = p.product(); err != nil {
			return nil, err
		}
		c.items = append(c.items, x)
	}
	return c, nil
}

func (p *parser) product() (expr, error) { return p.binary(p.power, newBinary, "*", "/", "//", "%") }

func (p *parser) power() (expr, error) {
	return p.binary(func() (expr, error) { return p.unary(true) }, newBinary, "**")
}

func (p *parser) unary(filters bool) (expr, error) {
	if err := p.nest(); err != nil {
		return nil, err
	}
	defer func() { p.depth-- }()
	t := p.cur()
	var x expr
	var err error
	if t.is("-") || t.is("+") {
		p.next()
		if x, err = p.unary(false); err == nil {
			x = &unaryExpr{op: t.text, x: x}
		}
	} else {
		x, err = p.primary(false)
	}
	if err == nil {
		x, err = p.postfix(x)
	}
	if err == nil && filters {
		x, err = p.filterExpr(x)
	}
	return x, err
}

func (p *parser) primary(namespace bool) (expr, error) {
	t := p.cur()
	switch {
	case t.kind == tokName:
		p.next()
		switch t.text {
		case "true", "True":
			return &constExpr{true}, nil
		case "false", "False":
			return &constExpr{false}, nil
		case "none", "None":
			return &constExpr{nil}, nil
		}
		if namespace && p.skip(".") {
			attr, err := p.expectKind(tokName)
			return &nsTarget{name: t.text, attr: attr.text, line: t.line}, err
		}
		return &nameExpr{name: t.text, line: t.line}, nil
	case t.kind == tokString:
		s := ""
		for p.cur().kind == tokString {
			s += p.next().text
		}
		return &constExpr{s}, nil
	case t.kind == tokNumber:
		p.next()
		return &constExpr{t.num}, nil
	case t.is("("):
		p.next()
		x, err := p.tuple(tupleOptions{cond: true, parentheses: true})
		if err != nil {
			return nil, err
		}
		return x, p.expect(")")
	case t.is("["):
		p.next()
		items, err := p.items("]", nil)
		return &listExpr{items}, err
	case t.is("{"):
		p.next()
		d := &dictExpr{}
		var err error
		d.keys, err = p.items("}", func() error {
			if err := p.expect(":"); err != nil {
				return err
			}
			v, err := p.expression(true)
			d.vals = append(d.vals, v)
			return err
		})
		return d, err
	}
	return nil, p.fail("unexpected '%s'", t.describe())
}

// items reads expressions up to a bracket, each followed by what then reads.
func (p *parser) items(end string, then func() error) ([]expr, error) {
	var items []expr
	for !p.cur().is(end) {
		if items != nil {
			if err := p.expect(","); err != nil {
				return nil, err
			}
			if p.cur().is(end) {
				break
			}
		}
		x, err := p.expression(true)
		if err != nil {
			return nil, err
		}
		items = append(items, x)
		if then != nil {
			if err := then(); err != nil {
				return nil, err
			}
		}
	}
	return items, p.expect(end)
}

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
