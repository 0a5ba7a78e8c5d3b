package grammar

import (
	"context"
	"errors"
)

// budget is what compiling one description may take. It is counted, not timed,
// so that the same description always compiles or never does.
type budget struct {
	// steps are continuations looked at, tables' edges made, schemas compared:
	// some fifty nanoseconds each.
	steps int
	// memory is bytes of tables and automata made on the way, roughly.
	memory int
	ctx    context.Context
	toPoll int
	err    error // sticky: it is spent, or the context is done
}

// What compiling may take, some half a second. Of MaskBench's schemas one takes
// five sixths of it, all others no more than half.
const (
	maxSteps       = 1 << 23
	maxCompileSize = 128 << 20
	// pollSteps is after how many steps it is looked whether anyone still waits.
	pollSteps = 1 << 14
)

var (
	errSteps = errors.New("takes too much work to compile; with fewer alternatives, shorter patterns or a property that tells alternatives apart it takes less")
	errSize  = errors.New("takes too much memory to compile; with fewer alternatives, shorter patterns or a property that tells alternatives apart it takes less")
)

func newBudget(ctx context.Context) *budget {
	return &budget{steps: maxSteps, memory: maxCompileSize, ctx: ctx}
}

// spend accounts for steps, and reports whether there is anything left. A nil
// budget is for what is made once, when the program starts.
func (b *budget) spend(steps int) bool {
	if b == nil {
		return true
	}
	if b.steps -= steps; b.steps < 0 && b.err == nil {
		b.err = errSteps
	}
	if b.toPoll -= steps; b.toPoll < 0 && b.err == nil {
		b.toPoll = pollSteps
		b.err = b.ctx.Err()
	}
	return b.err == nil
}

// keep accounts for bytes.
func (b *budget) keep(bytes int) bool {
	if b == nil {
		return true
	}
	if b.memory -= bytes; b.memory < 0 && b.err == nil {
		b.err = errSize
	}
	return b.err == nil
}

// failed reports whether it is spent.
func (b *budget) failed() bool { return b != nil && b.err != nil }
