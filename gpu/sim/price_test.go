package sim

import (
	"math"
	"testing"
	"time"

	"github.com/troupe-llm/troupe/gpu/batch"
	"github.com/troupe-llm/troupe/gpu/device"
	"github.com/troupe-llm/troupe/gpu/model"
	"github.com/troupe-llm/troupe/gpu/program"
)

// layers is a program of attention alone, a layer for each window.
func layers(t *testing.T, windows ...int) *program.Program {
	t.Helper()
	const hidden, heads = 256, 4
	b := program.NewBuilder()
	weight := func(name string, shape ...int) *program.Weight {
		return &program.Weight{Name: name, Role: name, Shape: shape, Parts: []program.Part{program.Whole(name, shape...)}}
	}
	table := weight("embed", 1000, hidden)
	x := b.Embed(table, 1)
	for i, window := range windows {
		name := string(rune('a'+i)) + "."
		b.At(name)
		qkv := b.Product(b.Norm(x, weight(name+"norm", hidden), 1e-6), weight(name+"qkv", 3*hidden, hidden))
		p := b.Split(qkv, hidden, hidden, hidden)
		b.Rope(&program.Rotary{Dims: 2, InvFreq: []float64{1}, Scale: 1}, hidden/heads, p[0], p[1])
		a := b.Attend(p[0], b.Store(p[1], p[2], heads, window), heads, 1, nil)
		b.Add(x, b.Product(a, weight(name+"o", hidden, hidden)), 1)
	}
	b.At("")
	b.Head(x, weight("norm", hidden), weight("head", 1000, hidden), 1e-6)
	p, err := b.Done()
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func priceOf(t *testing.T, name string, p *program.Program) *Roofline {
	t.Helper()
	o, err := parse(name)
	if err != nil {
		t.Fatal(err)
	}
	if o.tp > 1 {
		share, err := p.Share(0, o.tp, 0)
		if err != nil {
			t.Fatal(err)
		}
		p = share.Program
	}
	return newRoofline(&o, p, &device.Info{DType: model.BFloat16}, measured)
}

// One list of kernels for any number of rows makes few rows take longer, many as long.
func TestPriceOfDeterminism(t *testing.T) {
	o, err := parse("sim:h200")
	if err != nil {
		t.Fatal(err)
	}
	m, err := model.Open("qwen3-0.6b", true)
	if err != nil {
		t.Fatal(err)
	}
	of := func(deterministic bool, rows int32) time.Duration {
		return newRoofline(&o, m.Config.Program, &device.Info{DType: model.BFloat16, Deterministic: deterministic}, measured).Step(decodes(rows, 100))
	}
	if a, b := of(false, 4), of(true, 4); b <= a {
		t.Errorf("4 rows take %v, %v as deterministic", a, b)
	}
	if a, b := of(false, 100), of(true, 100); b != a {
		t.Errorf("100 rows take %v, %v as deterministic", a, b)
	}
}

// A window spares reading what is before it, and multiplying with it.
func TestRooflineOfWindows(t *testing.T) {
	all := priceOf(t, "sim:h200", layers(t, 0, 0, 0))
	some := priceOf(t, "sim:h200", layers(t, 100, 0, 100))
	saved := func(s *batch.Step) float64 { return (all.Step(s) - some.Step(s)).Seconds() }
	near := func(what string, got, want float64) {
		t.Helper()
		if math.Abs(got-want) > 3e-9 { // a step takes whole nanoseconds
			t.Errorf("%s: windows of 100 save %v s, want %v", what, got, want)
		}
	}
	near("within them", saved(decodes(8, 100)), 0)
	// In two layers 900 positions of 1,024 bytes for each row, at 0.88·4.8 TB/s.
	near("decode rows", saved(decodes(8, 1000)), 2*8*900*1024/(0.88*4.8e12))
	prompt := &batch.Step{NumTokens: 8192, Rows: []batch.Row{{Tokens: make([]int32, 8192), Sample: true}}}
	// Of each layer's 34 million pairs so few are left that reading takes longer.
	near("a prompt", saved(prompt), 2*(8192*8193/2*4*256/(0.671*989e12)-8192*1024/(0.88*4.8e12)))
}

// GPUs that share layers have a share of the matrices, and of what comes of
// them; the router, norms and the residual stream they have whole. Behind every
// sum over inputs they add up, twice a layer, and once embeddings.
func TestPricesOfShares(t *testing.T) {
	c := &published(t, "qwen3-30b-a3b").Config
	sums := func(name string) (weights, reduce, reduces, position float64) {
		r := priceOf(t, name, c.Program)
		for _, k := range find(r.bodies, 4096) {
			weights += k.n * k.weights
			position += k.n * k.position
			reduce += k.n * k.link
			if k.link > 0 {
				reduces += k.n
			}
		}
		return weights, reduce, reduces, position
	}
	const routers, norms = 48 * 128 * 2048, 48 * 2 * (2048 + 128) // the last norm is the head's
	embeddings := 2 * c.Program.Weights[0].Elements()
	matrices := c.Program.Params() - embeddings - routers - norms - 2048
	for name, n := range map[string]float64{"sim:h200": 1, "sim:h200,tp=4": 4} {
		weights, reduce, reduces, position := sums(name)
		if want := 2 * (float64(matrices)/n + routers + norms); weights != want {
			t.Errorf("%s: %v bytes of weights, want %v", name, weights, want)
		}
		if want := float64(c.CacheBytes(model.BFloat16)) / n; position != want {
			t.Errorf("%s: a position takes %v bytes, want %v", name, position, want)
		}
		want := 0.0
		if n > 1 {
			want = 2*48 + 1
		}
		if reduces != want || reduce != want*2*2048*2*(n-1)/n {
			t.Errorf("%s: %v sums of %v bytes a token, want %v", name, reduces, reduce, want)
		}
	}
}

// Layers alike are priced once.
func TestKernelsThatDiffer(t *testing.T) {
	for _, name := range []string{"qwen3-0.6b", "llama-3.1-8b", "qwen3-30b-a3b"} {
		c := &published(t, name).Config
		r := priceOf(t, "sim:h200", c.Program)
		for _, b := range append(r.bodies, r.heads...) {
			if n := len(b.kernels); n > 12 {
				t.Errorf("%s: %d kernels differ in passes of up to %d", name, n, b.most)
			}
		}
	}
}

// A row with drafts costs what as many decode rows do, behind as many positions; beside a
// prompt, too.
func TestRooflineOfDrafts(t *testing.T) {
	for _, windows := range [][]int{{0}, {100, 0}} {
		r := priceOf(t, "sim:h200", layers(t, windows...))
		for _, prompt := range []int{0, 300} {
			s, same := &batch.Step{}, &batch.Step{}
			add := func(s *batch.Step, row batch.Row) {
				s.Rows = append(s.Rows, row)
				s.NumTokens += row.Len()
			}
			add(s, batch.Row{Slot: 0, Start: 500, Sample: true})
			add(same, s.Rows[0])
			add(s, batch.Row{Slot: 1, Start: 95, Tokens: make([]int32, 9), Drafts: 8, Sample: true})
			for j := range int32(9) {
				add(same, batch.Row{Slot: 1 + j, Start: 95 + j, Sample: true})
			}
			s.NumDecode, same.NumDecode = 1, len(same.Rows)
			if prompt > 0 {
				add(s, batch.Row{Slot: 20, Tokens: make([]int32, prompt)})
				add(same, s.Rows[2])
			}
			if got, want := r.Step(s), r.Step(same); got != want || got <= 0 {
				t.Errorf("windows %v beside a prompt of %d: %v, as decode rows %v", windows, prompt, got, want)
			}
		}
	}
}
