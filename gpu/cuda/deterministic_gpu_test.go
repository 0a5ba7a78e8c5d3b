//go:build cuda

package cuda

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"os"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/troupe-llm/troupe/gpu/batch"
	"github.com/troupe-llm/troupe/gpu/device"
	"github.com/troupe-llm/troupe/gpu/kernel"
	"github.com/troupe-llm/troupe/gpu/kernel/lower"
	"github.com/troupe-llm/troupe/gpu/model"
	"github.com/troupe-llm/troupe/gpu/model/modeltest"
)

// told is a text as it was computed alone, its prompt whole, then token by token: of every
// token but the first what was said of it.
type told struct {
	tokens   []int32
	prompt   int
	sampling batch.Sampling
	said     []batch.Logprob // by position
}

// alone computes n tokens behind a prompt, with nothing else in a step.
func (r *rig) alone(prompt []int32, sampling batch.Sampling, n int) *told {
	r.t.Helper()
	s := &batch.Step{}
	r.give(s, 0, sampling)
	r.row(s, 0, 0, prompt, true)
	s.Rows[0].Score = prompt[1:]
	r.launch(s)
	res := r.wait()
	x := &told{slices.Clone(prompt), len(prompt), sampling, slices.Concat([]batch.Logprob{{}}, kept(res.Scores), kept(res.Logprobs))}
	x.tokens = append(x.tokens, res.Tokens[0])
	for range n - 1 {
		s := &batch.Step{}
		r.row(s, 0, int32(len(x.tokens)-1), nil, true)
		r.launch(s)
		res := r.wait()
		x.tokens, x.said = append(x.tokens, res.Tokens[0]), append(x.said, kept(res.Logprobs)...)
	}
	return x
}

// kept is a copy, since results are used again.
func kept(list []batch.Logprob) []batch.Logprob {
	out := slices.Clone(list)
	for i := range out {
		out[i].Top = slices.Clone(out[i].Top)
	}
	return out
}

// alike compares bits.
func alike(a, b batch.Logprob) bool {
	bits := func(a, b float32) bool { return math.Float32bits(a) == math.Float32bits(b) }
	return bits(a.Token, b.Token) && slices.EqualFunc(a.Top, b.Top, func(a, b batch.TokenLogprob) bool { return a.Token == b.Token && bits(a.Logprob, b.Logprob) })
}

// reader is a slot that computes a text once more.
type reader struct {
	*told
	done  int  // tokens whose keys and values are there
	drawn bool // the last row drew the token that comes next
	pages []int32
	fresh bool // it has no row yet
}

// reread computes texts again in random steps: prompts and what was drawn behind them in chunks
// of any length, or token by token as decode rows, with drafts and without, beside any others, in any slot and row,
// behind pages of others that begin alike, given up anywhere and begun again. It returns how
// many tokens were compared, and the first differences.
func (r *rig) reread(g *rand.Rand, texts []*told, steps int) (n int, differences []string) {
	r.t.Helper()
	slots, page := make([]*reader, r.info.Slots), r.info.PageSize
	for range steps {
		s := &batch.Step{}
		var prompts, decodes, drafted []*reader
		left, draws := r.info.MaxStepTokens, 0
		for _, i := range g.Perm(len(slots)) {
			q := slots[i]
			if q == nil || q.done == len(q.tokens)-1 || g.IntN(25) == 0 {
				if q != nil {
					r.free = append(r.free, q.pages...)
				}
				q = &reader{told: texts[g.IntN(len(texts))], fresh: true}
				slots[i] = q
				s.Slots = append(s.Slots, batch.SlotInit{Slot: int32(i), Sampling: q.sampling})
			}
			if g.IntN(4) == 0 && !q.fresh {
				continue
			}
			size := 1 + g.IntN(pick(g, 1, 3, 20, 200, 1500))
			if size = min(size, len(q.tokens)-1-q.done); size > left {
				continue
			}
			row := batch.Row{Slot: int32(i), Start: int32(q.done)}
			if how := g.IntN(4); q.drawn && how > 1 {
				size = 1
			} else if drafts := min(size, 5) - 1; q.drawn && how == 1 && drafts > 0 && draws+drafts <= r.info.Draws()-r.info.Slots {
				size, row.Drafts = drafts+1, int32(drafts)
				row.Tokens = q.tokens[q.done : q.done+size]
				draws += drafts
			} else {
				row.Tokens = q.tokens[q.done : q.done+size]
				row.Score = q.tokens[q.done+1 : q.done+size] // the last is drawn, or scored
			}
			if row.Sample = q.done+size >= q.prompt; !row.Sample && row.Drafts == 0 {
				row.Score = q.tokens[q.done+1 : q.done+size+1]
			}
			for len(q.pages)*page < q.done+size {
				q.pages = append(q.pages, r.free[len(r.free)-1])
				s.Pages = append(s.Pages, batch.PageEntry{Slot: int32(i), Index: int32(len(q.pages) - 1), Page: q.pages[len(q.pages)-1]})
				r.free = r.free[:len(r.free)-1]
			}
			left -= size
			s.NumTokens += size
			q.fresh = false
			switch {
			case row.Tokens == nil:
				s.Rows = slices.Insert(s.Rows, s.NumDecode, row)
				decodes = append(decodes, q)
				s.NumDecode++
			case row.Drafts > 0: // before prompts
				s.Rows = slices.Insert(s.Rows, s.NumDecode+len(drafted), row)
				drafted = append(drafted, q)
			default:
				s.Rows = append(s.Rows, row)
				prompts = append(prompts, q)
			}
		}
		if len(s.Rows) == 0 {
			continue
		}
		r.launch(s)
		res := r.wait()
		scores := res.Scores
		place := 0 // of a row's draws
		for k, q := range slices.Concat(decodes, drafted, prompts) {
			row := &s.Rows[k]
			check := func(at int, got batch.Logprob) {
				if n++; !alike(got, q.said[at]) && len(differences) < 8 {
					differences = append(differences, fmt.Sprintf("token %d of %d (prompt %d), row %d of %d with %d tokens from %d on, %d decode: %v, alone %v",
						at, len(q.tokens), q.prompt, k, len(s.Rows), row.Len(), row.Start, s.NumDecode, got.Token, q.said[at].Token))
				}
			}
			for j := range row.Score {
				check(int(row.Start)+1+j, scores[j])
			}
			scores = scores[len(row.Score):]
			q.done += row.Len() - int(row.Drafts)
			q.drawn = row.Sample
			for j := range row.Draws() {
				if !row.Sample {
					break
				}
				check(q.done+j, res.Logprobs[place+j])
				if token := res.Tokens[place+j]; token != q.tokens[q.done+j] {
					if q.drawn = false; len(differences) < 8 {
						differences = append(differences, fmt.Sprintf("token %d is %d, alone %d", q.done+j, token, q.tokens[q.done+j]))
					}
				}
			}
			q.done += int(row.Drafts)
			place += row.Draws()
		}
	}
	return n, differences
}

// behind is reread's way of going on behind pages that another text computed: of texts that begin
// alike the second takes the first one's whole pages.
func (r *rig) behind(x *told, shared int) (n int, differences []string) {
	page := r.info.PageSize
	shared = shared / page * page
	s := &batch.Step{}
	r.give(s, 0, batch.Sampling{})
	r.row(s, 0, 0, x.tokens[:shared], false)
	r.launch(s)
	r.wait()
	s = &batch.Step{}
	s.Slots = append(s.Slots, batch.SlotInit{Slot: 1, Sampling: x.sampling})
	for i, p := range r.pages[0][:shared/page] {
		s.Pages = append(s.Pages, batch.PageEntry{Slot: 1, Index: int32(i), Page: p})
	}
	for i := shared / page; i*page < len(x.tokens); i++ {
		s.Pages = append(s.Pages, batch.PageEntry{Slot: 1, Index: int32(i), Page: r.free[i]})
	}
	rest := x.tokens[shared : len(x.tokens)-1]
	s.Rows = []batch.Row{{Slot: 1, Start: int32(shared), Tokens: rest, Score: x.tokens[shared+1:]}}
	s.NumTokens = len(rest)
	r.launch(s)
	for i, got := range r.wait().Scores {
		if n++; !alike(got, x.said[shared+1+i]) && len(differences) < 3 {
			differences = append(differences, fmt.Sprintf("token %d behind %d shared ones: %v, alone %v", shared+1+i, shared, got.Token, x.said[shared+1+i].Token))
		}
	}
	return n, differences
}

// determined are models that TestDeterministic is of: checkpoints of all families, and random
// ones with heads of Hopper's kernels.
func determined(t *testing.T) map[string]device.Spec {
	all := map[string]device.Spec{}
	for _, c := range append(modeltest.Own(t), modeltest.Families(t)...) {
		all[c.Name] = device.Spec{Model: c.Open(t)}
		if c.Name == "qwen3" {
			all[c.Name+"/kv-fp8"] = device.Spec{Model: c.Open(t), KVDType: model.Float8}
			all[c.Name+"/portable"] = device.Spec{Model: c.Open(t), Attention: "portable"}
			all[c.Name+"/eager"] = device.Spec{Model: c.Open(t), GraphRows: -1}
		}
	}
	for seed := range uint64(7) {
		g := rand.New(rand.NewPCG(seed, 5))
		c := randomConfig(t, g)
		spec := device.Spec{Model: modeltest.Random(g, c)}
		if seed%4 == 3 {
			spec.Quantization, spec.KVDType = model.FP8, model.Float8
		}
		all[fmt.Sprintf("random/%d", seed)] = spec
	}
	// Contexts of several splits of attention, with and without a window.
	for name, fields := range map[string]map[string]any{
		"long/128": {"architectures": []string{"Qwen3ForCausalLM"}, "num_attention_heads": 10, "num_key_value_heads": 2, "head_dim": 128},
		"long/64":  {"architectures": []string{"LlamaForCausalLM"}, "num_attention_heads": 4, "num_key_value_heads": 4, "head_dim": 64},
		"long/window": {
			"architectures": []string{"MistralForCausalLM"}, "num_attention_heads": 4, "num_key_value_heads": 1, "head_dim": 128, "sliding_window": 1300,
		},
	} {
		maps.Copy(fields, map[string]any{"num_hidden_layers": 2, "hidden_size": 256, "intermediate_size": 352, "vocab_size": 501, "max_position_embeddings": 4096, "rope_theta": 1e4})
		all[name] = device.Spec{Model: modeltest.Random(rand.New(rand.NewPCG(9, 9)), modeltest.Config(t, fields)), MaxStepTokens: 3000}
	}
	return all
}

// What is said of a token, and which is drawn, is to the bit what it is alone, whatever the
// steps are like in which it is computed; and on another device as well.
func TestDeterministic(t *testing.T) {
	require(t)
	all := determined(t)
	for _, name := range slices.Sorted(maps.Keys(all)) {
		testDetermined(t, name, all[name], func(spec device.Spec) *rig { return openCUDA(t, spec) })
	}
}

// So it is where two ranks share a model.
func TestDeterministicRanks(t *testing.T) {
	require(t)
	gpus := []int{0, 0}
	if all, err := Probe(); err == nil && len(all) > 1 {
		gpus[1] = 1
	}
	all := determined(t)
	for _, name := range []string{"qwen3", "llama3", "qwen3moe", "long/64"} {
		testDetermined(t, name, all[name], func(spec device.Spec) *rig { return openRanks(t, spec, gpus...) })
	}
}

// testDetermined compares a model with itself.
func testDetermined(t *testing.T, name string, spec device.Spec, open func(device.Spec) *rig) {
	recurrent := len(spec.Model.Config.Program.States) > 0 // states go back to before no draft
	spec.Deterministic, spec.Drafts, spec.Slots, spec.NumPages, spec.PageSize, spec.MaxStepTokens = true, !recurrent, 24, 8000, 16, max(spec.MaxStepTokens, 700)
	spec.GraphRows = cmp.Or(spec.GraphRows, 40)
	if strings.Contains(name, "/1") || strings.HasSuffix(name, "a3") {
		spec.PageSize = 5
	}
	settled := spec
	if _, err := settle(&settled, hopper); err != nil {
		t.Logf("left out: %s: %v", name, err)
		return
	}
	t.Run(name, func(t *testing.T) {
		g := rand.New(rand.NewPCG(3, uint64(len(name))))
		r := open(spec)
		var texts []*told
		most := min(r.info.MaxSeqLen, spec.MaxStepTokens-100)
		for i, prompt := range []int{1, 2, 17, most / 4, most / 2, most - 26} {
			ids := make([]int32, max(1, prompt))
			for j := range ids {
				ids[j] = g.Int32N(int32(r.info.Vocab))
			}
			sampling := batch.Sampling{Logprobs: 6}
			if i%2 == 1 {
				sampling.Temperature, sampling.TopP, sampling.Seed = 0.9, 0.95, uint64(i)
			}
			texts = append(texts, r.alone(ids, sampling, 24))
		}
		for turn := range 2 {
			if turn == 1 && name != "qwen3" && name != "qwen3-sharded" {
				break
			}
			if turn == 1 { // another device, with other sizes
				other := spec
				other.Slots, other.MaxStepTokens, other.PageSize = 40, 1024, 16
				r = open(other)
			}
			n, differences := r.reread(g, texts, 50)
			if !recurrent { // whose states are not in pages
				m, more := r.behind(texts[len(texts)-1], most/2)
				n, differences = n+m, append(differences, more...)
			}
			for _, d := range differences {
				t.Error(d)
			}
			if n < 500 {
				t.Errorf("%d tokens were compared", n)
			}
			t.Logf("%d tokens compared", n)
		}
	})
}

// Of products of Qwen3-14B's shapes a row is the same to the bit among any number of rows, in any
// place, whatever comes behind it; and how many of the choices are the library's own first.
func TestPinnedProducts(t *testing.T) {
	require(t)
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	ctx, err := openContext(0)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := ctx.close(); err != nil {
			t.Error(err)
		}
	}()
	const most, widest, deepest = 4096, 34816, 17408
	var x, y, ws, digests, w kernel.Ptr
	for _, a := range []struct {
		at    *kernel.Ptr
		bytes int64
	}{{&x, 2 * most * deepest}, {&y, 4 * most * widest}, {&ws, workspaceBytes}, {&digests, 8 * most}, {&w, 2 * 151936 * 5120}} {
		if *a.at, err = ctx.allocate(a.bytes, "a test"); err != nil {
			t.Fatal(err)
		}
	}
	m, err := loadModules(kernel.Shape{Heads: 16, KVHeads: 8, HeadDim: 128, PageSize: 16, Stages: 3}, ctx.gpu.architecture())
	if err != nil {
		t.Fatal(err)
	}
	q := &queue{modules: m, stream: ctx.compute}
	if err := kernel.FillRandom(q, w, 151936*5120, 5120, 2); err != nil {
		t.Fatal(err)
	}
	lt, err := newBlas(ws, ctx.compute)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := lt.close(); err != nil {
			t.Error(err)
		}
	}()
	p := pinner{lt, q, digests}
	for _, s := range []struct {
		name       string
		out, in    int
		float, add bool
		most       int
	}{
		{"14b-qkv", 7168, 5120, true, false, most},
		{"14b-o", 5120, 5120, true, true, most},
		{"14b-gate_up", 34816, 5120, false, false, most},
		{"14b-down", 5120, 17408, true, true, most},
		{"14b-head", 151936, 5120, true, false, 256},
		{"0.6b-qkv", 4096, 1024, true, false, most},
		{"0.6b-o", 1024, 2048, true, true, most},
		{"0.6b-down", 1024, 3072, true, true, most},
		{"router", 128, 2048, true, false, most},
	} {
		f := factors{product: product{out: s.out, in: s.in, ld: s.out, float: s.float}, w: w, x: x, y: y, add: s.add, most: s.most}
		if err := p.pin(f); err != nil {
			t.Errorf("FAIL %s: %v", s.name, err)
			continue
		}
		reference, want, err := p.reference(f)
		if err != nil {
			t.Fatal(err)
		}
		first, own, sizes, bad := 0, 0, 0, 0
		for n := 1; n <= s.most; n = f.n + 1 {
			f.n = min(lower.AlikeRows(n), s.most)
			free, err := p.candidates(f.like(), 1, false)
			if err != nil {
				t.Fatal(err)
			}
			sizes++
			if p.chosen[f.like()] == free[0].algo {
				first++
			}
			if p.chosen[f.like()] == reference {
				own++
			}
		}
		// Rows from any place on, so many as they come.
		g := rand.New(rand.NewPCG(1, 2))
		for try := range 60 {
			n := []int{1, 2, 3, 5, 8, 13, 16, 17, 31, 64, 100, 128, 255, 256, 257, 300, 512, 777, 1024, 2000, 4096}[try%21]
			if n > s.most {
				continue
			}
			at := g.IntN(s.most - n + 1)
			if got, err := p.rowsFrom(f, at, n); err != nil || !slices.Equal(got, want[at:at+n]) {
				if bad++; bad < 4 {
					t.Errorf("FAIL %s: %d rows from %d on differ (%v)", s.name, n, at, err)
				}
			}
		}
		t.Logf("%-12s of %2d numbers of rows %2d as the library wants, %2d as the reference; %d differ", s.name, sizes, first, own, bad)
		lt.pinned = false
	}
}

// rowsFrom is what n rows from a place on become by what is chosen, as passes multiply.
func (p *pinner) rowsFrom(f factors, at, n int) ([]uint64, error) {
	f.x = f.x.Plus(int64(bf16 * f.in * at))
	f.n = n
	if at+lower.ProductRows(n) <= f.most {
		f.n = rounded(n, f.most)
	}
	algo, ok := p.chosen[f.like()]
	if !ok {
		return nil, errors.New("nothing is chosen")
	}
	got, err := p.multiplied(f, &algo)
	return got[:min(n, len(got))], err
}

// BenchmarkPinned is what opening takes to choose, and what was chosen beside the library's own
// first, whatever its bits, in microseconds: weights come from memory where they are large.
func BenchmarkPinned(b *testing.B) {
	for _, name := range []string{"qwen3-0.6b", "qwen3-14b"} {
		b.Run(name, func(b *testing.B) {
			m, err := model.Open(name, true)
			if err != nil {
				b.Fatal(err)
			}
			r := openCUDA(b, device.Spec{Model: m, MaxSeqLen: 8192, Deterministic: true})
			e := r.d.(*Device).engine
			began := time.Now()
			if err := e.pinProducts(); err != nil {
				b.Fatal(err)
			}
			fmt.Fprintf(os.Stderr, "%s: chosen in %v\n", name, time.Since(began).Round(time.Millisecond))
			for _, l := range distinct(e.plans.products) {
				line := fmt.Sprintf("%-8s", l.name)
				for _, n := range []int{16, 64, 128, 256, 512, 4096} {
					f := l.of(min(n, l.most))
					chosen := e.blas.chosen[f.like()]
					first, err := e.blas.candidates(f.like(), 1, false)
					if err != nil {
						b.Fatal(err)
					}
					line += fmt.Sprintf(" | %d:", f.n)
					for i := range 2 {
						algo := &chosen
						if i == 1 {
							algo = &first[0].algo
						}
						ns, err := e.blas.time(f, algo, 16, 0, 8)
						if err != nil {
							b.Fatal(err)
						}
						line += fmt.Sprintf(" %.1f", ns/1e3)
					}
				}
				fmt.Fprintln(os.Stderr, line)
			}
		})
	}
}
