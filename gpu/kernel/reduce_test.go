//go:build cuda

package kernel_test

import (
	"fmt"
	"math"
	"testing"
	"time"

	"github.com/troupe-llm/troupe/gpu/cuda"
	"github.com/troupe-llm/troupe/gpu/kernel"
)

// gang is ranks on one device, each with a stream and memory of its own: their
// kernels wait for each other as those of several devices do.
type gang struct {
	*bench
	queues []kernel.Queue
	flags  [kernel.MaxRanks]kernel.Ptr
	turns  []kernel.Ptr
}

func (b *bench) gang(ranks int) *gang {
	b.t.Helper()
	g := &gang{bench: b}
	for i := range ranks {
		q, err := b.Fork()
		b.must(err)
		g.queues, g.turns = append(g.queues, q), append(g.turns, b.zeros(kernel.TurnBytes))
		g.flags[i] = b.zeros(kernel.FlagBytes)
	}
	b.must(b.Settle())
	return g
}

// parts are random vectors of each rank and, element by element, their sum in the
// order of ranks.
func (g *gang) parts(n int, half bool) (at [kernel.MaxRanks]kernel.Ptr, sum []float32) {
	g.t.Helper()
	sum = make([]float32, n)
	for r := range g.queues {
		var v []float32
		if half {
			v, at[r] = g.random(n)
		} else {
			v, at[r] = g.randomFloats(n)
		}
		for i := range v {
			sum[i] += v[i]
		}
	}
	return at, sum
}

func (g *gang) reduce(part [kernel.MaxRanks]kernel.Ptr, x []kernel.Ptr, n int, half bool) error {
	for r, q := range g.queues {
		a := kernel.ReduceArgs{Part: part, Flags: g.flags, Turns: g.turns[r], Vectors: int32(n / 8), Rank: int32(r), Ranks: int32(len(g.queues))}
		if half {
			a.Half = 1
		}
		if x != nil {
			a.X = x[r]
		}
		if err := kernel.Reduce(q, a); err != nil {
			return err
		}
	}
	return nil
}

// Sums of 2 to 8 ranks, of few and many vectors, added to a stream or in place, one
// behind the other: every rank has the very same.
func TestReduce(t *testing.T) {
	b := open(t, shapes[0])
	for _, ranks := range []int{2, 3, 4, 8} {
		g := b.gang(ranks)
		for _, n := range []int{8, 5120, 40 * 1024, 256*5120 + 8} {
			for _, half := range []bool{true, false} {
				for _, added := range []bool{true, false} {
					name := fmt.Sprintf("%d ranks, %d elements, half %v, added %v", ranks, n, half, added)
					part, sum := g.parts(n, half)
					var x []kernel.Ptr
					base := make([]float32, n)
					for range g.queues {
						if added {
							for i := range base {
								base[i] = float32(i % 7)
							}
							x = append(x, upload(b, base))
						}
					}
					b.must(b.Settle())
					b.must(g.reduce(part, x, n, half))
					b.must(b.Settle())
					rounds := half && (!added || ranks > 2 && n*2 > 512<<10) // sums lie in bf16 between
					var first []float32
					for r := range g.queues {
						got := make([]float32, n)
						switch {
						case added:
							b.must(cuda.Download(b.Workbench, got, x[r]))
						case half:
							bits := make([]uint16, n)
							b.must(cuda.Download(b.Workbench, bits, part[r]))
							for i, v := range bits {
								got[i] = math.Float32frombits(uint32(v) << 16)
							}
						default:
							b.must(cuda.Download(b.Workbench, got, part[r]))
						}
						for i := range got {
							want := base[i] + sum[i]
							within := 2e-6 * (1 + math.Abs(float64(want)))
							if rounds {
								within += math.Abs(float64(sum[i])) / 256
							}
							if d := math.Abs(float64(got[i] - want)); !(d <= within) {
								t.Fatalf("%s: rank %d, element %d is %v, want %v", name, r, i, got[i], want)
							}
							if first != nil && math.Float32bits(first[i]) != math.Float32bits(got[i]) {
								t.Fatalf("%s: element %d is %v on rank 0, %v on rank %d", name, i, first[i], got[i], r)
							}
						}
						first = got
					}
				}
			}
		}
	}
}

// Every rank gets all columns, whoever has none to give.
func TestGatherRanks(t *testing.T) {
	b := open(t, shapes[0])
	g := b.gang(3)
	const rows, all = 5, 71
	widths, stride := []int{40, 31, 0}, 44
	var to [kernel.MaxRanks]kernel.Ptr
	want := make([]float32, rows*all)
	var from []kernel.Ptr
	for r := range g.queues {
		to[r] = b.zeros(4 * rows * all)
		v, p := b.randomFloats(rows * stride)
		from = append(from, p)
		at := 0
		for _, w := range widths[:r] {
			at += w
		}
		for row := range rows {
			copy(want[row*all+at:][:widths[r]], v[row*stride:])
		}
	}
	b.must(b.Settle())
	for range 3 {
		at := 0
		for r, q := range g.queues {
			b.must(kernel.GatherRanks(q, kernel.GatherRanksArgs{
				To: to, Flags: g.flags, Turns: g.turns[r], From: from[r], Rows: rows, Width: int32(widths[r]), FromStride: int32(stride), ToStride: all,
				At: int32(at), Rank: int32(r), Ranks: 3,
			}))
			at += widths[r]
		}
	}
	b.must(b.Settle())
	for r := range g.queues {
		b.sameFloats(fmt.Sprintf("rank %d", r), to[r], want, 0)
	}
}

// What a sum costs where no link has to be crossed: meetings and memory. Ranks are
// on one device, which they share.
func BenchmarkReduce(tb *testing.B) {
	b := open(tb, shapes[0])
	for _, ranks := range []int{2, 4} {
		g := b.gang(ranks)
		for _, rows := range []int{1, 16, 256} {
			n := rows * 5120
			part, _ := g.parts(n, true)
			var x []kernel.Ptr
			for range g.queues {
				x = append(x, b.zeros(int64(4*n)))
			}
			b.must(b.Settle())
			tb.Run(fmt.Sprintf("%d ranks/%d×5120", ranks, rows), func(tb *testing.B) {
				const times = 200
				var best time.Duration
				for tb.Loop() {
					began := time.Now()
					for range times {
						b.must(g.reduce(part, x, n, true))
					}
					b.must(b.Settle())
					if took := time.Since(began) / times; best == 0 || took < best {
						best = took
					}
				}
				tb.ReportMetric(float64(best.Nanoseconds())/1e3, "µs/sum")
			})
		}
	}
}
