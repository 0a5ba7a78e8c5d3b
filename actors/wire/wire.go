// Package wire is what a front and an engine say to each other, as plain data: no pointer to what
// either of them owns, no closure, no matcher. In one process the values are handed over as they
// are, and nobody changes what was handed over.
//
// A front has the requests: their texts, their clients, and every token that came. An engine computes
// tokens. It keeps of a request what Request says, until it has sent its end.
package wire

import (
	"slices"
	"sync"
	"time"

	"github.com/troupe-llm/troupe/gpu/batch"
	"github.com/troupe-llm/troupe/tokenize/grammar"
)

// Ref names a request between a front and an engine.
type Ref struct {
	// Slot is where the front keeps the request. It is used again when the request has ended.
	Slot uint32
	// Epoch counts what was handed to engines under this slot: a request anew, or the same one
	// again, to be resumed. Whatever is said about another epoch than the last is ignored, so
	// no token is taken twice, whoever still sends some.
	Epoch uint32
}

// Request is to be computed, or to be resumed. Front → Engine, which answers with exactly one
// output that Ends it.
type Request struct {
	Ref
	ID uint64 // its number at the front, for traces

	Prompt []int32
	// Given are tokens that were drawn already, by whichever engine. They count as output, for
	// penalties, limits, the grammar and the random numbers that are left: what follows is what
	// would have followed there.
	Given []int32

	MaxTokens  int  // most tokens of output, those given included; 0: up to the model's limit
	PromptOnly bool // draw none
	MinTokens  int  // stop tokens cannot be drawn before this many, those given included
	StopTokens []int32
	IgnoreEOS  bool
	Sampling   batch.Sampling
	Score      bool          // bring the log-probabilities of the prompt's tokens
	Grammar    *grammar.Spec // what the output keeps to; nil: anything
	Priority   int
	MaxWait    time.Duration // how long its first step may let wait for itself; 0: any
	Speculate  bool          // draft its tokens where that pays, if the engine can
	Client     string        // who asks, for being fair between clients where requests wait
	Owed       int           // how many of its tokens the front takes to be not cached, for Load
}

// Load is what an engine has to do.
type Load struct {
	Open int // requests that have not ended
	Owed int // tokens of those that are to be computed before their first, as their fronts reckon
}

// Batch is what is new of some requests. Engine → Front, in the order in which it happened; one a
// step, and others for what happens to a request outside of steps.
type Batch struct {
	Seq      uint64 // of the step; 0: of none
	Computed int64  // when the device was done with the step, as batch.Now
	About    uint64 // outside of steps, the number of the request
	Outputs  []Output
}

// batches are those of steps: others are small, and would have to grow for them.
var batches = sync.Pool{New: func() any { return new(Batch) }}

// NewBatch is one with room for the outputs of a step.
func NewBatch(seq uint64, outputs int) *Batch {
	b := batches.Get().(*Batch)
	b.Seq, b.Outputs = seq, slices.Grow(b.Outputs, outputs)
	return b
}

// Release gives a batch back, when nothing of it is used any more but for log-probabilities and
// what else outputs point to.
func (b *Batch) Release() {
	if b.Seq == 0 {
		return
	}
	clear(b.Outputs)
	*b = Batch{Outputs: b.Outputs[:0]}
	batches.Put(b)
}

// Output is one token of one request, its end, or both.
type Output struct {
	Ref
	Token    int32 // batch.NoToken when there is none
	Reason   Reason
	Accepted bool            // it will run, or of one with MaxWait, it does: said before all else
	Scores   []batch.Logprob // of the prompt's next tokens; the receiver may keep them
	Logprob  *batch.Logprob  // of Token; nil unless asked for; the receiver may keep it
	Progress *Progress       // with the first token, or else with the end
	Fault    *Fault          // with the end, when Reason is Failed
	Rejected uint32          // draft tokens of the step that are not among those it brought, told with the first of these
}

// Reason says why a request ended.
type Reason uint8

// The reasons.
const (
	Running Reason = iota // it has not
	Stop                  // a stop token was drawn
	Length                // MaxTokens or a limit of the engine's was reached, or the prompt was all
	Aborted               // it was cancelled
	Failed                // see Output.Fault
)

// Ends reports whether the output is its request's last.
func (o *Output) Ends() bool { return o.Reason != Running }

// Progress is when a request came how far on an engine, as batch.Now there; 0 where it did not.
type Progress struct {
	Came    int64 // it was there, perhaps without its grammar
	Queued  int64 // the planner had it
	Started int64 // the first step with it was built
	First   int64 // the device was done with its first token
	Cached  int   // tokens of the prompt found in the prefix cache
}

// Fault says why a request failed.
type Fault struct {
	Kind    FaultKind
	Param   string // of a Refused one, the field at fault: "prompt", or where its grammar came from
	Msg     string
	TooLong bool // of a Refused one: the prompt is, for the context or for the memory
}

func (f *Fault) Error() string { return f.Msg }

// FaultKind says whose fault it is.
type FaultKind uint8

// The kinds.
const (
	Broken  FaultKind = iota // something of this request's broke; others go on
	Refused                  // the client's: it cannot be run as it is
	Lost                     // the engine is: any other one could resume the request
	Waited                   // nobody's: its first step came not within MaxWait
)

// Prefixes is what is new in an engine's prefix tree. Engine → Front.
type Prefixes struct {
	Seq   uint64 // how many changes the engine has made with these; what to ask from next
	Whole bool   // these are all there are, not changes
	Pages []Page // one after the other
}

// Page is a page that is cached, or about to be, or is no longer. Its hash names the
// prefix up to its end: plan.HashPage.
type Page struct {
	Hash uint64
	Gone bool
}

// Known is what a front knows of an engine's prefix tree.
type Known struct {
	Seq   uint64
	Pages map[uint64]struct{}
}

// Apply takes in what is new.
func (k *Known) Apply(p Prefixes) {
	if k.Pages == nil {
		k.Pages = map[uint64]struct{}{}
	}
	if p.Whole {
		clear(k.Pages)
	}
	k.Seq = p.Seq
	for _, page := range p.Pages {
		if page.Gone {
			delete(k.Pages, page.Hash)
		} else {
			k.Pages[page.Hash] = struct{}{}
		}
	}
}
