package engine

import (
	"github.com/asynkron/protoactor-go/actor"

	"github.com/troupe-llm/troupe/actors/internal/shell"
	"github.com/troupe-llm/troupe/actors/trace"
	"github.com/troupe-llm/troupe/actors/wire"
	"github.com/troupe-llm/troupe/gpu/batch"
	"github.com/troupe-llm/troupe/gpu/device"
	"github.com/troupe-llm/troupe/tokenize/grammar"
)

// The vocabulary, in the order a request meets it. What crosses to and from the front is package
// wire's.

// generate hands a request over. Submit → Scheduler.
type generate struct {
	shell.Stamp
	req *wire.Request
}

// compileJob asks for a request's grammar. Scheduler → Grammars, which answers with
// exactly one prepared unless the request leaves before.
type compileJob struct {
	shell.Stamp
	req *wire.Request
}

// compile asks for a grammar. Grammars → Compiler, which answers with exactly
// one compiled.
type compile struct {
	shell.Stamp
	of *compilation
}

// compiled brings a grammar, or what is wrong with it. Compiler → Grammars.
type compiled struct {
	shell.Stamp
	of      *compilation
	by      *actor.PID
	grammar *grammar.Grammar
	err     error
}

// prepared brings a request's grammar, or what is wrong with it. Grammars → Scheduler.
type prepared struct {
	shell.Stamp
	req     *wire.Request
	matcher *grammar.Matcher
	err     error
}

// runStep is a step to launch. Scheduler → Executor, which answers with
// exactly one stepDone, or with one deviceLost for this and every other
// outstanding step.
type runStep struct {
	shell.Stamp
	*flight
}

// maskStep is what rows of the step launched last may draw, which was not known
// when it was sent. Scheduler → Executor, once for each step with late rows and
// before the next.
type maskStep struct {
	shell.Stamp
	epoch int
	masks *batch.Masks
}

// stepDone brings a step's result back. Executor → Scheduler.
type stepDone struct {
	shell.Stamp
	*flight
}

// flight is a step on its way to the device and back. It belongs to whoever
// holds the message it is in.
type flight struct {
	epoch  int // of the device the step was made for
	step   *batch.Step
	result batch.Result
}

// deviceLost says that the device of this epoch failed; what was outstanding
// on it will not come back. Executor → Scheduler.
type deviceLost struct {
	shell.Stamp
	epoch int
	err   error
	hung  bool // it has not returned, so that it cannot be closed, nor another opened
}

// reopen asks for a new device. Scheduler → Executor, which answers with
// deviceOpened or another deviceLost.
type reopen struct {
	shell.Stamp
	epoch int
}

// deviceOpened says that steps of this epoch may be sent. Executor → Scheduler.
type deviceOpened struct {
	shell.Stamp
	epoch int
	info  device.Info
}

// cancel asks to end a request. Cancel → Scheduler; Scheduler → Grammars, when it
// waits there.
type cancel struct {
	shell.Stamp
	ref wire.Ref
}

// describe says what handling a message is called, and which step or request it is
// about.
func describe(m shell.Message) (trace.Kind, uint64) {
	switch m := m.(type) {
	case *generate:
		return trace.HandleGenerate, m.req.ID
	case *compileJob:
		return trace.HandleWait, m.req.ID
	case *compile:
		return trace.HandleCompile, 0
	case *compiled:
		return trace.HandleCompiled, 0
	case *prepared:
		return trace.HandlePrepared, m.req.ID
	case *runStep:
		return trace.HandleRun, m.step.Seq
	case *maskStep:
		return trace.HandleMask, m.masks.Seq
	case *stepDone:
		return trace.HandleDone, m.step.Seq
	case *deviceLost:
		return trace.HandleLost, 0
	case *reopen:
		return trace.HandleReopen, 0
	case *deviceOpened:
		return trace.HandleOpened, 0
	}
	return trace.HandleCancel, 0
}
