package grammar

// Bounds on what one grammar may take. The figures are far above what people
// write and small beside a server's memory.
const (
	// maxSource is the length of a schema, a regular expression, or all
	// literals of a description, in bytes.
	maxSource = 1 << 20
	// maxNodes bounds the pieces of an expression.
	maxNodes = 1 << 17
	// maxTable bounds the states of what is made deterministic beforehand:
	// what several patterns, formats and lengths have in common.
	maxTable = 1 << 13
	// maxDepth bounds how deep a recursive piece is nested.
	maxDepth = 64
	// maxNesting bounds how deep a schema is nested as JSON.
	maxNesting = 256
	// maxBranches bounds the combinations of a schema's alternatives.
	maxBranches = 256
	// maxCounted bounds the properties of an object whose members are counted.
	maxCounted = 200
	// maxDigits bounds the digits of a number's bounds, before and after the
	// point.
	maxDigits = 40

	// maskWork bounds the continuations looked at for one mask, some tens of
	// milliseconds; totalWork those for all masks of a request.
	maskWork  = 1 << 18
	totalWork = 1 << 24
	// maxMemory bounds the bytes an automaton keeps, maxShared those of all
	// automata of a vocabulary.
	maxMemory = 32 << 20
	maxShared = 512 << 20
)
