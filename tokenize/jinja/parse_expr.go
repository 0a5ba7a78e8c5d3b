package jinja

// tupleOptions say how a list of expressions is read.
type tupleOptions struct {
	cond        bool // x if y else z allowed
	simple      bool // names and literals only: an assignment target
	namespace   bool // ns.attr allowed in a target
	parentheses bool // in brackets, where () is a tuple
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
