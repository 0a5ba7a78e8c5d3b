package jinja

// The tree. Statements write text, expressions give values; scope.go fills in
// which slot each name means before anything runs.

type stmt interface {
	exec(st *state, f *frame) (control, error)
}

type expr interface {
	eval(st *state, f *frame) (Value, error)
}

// control says how a statement ended.
type control byte

const (
	proceed control = iota
	breakLoop
	continueLoop
)

// slot is where a variable lives: up frames out from the running one.
type slot struct{ up, idx int }

// load fills a slot when its scope is entered.
type load struct {
	dst  int
	kind loadKind
	from slot   // of loadAlias
	name string // of loadResolve
}

type loadKind byte

const (
	loadParam     loadKind = iota // given by who enters the scope
	loadResolve                   // looked up by name among what the template does not set
	loadAlias                     // copied from the outer variable it shadows
	loadUndefined                 // not set yet
)

// scope is what a block does on entry and exit to the slots it owns.
type scope struct {
	loads []load // on entry
	clear []int  // set back to missing on exit
}

type (
	dataStmt struct{ text string }

	outputStmt struct {
		x    expr
		line int
	}

	setStmt struct {
		target expr
		value  expr
		refs   []*nsTarget // must be namespaces before anything is assigned
		line   int
	}

	setBlock struct {
		target expr
		filter *filterExpr // of the captured text; may be nil
		body   []stmt
		scope  scope
		line   int
	}

	ifStmt struct {
		tests  []expr // if and elifs
		bodies [][]stmt
		orelse []stmt
		line   int
	}

	forStmt struct {
		target     expr
		iter       expr
		test       expr // may be nil
		testTarget expr // the target again, in the scope of the test
		body       []stmt
		orelse     []stmt
		recursive  bool
		loopSlot   int // of the loop variable, -1 when the body does not use it
		slots      int // recursive: size of its own frame

		bodyScope, testScope, elseScope scope

		line int
	}

	macroDef struct {
		name      string
		params    []*nameExpr
		defaults  []expr // of the last parameters
		body      []stmt
		scope     scope
		slots     int
		caller    int // slot of the implicit parameter, -1 when not used
		kwargs    int
		varargs   int
		hasCaller bool // takes a caller at all
		line      int
	}

	macroStmt struct {
		def  *macroDef
		dst  slot
		line int
	}

	callBlock struct {
		call *callExpr // nil for a generation block, which prints its body
		def  *macroDef
		line int
	}

	filterBlock struct {
		filter *filterExpr
		body   []stmt
		scope  scope
		line   int
	}

	withStmt struct {
		targets []expr
		values  []expr
		body    []stmt
		scope   scope
		line    int
	}

	jumpStmt struct {
		to   control
		line int
	}
)

type nameMode byte

const (
	modeLoad nameMode = iota
	modeStore
	modeParam
)

type (
	constExpr struct{ v Value }

	nameExpr struct {
		name string
		mode nameMode
		ref  slot
		line int
	}

	nsTarget struct {
		name, attr string
		ref        slot
		line       int
	}

	tupleExpr struct {
		items []expr
		line  int
	}

	listExpr struct{ items []expr }

	dictExpr struct{ keys, vals []expr }

	condExpr struct {
		test, then, orelse expr // orelse may be nil
		line               int
	}

	andExpr struct{ l, r expr }
	orExpr  struct{ l, r expr }
	notExpr struct{ x expr }

	compareExpr struct {
		first expr
		ops   []string
		rest  []expr
	}

	binaryExpr struct {
		op   string
		l, r expr
	}

	unaryExpr struct {
		op string
		x  expr
	}

	concatExpr struct{ items []expr }

	attrExpr struct {
		x    expr
		name string
	}

	indexExpr struct{ x, key expr }

	sliceExpr struct{ x, start, stop, step expr } // bounds may be nil

	keyword struct {
		name  string
		value expr
	}

	arguments struct {
		args      []expr
		kwargs    []keyword
		dynArgs   expr // *args, may be nil
		dynKwargs expr // **kwargs, may be nil
	}

	callExpr struct {
		fn expr
		arguments
		line int
	}

	filterExpr struct {
		x    expr // nil: the text captured by the block around it
		name string
		f    *filter // nil: unknown, fails when reached
		arguments
		line int
	}

	testExpr struct {
		x    expr
		name string
		t    *test
		arguments
		line int
	}
)
