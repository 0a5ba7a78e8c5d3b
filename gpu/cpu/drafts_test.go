package cpu

import (
	"math/rand/v2"
	"reflect"
	"slices"
	"testing"

	"github.com/troupe-llm/troupe/gpu/batch"
	"github.com/troupe-llm/troupe/gpu/device"
	"github.com/troupe-llm/troupe/gpu/model"
	"github.com/troupe-llm/troupe/gpu/model/modeltest"
)

// replied is what was drawn behind a prompt.
type replied struct {
	tokens   []int32
	logprobs []batch.Logprob
	logits   [][]float32
	steps    int
}

// mayDraw is what the token of a number is restricted to: with masks, all but a third of the
// vocabulary, another one each time.
func mayDraw(masks bool, n, vocab int) []uint32 {
	if !masks {
		return nil
	}
	set := make([]uint32, batch.MaskWords(vocab))
	for t := range vocab {
		if (t+n)%3 != 0 {
			set[t/32] |= 1 << (t % 32)
		}
	}
	return set
}

// reply has n tokens drawn behind a prompt in slot 0, with whatever is drafted of those that
// follow the ones drawn so far, beside another slot that decodes.
func reply(r *rig, sampling batch.Sampling, n int, masks bool, draft func(drawn []int32) []int32) (got replied) {
	vocab := r.info.Vocab
	tokens := prompt(promptLength, vocab, 7)
	inspect := r.d.engine.inspect
	defer func() { r.d.engine.inspect = inspect }()
	var logits [][]float32 // of the step
	r.d.engine.inspect = func(s *batch.Step, row int, z []float32) {
		if s.Rows[row].Slot == 0 {
			logits = append(logits, slices.Clone(z))
		}
	}
	for got.steps = 0; len(got.tokens) < n; got.steps++ {
		s := &batch.Step{}
		drawn := len(got.tokens)
		at := int32(promptLength + drawn - 1)
		if drawn == 0 {
			in := batch.SlotInit{Slot: 0, Sampling: sampling, Prompt: tokens}
			s.Slots = append(s.Slots, in, batch.SlotInit{Slot: 3})
			r.pages[0], r.pages[3] = nil, nil
			r.row(s, 3, 0, prompt(9, vocab, 3), true)
			r.row(s, 0, 0, tokens, true)
		} else {
			r.row(s, 3, int32(8+got.steps), nil, true)
			if drafts := draft(got.tokens); len(drafts) == 0 {
				r.row(s, 0, at, nil, true)
			} else {
				drafts = drafts[:min(len(drafts), n-drawn-1)]
				r.row(s, 0, at, append([]int32{got.tokens[drawn-1]}, drafts...), true)
				row := &s.Rows[len(s.Rows)-1]
				row.Drafts, row.AllowNext = int32(len(drafts)), new([][]uint32)
				for i := range drafts {
					*row.AllowNext = append(*row.AllowNext, mayDraw(masks, drawn+1+i, vocab))
				}
			}
		}
		own := slices.IndexFunc(s.Rows, func(row batch.Row) bool { return row.Slot == 0 })
		s.Rows[own].Allow = mayDraw(masks, drawn, vocab)
		logits = logits[:0]
		res := r.run(s)
		for i, t := range res.Tokens[own : own+s.Rows[own].Draws()] { // the other's is one, and before it or behind
			if t == batch.NoToken {
				break
			}
			got.tokens = append(got.tokens, t)
			got.logprobs = append(got.logprobs, res.Logprobs[own+i])
			got.logits = append(got.logits, logits[i])
		}
	}
	r.forget()
	return got
}

// Whatever is drafted, what is drawn is what would be without drafts: the bits of the logits,
// the tokens, their log-probabilities; by temperature, with penalties and with masks. And where
// drafts are right it takes fewer steps.
func TestDraftsChangeNothing(t *testing.T) {
	models := map[string]*model.Model{"odd sizes": tiny(t), "odd experts": tinyMoE(t)}
	if !raceDetector {
		for _, c := range slices.Concat(modeltest.Own(t), modeltest.Families(t)) {
			models[c.Name] = c.Open(t)
		}
	}
	const n = 24
	penalized := batch.Sampling{Temperature: 0.7, Seed: 5, Presence: 0.3, Frequency: 0.4, Repetition: 1.3, Logprobs: 3}
	for name, m := range models {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, device.Spec{Model: m, Slots: 4, PageSize: 4, NumPages: 100, MaxSeqLen: 96, MaxStepTokens: 64}, choose(), 2)
			if r.info.StateBytes > 0 {
				if r.info.MaxDraws > 0 {
					t.Error("it takes drafts, though states cannot go back")
				}
				return
			}
			rng := rand.New(rand.NewPCG(1, 1))
			for i, sampling := range []batch.Sampling{{Logprobs: 2}, {Temperature: 1.2, TopK: 30, TopP: 0.9, Seed: 9, Logprobs: 1}, penalized} {
				masks := i != 1
				want := reply(r, sampling, n, masks, func([]int32) []int32 { return nil })
				right := 0
				got := reply(r, sampling, n, masks, func(drawn []int32) []int32 {
					drafts := slices.Clone(want.tokens[len(drawn):min(n, len(drawn)+rng.IntN(7))])
					if at := rng.IntN(10); at < len(drafts) {
						drafts[at] = int32(rng.IntN(r.info.Vocab))
					}
					right += len(drafts)
					return drafts
				})
				if !slices.Equal(got.tokens, want.tokens) || !reflect.DeepEqual(got.logprobs, want.logprobs) || !slices.EqualFunc(got.logits, want.logits, sameBits) {
					t.Errorf("%+v: with drafts %v, without %v", sampling, got.tokens, want.tokens)
				}
				if right == 0 || got.steps > n*2/3 {
					t.Errorf("%d drafts, and %d steps for %d tokens", right, got.steps, n)
				}
			}
		})
	}
}
