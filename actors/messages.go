package actors

import (
	"sync"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/troupe-llm/troupe/actors/plan"
	"github.com/troupe-llm/troupe/gpu/batch"
	"github.com/troupe-llm/troupe/gpu/device"
	"github.com/troupe-llm/troupe/tokenize/grammar"
)

// The vocabulary, in the order a request meets it. Messages carry no state
// that two actors could both write: a job's fields belong to one actor each.

// message is what actors send each other.
type message interface{ stamped() *stamp }

// stamp says when and by whom a message was posted, for measuring mailboxes
// and for the trace.
type stamp struct {
	posted int64 // as batch.Now
	from   Track
}

func (s *stamp) stamped() *stamp { return s }

// tokenizeJob asks a tokenizer to turn the job's prompt into tokens.
// System → Tokenizer.
type tokenizeJob struct {
	stamp
	job *job
}

// compileJob has a job wait for its grammar, which is not known yet.
// Tokenizer → Grammars.
type compileJob struct {
	stamp
	job    *job
	prompt []int32
}

// compile asks for a grammar. Grammars → Compiler, which answers with exactly
// one compiled.
type compile struct {
	stamp
	of *compilation
}

// compiled brings a grammar, or what is wrong with it. Compiler → Grammars.
type compiled struct {
	stamp
	of      *compilation
	by      *actor.PID
	grammar *grammar.Grammar
	err     error
}

// generate hands a job with its prompt tokens to the scheduler.
// Tokenizer, or Grammars (or System, when there was nothing to prepare) →
// Scheduler.
type generate struct {
	stamp
	job     *job
	prompt  []int32
	matcher *grammar.Matcher // of the job's grammar; nil: it has none
}

// runStep is a step to launch. Scheduler → Executor, which answers with
// exactly one stepDone, or with one deviceLost for this and every other
// outstanding step.
type runStep struct {
	stamp
	*flight
}

// maskStep is what rows of the step launched last may draw, which was not known
// when it was sent. Scheduler → Executor, once for each step with late rows and
// before the next.
type maskStep struct {
	stamp
	epoch int
	masks *batch.Masks
}

// stepDone brings a step's result back. Executor → Scheduler.
type stepDone struct {
	stamp
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
	stamp
	epoch int
	err   error
	hung  bool // it has not returned, so that it cannot be closed, nor another opened
}

// reopen asks for a new device. Scheduler → Executor, which answers with
// deviceOpened or another deviceLost.
type reopen struct {
	stamp
	epoch int
}

// deviceOpened says that steps of this epoch may be sent. Executor → Scheduler.
type deviceOpened struct {
	stamp
	epoch int
	info  device.Info
}

// admitted says that a job was accepted for running. Scheduler → Detokenizer.
type admitted struct {
	stamp
	job    *job
	prompt []int32
}

// tokens are what one step produced. Scheduler → Detokenizer, which gives the
// message back to the pool it came from.
type tokens struct {
	stamp
	seq      uint64 // of the step
	computed int64  // when the device was done with it, as batch.Now
	outs     []output
}

var tokensPool = sync.Pool{New: func() any { return new(tokens) }}

func (m *tokens) release() {
	clear(m.outs)
	*m = tokens{outs: m.outs[:0]}
	tokensPool.Put(m)
}

// output is one token of one job, its end, or both.
type output struct {
	job     *job
	token   int32           // batch.NoToken when there is only an end
	scores  []batch.Logprob // of the prompt's next tokens; the receiver may keep them
	logprob *batch.Logprob  // nil unless asked for; the receiver may keep it
	finish  plan.Reason     // plan.Running when the job goes on
	cached  int             // prompt tokens found in the prefix cache
}

// failed ends a job with an error. Any actor → Detokenizer.
type failed struct {
	stamp
	job *job
	err error
}

// stopFound says that a job's text contains a stop string: its final event is
// out and it need not be computed further. Detokenizer → Scheduler.
type stopFound struct {
	stamp
	job *job
}

// cancel asks to end a job. Stream → Scheduler, and Grammars if it has one.
type cancel struct {
	stamp
	job *job
}
