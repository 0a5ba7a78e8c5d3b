//go:build cuda

package kernel_test

import (
	"fmt"
	"math"
	"testing"

	"github.com/troupe-llm/troupe/gpu/kernel"
	"github.com/troupe-llm/troupe/gpu/kernel/ref"
)

// matrix is random rows of which a kernel sees some columns.
type matrix struct {
	kernel.View
	rows, at, width int
	all             []float32
	memory          kernel.Ptr
}

// columns makes n rows of stride random numbers, of either type, and a view of
// width of them from one on.
func (b *bench) columns(n, stride, at, width int, half bool) *matrix {
	b.t.Helper()
	m := &matrix{rows: n, at: at, width: width}
	size := 4
	if half {
		m.all, m.memory = b.random(n * stride)
		m.Half, size = 1, 2
	} else {
		m.all, m.memory = b.randomFloats(n * stride)
	}
	m.At, m.Stride = m.memory.Plus(int64(size*at)), int32(stride)
	return m
}

// row is what the kernel sees of a row, before it runs.
func (m *matrix) row(i int) []float32 { return m.all[i*int(m.Stride)+m.at:][:m.width] }

// now compares all of it with what it was, changed by those who own it.
func (b *bench) now(what string, m *matrix) {
	b.t.Helper()
	if m.Half == 1 {
		b.same(what, m.memory, m.all)
	} else {
		b.sameFloats(what, m.memory, m.all, 1e-4)
	}
}

// both calls f for views of both types: whole vectors, and columns that begin
// and end anywhere.
func (b *bench) both(f func(name string, view func(n, width int) *matrix)) {
	for _, half := range []bool{false, true} {
		for _, c := range []struct{ at, more int }{{0, 0}, {8, 24}, {3, 9}} {
			f(fmt.Sprintf("half %v, from %d", half, c.at), func(n, width int) *matrix { return b.columns(n, width+c.more, c.at, width, half) })
		}
	}
}

var widths = []int{1, 24, 100, 5120}

func TestAddBias(t *testing.T) {
	b := open(t, shapes[0])
	b.both(func(name string, view func(n, width int) *matrix) {
		for _, width := range widths {
			x := view(5, width)
			bias, at := b.random(width)
			b.must(kernel.AddBias(b, kernel.AddBiasArgs{X: x.View, Bias: at, Rows: 5, Width: int32(width)}))
			for i := range 5 {
				for j := range width {
					x.row(i)[j] += bias[j]
				}
			}
			b.now(name, x)
		}
	})
}

func TestAddRows(t *testing.T) {
	b := open(t, shapes[0])
	b.both(func(name string, view func(n, width int) *matrix) {
		for _, width := range widths {
			x, y := view(5, width), b.columns(5, width+8, 8, width, width == 24)
			b.must(kernel.AddRows(b, kernel.AddRowsArgs{X: x.View, Y: y.View, Rows: 5, Width: int32(width), Scale: 0.22}))
			for i := range 5 {
				for j := range width {
					x.row(i)[j] += 0.22 * y.row(i)[j]
				}
			}
			b.now(name, x)
		}
	})
}

func TestScaleRows(t *testing.T) {
	b := open(t, shapes[0])
	positions := []int32{0, 63, 64, 1000, 100000}
	at := upload(b, positions)
	b.both(func(name string, view func(n, width int) *matrix) {
		for i, width := range widths {
			x := view(5, width)
			a := kernel.ScaleArgs{X: x.View, Rows: 5, Width: int32(width), By: 0.125}
			if i%2 == 1 {
				a.Positions, a.Original = at, 64
			}
			b.must(kernel.ScaleRows(b, a))
			for i, p := range positions {
				by := 0.125
				if a.Positions != 0 {
					by = 1 + 0.125*math.Log(float64(1+p/64))
				}
				for j := range width {
					x.row(i)[j] *= float32(by)
				}
			}
			b.now(name, x)
		}
	})
}

func TestMultiplyRows(t *testing.T) {
	b := open(t, shapes[0])
	b.both(func(name string, view func(n, width int) *matrix) {
		for _, width := range widths {
			for _, one := range []bool{false, true} {
				x, by := view(5, width), b.columns(5, width+4, 4, width, false)
				a := kernel.MultiplyArgs{X: x.View, By: by.View, Rows: 5, Width: int32(width)}
				if one {
					a.One = 1
				} else if width == 100 {
					a.Silu = 1
				}
				b.must(kernel.MultiplyRows(b, a))
				for i := range 5 {
					for j := range width {
						v := float64(by.row(i)[j])
						if one {
							v = float64(by.row(i)[0])
						}
						share := 1 / (1 + math.Exp(-v))
						if a.Silu == 1 {
							share *= v
						}
						x.row(i)[j] *= float32(share)
					}
				}
				b.now(name, x)
			}
		}
	})
}

func TestCopyRows(t *testing.T) {
	b := open(t, shapes[0])
	which := []int32{3, 0, 4}
	b.both(func(name string, view func(n, width int) *matrix) {
		for _, c := range []struct{ heads, width, from, to int }{{1, 5120, 5120, 5120}, {4, 16, 48, 80}, {3, 5, 7, 9}} {
			from, to := b.columns(5, c.heads*c.from, 0, c.heads*c.from, c.heads == 4), view(3, c.heads*c.to)
			b.must(kernel.CopyRows(b, kernel.CopyArgs{
				From: from.View, To: to.View, Which: upload(b, which), Rows: 3, Heads: int32(c.heads), Width: int32(c.width), FromStride: int32(c.from), ToStride: int32(c.to),
			}))
			for i, w := range which {
				for h := range c.heads {
					copy(to.row(i)[h*c.to:][:c.width], from.row(int(w))[h*c.from:][:c.width])
				}
			}
			b.now(name, to)
		}
	})
}

// Norms of heads and of rows, in place and not, with weights for all or for each.
func TestGroupNorm(t *testing.T) {
	b := open(t, shapes[0])
	b.both(func(name string, view func(n, width int) *matrix) {
		for _, c := range []struct {
			groups, group int
			every, place  bool
		}{{8, 128, false, true}, {3, 64, true, true}, {1, 512, false, true}, {1, 2560, false, false}, {2, 8, false, false}, {5, 256, false, true}, {1, 16384, true, true}} {
			width := c.groups * c.group
			x, n := view(7, width), c.group
			y := x
			if !c.place {
				y = b.columns(7, width, 0, width, c.group == 8)
			}
			a := kernel.GroupNormArgs{X: x.View, Y: y.View, Rows: 7, Groups: int32(c.groups), Group: int32(c.group), Eps: 1e-6}
			if c.every {
				a.Every, n = 1, width
			}
			w, at := b.random(n)
			a.W = at
			b.must(kernel.GroupNorm(b, a))
			for i := range 7 {
				for g := range c.groups {
					copy(y.row(i)[g*c.group:], ref.RMSNorm(x.row(i)[g*c.group:][:c.group], w[g*c.group%n:][:c.group], 1e-6))
				}
			}
			b.now(fmt.Sprintf("%s, %+v", name, c), y)
		}
	})
	if kernel.GroupNorm(b, kernel.GroupNormArgs{Rows: 1, Groups: 1, Group: 12}) == nil {
		t.Error("groups of 12 are accepted")
	}
}

func TestGates(t *testing.T) {
	b := open(t, shapes[0])
	for _, n := range []int{8, 2048, 3072} {
		x, xp := b.random(5 * 2 * n)
		y := b.zeros(int64(2 * 5 * n))
		a := kernel.SiluArgs{GateUp: xp, Out: y, Intermediate: int32(n)}
		b.must(kernel.GeluMul(b, a, 5))
		b.same("gelu", y, ref.Gate(x, n, "gelu"))
		b.must(kernel.ClampedMul(b, a, 5))
		b.same("clamped", y, ref.Gate(x, n, "clamped"))
		b.must(kernel.SiluMulEntries(b, a, 5))
		b.same("silu", y, ref.SiluMul(x, n))
	}
}

// Every head by its own matrix, of parts of heads.
func TestHeadProduct(t *testing.T) {
	b := open(t, shapes[0])
	for _, c := range []struct{ tokens, heads, in, inStride, out, outStride int }{
		{1, 4, 32, 48, 64, 80}, {65, 3, 128, 192, 512, 576}, {200, 2, 512, 512, 128, 128}, {7, 5, 72, 72, 90, 91},
	} {
		x := b.columns(c.tokens, c.heads*c.inStride, 0, c.heads*c.inStride, true)
		w, wp := b.scaled(c.heads*c.out*c.in, c.in)
		y := b.columns(c.tokens, c.heads*c.outStride, 0, c.heads*c.outStride, c.out == 128)
		b.must(kernel.HeadProduct(b, kernel.HeadProductArgs{
			X: x.View, Y: y.View, W: wp, Tokens: int32(c.tokens), In: int32(c.in), Out: int32(c.out), InStride: int32(c.inStride), OutStride: int32(c.outStride),
		}, c.heads))
		for i := range c.tokens {
			for h := range c.heads {
				copy(y.row(i)[h*c.outStride:], ref.Product(x.row(i)[h*c.inStride:][:c.in], w[h*c.out*c.in:][:c.out*c.in], c.in))
			}
		}
		b.now(fmt.Sprintf("%+v", c), y)
	}
	if kernel.HeadProduct(b, kernel.HeadProductArgs{X: kernel.View{Half: 1, Stride: 8}, Tokens: 1, In: 12, Out: 8, InStride: 16}, 1) == nil {
		t.Error("12 inputs are accepted")
	}
}

// rows are new tokens of requests: of the slots, from the positions on, so many.
type rows []struct{ slot, start, n int }

// upload lays them out as in a step.
func (r rows) upload(b *bench) (slots, positions, spans kernel.Ptr, tokens int) {
	var s, p []int32
	var list []kernel.Span
	for _, row := range r {
		list = append(list, kernel.Span{First: int32(len(s)), Count: int32(row.n), Slot: int32(row.slot), Start: int32(row.start)})
		for i := range row.n {
			s, p = append(s, int32(row.slot)), append(p, int32(row.start+i))
		}
	}
	return upload(b, s), upload(b, p), upload(b, list), len(s)
}

// A step of decode rows, padding among them, and one of prompts, some fresh and
// some of fewer tokens than the convolution sees.
var steps = []rows{{{4, 9, 1}, {-1, 0, 1}, {0, 0, 1}, {2, 1, 1}}, {{3, 0, 5}, {1, 7, 2}, {0, 3, 1}, {2, 0, 1}, {4, 2, 70}}}

func TestConv(t *testing.T) {
	b := open(t, shapes[0])
	const slots = 5
	b.both(func(name string, view func(n, width int) *matrix) {
		for _, k := range []int{2, 4} {
			for _, channels := range []int{96, 60} {
				for single, step := range steps {
					sp, pp, spans, tokens := step.upload(b)
					x, y := view(tokens, channels), b.columns(tokens, channels, 0, channels, false)
					w, wp := b.random(channels * k)
					states := b.columns(slots, (k-1)*channels, 0, (k-1)*channels, false)
					a := kernel.ConvArgs{
						X: x.View, Y: y.View, W: wp, Slots: sp, Positions: pp, State: states.At, Spans: spans, Tokens: int32(tokens), Channels: int32(channels), K: int32(k),
					}
					if single == 0 {
						b.must(kernel.Conv(b, a))
					} else {
						b.must(kernel.ConvSpans(b, a, len(step)))
					}
					first := 0
					for _, r := range step {
						if r.slot >= 0 {
							state := states.row(r.slot)
							for i := range state { // what is before position 0 is 0
								if i/channels < k-1-r.start {
									state[i] = 0
								}
							}
							var in []float32
							for i := range r.n {
								in = append(in, x.row(first+i)...)
							}
							out, after := ref.Conv(in, w, state, channels, k)
							copy(y.all[first*channels:], out)
							copy(state, after)
						}
						first += r.n
					}
					b.now(name+": outputs", y)
					b.now(name+": states", states)
				}
			}
		}
	})
}

func TestDelta(t *testing.T) {
	b := open(t, shapes[0])
	const slots = 5
	for _, c := range []struct{ heads, keyHeads, key, value int }{{4, 2, 32, 32}, {2, 1, 128, 128}, {3, 3, 64, 40}} {
		for _, kind := range []struct {
			rows   rows
			of     func(kernel.Queue, kernel.DeltaArgs, int) error
			within float64
		}{{steps[0], kernel.Delta, 1e-4}, {steps[1], kernel.Delta, 0.02}, {steps[1], kernel.DeltaSteps, 1e-4}} { // the second: products of bf16
			step := kind.rows
			sp, pp, spans, tokens := step.upload(b)
			keys, values := c.keyHeads*c.key, c.heads*c.value
			mixed := func(at, width int) *matrix { return b.columns(tokens, 2*keys+values+8, at, width, false) }
			q, k, v := mixed(0, keys), mixed(keys, keys), mixed(2*keys, values)
			aa, bb := b.columns(tokens, c.heads+4, 4, c.heads, false), b.columns(tokens, c.heads+3, 0, c.heads, false)
			y := b.columns(tokens, values, 0, values, true)
			decay, dp := b.randomFloats(c.heads)
			bias, bp := b.randomFloats(c.heads)
			states := b.columns(slots, c.heads*c.key*c.value, 0, c.heads*c.key*c.value, false)
			a := kernel.DeltaArgs{
				Query: q.View, Key: k.View, Value: v.View, A: aa.View, B: bb.View, Y: y.View, Decay: dp, StepBias: bp, State: states.At, Slots: sp, Positions: pp,
				Heads: int32(c.heads), KeyHeads: int32(c.keyHeads), KeyDim: int32(c.key), ValueDim: int32(c.value),
			}
			if len(step) != tokens {
				a.Spans = spans
			}
			launched := len(step)
			if kind.within < 0.01 && a.Spans != 0 { // DeltaSteps leaves spans alone that are not of this step
				step = step[:launched-1]
				a.Count = upload(b, []int32{int32(len(step))})
			}
			b.must(kind.of(b, a, launched))
			first := 0
			for _, r := range step {
				for h := range c.heads {
					if r.slot < 0 {
						continue
					}
					held := states.row(r.slot)[h*c.key*c.value:][:c.key*c.value]
					state := make([]float64, len(held))
					for i, s := range held {
						if r.start > 0 {
							state[i] = float64(s)
						}
					}
					head, kh := ref.Head{Decay: float64(decay[h]), StepBias: float64(bias[h])}, h/(c.heads/c.keyHeads)
					for i := first; i < first+r.n; i++ {
						copy(y.row(i)[h*c.value:], head.Delta(state, q.row(i)[kh*c.key:][:c.key], k.row(i)[kh*c.key:][:c.key], v.row(i)[h*c.value:][:c.value],
							float64(aa.row(i)[h]), float64(bb.row(i)[h])))
					}
					for i, s := range state {
						held[i] = float32(s)
					}
				}
				first += r.n
			}
			b.now(fmt.Sprintf("%+v: outputs", c), y)
			b.sameFloats(fmt.Sprintf("%+v: states", c), states.memory, states.all, kind.within)
		}
	}
	if kernel.Delta(b, kernel.DeltaArgs{Heads: 2, KeyHeads: 1, KeyDim: 256, ValueDim: 128}, 1) == nil {
		t.Error("keys of 256 are accepted")
	}
}

// States go where they are to, of all layers, and nowhere else.
func TestCopyStates(t *testing.T) {
	b := open(t, shapes[0])
	const places = 7
	var layers []*matrix
	var list []kernel.State
	for _, elements := range []int{3, 8, 60, 40000} {
		m := b.columns(places, elements, 0, elements, false)
		layers, list = append(layers, m), append(list, kernel.State{At: m.At, Elements: int64(elements)})
	}
	copies := []kernel.Copy{{From: 2, To: 5}, {From: 2, To: 0}, {From: 6, To: 3}}
	b.must(kernel.CopyStates(b, kernel.CopyStatesArgs{States: upload(b, list), Copies: upload(b, copies)}, len(list), len(copies)))
	for _, m := range layers {
		for _, c := range copies {
			copy(m.row(int(c.To)), m.row(int(c.From)))
		}
		b.now(fmt.Sprint(m.width, " elements"), m)
	}
}

// BenchmarkConv times the convolution in Qwen3.5's shape: of decode rows beside
// the states, 24 bytes a channel and row, at 4.43 TB/s, and of prompts beside what
// they read and write.
func BenchmarkConv(tb *testing.B) {
	const channels, k = 8192, 4
	for _, c := range []struct{ rows, tokens int }{{1, 1}, {256, 1}, {16, 512}} {
		tb.Run(fmt.Sprintf("%d×%d", c.rows, c.tokens), func(tb *testing.B) {
			b := open(tb, shapes[0])
			n := c.rows * c.tokens
			var r rows
			for i := range c.rows {
				r = append(r, struct{ slot, start, n int }{i, 1, c.tokens})
			}
			slots, positions, spans, _ := r.upload(b)
			x, y := b.columns(n, 12352, 0, channels, false), b.columns(n, channels, 0, channels, false)
			_, w := b.random(channels * k)
			a := kernel.ConvArgs{
				X: x.View, Y: y.View, W: w, Slots: slots, Positions: positions, State: b.zeros(int64(4 * c.rows * (k - 1) * channels)),
				Spans: spans, Tokens: int32(n), Channels: channels, K: k,
			}
			run, bytes := func() error { return kernel.Conv(b, a) }, 8*(k-1)*c.rows*channels
			if c.tokens > 1 {
				run, bytes = func() error { return kernel.ConvSpans(b, a, c.rows) }, 8*n*channels
			}
			ns := b.median(tb, run)
			tb.ReportMetric(ns/1e3, "us-gpu/op")
			tb.ReportMetric(float64(bytes)/ns/4430, "of-H200-limit")
		})
	}
}

// BenchmarkDelta times the rule in Qwen3.5's shape: of decode rows beside the
// 8 bytes of every number of their states at 4.43 TB/s, of prompts by token.
func BenchmarkDelta(tb *testing.B) {
	const heads, keyHeads, dim = 32, 16, 128
	for _, c := range []struct{ rows, tokens int }{{1, 1}, {32, 1}, {256, 1}, {1, 4096}, {8, 1024}} {
		tb.Run(fmt.Sprintf("%d×%d", c.rows, c.tokens), func(tb *testing.B) {
			b := open(tb, shapes[0])
			n := c.rows * c.tokens
			var r rows
			for i := range c.rows {
				r = append(r, struct{ slot, start, n int }{i, 1, c.tokens})
			}
			slots, positions, spans, _ := r.upload(b)
			mixed, memory := kernel.View{Stride: (2*keyHeads + heads) * dim}, b.zeros(int64(4*n*(2*keyHeads+heads)*dim))
			at := func(column int) kernel.View { v := mixed; v.At = memory.Plus(int64(4 * column)); return v }
			scores := kernel.View{At: b.zeros(int64(4 * n * heads)), Stride: heads}
			a := kernel.DeltaArgs{
				Query: at(0), Key: at(keyHeads * dim), Value: at(2 * keyHeads * dim), A: scores, B: scores, Y: kernel.View{At: b.zeros(int64(2 * n * heads * dim)), Stride: heads * dim, Half: 1},
				Decay: b.zeros(4 * heads), StepBias: b.zeros(4 * heads), State: b.zeros(int64(4 * c.rows * heads * dim * dim)), Slots: slots, Positions: positions,
				Heads: heads, KeyHeads: keyHeads, KeyDim: dim, ValueDim: dim,
			}
			if c.tokens > 1 {
				a.Spans = spans
			}
			ns := b.median(tb, func() error { return kernel.Delta(b, a, c.rows) })
			tb.ReportMetric(ns/1e3, "us-gpu/op")
			tb.ReportMetric(ns/float64(c.tokens), "ns/token")
			tb.ReportMetric(float64(8*c.rows*heads*dim*dim)/ns/4430, "of-H200-limit")
		})
	}
}
