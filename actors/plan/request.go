package plan

import (
	"fmt"
	"slices"

	"github.com/troupe-llm/troupe/gpu/batch"
)

// Reason says why a request ended.
type Reason uint8

const (
	Running Reason = iota // it has not
	Stop                  // a stop token was drawn, or the caller found a stop string
	Length                // MaxTokens, MaxSeqLen or the KV memory was reached, or the prompt was all
	Aborted               // Abort was called
	Failed                // the device drew no token, or the caller gave up
)

func (r Reason) String() string {
	return [...]string{"", "stop", "length", "abort", "error"}[r]
}

// Constraint restricts a request's tokens, for instance to a grammar.
type Constraint interface {
	// Allow returns the bit set of the tokens that may follow the output so
	// far (bit t%32 of word t/32); nil allows all. It is called once a token,
	// in order, when every token before is known: by Next or, for a row launched
	// before that, by Masks. The device reads the set until that token is
	// committed; then it may be reused.
	Allow(output []int32) []uint32
	// Ahead returns the sets after output[:len(output)−n+1] and so on up to all of it, as
	// long as each of the last n tokens, which are drafts, is one that may follow. The
	// next call is Allow again, of an output that may be another behind those before.
	Ahead(output []int32, n int) [][]uint32
}

// Request is one prompt and how to continue it. The planner owns it from Add
// until it has ended; it must not be used for another request.
type Request struct {
	// Set by the caller, not changed after Add.

	ID     uint64 // unique among the requests that have not ended
	Prompt []int32
	// Given are tokens that another planner drew for it before: the beginning of the
	// output, which counts like what is drawn here.
	Given []int32
	// MaxTokens bounds the output; 0 means as many as fit.
	MaxTokens int
	// PromptOnly draws nothing, whatever MaxTokens says: the prompt is computed,
	// to be scored or to be in the tree, and with it the request has ended.
	PromptOnly bool
	// MinTokens keeps stop tokens from being drawn before.
	MinTokens  int
	StopTokens []int32 // stop this request, beside Config.EOS
	IgnoreEOS  bool    // Config.EOS does not stop it; StopTokens still do
	Sampling   batch.Sampling
	Priority   int        // higher goes first, under the policy of that name
	Client     string     // who sends it, for being fair between clients, but under that policy
	Score      bool       // bring back the log-probabilities of the prompt's tokens
	Constraint Constraint // nil: none
	Speculate  bool       // draft its tokens where that pays; only under Config.Drafts
	User       any        // the caller's; the planner does not look

	// Set by the planner.

	CachedTokens int    // of the prompt, found computed when it was first admitted
	Preemptions  int    // times it lost its slot for want of pages
	Finish       Reason // Running until it has ended

	state   state
	counted bool    // CachedTokens is set
	stops   []int32 // tokens that end it
	limit   int32   // length at which it ends. Invariant: length() ≤ limit
	arrival uint64  // order of Add; kept when preempted
	rank    int64   // what the queue orders by, before arrival; lower goes first
	since   uint64  // the step at which it was added
	client  *client // who sent it
	at      int     // index among its client's while waiting

	// tokens is the prompt and the output given and committed so far. What is there does
	// not change, so rows may refer to it.
	tokens      []int32
	speculation *speculation // nil: its tokens are not drafted

	// Meaningful while seated.

	slot int32 // none: not seated
	// decoding is false while known tokens remain to be computed.
	decoding bool
	// computed counts the tokens whose keys and values are in its pages once
	// every launched step is done.
	// Invariant, while running: before decoding, computed < len(tokens) and
	// pending = 0; from then on, computed = len(tokens) + pending − 1, or, of a
	// request that draws nothing, computed = len(tokens).
	computed int32
	// pending is how many tokens steps not committed yet draw: at most one each, or, where
	// one has drafts, which is the only one then, if all are accepted.
	pending int32
	// Of its pages, which lead its slot's table: how many there are, how many
	// of these are nodes of the tree, and how many of those were filled by
	// steps launched so far. See "Who owns a page".
	// Invariant: filled ≤ treed ≤ pages; filled·PageSize ≤ computed ≤ pages·PageSize.
	pages  int32
	treed  int32
	filled int32
	// private: another's node holds the same tokens as one of its pages, so
	// none of its own below join the tree before it leaves.
	private bool
	// scored is the last position whose token's log-probability was brought
	// back; 0: none, as the first token has none.
	scored int32
	last   uint64 // the latest step with a row of it; 0: none since it was seated

	seen cursor // deepest node its tokens were found to match

	// Where sequences carry states: after how many of its pages its own are saved,
	// 0 for not at all, and at which node besides, where its prompt parts from what
	// was computed before. See snapshots.go.
	end   int32
	parts cursor
	held  int32 // snapshot of after end, until that page is in the tree; none

	// Of its pages those from number gap to gone − 1 are beyond the window and were given back;
	// their entries in the table are stale. Those before gap are in the tree.
	gap, gone int32
}

// state is where a request is.
type state uint8

const (
	fresh   state = iota // not added
	waiting              // in the queue, holding nothing
	running              // seated, active
	leaving              // seated, preempted; waits for its launched rows, then for a slot
	ended                // seated only while launched rows are out, then gone
)

// Output is what was given, and generated and committed so far.
func (r *Request) Output() []int32 { return r.tokens[len(r.Prompt):] }

// length is the tokens it will have when every launched step is done.
func (r *Request) length() int32 { return int32(len(r.tokens)) + r.pending }

// InputError says what is wrong with a request; the planner did not take it.
type InputError struct {
	msg string
	// TooLong: the prompt is, for the context or for the memory.
	TooLong bool
}

func (e *InputError) Error() string { return e.msg }

func inputErrorf(format string, args ...any) error {
	return &InputError{msg: fmt.Sprintf(format, args...)}
}

func tooLong(format string, args ...any) error {
	return &InputError{fmt.Sprintf(format, args...), true}
}

// check reports the first thing that would keep r from ever running.
func (c *Config) check(r *Request) error {
	n, room := len(r.Prompt), c.NumPages*c.PageSize
	switch given := len(r.Given); {
	case n == 0:
		return inputErrorf("the prompt is empty: at least one token is needed")
	case n > c.MaxSeqLen || n == c.MaxSeqLen && !r.PromptOnly:
		// Some clients know an error of this kind by these words of OpenAI's.
		return tooLong("the prompt has %d tokens, but this model's maximum context length is %d, prompt and output", n, c.MaxSeqLen)
	case n > room:
		return tooLong("the prompt has %d tokens, but the KV memory holds %d (%d pages of %d)", n, room, c.NumPages, c.PageSize)
	case given > 0 && n+given >= c.limit(r):
		return inputErrorf("nothing is left to draw: %d tokens are given, after a prompt of %d", given, n)
	case r.MaxTokens < 0:
		return inputErrorf("at most %d tokens were asked for: it must be positive", r.MaxTokens)
	case r.Speculate && c.Drafts == 0:
		return inputErrorf("its tokens cannot be drafted here")
	case r.MinTokens < 0 || (r.MaxTokens > 0 && r.MinTokens > r.MaxTokens):
		return inputErrorf("at least %d tokens were asked for, but at most %d", r.MinTokens, r.MaxTokens)
	}
	if c.Vocab <= 0 {
		return nil
	}
	for i, t := range r.Prompt {
		if t < 0 || int(t) >= c.Vocab {
			return inputErrorf("token %d of the prompt is %d: ids are below %d", i, t, c.Vocab)
		}
	}
	for i, t := range r.Given {
		if t < 0 || int(t) >= c.Vocab {
			return inputErrorf("token %d of those given is %d: ids are below %d", i, t, c.Vocab)
		}
	}
	for _, b := range r.Sampling.Bias {
		if b.Token < 0 || int(b.Token) >= c.Vocab {
			return inputErrorf("a bias is on token %d: ids are below %d", b.Token, c.Vocab)
		}
	}
	return nil
}

// limit is the length at which r ends.
func (c *Config) limit(r *Request) int {
	n, most := len(r.Prompt), min(c.MaxSeqLen, c.NumPages*c.PageSize+1)
	switch {
	case r.PromptOnly:
		return n
	case r.MaxTokens > 0:
		return min(most, n+r.MaxTokens)
	}
	return most
}

// prepare sets the planner's fields of a checked request.
func (c *Config) prepare(r *Request) {
	n := len(r.Prompt)
	r.limit = int32(c.limit(r))
	if r.tokens = r.Prompt[:n:n]; len(r.Given) > 0 {
		r.tokens = slices.Concat(r.Prompt, r.Given)
	}
	switch {
	case r.IgnoreEOS:
		r.stops = r.StopTokens
	case len(r.StopTokens) == 0:
		r.stops = c.EOS
	default:
		r.stops = append(append(make([]int32, 0, len(c.EOS)+len(r.StopTokens)), c.EOS...), r.StopTokens...)
	}
	if r.MinTokens > 0 && len(r.stops) > 0 {
		r.Sampling.Suppress = r.stops
		r.Sampling.SuppressBelow = int32(n + r.MinTokens)
	}
}
