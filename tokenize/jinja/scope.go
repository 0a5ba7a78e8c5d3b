package jinja

import "sort"

// Which variable a name means is decided before rendering, as jinja2's compiler
// decides it, since templates rely on the outcome:
//
//   - loops, macros, with, set blocks, filter blocks and call blocks open a
//     scope; if does not.
//   - a scope that sets a name has a variable of its own, which on entry (for a
//     loop: in every round) is a copy of the outer one. What it sets is gone
//     afterwards.
//   - a name only read is the nearest outer variable that has it; if no scope
//     has, it is looked up among the caller's variables when the outermost scope
//     that mentions it is entered.
//   - a macro sees the variables around its definition as they are when it is
//     called.

// layout is a run-time frame in the making: the template, a macro or a
// recursive loop. Its variables are told apart by the depth of their scope.
type layout struct {
	up    *layout
	slots map[ident]int
}

type ident struct {
	fn    *layout
	level int
	test  bool // belongs to the test of a loop
	name  string
}

func (fn *layout) slot(id ident) int {
	if n, ok := fn.slots[id]; ok {
		return n
	}
	n := len(fn.slots)
	fn.slots[id] = n
	return n
}

type symLoad struct {
	kind loadKind
	from ident
}

// symbols are the names one scope knows.
type symbols struct {
	parent *symbols
	fn     *layout
	level  int
	test   bool
	soft   bool // inside an if: an unknown filter fails only when reached
	refs   map[string]ident
	loads  map[ident]symLoad
	stores map[string]bool
}

func (s *symbols) inner(fn *layout) *symbols {
	return &symbols{
		parent: s, fn: fn, level: s.level + 1,
		refs: map[string]ident{}, loads: map[ident]symLoad{}, stores: map[string]bool{},
	}
}

func (s *symbols) branch() *symbols {
	c := *s
	c.refs, c.loads, c.stores = map[string]ident{}, map[ident]symLoad{}, map[string]bool{}
	c.merge(s)
	return &c
}

func (s *symbols) merge(o *symbols) {
	for k, v := range o.refs {
		s.refs[k] = v
	}
	for k, v := range o.loads {
		s.loads[k] = v
	}
	for k := range o.stores {
		s.stores[k] = true
	}
}

func (s *symbols) define(name string, kind loadKind, from ident) ident {
	id := ident{s.fn, s.level, s.test, name}
	s.refs[name] = id
	s.loads[id] = symLoad{kind, from}
	return id
}

func (s *symbols) find(name string) (ident, bool) {
	for ; s != nil; s = s.parent {
		if id, ok := s.refs[name]; ok {
			return id, true
		}
	}
	return ident{}, false
}

func (s *symbols) load(name string) {
	if _, ok := s.find(name); !ok {
		s.define(name, loadResolve, ident{})
	}
}

func (s *symbols) store(name string) {
	s.stores[name] = true
	if _, ok := s.refs[name]; ok {
		return
	}
	if outer, ok := s.parent.find(name); ok {
		s.define(name, loadAlias, outer)
		return
	}
	s.define(name, loadUndefined, ident{})
}

func (s *symbols) param(name string) ident {
	s.stores[name] = true
	return s.define(name, loadParam, ident{})
}

// join takes over what the branches of an if know. A name that only some of them
// set keeps, in the others, the value from outside.
func (s *symbols) join(branches ...*symbols) {
	set := map[string]bool{}
	for _, b := range branches {
		for name := range b.stores {
			if !s.stores[name] {
				set[name] = true
			}
		}
	}
	for _, b := range branches {
		s.merge(b)
	}
	for name := range set {
		id, _ := s.find(name)
		if outer, ok := s.parent.find(name); ok {
			s.loads[id] = symLoad{loadAlias, outer}
		} else {
			s.loads[id] = symLoad{loadResolve, ident{}}
		}
	}
}

// First pass, once per scope: which names does it mention?

func (s *symbols) visit(body []stmt) {
	for _, n := range body {
		s.visitStmt(n)
	}
}

func (s *symbols) visitStmt(n stmt) {
	switch n := n.(type) {
	case *outputStmt:
		s.names(n.x)
	case *setStmt:
		s.names(n.value, n.target)
	case *setBlock:
		s.names(n.target)
	case *ifStmt:
		s.visitIf(n.tests, n.bodies, n.orelse)
	case *forStmt:
		s.names(n.iter)
	case *macroStmt:
		s.store(n.def.name)
	case *callBlock:
		if n.call != nil {
			s.names(n.call)
		}
	case *filterBlock:
		s.names(n.filter)
	case *withStmt:
		s.names(n.values...)
	}
}

func (s *symbols) visitIf(tests []expr, bodies [][]stmt, orelse []stmt) {
	s.names(tests[0])
	body, elifs, last := s.branch(), s.branch(), s.branch()
	body.visit(bodies[0])
	for i := 1; i < len(tests); i++ {
		elifs.visitIf(tests[i:i+1], bodies[i:i+1], nil)
	}
	last.visit(orelse)
	s.join(body, elifs, last)
}

func (s *symbols) names(xs ...expr) {
	for _, x := range xs {
		walkExpr(x, func(n expr) {
			switch n := n.(type) {
			case *nameExpr:
				switch n.mode {
				case modeLoad:
					s.load(n.name)
				case modeStore:
					s.store(n.name)
				case modeParam:
					s.param(n.name)
				}
			case *nsTarget:
				s.load(n.name)
			}
		})
	}
}

// params declares the names of a target as given from outside.
func (s *symbols) params(target expr) {
	walkExpr(target, func(n expr) {
		if n, ok := n.(*nameExpr); ok {
			s.param(n.name)
		}
	})
}

// Second pass: give every name its slot and every scope its loads.

type resolver struct {
	err error
}

func (t *Template) resolve() error {
	r := &resolver{}
	fn := &layout{slots: map[ident]int{}}
	s := &symbols{fn: fn, refs: map[string]ident{}, loads: map[ident]symLoad{}, stores: map[string]bool{}}
	s.visit(t.body)
	r.body(t.body, s, false)
	t.scope = r.scope(s)
	t.slots = len(fn.slots)
	return r.err
}

func (r *resolver) fail(line int, kind, format string, args ...any) {
	if r.err == nil {
		r.err = at(errf(kind, format, args...), line)
	}
}

// slotOf addresses a variable as seen from a function.
func slotOf(id ident, from *layout) slot {
	up := 0
	for fn := from; fn != id.fn; fn = fn.up {
		up++
	}
	return slot{up, id.fn.slot(id)}
}

// scope lists what to do on entering and leaving s, in a fixed order.
func (r *resolver) scope(s *symbols) scope {
	var sc scope
	for id, l := range s.loads {
		dst := id.fn.slot(id)
		sc.clear = append(sc.clear, dst)
		switch l.kind {
		case loadAlias:
			sc.loads = append(sc.loads, load{dst: dst, kind: l.kind, from: slotOf(l.from, s.fn)})
		case loadResolve:
			sc.loads = append(sc.loads, load{dst: dst, kind: l.kind, name: id.name})
		case loadUndefined:
			sc.loads = append(sc.loads, load{dst: dst, kind: l.kind})
		}
	}
	sort.Ints(sc.clear)
	sort.Slice(sc.loads, func(i, j int) bool { return sc.loads[i].dst < sc.loads[j].dst })
	return sc
}

// body resolves statements; inLoop says whether break has a loop to leave.
func (r *resolver) body(body []stmt, s *symbols, inLoop bool) {
	for _, n := range body {
		r.stmt(n, s, inLoop)
	}
}

func (r *resolver) stmt(n stmt, s *symbols, inLoop bool) {
	switch n := n.(type) {
	case *outputStmt:
		r.exprs(s, n.x)
	case *setStmt:
		r.exprs(s, n.target, n.value)
		walkExpr(n.target, func(x expr) {
			if ns, ok := x.(*nsTarget); ok {
				n.refs = append(n.refs, ns)
			}
		})
	case *setBlock:
		in := s.inner(s.fn)
		in.visit(n.body)
		if n.filter != nil {
			in.names(n.filter)
		}
		r.body(n.body, in, inLoop)
		r.exprs(s, n.target)
		if n.filter != nil {
			r.exprs(in, n.filter)
		}
		n.scope = r.scope(in)
	case *ifStmt:
		soft := *s
		soft.soft = true
		r.exprs(&soft, n.tests...)
		for _, b := range n.bodies {
			r.body(b, &soft, inLoop)
		}
		r.body(n.orelse, &soft, inLoop)
	case *forStmt:
		r.forLoop(n, s)
	case *macroStmt:
		r.macro(n.def, s)
		id, _ := s.find(n.def.name)
		n.dst = slotOf(id, s.fn)
	case *callBlock:
		r.macro(n.def, s)
		if n.call != nil {
			r.exprs(s, n.call)
		}
	case *filterBlock:
		in := s.inner(s.fn)
		in.visit(n.body)
		in.names(n.filter)
		r.body(n.body, in, inLoop)
		r.exprs(in, n.filter)
		n.scope = r.scope(in)
	case *withStmt:
		in := s.inner(s.fn)
		for _, t := range n.targets {
			in.params(t)
		}
		in.visit(n.body)
		r.exprs(in, n.targets...)
		r.exprs(s, n.values...)
		r.body(n.body, in, inLoop)
		n.scope = r.scope(in)
	case *jumpStmt:
		if !inLoop {
			r.fail(n.line, "TemplateSyntaxError", "'break' or 'continue' outside of a loop")
		}
	}
}

func (r *resolver) forLoop(n *forStmt, s *symbols) {
	fn := s.fn
	if n.recursive {
		fn = &layout{up: s.fn, slots: map[ident]int{}}
	}
	loopScope, testScope, elseScope := s.inner(fn), s.inner(fn), s.inner(fn)
	if n.recursive || mentions(n.body, "loop") {
		n.loopSlot = fn.slot(loopScope.param("loop"))
	}
	loopScope.params(n.target)
	loopScope.visit(n.body)
	elseScope.visit(n.orelse)
	storesLoop := func(x expr) {
		if name, ok := x.(*nameExpr); ok && name.name == "loop" && name.mode == modeStore {
			r.fail(name.line, "TemplateAssertionError", "Can't assign to special loop variable in for-loop target")
		}
	}
	walkExpr(n.target, storesLoop)
	walkStmts(n.body, storesLoop)
	walkStmts(n.orelse, storesLoop)

	if n.test != nil {
		testScope.test = true
		testScope.params(n.testTarget)
		testScope.names(n.test)
		r.exprs(testScope, n.testTarget, n.test)
		n.testScope = r.scope(testScope)
	}
	r.exprs(loopScope, n.target)
	r.exprs(s, n.iter)
	r.body(n.body, loopScope, true)
	r.body(n.orelse, elseScope, false)
	n.bodyScope, n.elseScope = r.scope(loopScope), r.scope(elseScope)
	n.slots = len(fn.slots)
}

func (r *resolver) macro(def *macroDef, s *symbols) {
	fn := &layout{up: s.fn, slots: map[ident]int{}}
	in := s.inner(fn)
	analyze := func() {
		for _, p := range def.params {
			in.param(p.name)
		}
		in.names(def.defaults...)
		in.visit(def.body)
	}
	analyze()
	explicit := map[string]int{}
	for i, p := range def.params {
		explicit[p.name] = i
	}
	implicit := func(name string) int {
		if !mentions(def.body, name) {
			return -1
		}
		if i, ok := explicit[name]; ok {
			if name == "caller" && i < len(def.params)-len(def.defaults) {
				r.fail(def.line, "TemplateAssertionError",
					`When defining macros or call blocks the special "caller" argument must be omitted or be given a default.`)
			}
			return -1
		}
		return fn.slot(in.param(name))
	}
	def.caller, def.kwargs, def.varargs = implicit("caller"), implicit("kwargs"), implicit("varargs")
	def.hasCaller = mentions(def.body, "caller")
	analyze()
	for _, p := range def.params {
		r.exprs(in, p)
	}
	r.exprs(in, def.defaults...)
	r.body(def.body, in, false)
	def.scope = r.scope(in)
	def.slots = len(fn.slots)
}

// exprs gives the names in expressions their slots and looks up filters and tests.
func (r *resolver) exprs(s *symbols, xs ...expr) {
	for _, x := range xs {
		r.expr(s, x)
	}
}

func (r *resolver) expr(s *symbols, x expr) {
	switch n := x.(type) {
	case *nameExpr:
		id, ok := s.find(n.name)
		if !ok { // only in a filter's arguments, where jinja2 gives up
			r.fail(n.line, "TemplateAssertionError", "the name '%s' cannot be used here", n.name)
			return
		}
		n.ref = slotOf(id, s.fn)
	case *nsTarget:
		id, _ := s.find(n.name)
		n.ref = slotOf(id, s.fn)
	case *condExpr:
		soft := *s
		soft.soft = true
		s = &soft
	case *filterExpr:
		if n.f = filters[n.name]; n.f == nil {
			if refused[n.name] {
				r.fail(n.line, "TemplateAssertionError", "the filter '%s' is not supported in a chat template", n.name)
			} else if !s.soft {
				r.fail(n.line, "TemplateAssertionError", "No filter named '%s'.", n.name)
			}
		}
	case *testExpr:
		if n.t = tests[n.name]; n.t == nil && !s.soft {
			r.fail(n.line, "TemplateAssertionError", "No test named '%s'.", n.name)
		}
	}
	eachChild(x, func(c expr) { r.expr(s, c) })
}
