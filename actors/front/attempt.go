package front

import (
	"time"

	"github.com/troupe-llm/troupe/actors/trace"
	"github.com/troupe-llm/troupe/actors/wire"
	"github.com/troupe-llm/troupe/gpu/batch"
)

// Attempt is what one engine did for a request, on this front's clock, as batch.Now; 0 where it never
// came so far, or was lost before that was heard. A request has one, and one more for each engine
// that it was resumed on.
type Attempt struct {
	Engine int    // the engine's number
	Peer   string // its address; "": it is in this process

	Handed  int64 // to the engine
	Came    int64 // it was there
	Queued  int64 // its planner had it
	Started int64 // the first step with it was built
	First   int64 // the device was done with the first token drawn there
	Last    int64 // and with the last
	Left    int64 // its end was heard of, or that the engine is lost
	Lost    bool
	Tokens  int // that came

	// ClockError is how far at most the times from Came to Last, which the engine read off its own
	// clock, may be off from this one's.
	ClockError time.Duration
}

// Phases are the parts that the request came to there, one after the other, within the attempt: what a
// clock may be off by takes none of them out of it.
func (a *Attempt) Phases() []Phase {
	end := a.Last
	if end == 0 {
		end = a.Left
	}
	out := phases(trace.SpanQueue, a.Queued, a.Started, a.First, end)
	for i := range out {
		p := &out[i]
		p.Began, p.Ended = min(max(p.Began, a.Handed), a.Left), min(max(p.Ended, a.Handed), a.Left)
	}
	return out
}

// phases are what lies between times, of kinds that count up from the first; one that has not ended
// ends with all.
func phases(first trace.Kind, at ...int64) (out []Phase) {
	last := len(at) - 1
	for i, began := range at[:last] {
		ended := at[i+1]
		if ended == 0 {
			ended = at[last]
		}
		if began > 0 && ended >= began {
			out = append(out, Phase{first + trace.Kind(i), began, ended})
		}
	}
	return out
}

// Elsewhere reports whether the request went to an engine on another host, or to several: else an
// attempt says nothing that Times does not.
func (f *Final) Elsewhere() bool {
	return len(f.Attempts) > 1 || len(f.Attempts) == 1 && f.Attempts[0].Peer != ""
}

// clocked is an engine whose times are by another clock.
type clocked interface{ ClockError() time.Duration }

// attempt begins one. It is the detokenizer's, as all of a job's.
func (j *job) attempt(t *target) {
	j.seen.Store(whereabouts(j.at, len(j.attempts)))
	j.attempts = append(j.attempts, Attempt{Engine: j.at, Peer: t.peer, Handed: batch.Now()})
}

// drew notes a token that came.
func (j *job) drew(computed int64) {
	if n := len(j.attempts); n > 0 {
		a := &j.attempts[n-1]
		a.Last = computed
		a.Tokens++
	}
}

// reached notes how far a request came on the engine that has it.
func (j *job) reached(p *wire.Progress) {
	if n := len(j.attempts); n > 0 {
		a := &j.attempts[n-1]
		a.Came, a.Queued, a.Started, a.First = p.Came, p.Queued, p.Started, p.First
	}
}

// leave ends the last attempt.
func (j *job) leave(t *target, now int64, lost bool) {
	if n := len(j.attempts); n > 0 && j.attempts[n-1].Left == 0 {
		a := &j.attempts[n-1]
		a.Left, a.Lost = now, lost
		if far, is := t.engine.(clocked); is {
			a.ClockError = far.ClockError()
		}
	}
}
