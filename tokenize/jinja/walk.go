package jinja

// eachChild visits the expressions directly inside one, in order.
func eachChild(x expr, visit func(expr)) {
	each := func(xs ...expr) {
		for _, c := range xs {
			if c != nil {
				visit(c)
			}
		}
	}
	args := func(a *arguments) {
		each(a.args...)
		for _, k := range a.kwargs {
			visit(k.value)
		}
		each(a.dynArgs, a.dynKwargs)
	}
	switch n := x.(type) {
	case *tupleExpr:
		each(n.items...)
	case *listExpr:
		each(n.items...)
	case *dictExpr:
		for i := range n.keys {
			each(n.keys[i], n.vals[i])
		}
	case *condExpr:
		each(n.test, n.then, n.orelse)
	case *andExpr:
		each(n.l, n.r)
	case *orExpr:
		each(n.l, n.r)
	case *notExpr:
		each(n.x)
	case *compareExpr:
		each(n.first)
		each(n.rest...)
	case *binaryExpr:
		each(n.l, n.r)
	case *unaryExpr:
		each(n.x)
	case *concatExpr:
		each(n.items...)
	case *attrExpr:
		each(n.x)
	case *indexExpr:
		each(n.x, n.key)
	case *sliceExpr:
		each(n.x, n.start, n.stop, n.step)
	case *callExpr:
		each(n.fn)
		args(&n.arguments)
	case *filterExpr:
		each(n.x)
		args(&n.arguments)
	case *testExpr:
		each(n.x)
		args(&n.arguments)
	}
}

// walkExpr visits an expression and everything inside it.
func walkExpr(x expr, visit func(expr)) {
	visit(x)
	eachChild(x, func(c expr) { walkExpr(c, visit) })
}

// walkStmts visits every expression in statements, in the order they stand.
func walkStmts(body []stmt, visit func(expr)) {
	all := func(xs ...expr) {
		for _, x := range xs {
			walkExpr(x, visit)
		}
	}
	def := func(d *macroDef) {
		for _, p := range d.params {
			all(p)
		}
		all(d.defaults...)
		walkStmts(d.body, visit)
	}
	for _, n := range body {
		switch n := n.(type) {
		case *outputStmt:
			all(n.x)
		case *setStmt:
			all(n.target, n.value)
		case *setBlock:
			all(n.target)
			if n.filter != nil {
				all(n.filter)
			}
			walkStmts(n.body, visit)
		case *ifStmt:
			for i := range n.tests {
				all(n.tests[i])
				walkStmts(n.bodies[i], visit)
			}
			walkStmts(n.orelse, visit)
		case *forStmt:
			all(n.target, n.iter)
			walkStmts(n.body, visit)
			walkStmts(n.orelse, visit)
			if n.test != nil {
				all(n.test)
			}
		case *macroStmt:
			def(n.def)
		case *callBlock:
			if n.call != nil {
				all(n.call)
			}
			def(n.def)
		case *filterBlock:
			walkStmts(n.body, visit)
			all(n.filter)
		case *withStmt:
			all(n.targets...)
			all(n.values...)
			walkStmts(n.body, visit)
		}
	}
}

// mentions reports whether a body reads a name before anything in it declares
// it, whatever the scope: so jinja2 tells whether a loop needs its loop variable
// and a macro its caller.
func mentions(body []stmt, name string) bool {
	found, declared := false, false
	walkStmts(body, func(x expr) {
		if n, ok := x.(*nameExpr); ok && n.name == name {
			if n.mode == modeLoad && !declared {
				found = true
			} else if n.mode != modeLoad {
				declared = true
			}
		}
	})
	return found
}
