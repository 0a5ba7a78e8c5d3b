package plan

import (
	"fmt"
	"testing"

	"github.com/troupe-llm/troupe/gpu/batch"
)

// fleet is a planner whose n requests all decode; they never end.
func fleet(tb testing.TB, n int, overlap bool) (*Planner, *batch.Result) {
	const size, prompt, most = 16, 500, 1 << 20
	p, err := New(Config{
		Slots: n, NumPages: n * 600 / size * 64, PageSize: size, MaxSeqLen: most, StepTokens: 8192 + n,
		EOS: []int32{-2, -3}, Overlap: overlap,
	})
	if err != nil {
		tb.Fatal(err)
	}
	p.reserve.share = 0 // let all in at once
	for i := range n {
		tokens := make([]int32, prompt+i%size)
		for j := range tokens {
			tokens[j] = int32(i*1000 + j)
		}
		if err := p.Add(&Request{ID: uint64(i + 1), Prompt: tokens, Sampling: batch.Sampling{Temperature: 1}}); err != nil {
			tb.Fatal(err)
		}
	}
	res := &batch.Result{}
	for p.queue.len() > 0 || len(p.prefill) > 0 {
		p.Next()
		turn(p, res)
	}
	if p.seated != n {
		tb.Fatalf("%d of %d requests run", p.seated, n)
	}
	for range 2 * size { // tokens and tables have room from here on
		p.Next()
		turn(p, res)
	}
	if overlap {
		p.Next()
	}
	return p, res
}

// turn commits the oldest step with made-up tokens.
func turn(p *Planner, res *batch.Result) []Output {
	seq := p.step - uint64(p.out) + 1
	f := &p.ring[seq%uint64(len(p.ring))]
	res.Reset()
	res.Seq = seq
	for i := range f.step.Rows {
		t := batch.NoToken
		if f.step.Rows[i].Sample {
			t = int32(seq % 1000)
		}
		res.Tokens = append(res.Tokens, t)
	}
	return p.Commit(res)
}

func benchmarkDecode(b *testing.B, n int, overlap bool) {
	p, res := fleet(b, n, overlap)
	const most = 30_000 // steps, for which the fleet's pages last
	steps := 0
	b.ReportAllocs()
	for b.Loop() {
		if steps++; steps == most {
			b.StopTimer()
			p, res = fleet(b, n, overlap)
			steps = 0
			b.StartTimer()
		}
		if rows := len(p.Next().Rows); rows != n {
			b.Fatalf("%d rows, want %d", rows, n)
		}
		turn(p, res)
	}
}

// One step built and one committed, all requests decoding. On one core of an
// EPYC (Zen 4), processor time: 9–12 µs for 256 requests, 39–57 µs for 1,024.
// Nothing stands out in the profile: a third each in decodes and commit, of
// which a half is stop tokens and appending; the rest is this file's.
func BenchmarkDecodeStep256(b *testing.B)  { benchmarkDecode(b, 256, true) }
func BenchmarkDecodeStep1024(b *testing.B) { benchmarkDecode(b, 1024, true) }

// One request of 2,000 tokens, half of them cached, is matched, admitted and
// ended, with 100,000 nodes in the tree and no page free, so that as many are
// evicted as it needs. On the same core 30 µs with pages of 16 tokens; with
// pages of one token, a thousand of them evicted and a thousand linked, 320 µs.
func BenchmarkAdmit100k(b *testing.B) {
	for _, size := range []int{16, 1} {
		b.Run(fmt.Sprintf("page%d", size), func(b *testing.B) { benchmarkAdmit(b, size) })
	}
}

func benchmarkAdmit(b *testing.B, size int) {
	const nodes, prompt = 100_000, 2000
	p, err := New(Config{Slots: 4, NumPages: nodes + 2*prompt/size, PageSize: size, MaxSeqLen: 4096, StepTokens: 8192})
	if err != nil {
		b.Fatal(err)
	}
	res := &batch.Result{}
	// A tree of many branches: each half prompt shared by a few requests.
	tokens := func(family, i int) []int32 {
		t := make([]int32, prompt)
		for j := range t {
			if j < prompt/2 {
				t[j] = int32(family*31 + j%97)
			} else {
				t[j] = int32(i*17 + j)
			}
		}
		return t
	}
	run := func(id uint64, prompt []int32) {
		if err := p.Add(&Request{ID: id, Prompt: prompt, MaxTokens: 1}); err != nil {
			b.Fatal(err)
		}
		p.Next()
		turn(p, res)
	}
	id := uint64(0)
	for p.pages.nodes < nodes {
		id++
		run(id, tokens(int(id/4), int(id)))
	}
	const fresh = 512
	prompts := make([][]int32, fresh)
	for i := range prompts {
		prompts[i] = tokens(int(id)/4-i%100, 1<<20+i)
	}
	b.ReportAllocs()
	i := 0
	for b.Loop() {
		id++
		t := prompts[i%fresh]
		t[prompt/2+1] = int32(id) // never seen
		i++
		run(id, t)
	}
	s := p.Stats()
	b.ReportMetric(float64(p.pages.nodes), "nodes")
	b.ReportMetric(float64(s.CachedTokens)/float64(s.PromptTokens), "hit")
}

func TestDecodingAllocatesNothing(t *testing.T) {
	if checks {
		t.Skip("checking invariants allocates")
	}
	p, res := fleet(t, 64, true)
	if n := testing.AllocsPerRun(100, func() {
		p.Next()
		turn(p, res)
	}); n != 0 {
		t.Errorf("%v allocations a step", n)
	}
}
