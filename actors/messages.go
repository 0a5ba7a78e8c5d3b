package actors

import (
	"sync"

	"github.com/troupe-llm/troupe/actors/plan"
	"github.com/troupe-llm/troupe/gpu/batch"
	"github.com/troupe-llm/troupe/gpu/device"
)

// The vocabulary, in the order a request meets it. Messages carry no state
// that two actors could both write: a job's fields belong to one actor each.

// tokenizeJob asks a tokenizer to turn the job's prompt into tokens.
// System → Tokenizer.
type tokenizeJob struct{ job *job }

// generate hands a job with its prompt tokens to the scheduler.
// Tokenizer (or System, when the prompt came as tokens) → Scheduler.
type generate struct {
	job    *job
	prompt []int32
}

// runStep is a step to launch. Scheduler → Executor, which answers with
// exactly one stepDone, or with one deviceLost for this and every other
// outstanding step.
type runStep struct {
	epoch  int // of the device the step was made for
	step   *batch.Step
	result *batch.Result // owned by the executor until stepDone
}

// stepDone brings a step's result back. Executor → Scheduler.
type stepDone struct{ *runStep }

// deviceLost says that the device of this epoch failed; what was outstanding
// on it will not come back. Executor → Scheduler.
type deviceLost struct {
	epoch int
	err   error
}

// reopen asks for a new device. Scheduler → Executor, which answers with
// deviceOpened or another deviceLost.
type reopen struct{ epoch int }

// deviceOpened says that steps of this epoch may be sent. Executor → Scheduler.
type deviceOpened struct {
	epoch int
	info  device.Info
}

// admitted says that a job was accepted for running. Scheduler → Detokenizer.
type admitted struct {
	job    *job
	prompt []int32
}

// tokens are what one step produced. Scheduler → Detokenizer, which gives the
// message back to the pool it came from.
type tokens struct{ outs []output }

var tokensPool = sync.Pool{New: func() any { return new(tokens) }}

func (m *tokens) release() {
	clear(m.outs)
	m.outs = m.outs[:0]
	tokensPool.Put(m)
}

// output is one token of one job, its end, or both.
type output struct {
	job     *job
	token   int32          // batch.NoToken when there is only an end
	logprob *batch.Logprob // nil unless asked for; the receiver may keep it
	finish  plan.Reason    // plan.Running when the job goes on
	cached  int            // prompt tokens found in the prefix cache
}

// failed ends a job with an error. Any actor → Detokenizer.
type failed struct {
	job *job
	err error
}

// stopFound says that a job's text contains a stop string: its final event is
// out and it need not be computed further. Detokenizer → Scheduler.
type stopFound struct{ job *job }

// cancel asks to end a job. Stream → Scheduler.
type cancel struct{ job *job }
