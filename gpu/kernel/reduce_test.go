//go:build cuda

package kernel_test

import (
	"fmt"
	"math"
	"slices"
	"testing"

	"github.com/troupe-llm/troupe/gpu/cuda"
	"github.com/troupe-llm/troupe/gpu/kernel"
	"github.com/troupe-llm/troupe/gpu/kernel/ref"
)

// gang is ranks on one device, each with a stream and memory of its own: their
// kernels wait for each other as those of several devices do. All have room at once,
// since each has a share of the device's; a rank's next kernel is not enqueued before
// all are done, for streams beyond what the device has queues for stand behind each other.
type gang struct {
	*bench
	queues  []kernel.Queue
	links   []kernel.Links
	inboxes [2][kernel.MaxRanks]kernel.Ptr
	turn    int
}

// queues are forked once for all gangs of a bench.
func (b *bench) gang(queues []kernel.Queue) *gang {
	b.t.Helper()
	g, ranks := &gang{bench: b, queues: queues}, len(queues)
	var flags [kernel.MaxRanks]kernel.Ptr
	for i := range ranks {
		flags[i] = b.zeros(kernel.FlagBytes)
		for j := range g.inboxes {
			g.inboxes[j][i] = b.zeros(kernel.InboxBytes(ranks))
			b.must(b.Fill(g.inboxes[j][i], 0xff, kernel.InboxBytes(ranks)))
		}
	}
	for i := range ranks {
		g.links = append(g.links, kernel.Links{
			Flags: flags, Done: b.zeros(4), Turns: b.zeros(kernel.TurnBytes), Spent: b.zeros(kernel.SpentBytes), Rank: int32(i), Ranks: int32(ranks), Blocks: 2 * b.GPU.SMs / ranks,
		})
	}
	b.must(b.Settle())
	return g
}

func (b *bench) forks(n int) (list []kernel.Queue) {
	b.t.Helper()
	for range n {
		q, err := b.Fork()
		b.must(err)
		list = append(list, q)
	}
	return list
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

// sum is what rank r adds up of n elements, next after others of the gang.
func (g *gang) sum(part [kernel.MaxRanks]kernel.Ptr, x []kernel.Ptr, r, n int, half, sends bool) kernel.Sum {
	s := kernel.Sum{Part: part, Vectors: int32(n / 8)}
	if half {
		s.Half = 1
	}
	if x != nil {
		s.X = x[r]
	}
	if sends {
		s.Inbox = g.inboxes[g.turn%2]
	}
	return s
}

func (g *gang) reduce(part [kernel.MaxRanks]kernel.Ptr, x []kernel.Ptr, n int, half, sends bool) error {
	for r, q := range g.queues {
		if err := kernel.Reduce(q, &g.links[r], g.sum(part, x, r, n, half, sends)); err != nil {
			return err
		}
	}
	g.turn++
	return nil
}

// read downloads n elements.
func (g *gang) read(at kernel.Ptr, n int, half bool) []float32 {
	g.t.Helper()
	got := make([]float32, n)
	if !half {
		g.must(cuda.Download(g.Workbench, got, at))
		return got
	}
	bits := make([]uint16, n)
	g.must(cuda.Download(g.Workbench, bits, at))
	for i, v := range bits {
		got[i] = math.Float32frombits(uint32(v) << 16)
	}
	return got
}

// alike checks what every rank has: what is wanted, and the very same as the first.
func (g *gang) alike(name string, of []kernel.Ptr, want []float32, half bool, within func(i int) float64) {
	g.t.Helper()
	var first []float32
	for r, at := range of {
		got := g.read(at, len(want), half)
		for i := range got {
			if d := math.Abs(float64(got[i] - want[i])); !(d <= within(i)) {
				g.t.Fatalf("%s: rank %d, element %d is %v, want %v", name, r, i, got[i], want[i])
			}
			if first != nil && math.Float32bits(first[i]) != math.Float32bits(got[i]) {
				g.t.Fatalf("%s: element %d is %v on rank 0, %v on rank %d", name, i, first[i], got[i], r)
			}
		}
		if first == nil {
			first = got
		}
	}
}

// Sums of 2 to 8 ranks, of few and many vectors, sent and read, added to a stream or
// in place, one behind the other: every rank has the very same.
func TestReduce(t *testing.T) {
	b := open(t, shapes[0])
	queues := b.forks(8)
	for _, ranks := range []int{2, 3, 4, 8} {
		g := b.gang(queues[:ranks])
		for _, n := range []int{8, 5120, 40 * 1024, 128*5120 + 8} {
			for i := range 8 {
				half, added, sends := i&1 == 0, i&2 == 0, i&4 == 0
				if ranks == 3 && !half {
					continue
				}
				part, sum := g.parts(n, half)
				var x []kernel.Ptr
				want := slices.Clone(sum)
				if added {
					base := make([]float32, n)
					for i := range base {
						base[i] = float32(i % 7)
						want[i] += base[i]
					}
					for range queues[:ranks] {
						x = append(x, upload(b, base))
					}
				}
				b.must(b.Settle())
				b.must(g.reduce(part, x, n, half, sends))
				b.must(b.Settle())
				of := x
				if !added {
					of = part[:ranks]
				}
				name := fmt.Sprintf("%d ranks, %d elements, half %v, added %v, sent %v", ranks, n, half, added, sends)
				g.alike(name, of, want, half && !added, func(i int) float64 {
					within := 2e-6 * (1 + math.Abs(float64(want[i])))
					if half && (!added || ranks > 2) { // the sum may lie in bf16 between
						within += math.Abs(float64(sum[i])) / 256
					}
					return within
				})
			}
		}
	}
}

// A sum with the norm behind it: rows of models, of one rank's blocks more than there is
// room for, many times over, so that inboxes are used again.
func TestReduceNorm(t *testing.T) {
	b := open(t, shapes[0])
	queues := b.forks(8)
	for _, ranks := range []int{2, 4, 8} {
		g := b.gang(queues[:ranks])
		for _, hidden := range []int{64, 2880, 5120, 8192} {
			weights, w := b.random(hidden)
			for _, rows := range []int{1, 3, 300} {
				n := rows * hidden
				if 2*n > kernel.SlotBytes {
					continue
				}
				var x, y []kernel.Ptr
				want := make([]float32, n)
				for range ranks {
					x, y = append(x, b.zeros(int64(4*n))), append(y, b.zeros(int64(2*n)))
				}
				for range 3 {
					part, sum := g.parts(n, true)
					for i := range sum {
						want[i] += sum[i]
					}
					b.must(b.Settle())
					for r, q := range g.queues {
						s := g.sum(part, x, r, n, true, true)
						s.W, s.Y, s.Hidden, s.Eps = w, y[r], int32(hidden), 1e-6
						b.must(kernel.ReduceNorm(q, &g.links[r], s))
					}
					g.turn++
					b.must(b.Settle())
				}
				name := fmt.Sprintf("%d ranks, %d×%d", ranks, rows, hidden)
				g.alike(name, x, want, false, func(i int) float64 { return 0.1 + math.Abs(float64(want[i]))/128 }) // three sums in bf16, of eight
				normed := ref.RMSNorm(g.read(x[0], n, false), weights, 1e-6)
				g.alike(name+", norm", y, normed, true, func(i int) float64 { return absolute + relative*math.Abs(float64(normed[i])) })
			}
		}
		for r := range ranks {
			took := make([]uint64, 2)
			b.must(cuda.Download(b.Workbench, took, g.links[r].Spent))
			if took[0] == 0 || took[1] > took[0] {
				t.Errorf("rank %d of %d: sums took %d ns, of which %d waiting", r, ranks, took[0], took[1])
			}
		}
	}
}

// Sums of parts that were copied, with a norm and without, many times over: each waits
// until every other rank's are there.
func TestCopied(t *testing.T) {
	b := open(t, shapes[0])
	queues := b.forks(8)
	for _, ranks := range []int{2, 3, 8} {
		g := b.gang(queues[:ranks])
		var told []kernel.Ptr
		for range ranks {
			told = append(told, b.zeros(4*kernel.MaxRanks))
		}
		for _, hidden := range []int{8, 2880, 5120, 8192, kernel.MaxCopied} {
			weights, w := b.random(hidden)
			for _, rows := range []int{1, 3, 400} {
				n := rows * hidden
				var x, y []kernel.Ptr
				want := make([]float32, n)
				for range ranks {
					x, y = append(x, b.zeros(int64(4*n))), append(y, b.zeros(int64(2*n)))
				}
				for i := range 3 {
					part, sum := g.parts(n, true)
					for j := range sum {
						want[j] += sum[j]
					}
					b.must(b.Settle())
					tell := func() {
						for r := range ranks {
							b.must(b.Fill(told[r], 1, 4*kernel.MaxRanks))
						}
						b.must(b.Synchronize())
					}
					if rows > 3 { // else it waits, where there is room for it
						tell()
					}
					for r, q := range g.queues {
						s := kernel.Copied{Part: part, Told: told[r], X: x[r], Rows: int32(rows), Hidden: int32(hidden)}
						if i > 0 {
							s.W, s.Y, s.Eps = w, y[r], 1e-6
						}
						b.must(kernel.AddCopied(q, &g.links[r], s))
					}
					if rows <= 3 {
						tell()
					}
					b.must(b.Settle())
				}
				for r := range ranks {
					b.sameFloats(fmt.Sprintf("%d ranks: rank %d was told", ranks, r), told[r], make([]float32, ranks), 0)
				}
				name := fmt.Sprintf("%d ranks, %d×%d", ranks, rows, hidden)
				g.alike(name, x, want, false, func(i int) float64 { return 2e-6 * (1 + math.Abs(float64(want[i]))) })
				normed := ref.RMSNorm(g.read(x[0], n, false), weights, 1e-6)
				g.alike(name+", norm", y, normed, true, func(i int) float64 { return absolute + relative*math.Abs(float64(normed[i])) })
			}
		}
	}
}

// Every rank gets all columns, whoever has none to give.
func TestGatherRanks(t *testing.T) {
	b := open(t, shapes[0])
	g := b.gang(b.forks(3))
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
			b.must(kernel.GatherRanks(q, &g.links[r], kernel.GatherRanksArgs{
				To: to, From: from[r], Rows: rows, Width: int32(widths[r]), FromStride: int32(stride), ToStride: all, At: int32(at),
			}))
			at += widths[r]
		}
		b.must(b.Settle())
	}
	for r := range g.queues {
		b.sameFloats(fmt.Sprintf("rank %d", r), to[r], want, 0)
	}
}
