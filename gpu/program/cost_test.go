package program

import (
	"math"
	"math/rand/v2"
	"testing"
)

// look counts what attention looks at, position by position.
func look(spans []Span, window int) (l Look) {
	for _, s := range spans {
		seen := map[int]bool{}
		for t := s.Start; t < s.Start+s.Tokens; t++ {
			for at := 0; at <= t; at++ {
				if window == 0 || at > t-window {
					seen[at] = true
					l.Pairs++
				}
			}
		}
		l.Positions += float64(len(seen))
	}
	return l
}

func TestLook(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for range 2000 {
		var spans []Span
		for range r.IntN(4) {
			spans = append(spans, Span{Start: r.IntN(30), Tokens: 1 + r.IntN(20)})
		}
		p := NewPass(spans, 0)
		for _, window := range []int{0, 1, 1 + r.IntN(60), 0} { // the last is known by then
			if got, want := p.Look(window), look(spans, window); got != want {
				t.Fatalf("%v through a window of %d: %+v, want %+v", spans, window, got, want)
			}
		}
	}
}

// A pass of a prompt of 3 tokens, of 2 behind 10 others and of one behind 7, two
// of them sampled: 6 tokens, which see 3, 12 and 8 positions in 6, 11+12 and 8
// pairs; through a window of 4: 3, 5 and 4 in 6, 4+4 and 4.
func shortPass() *Pass { return NewPass([]Span{{0, 3}, {10, 2}, {7, 1}}, 2) }

func TestCosts(t *testing.T) {
	value := func(rows Rows, width int) *Value { return &Value{Rows: rows, Width: width, PerToken: 2} }
	weight := func(shape ...int) *Weight { return &Weight{Shape: shape} }
	x, entries := value(Tokens, 8), value(Entries, 8)
	table, norm, matrix, bias, experts := weight(100, 8), weight(8), weight(5, 8), weight(8), weight(4, 5, 8)
	all, windowed := &Cache{Heads: 2, KeyDim: 3, ValueDim: 4}, &Cache{Heads: 2, KeyDim: 3, ValueDim: 4, Window: 4}
	query, mixed := value(Tokens, 4*3), value(Tokens, 4*4)
	biases, kernel := weight(4, 8), weight(8, 4)
	touched := 1 - math.Pow(0.5, 6) // each token passes half of the experts by
	for name, c := range map[string]struct {
		op   Op
		want Cost
	}{
		"embed":                 {&Embed{Table: table, Scale: 1, Out: x}, Cost{Weight: table, Share: 6.0 / 100, Rows: 48, FLOPs: 48}},
		"norm":                  {&Norm{x, value(Tokens, 8), norm, 8, 1e-6}, Cost{Weight: norm, Share: 1, Rows: 96, FLOPs: 4 * 48}},
		"product":               {&Product{x, value(Tokens, 5), matrix}, Cost{Weight: matrix, Share: 1, Rows: 6 * 13, FLOPs: 2 * 6 * 40}},
		"product of sampled":    {&Product{value(Sampled, 8), value(Sampled, 5), matrix}, Cost{Weight: matrix, Share: 1, Rows: 2 * 13, FLOPs: 2 * 2 * 40}},
		"bias":                  {&AddBias{x, bias}, Cost{Weight: bias, Share: 1, Rows: 96, FLOPs: 48}},
		"gate":                  {&Gate{value(Tokens, 16), x, SiLU}, Cost{Rows: 6 * 24, FLOPs: 4 * 48}},
		"gate of entries":       {&Gate{value(Entries, 16), entries, SiLU}, Cost{Rows: 12 * 24, FLOPs: 4 * 96}},
		"add":                   {&Add{x, value(Tokens, 8), 1}, Cost{Rows: 3 * 48, FLOPs: 48}},
		"gather":                {&Gather{x, value(Sampled, 8)}, Cost{Rows: 2 * 2 * 8}},
		"rope":                  {&Rope{[]*Value{x, x}, 4, &Rotary{Dims: 2}}, Cost{Rows: 4 * 48, FLOPs: 2 * 3 * 24}},
		"store":                 {&Store{value(Tokens, 6), x, all}, Cost{Rows: 6 * 14, Cache: 6 * 14}},
		"attention":             {&Attend{Query: query, Out: mixed, Cache: all, Heads: 4, Scale: 1}, Cost{Rows: 6 * 28, Cache: 23 * 14, FLOPs: 2 * 4 * 7 * (6 + 23 + 8)}},
		"attention in a window": {&Attend{Query: query, Out: mixed, Cache: windowed, Heads: 4, Scale: 1}, Cost{Rows: 6 * 28, Cache: 12 * 14, FLOPs: 2 * 4 * 7 * (6 + 8 + 4)}},
		"route":                 {&Route{Logits: value(Tokens, 4), Routes: value(Tokens, 2)}, Cost{Rows: 24 + 2*12, FLOPs: 4 * 24}},
		"experts": {
			&ExpertProduct{x, value(Tokens, 2), value(Entries, 5), experts},
			Cost{Weight: experts, Share: touched, Rows: 12 * 13, FLOPs: 2 * 12 * 40},
		},
		"scale":          {&Scale{x, 2}, Cost{Rows: 96, FLOPs: 48}},
		"position scale": {&PositionScale{x, 0.1, 64}, Cost{Rows: 96, FLOPs: 48}},
		"multiply":       {&Multiply{x, value(Tokens, 1), Sigmoid}, Cost{Rows: 2*48 + 6, FLOPs: 4 * 48}},
		"head product": {
			&HeadProduct{Heads{value(Tokens, 4*8), 0, 8, 8}, Heads{value(Tokens, 4*5), 0, 5, 5}, experts},
			Cost{Weight: experts, Share: 1, Rows: 6 * 4 * 13, FLOPs: 2 * 6 * 4 * 40},
		},
		"copy heads":  {&CopyHeads{Heads{value(Tokens, 12), 1, 2, 3}, Heads{value(Tokens, 8), 0, 2, 2}}, Cost{Rows: 2 * 6 * 4 * 2}},
		"expert bias": {&ExpertBias{entries, value(Tokens, 2), biases}, Cost{Weight: biases, Share: touched, Rows: 192, FLOPs: 96}},
		"shared keys": {&Store{x, x, &Cache{Heads: 1, KeyDim: 8, ValueDim: 6, Shared: true}}, Cost{Rows: 48, Cache: 48}},
		"conv":        {&Conv{x, value(Tokens, 8), kernel, &State{"", 24}}, Cost{Weight: kernel, Share: 1, State: 2 * 3 * 24, Rows: 96, FLOPs: 2 * 48 * 4}},
		"delta": {
			&Delta{Query: value(Tokens, 4), Key: value(Tokens, 4), Value: x, A: value(Tokens, 2), B: value(Tokens, 2), Out: value(Tokens, 8), Heads: 2, KeyHeads: 1, State: &State{"", 32}},
			Cost{State: 2 * 3 * 32, Rows: 2*24 + 2*48 + 2*12, FLOPs: 7 * 6 * 32},
		},
		"combine": {&Combine{entries, value(Tokens, 2), x}, Cost{Rows: 96 + 48, FLOPs: 2 * 96}},
	} {
		got := c.op.Cost(shortPass())
		if math.Abs(got.Share-c.want.Share) > 1e-12 {
			t.Errorf("%s reads %v of its weight, want %v", name, got.Share, c.want.Share)
		}
		got.Share = c.want.Share
		if got != c.want {
			t.Errorf("%s: %+v, want %+v", name, got, c.want)
		}
	}
}

// Fused, ops cost what they did but for what stays inside.
func TestCostOfFused(t *testing.T) {
	x, y, z := &Value{Name: "x", Width: 8}, &Value{Name: "y", Width: 5}, &Value{Name: "z", Width: 5}
	w := &Weight{Name: "w", Shape: []int{5, 8}}
	ops := Fuse([]Op{&Product{x, y, w}, &Add{z, y, 1}, &AddBias{z, &Weight{Shape: []int{5}}}}, []*Rule{{Name: "both", Ops: []Pattern{A[*Product](), A[*Add]()}}})
	if len(ops) != 2 {
		t.Fatalf("%v", ops)
	}
	want := Cost{Weight: w, Share: 1, Rows: 6*8 + 6*5 + 6*5, FLOPs: 2*6*40 + 6*5}
	if got := ops[0].Cost(shortPass()); got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
}

// A program takes, op by op, the longer of moving and computing.
func TestLimit(t *testing.T) {
	x, y := &Value{Width: 8}, &Value{Width: 8}
	c := &Cache{Heads: 1, KeyDim: 8, ValueDim: 8}
	square := &Weight{Shape: []int{8, 8}, Name: "w"}
	p := &Program{Ops: []Op{&Product{x, y, square}, &Add{x, y, 1}, &Store{x, y, c}, &Attend{Query: x, Out: y, Cache: c, Heads: 1, Scale: 1}}}
	sizes := &Sizes{Weight: func(w *Weight) float64 { return 2 * float64(w.Elements()) }, Cache: 2}
	for _, tc := range []struct{ bytes, flops, cached, others float64 }{
		// Moving takes long: 128 bytes of weights; 96 elements stored, 368 read.
		{1, 1e9, 2 * (96 + 23*16), 128 + 48/1e9},
		// Computing does: 6·64 and 48; nothing to compute in storing; 37 pairs.
		{1e9, 1, 192/1e9 + 2*16*37, 2*6*64 + 48},
	} {
		cached, others := p.Limit(shortPass(), sizes, tc.bytes, tc.flops)
		if math.Abs(cached-tc.cached) > 1e-6 || math.Abs(others-tc.others) > 1e-6 {
			t.Errorf("at %v bytes and %v operations a second: %v and %v, want %v and %v", tc.bytes, tc.flops, cached, others, tc.cached, tc.others)
		}
	}
}
