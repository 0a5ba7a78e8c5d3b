package jinja

// Template is a parsed template. It never changes: any number of goroutines
// may render it at once.
type Template struct {
	name  string
	body  []stmt
	scope scope
	slots int
}

// Name is the name given to Parse.
func (t *Template) Name() string { return t.name }

const (
	maxSource  = 4 << 20
	maxNesting = 400  // of brackets and blocks in one another, two or so a level
	maxChain   = 1000 // of operators, filters or attributes in a row

	maxMerges = 1 << 19 // variables times branches of ifs: each branch knows all of them for itself
)

// Parse reads a template. name stands for it in errors. An error is an *Error
// of kind TemplateSyntaxError or TemplateAssertionError.
func Parse(name, src string) (*Template, error) {
	t, err := parse(src)
	if err != nil {
		return nil, in(err, name)
	}
	t.name = name
	return t, nil
}

func parse(src string) (*Template, error) {
	if len(src) > maxSource {
		return nil, limitErr("the template is longer than %d bytes", maxSource)
	}
	toks, err := lex(src)
	if err != nil {
		return nil, err
	}
	p := &parser{toks: toks}
	body, err := p.body(nil)
	if err != nil {
		return nil, err
	}
	t := &Template{body: body}
	if names := distinctNames(body); names*p.branches > maxMerges {
		return nil, limitErr("the template has %d variables and %d branches, which are too many together", names, p.branches)
	}
	return t, t.resolve()
}

// distinctNames counts the variables that expressions name.
func distinctNames(body []stmt) int {
	names := map[string]bool{}
	walkStmts(body, func(x expr) {
		if n, ok := x.(*nameExpr); ok {
			names[n.name] = true
		}
	})
	return len(names)
}

// parser walks the tokens by recursive descent, in the order of precedence and
// with the oddities of jinja2's.
type parser struct {
	toks  []token
	i     int
	depth int

	branches int        // of ifs
	ends     [][]string // end tags being waited for
}

func (p *parser) cur() token  { return p.toks[p.i] }
func (p *parser) look() token { return p.toks[min(p.i+1, len(p.toks)-1)] }

func (p *parser) next() token {
	t := p.toks[p.i]
	if t.kind != tokEOF {
		p.i++
	}
	return t
}

// skip moves past an operator or keyword if it is next.
func (p *parser) skip(text string) bool {
	if p.cur().is(text) {
		p.i++
		return true
	}
	return false
}

func (p *parser) expect(text string) error {
	if !p.skip(text) {
		return p.fail("expected token '%s', got '%s'", text, p.cur().describe())
	}
	return nil
}

func (p *parser) expectKind(kind tokenKind) (token, error) {
	t := p.cur()
	if t.kind != kind {
		return t, p.fail("expected token '%s', got '%s'", token{kind: kind, text: "name"}.describe(), t.describe())
	}
	return p.next(), nil
}

func (p *parser) fail(format string, args ...any) error {
	return syntaxErr(p.cur().line, format, args...)
}

func (p *parser) nest() error {
	if p.depth++; p.depth > maxNesting {
		return p.fail("nested more than %d deep", maxNesting)
	}
	return nil
}

// body reads statements up to one of the end tags, which is left current
// (after its "{%"); nil means to the end of the template.
func (p *parser) body(ends []string) ([]stmt, error) {
	if err := p.nest(); err != nil {
		return nil, err
	}
	defer func() { p.depth-- }()
	if ends != nil {
		p.ends = append(p.ends, ends)
		defer func() { p.ends = p.ends[:len(p.ends)-1] }()
	}
	var out []stmt
	for {
		t := p.next()
		switch t.kind {
		case tokData:
			out = append(out, &dataStmt{text: t.text})
		case tokVarBegin:
			line := p.cur().line
			x, err := p.tuple(tupleOptions{cond: true})
			if err != nil {
				return nil, err
			}
			if _, err := p.expectKind(tokVarEnd); err != nil {
				return nil, err
			}
			out = append(out, &outputStmt{x: x, line: line})
		case tokBlockBegin:
			for _, e := range ends {
				if p.cur().is(e) {
					return out, nil
				}
			}
			s, err := p.statement()
			if err != nil {
				return nil, err
			}
			out = append(out, s...)
			if _, err := p.expectKind(tokBlockEnd); err != nil {
				return nil, err
			}
		default:
			if ends != nil {
				return nil, p.fail("Unexpected end of template. Jinja was looking for the following tags: %s.", quoteAll(ends))
			}
			return out, nil
		}
	}
}

func quoteAll(names []string) string {
	s := ""
	for i, n := range names {
		if i > 0 {
			s += " or "
		}
		s += "'" + n + "'"
	}
	return s
}

// block reads the end of an opening tag and the body after it; drop also reads
// the end tag's name.
func (p *parser) block(drop bool, ends ...string) ([]stmt, error) {
	p.skip(":")
	if _, err := p.expectKind(tokBlockEnd); err != nil {
		return nil, err
	}
	body, err := p.body(ends)
	if err == nil && drop {
		p.next()
	}
	return body, err
}

func (p *parser) statement() ([]stmt, error) {
	t := p.cur()
	if t.kind != tokName {
		return nil, p.fail("tag name expected")
	}
	var s stmt
	var err error
	switch t.text {
	case "for":
		s, err = p.forLoop()
	case "if":
		s, err = p.ifElse()
	case "set":
		s, err = p.set()
	case "print":
		return p.print()
	case "macro":
		s, err = p.macro()
	case "call":
		s, err = p.call()
	case "filter":
		s, err = p.filterBlock()
	case "with":
		s, err = p.with()
	case "generation":
		p.next()
		var body []stmt
		body, err = p.block(true, "endgeneration")
		s = &callBlock{def: &macroDef{body: body, line: t.line}, line: t.line}
	case "break", "continue":
		p.next()
		to := breakLoop
		if t.text == "continue" {
			to = continueLoop
		}
		s = &jumpStmt{to: to, line: t.line}
	case "include", "import", "from", "extends", "block", "autoescape":
		return nil, p.fail("the tag '%s' is not supported in a chat template", t.text)
	default:
		if len(p.ends) > 0 {
			return nil, p.fail("Encountered unknown tag '%s'. Jinja was looking for the following tags: %s.",
				t.text, quoteAll(p.ends[len(p.ends)-1]))
		}
		return nil, p.fail("Encountered unknown tag '%s'.", t.text)
	}
	if err != nil {
		return nil, err
	}
	return []stmt{s}, nil
}

func (p *parser) print() ([]stmt, error) {
	p.next()
	var out []stmt
	for p.cur().kind != tokBlockEnd {
		if out != nil {
			if err := p.expect(","); err != nil {
				return nil, err
			}
		}
		line := p.cur().line
		x, err := p.expression(true)
		if err != nil {
			return nil, err
		}
		out = append(out, &outputStmt{x: x, line: line})
	}
	return out, nil
}

func (p *parser) set() (stmt, error) {
	line := p.next().line
	target, err := p.target(tupleOptions{namespace: true})
	if err != nil {
		return nil, err
	}
	if p.skip("=") {
		value, err := p.tuple(tupleOptions{cond: true})
		return &setStmt{target: target, value: value, line: line}, err
	}
	s := &setBlock{target: target, line: line}
	if p.cur().is("|") {
		f, err := p.filters(nil, false)
		if err != nil {
			return nil, err
		}
		s.filter = f.(*filterExpr)
	}
	s.body, err = p.block(true, "endset")
	return s, err
}

func (p *parser) ifElse() (stmt, error) {
	s := &ifStmt{line: p.next().line}
	for {
		test, err := p.tuple(tupleOptions{})
		if err != nil {
			return nil, err
		}
		body, err := p.block(false, "elif", "else", "endif")
		if err != nil {
			return nil, err
		}
		s.tests, s.bodies = append(s.tests, test), append(s.bodies, body)
		p.branches++
		switch p.next().text {
		case "elif":
			continue
		case "else":
			s.orelse, err = p.block(true, "endif")
		}
		return s, err
	}
}

func (p *parser) forLoop() (stmt, error) {
	s := &forStmt{line: p.next().line, loopSlot: -1}
	var err error
	if s.target, err = p.target(tupleOptions{}); err != nil {
		return nil, err
	}
	if err := p.expect("in"); err != nil {
		return nil, err
	}
	if s.iter, err = p.tuple(tupleOptions{}); err != nil {
		return nil, err
	}
	if p.skip("if") {
		if s.test, err = p.expression(true); err != nil {
			return nil, err
		}
		s.testTarget = cloneTarget(s.target)
	}
	s.recursive = p.skip("recursive")
	if s.body, err = p.block(false, "endfor", "else"); err != nil {
		return nil, err
	}
	if p.next().text == "else" {
		s.orelse, err = p.block(true, "endfor")
	}
	return s, err
}

// cloneTarget copies an assignment target, whose names will get other slots.
func cloneTarget(x expr) expr {
	switch x := x.(type) {
	case *nameExpr:
		c := *x
		return &c
	case *tupleExpr:
		c := &tupleExpr{line: x.line}
		for _, it := range x.items {
			c.items = append(c.items, cloneTarget(it))
		}
		return c
	}
	return x
}

func (p *parser) with() (stmt, error) {
	s := &withStmt{line: p.next().line}
	for p.cur().kind != tokBlockEnd {
		if s.targets != nil {
			if err := p.expect(","); err != nil {
				return nil, err
			}
		}
		target, err := p.target(tupleOptions{})
		if err != nil {
			return nil, err
		}
		setMode(target, modeParam)
		if err := p.expect("="); err != nil {
			return nil, err
		}
		value, err := p.expression(true)
		if err != nil {
			return nil, err
		}
		s.targets, s.values = append(s.targets, target), append(s.values, value)
	}
	var err error
	s.body, err = p.block(true, "endwith")
	return s, err
}

func (p *parser) macro() (stmt, error) {
	line := p.next().line
	name, err := p.targetName()
	if err != nil {
		return nil, err
	}
	def := &macroDef{name: name.name, line: line}
	if err := p.signature(def); err != nil {
		return nil, err
	}
	def.body, err = p.block(true, "endmacro")
	return &macroStmt{def: def, line: line}, err
}

func (p *parser) signature(def *macroDef) error {
	if err := p.expect("("); err != nil {
		return err
	}
	for !p.cur().is(")") {
		if def.params != nil {
			if err := p.expect(","); err != nil {
				return err
			}
		}
		arg, err := p.targetName()
		if err != nil {
			return err
		}
		for _, other := range def.params {
			if other.name == arg.name {
				return syntaxErr(arg.line, "duplicate argument '%s'", arg.name)
			}
		}
		arg.mode = modeParam
		if p.skip("=") {
			x, err := p.expression(true)
			if err != nil {
				return err
			}
			def.defaults = append(def.defaults, x)
		} else if def.defaults != nil {
			return p.fail("non-default argument follows default argument")
		}
		def.params = append(def.params, arg)
	}
	return p.expect(")")
}

func (p *parser) call() (stmt, error) {
	s := &callBlock{line: p.next().line}
	s.def = &macroDef{line: s.line}
	if p.cur().is("(") {
		if err := p.signature(s.def); err != nil {
			return nil, err
		}
	}
	x, err := p.expression(true)
	if err != nil {
		return nil, err
	}
	call, ok := x.(*callExpr)
	if !ok {
		return nil, syntaxErr(s.line, "expected call")
	}
	s.call = call
	s.def.body, err = p.block(true, "endcall")
	return s, err
}

func (p *parser) filterBlock() (stmt, error) {
	s := &filterBlock{line: p.next().line}
	f, err := p.filters(nil, true)
	if err != nil {
		return nil, err
	}
	s.filter = f.(*filterExpr)
	s.body, err = p.block(true, "endfilter")
	return s, err
}
