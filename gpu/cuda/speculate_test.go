//go:build cuda

package cuda

import (
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"slices"
	"testing"

	"github.com/troupe-llm/troupe/gpu/batch"
	"github.com/troupe-llm/troupe/gpu/cpu"
	"github.com/troupe-llm/troupe/gpu/device"
	"github.com/troupe-llm/troupe/gpu/model"
	"github.com/troupe-llm/troupe/gpu/model/modeltest"
)

// wish is a request of a rig, which has it in a slot of its own.
type wish struct {
	prompt   []int32
	sampling batch.Sampling
	masks    bool    // it may draw few tokens, others each time
	text     []int32 // it may draw no other; nil: that is open
	begins   int     // the step
	gone     int     // after how many tokens it is preempted once; 0: never
}

// reply is what a wish was answered.
type reply struct {
	tokens   []int32
	logprobs []batch.Logprob
}

// may are the few tokens that number n of a wish may be.
func (w *wish) may(n, vocab int) []uint32 {
	if w.text != nil {
		set := make([]uint32, batch.MaskWords(vocab))
		set[w.text[n]/32] = 1 << (w.text[n] % 32)
		return set
	}
	if !w.masks {
		return nil
	}
	r := rand.New(rand.NewPCG(w.sampling.Seed, uint64(n)))
	set := make([]uint32, batch.MaskWords(vocab))
	for range 24 {
		t := r.IntN(vocab)
		set[t/32] |= 1 << (t % 32)
	}
	return set
}

// speculate has n tokens drawn of every wish, with whatever is drafted of those that follow
// the ones drawn so far; chunk bounds the tokens of a prompt in a step. Rows without drafts get
// their masks late every other step.
func (r *rig) speculate(wishes []wish, n, chunk int, draft func(i int, drawn []int32) []int32) (all []reply, steps int) {
	r.t.Helper()
	all = make([]reply, len(wishes))
	done, gone := make([]int, len(wishes)), make([]bool, len(wishes)) // tokens in pages; preempted
	for ; slices.ContainsFunc(all, func(a reply) bool { return len(a.tokens) < n }); steps++ {
		s, masks := &batch.Step{}, &batch.Masks{}
		whose := map[int32]int{}
		add := func(i int, tokens []int32, sample bool) *batch.Row {
			whose[int32(i)] = i
			r.row(s, int32(i), int32(done[i]), tokens, sample)
			at := slices.IndexFunc(s.Rows, func(row batch.Row) bool { return row.Slot == int32(i) })
			return &s.Rows[at]
		}
		var prompts []int
		for i := range wishes {
			w, text := &wishes[i], all[i].tokens
			switch {
			case steps < w.begins || len(text) == n:
			case w.gone > 0 && len(text) >= w.gone && !gone[i]:
				gone[i], done[i] = true, 0
				prompts = append(prompts, i)
			case done[i] < len(w.prompt)+max(0, len(text)-1):
				prompts = append(prompts, i)
			default:
				drafts := draft(i, text)
				drafts = drafts[:min(len(drafts), n-len(text)-1)]
				if len(drafts) > 0 {
					continue // they come behind
				}
				row := add(i, nil, true)
				if row.Allow = w.may(len(text), r.info.Vocab); steps%2 == 0 && row.Allow != nil {
					row.Late, row.Allow = true, nil
				}
			}
		}
		for i := range wishes {
			w, text := &wishes[i], all[i].tokens
			if _, has := whose[int32(i)]; has || slices.Contains(prompts, i) || steps < w.begins || len(text) == n {
				continue
			}
			drafts := draft(i, text)
			drafts = drafts[:min(len(drafts), n-len(text)-1)]
			row := add(i, append([]int32{text[len(text)-1]}, drafts...), true)
			row.Drafts, row.Allow, row.AllowNext = int32(len(drafts)), w.may(len(text), r.info.Vocab), new([][]uint32)
			for k := range drafts {
				*row.AllowNext = append(*row.AllowNext, w.may(len(text)+1+k, r.info.Vocab))
			}
		}
		for _, i := range prompts {
			w := &wishes[i]
			known := slices.Concat(w.prompt, all[i].tokens)
			if done[i] == 0 {
				r.give(s, int32(i), w.sampling)
				in := &s.Slots[len(s.Slots)-1]
				in.Prompt, in.Output = w.prompt, slices.Clone(all[i].tokens)
			}
			end := min(done[i]+chunk, len(known))
			if row := add(i, known[done[i]:end], end == len(known)); row.Sample {
				row.Allow = w.may(len(all[i].tokens), r.info.Vocab)
			}
		}
		for i := range s.Rows { // in the order of rows
			if row := &s.Rows[i]; row.Late {
				masks.Allow = append(masks.Allow, wishes[row.Slot].may(len(all[row.Slot].tokens), r.info.Vocab))
			}
		}
		r.launch(s)
		if masks.Seq = s.Seq; len(masks.Allow) > 0 {
			if err := r.d.Mask(masks); err != nil {
				r.t.Fatal(err)
			}
		}
		res, at := r.wait(), 0
		for i := range s.Rows {
			row := &s.Rows[i]
			a := &all[row.Slot]
			drawn := 0
			for k, t := range res.Tokens[at : at+row.Draws()] {
				if t == batch.NoToken {
					break
				}
				drawn++
				a.tokens = append(a.tokens, t)
				if len(res.Logprobs) > 0 {
					a.logprobs = append(a.logprobs, res.Logprobs[at+k])
				}
			}
			if row.Sample && drawn == 0 {
				r.t.Fatalf("step %d: row %d drew nothing", s.Seq, i)
			}
			done[row.Slot] += row.Len() - int(row.Drafts) + max(0, drawn-1)
			at += row.Draws()
		}
	}
	return all, steps
}

// drafter drafts what texts say, most of the time.
func drafter(seed uint64, vocab int, texts [][]int32) func(i int, drawn []int32) []int32 {
	return func(i int, drawn []int32) []int32 {
		r := rand.New(rand.NewPCG(seed+uint64(i), uint64(len(drawn))))
		drafts := slices.Clone(texts[i][min(len(drawn), len(texts[i])):])
		drafts = drafts[:min(len(drafts), r.IntN(9))]
		if at := r.IntN(10); at < len(drafts) {
			drafts[at] = r.Int32N(int32(vocab))
		}
		return drafts
	}
}

func noDrafts(int, []int32) []int32 { return nil }

// drafted generates twice: what was drawn the first time is drafted the second, rightly and
// wrongly.
func (r *rig) drafted(prompts [][]int32, n, chunk int) [][]drawn {
	var texts [][]int32
	for _, list := range r.ahead(prompts, n, chunk) {
		var text []int32
		for _, d := range list {
			text = append(text, d.token)
		}
		texts = append(texts, text)
	}
	var wishes []wish
	for _, p := range prompts {
		wishes = append(wishes, wish{prompt: p, sampling: asked})
	}
	all, steps := r.speculate(wishes, n, chunk, drafter(1, r.info.Vocab, texts))
	if steps > n*3/4+8 {
		r.t.Errorf("%d steps for %d tokens of each", steps, n)
	}
	out := make([][]drawn, len(all))
	for i, a := range all {
		for k, t := range a.tokens {
			out[i] = append(out[i], drawn{t, a.logprobs[k].Token})
		}
	}
	return out
}

// draftWishes are requests of all ways to sample, which begin one after the other, some of
// them with masks, some preempted.
func draftWishes(vocab int) (wishes []wish) {
	r := rand.New(rand.NewPCG(2, 9))
	ways := []batch.Sampling{
		{},
		{Temperature: 1},
		{Temperature: 1.2, TopK: 30, TopP: 0.9},
		{Temperature: 0.8, MinP: 0.05},
		{Temperature: 0.7, Presence: 0.3, Frequency: 0.4, Repetition: 1.3},
		{Repetition: 1.5, Frequency: 1},
		{Temperature: 0.9, Bias: []batch.TokenBias{{Token: 5, Bias: 3}, {Token: 9, Bias: -4}}, Suppress: []int32{5, 6, 7}, SuppressBelow: 60},
	}
	for i := range 2 * len(ways) {
		w := wish{sampling: ways[i%len(ways)], masks: i >= len(ways) || i%2 == 1, begins: i / 2 * 3}
		w.sampling.Seed, w.sampling.Logprobs = uint64(100+i), 21
		for range 3 + r.IntN(60) {
			w.prompt = append(w.prompt, r.Int32N(int32(vocab)))
		}
		if i%3 == 0 {
			w.gone = 9 + i
		}
		wishes = append(wishes, w)
	}
	return wishes
}

// sameReplies compares replies up to where two draw something else, which roundings may
// lead to: there the likeliest tokens are as likely as everywhere. All but few are the same. It
// returns how many are not.
func sameReplies(t *testing.T, what string, got, want []reply, within float64, few int) (others int) {
	t.Helper()
	worst := 0.0
	for i := range want {
		g, w := &got[i], &want[i]
		for k := range w.tokens {
			for j, top := range w.logprobs[k].Top {
				if j == 5 {
					break // these are in both
				}
				at := slices.IndexFunc(g.logprobs[k].Top, func(l batch.TokenLogprob) bool { return l.Token == top.Token })
				if at < 0 {
					t.Errorf("%s: reply %d, token %d: %d is not among the likeliest", what, i, k, top.Token)
					break
				}
				far := math.Abs(float64(g.logprobs[k].Top[at].Logprob) - float64(top.Logprob))
				if worst = max(worst, far); !(far <= within) {
					t.Errorf("%s: reply %d, token %d: log-probability of %d is %v, want %v", what, i, k, top.Token, g.logprobs[k].Top[at].Logprob, top.Logprob)
					break
				}
			}
			if g.tokens[k] != w.tokens[k] {
				t.Logf("%s: reply %d: token %d is %d, want %d", what, i, k, g.tokens[k], w.tokens[k])
				others++
				break
			}
		}
	}
	if others > few {
		t.Errorf("%s: %d of %d replies are others", what, others, len(want))
	}
	t.Logf("%s: %d of %d replies are others; log-probabilities differ by %.3f at most", what, others, len(want), worst)
	return others
}

// Whatever is drafted, what is drawn is what would be without drafts, up to roundings: by all
// ways to sample, with masks, early and late, beside prompts, which are replayed, preempted, with
// graphs and without, keys and values in FP8, and by ranks together. And it is what the processor
// draws.
func TestDraftsChangeNothing(t *testing.T) {
	require(t)
	const n = 40
	m := modeltest.Get(t, "qwen3").Open(t)
	wishes := draftWishes(m.Config.Vocab)
	spec := device.Spec{Model: m, DType: model.BFloat16, Slots: 16, PageSize: 16, MaxSeqLen: 256, MaxStepTokens: 400, NumPages: 600, Drafts: true}
	host, err := cpu.Open(spec)
	want, plain := openRig(t, host, err).speculate(wishes, n, 16, noDrafts)
	var texts [][]int32
	for _, a := range want {
		texts = append(texts, a.tokens)
	}
	draft := drafter(7, m.Config.Vocab, texts)
	for _, c := range []struct {
		name   string
		within float64
		change func(s *device.Spec)
	}{
		{"graphs", 2 * tolerance, func(*device.Spec) {}},
		{"eager", 2 * tolerance, func(s *device.Spec) { s.GraphRows = -1 }},
		{"pages of 1", 2 * tolerance, func(s *device.Spec) { s.PageSize, s.NumPages = 1, 6000 }},
		{"fp8", 0.25, func(s *device.Spec) { s.KVDType = model.Float8 }},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := spec
			c.change(&s)
			r := openCUDA(t, s)
			without, _ := r.speculate(wishes, n, 16, noDrafts)
			with, steps := r.speculate(wishes, n, 16, draft)
			// Roundings make others of half of what is drawn at random, drafts of few more.
			most := len(wishes)
			if s.KVDType != model.Float8 {
				most = sameReplies(t, "without drafts, as the processor", without, want, c.within, most*2/3) + 2
				sameReplies(t, "with drafts, as the processor", with, want, c.within, most)
			}
			sameReplies(t, "with drafts, as without", with, without, c.within, most)
			if steps > plain*9/10 { // 53 of 63; drafts are of the processor's texts, which half of the replies leave
				t.Errorf("%d steps with drafts, %d without", steps, plain)
			}
			t.Logf("%d steps with drafts, %d without", steps, plain)
		})
	}
	t.Run("ranks", func(t *testing.T) {
		with, _ := openRanks(t, spec, 0, 0).speculate(wishes, n, 16, draft)
		sameReplies(t, "with drafts, as the processor", with, want, 2*tolerance, len(wishes)*2/3)
	})
}

// Rows of a sequence that are computed together see each other's keys, wherever tiles of
// positions begin, in a model of many layers and heads of 128 whose kernels begin before those
// ahead have ended: what is drafted rightly is as likely as it is by itself.
func TestDraftsSeeEachOther(t *testing.T) {
	m, err := model.Open("qwen3-0.6b", true)
	if err != nil {
		t.Fatal(err)
	}
	for _, kv := range []model.DType{model.BFloat16, model.Float8} {
		t.Run(string(kv), func(t *testing.T) {
			r := openCUDA(t, device.Spec{Model: m, Slots: 8, MaxSeqLen: 4096, MaxStepTokens: 8192, Drafts: true, KVDType: kv})
			const n = 64
			var wishes []wish
			var texts [][]int32
			g := rand.New(rand.NewPCG(4, 4))
			for i := range 6 {
				w := wish{sampling: batch.Sampling{Temperature: 1, Seed: uint64(i), Logprobs: 21}}
				for range []int{7, 40, 100, 333, 1500, 3000}[i] {
					w.prompt = append(w.prompt, g.Int32N(1000))
				}
				for range n {
					w.text = append(w.text, g.Int32N(1000))
				}
				wishes, texts = append(wishes, w), append(texts, w.text)
			}
			without, _ := r.speculate(wishes, n, 4096, noDrafts)
			for seed := range uint64(3) {
				with, steps := r.speculate(wishes, n, 4096, drafter(seed, m.Config.Vocab, texts))
				sameReplies(t, fmt.Sprint("drafts ", seed, ": "), with, without, 0.15, 0)
				if steps > n*3/4 {
					t.Errorf("%d steps for %d tokens", steps, n)
				}
			}
			// To the last bit, whether kernels begin early or not.
			d := r.d.(*Device)
			d.encoder.graphs, d.encoder.prompts = nil, 0
			early, _ := r.speculate(wishes, n, 4096, drafter(9, m.Config.Vocab, texts))
			d.engine.queue.overlap = false
			late, _ := r.speculate(wishes, n, 4096, drafter(9, m.Config.Vocab, texts))
			sameReplies(t, "kernels that begin early, drafts 9: ", early, late, 0, 0)
		})
	}
}

// BenchmarkDrafts is what steps take in which each request has so many drafts: lines as
// BenchmarkSteps writes them.
func BenchmarkDrafts(b *testing.B) {
	for _, name := range []string{"qwen3-0.6b", "qwen3-14b"} {
		b.Run(name, func(b *testing.B) {
			m, err := model.Open(name, true)
			if err != nil {
				b.Fatal(err)
			}
			r := openCUDA(b, device.Spec{Model: m, Slots: 64, MaxSeqLen: 8192, MaxStepTokens: 8192, Drafts: true})
			measure := func(rows, context, drafts int) {
				for slot, pages := range r.pages { // the last measure's
					r.free = append(r.free, pages...)
					delete(r.pages, slot)
				}
				var times []int64
				for i := range 11 {
					s := &batch.Step{}
					for slot := range int32(rows) {
						tokens := make([]int32, 1+drafts)
						for j := range tokens {
							tokens[j] = rand.Int32N(int32(m.Config.Vocab))
						}
						if i == 0 { // keys and values of the context are whatever lies there
							r.give(s, slot, batch.Sampling{Temperature: 0.6, Seed: uint64(slot)})
							r.row(s, slot, int32(context), tokens[:1], true)
							continue
						}
						if drafts == 0 {
							tokens = nil
						}
						r.row(s, slot, int32(context+i), tokens, true) // none is accepted
						s.Rows[len(s.Rows)-1].Drafts = int32(drafts)
					}
					r.launch(s)
					if res := r.wait(); i > 1 {
						times = append(times, res.Ended-res.Began)
					}
				}
				slices.Sort(times)
				fmt.Fprintf(os.Stderr, `{"model":%q,"decodes":%d,"context":%d,"prefill":0,"cached":0,"drafts":%d,"us":%.1f}`+"\n",
					name, rows, context, drafts, float64(times[len(times)/2])/1e3)
			}
			for _, rows := range []int{1, 8, 64} {
				for _, context := range []int{100, 1000, 4000} {
					for _, drafts := range []int{0, 1, 2, 4, 8} {
						if rows*(1+drafts) <= r.info.MaxDraws {
							measure(rows, context, drafts)
						}
					}
				}
			}
		})
	}
}

// The processor, whose bits do not depend on drafts, is answered the same by the rig.
func TestDraftsOnTheProcessor(t *testing.T) {
	const n = 40
	m := modeltest.Get(t, "qwen3").Open(t)
	wishes := draftWishes(m.Config.Vocab)
	host, err := cpu.Open(device.Spec{Model: m, DType: model.BFloat16, Slots: 16, PageSize: 16, MaxSeqLen: 256, MaxStepTokens: 400, NumPages: 600})
	r := openRig(t, host, err)
	want, plain := r.speculate(wishes, n, 16, noDrafts)
	var texts [][]int32
	for _, a := range want {
		texts = append(texts, a.tokens)
	}
	got, steps := r.speculate(wishes, n, 16, drafter(7, m.Config.Vocab, texts))
	sameReplies(t, "with drafts", got, want, 0, 0)
	if steps > plain*3/4 {
		t.Errorf("%d steps with drafts, %d without", steps, plain)
	}
}
