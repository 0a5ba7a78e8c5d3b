package front

import (
	"github.com/troupe-llm/troupe/actors/engine"
	"github.com/troupe-llm/troupe/actors/internal/shell"
	"github.com/troupe-llm/troupe/actors/trace"
	"github.com/troupe-llm/troupe/actors/wire"
)

// The vocabulary, in the order a request meets it. Messages carry no state
// that two actors could both write: a job's fields belong to one actor each.

// tokenizeJob asks a tokenizer to turn the job's prompt into tokens.
// System → Tokenizer.
type tokenizeJob struct {
	shell.Stamp
	job *job
}

// prepared brings a job with its prompt, to be handed to an engine.
// Tokenizer (or System, when there was nothing to prepare) → Detokenizer.
type prepared struct {
	shell.Stamp
	job    *job
	prompt []int32
}

// news is what an engine has to say, mostly the tokens of a step. Engine → Detokenizer.
type news struct {
	shell.Stamp
	batch *wire.Batch
}

// failed ends a job with an error. Tokenizer → Detokenizer.
type failed struct {
	shell.Stamp
	job *job
	err error
}

// cancel asks to end a job. Stream → Detokenizer.
type cancel struct {
	shell.Stamp
	job *job
}

// joined says that an engine may be used from now on, at this place among the others; nil: no more.
// System → Detokenizer.
type joined struct {
	shell.Stamp
	at     int
	engine engine.Engine
}

// changed says that what an engine can do has changed. Engine → Detokenizer.
type changed struct {
	shell.Stamp
	at int
}

// overdue says that jobs may have waited too long for an engine. Detokenizer → itself.
type overdue struct {
	shell.Stamp
}

// describe says what handling a message is called, and which step or request it is
// about.
func describe(m shell.Message) (trace.Kind, uint64) {
	switch m := m.(type) {
	case *tokenizeJob:
		return trace.HandleTokenize, m.job.id
	case *prepared:
		return trace.HandlePlace, m.job.id
	case *news:
		if m.batch.Seq == 0 {
			return trace.HandleNews, m.batch.About
		}
		return trace.HandleTokens, m.batch.Seq
	case *failed:
		return trace.HandleFailed, m.job.id
	case *cancel:
		return trace.HandleCancel, m.job.id
	case *joined, *changed, *overdue:
		return trace.HandleNews, 0
	}
	panic("front: a message that nobody sends")
}
