// Package batch says what a step is: plain data that the scheduler builds and
// that any device can run.
//
// A step is one pass of the model over a mixed batch of rows. A row is some
// new tokens of one slot; a slot is a device's seat for one running request,
// with a row of the page table, the token sampled last and sampling
// parameters. What the next step needs from this one (the sampled token) stays
// on the device, per slot, so a step can be launched before the previous one's
// tokens are known.
//
// Order within a step: Slots are (re)assigned, then Pages are written to the
// page table and Restores done, then every row is computed, then Saves are done
// and rows with Sample set draw their token. Rows of one step never read what another row of the step writes,
// except through a shared, already computed page.
//
// What a row may draw can depend on the token before, which nobody knows yet
// when the step is launched. Such a row is Late: the step is computed up to the
// drawing, for which it waits until its Masks are handed over.
package batch

import "fmt"

// Step is one pass of the model. The scheduler owns it until it is sent and
// again after its Result has come back; in between the device only reads it.
type Step struct {
	Seq   uint64      // 1, 2, 3, … in launch order
	Slots []SlotInit  // slots that change hands with this step
	Pages []PageEntry // page-table entries that change with this step
	Rows  []Row       // the first NumDecode are decode rows, the rest prefill
	// NumDecode counts the leading rows whose one token is the slot's last
	// sampled one. Rows with drafts come next.
	NumDecode int
	// NumTokens is the sum of the rows' lengths.
	NumTokens int
	// Restores give slots the states they begin with, before any row; Saves keep
	// what slots have after their rows. Only where sequences carry states
	// (device.Info.StateBytes).
	Restores, Saves []StateCopy
}

// StateCopy is between the states of a slot, which has a row in the step, and a
// snapshot: one of the device's places for states (device.Info.Snapshots).
// Without a Restore a slot's states are zero at position 0.
type StateCopy struct {
	Slot, Snapshot int32
}

// Row is a run of new tokens of one slot. A slot has at most one row a step.
type Row struct {
	Slot int32
	// Start is the position of the row's first token: exactly the number of
	// this slot's tokens whose keys and values are already in its pages.
	Start int32
	// Sample draws the token that follows the row's last one. False for every
	// chunk of a prompt but its last.
	Sample bool
	// Late says that Allow comes later, with the step's Masks. Only for rows
	// that draw.
	Late bool
	// Drafts says that the last so many Tokens, but never all, were not drawn: they
	// are what may be. The token that follows those before them is drawn; when it is
	// the first draft, the one that follows that; and so on, up to the one behind the
	// last. So what is drawn is what would be without them, and as many tokens as were
	// accepted, and one, are drawn in a step. Keys and values of the others
	// remain, to be overwritten: the slot's next row starts behind the drafts that
	// were accepted. Only for devices that can (device.Info.Drafts), in rows that draw.
	Drafts int32
	// Tokens are the new tokens of a prefill row (a chunk of the prompt, or of
	// the history of a preempted request). Nil means decode: one token, the
	// one this slot sampled last.
	Tokens []int32
	// Score, when not nil, are tokens whose log-probabilities are asked for:
	// Score[i] is what really follows Tokens[i], so there may be one for each.
	// Only for devices that can (device.Info.Scores).
	Score []int32
	// Allow, when not nil, is a bit set over the vocabulary (bit t%32 of word
	// t/32): only tokens in it may be drawn.
	Allow []uint32
	// AllowNext has the same for what follows each draft; nil: anything. Few rows have
	// any, and steps many rows, which a pointer makes no larger.
	AllowNext *[][]uint32
}

// Len is the number of tokens the row computes.
func (r *Row) Len() int {
	if r.Tokens == nil {
		return 1
	}
	return len(r.Tokens)
}

// Draws is how many tokens the row may draw, and has in Result.Tokens: at least one.
func (r *Row) Draws() int { return 1 + int(r.Drafts) }

// AllowAt is what the row's draw i is restricted to, where that was known when it was
// launched.
func (r *Row) AllowAt(i int) []uint32 {
	switch {
	case i == 0:
		return r.Allow
	case r.AllowNext != nil:
		return (*r.AllowNext)[i-1]
	}
	return nil
}

// Accepted is how many of the row's drafts were accepted, by what it drew: its places in
// Result.Tokens.
func (r *Row) Accepted(drawn []int32) int {
	n := 0
	for n < int(r.Drafts) && n+1 < len(drawn) && drawn[n+1] != NoToken {
		n++
	}
	return n
}

// Replies is how many of the leading rows go on with what was drawn: decode rows, and
// those with drafts.
func (s *Step) Replies() int {
	n := s.NumDecode
	for n < len(s.Rows) && s.Rows[n].Drafts > 0 {
		n++
	}
	return n
}

// Late is how many rows wait for their masks.
func (s *Step) Late() (n int) {
	for i := range s.Rows {
		if s.Rows[i].Late {
			n++
		}
	}
	return n
}

// Masks are what the late rows of a launched step may draw: Allow has an entry
// for each, in order. A nil one allows everything, for a request that has ended
// meanwhile. Like a step, they are left alone until the result has come back.
type Masks struct {
	Seq   uint64 // of the step
	Allow [][]uint32
}

// Check says what is wrong with masks for this step, which has late such rows.
func (m *Masks) Check(seq uint64, late, vocab int) error {
	switch {
	case late == 0:
		return fmt.Errorf("masks for step %d: no step waits for any", m.Seq)
	case m.Seq != seq:
		return fmt.Errorf("masks for step %d; step %d waits for them", m.Seq, seq)
	case len(m.Allow) != late:
		return fmt.Errorf("%d masks for step %d; %d of its rows wait for one", len(m.Allow), seq, late)
	}
	for i, allow := range m.Allow {
		if words := MaskWords(vocab); allow != nil && len(allow) < words {
			return fmt.Errorf("mask %d for step %d has %d words; the vocabulary needs %d", i, seq, len(allow), words)
		}
	}
	return nil
}

// MaskWords is how many words a bit set over a vocabulary has.
func MaskWords(vocab int) int { return (vocab + 31) / 32 }

// PageEntry says: the Index-th page of Slot is Page. Position p of a slot lies
// in its page p/PageSize at offset p%PageSize.
type PageEntry struct {
	Slot, Index, Page int32
}

// SlotInit gives a slot to a request. It resets everything the device keeps
// for the slot but the page table, which Pages rewrites.
type SlotInit struct {
	Slot     int32
	Sampling Sampling
	// Prompt and Output are the tokens known so far, for penalties: repetition
	// looks at both, presence and frequency at Output only. Nil when no
	// penalty is set.
	Prompt, Output []int32
}

// Sampling says how a slot's tokens are drawn. The zero value is greedy.
//
// In this order: Bias is added, Suppress removed, penalties applied; then
// Temperature divides; then top-k, top-p and min-p keep a set of tokens; then
// one is drawn from what is kept with the random number Uniform(Seed, p),
// where p is the position the token will have. So a token depends on its
// request alone: not on the batch it ran in, nor on being preempted and
// computed again.
type Sampling struct {
	Temperature float32 // 0: greedy
	TopK        int32   // keep the k likeliest; 0: all
	TopP        float32 // keep the smallest likeliest set of at least this mass; 0 or 1: all
	MinP        float32 // keep tokens of at least this fraction of the likeliest; 0: all
	Seed        uint64

	Presence   float32 // subtracted once from every token already in the output
	Frequency  float32 // subtracted per occurrence in the output
	Repetition float32 // divides positive, multiplies negative logits of seen tokens; 0 or 1: off

	Bias []TokenBias // added to the logits
	// Suppress may not be drawn at positions below SuppressBelow (stop tokens
	// before min_tokens are reached).
	Suppress      []int32
	SuppressBelow int32

	// Logprobs asks for log-probabilities: 0 none, 1 the drawn token's, 1+k
	// also those of the k likeliest. They are those of the model itself:
	// before bias, penalties and temperature.
	Logprobs int32
}

// Penalized reports whether the device must count this slot's tokens.
func (s *Sampling) Penalized() bool {
	return s.Presence != 0 || s.Frequency != 0 || (s.Repetition != 0 && s.Repetition != 1)
}

// TokenBias adds Bias to Token's logit.
type TokenBias struct {
	Token int32
	Bias  float32
}

// Result is what a step brings back to the host.
type Result struct {
	Seq uint64
	// Tokens are, per row, the drawn token, or NoToken where Sample was false. A row
	// with Drafts has that many more: what was drawn, then NoToken.
	Tokens []int32
	// Logprobs has an entry for each of Tokens when any slot of the step asked for them,
	// else it is empty.
	Logprobs []Logprob
	// Scores has an entry for every token of every row's Score, in order, with
	// as many alternatives as the slot's Sampling.Logprobs asks for.
	Scores []Logprob
	// Began and Ended bound the step on the device, in nanoseconds on the
	// host's monotonic clock (see Now).
	Began, Ended int64
	// Reducing is how much of that, in nanoseconds, went into adding up and putting
	// together what devices that share a model have, and Waiting how much of this
	// was waiting for others. Ranks are these devices' own times, where there are
	// several.
	Reducing, Waiting int64
	Ranks             []RankTime
	// Stalled and Resumed bound the time in between in which the device stood
	// still, for want of masks. Both are 0 when it did not.
	Stalled, Resumed int64
}

// RankTime is a step's time on one of the devices that share a model, as in Result.
type RankTime struct {
	Began, Ended      int64
	Reducing, Waiting int64
}

// NoToken marks rows that drew nothing.
const NoToken int32 = -1

// Logprob is the log-probability of a drawn token and of the likeliest ones,
// natural logarithm.
type Logprob struct {
	Token float32
	Top   []TokenLogprob // descending; ties by lower id
}

// TokenLogprob is one alternative.
type TokenLogprob struct {
	Token   int32
	Logprob float32
}

// Reset empties the step for reuse, keeping its memory.
func (s *Step) Reset() {
	clear(s.Slots) // drop references to requests' memory
	clear(s.Rows)
	*s = Step{Slots: s.Slots[:0], Pages: s.Pages[:0], Rows: s.Rows[:0], Restores: s.Restores[:0], Saves: s.Saves[:0]}
}

// Reset empties the result for reuse, keeping its memory.
func (r *Result) Reset() {
	*r = Result{Tokens: r.Tokens[:0], Logprobs: r.Logprobs[:0], Scores: r.Scores[:0], Ranks: r.Ranks[:0]}
}

// Copy makes the result the same as another, reusing its own memory.
func (r *Result) Copy(from *Result) {
	tokens, logprobs, scores, ranks := r.Tokens[:0], r.Logprobs[:0], r.Scores[:0], r.Ranks[:0]
	*r = *from
	r.Tokens = append(tokens, from.Tokens...)
	r.Logprobs = append(logprobs, from.Logprobs...)
	r.Scores = append(scores, from.Scores...)
	r.Ranks = append(ranks, from.Ranks...)
}
