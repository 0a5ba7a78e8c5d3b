package cuda

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/troupe-llm/troupe/gpu/device"
	"github.com/troupe-llm/troupe/gpu/kernel"
	"github.com/troupe-llm/troupe/gpu/kernel/lower"
	"github.com/troupe-llm/troupe/gpu/model"
	"github.com/troupe-llm/troupe/gpu/program"
)

// Both parts are whole tiles as far as they can be, and neither is next to nothing.
func TestFirstPart(t *testing.T) {
	for _, c := range []struct{ n, in, want int }{
		{1, 2560, 1},
		{2, 2560, 1},
		{7, 32, 1},
		{17, 32, 4},
		{8192, 2560, 4864},
		{8192, 8704, 6912},
		{8192, 4096, 5632},
		{8192, 12800, 7168},
		{1025, 1 << 20, 768},
		{820, 8704, 640},
	} {
		if got := firstPart(c.n, c.in); got != c.want {
			t.Errorf("%d rows over %d inputs: the first part has %d, want %d", c.n, c.in, got, c.want)
		}
	}
	for n := 1; n < 3000; n++ {
		for _, in := range []int{8, 2560, 8704, 1 << 20} {
			first := firstPart(n, in)
			if last := n - first; first < 1 || last < 0 || last == 0 && n > 1 || last > 0 && min(first, last) < leastPart(n) {
				t.Fatalf("%d rows over %d inputs: %d and %d", n, in, first, n-first)
			}
		}
	}
}

// Of many rows all sums behind products of Qwen3-14B are copied, each next to one with
// another inbox, of FP8 none is.
func TestCopiedSums(t *testing.T) {
	m, err := model.Open("qwen3-14b", true)
	if err != nil {
		t.Fatal(err)
	}
	for _, ranks := range []int{2, 4} {
		s, err := m.Config.Program.Share(ranks-1, ranks, 0)
		if err != nil {
			t.Fatal(err)
		}
		want := 0
		if ranks == 2 {
			want = 80
		}
		if got := len(copiedSums(lower.New(s.Program))); got != want {
			t.Errorf("%d ranks copy for %d sums, want %d", ranks, got, want)
		}
		codes := lower.Of(s.Program, func(*program.Weight) program.Codes { return program.CodesByOutput })
		if got := len(copiedSums(codes)); got != 0 || codes.Sent != 0 {
			t.Errorf("%d ranks copy for %d sums of codes", ranks, got)
		}
	}
}

// Two ranks of random speed: whatever overtakes what, each adds up what both have
// multiplied for this very sum, of every row, and neither waits for ever.
func TestCopiesInAnyOrder(t *testing.T) {
	for seed := range uint64(300) {
		if fault := newTwins(seed, inboxOf).run(); fault != "" {
			t.Fatalf("seed %d: %s", seed, fault)
		}
	}
}

// With one inbox for all sums, or without waiting for what was sent, the same finds a
// fault.
func TestCopiesGoWrong(t *testing.T) {
	for name, begin := range map[string]func(seed uint64) *twins{
		"one inbox": func(seed uint64) *twins { return newTwins(seed, func(int, int) int { return 0 }) },
		"no join":   func(seed uint64) *twins { w := newTwins(seed, inboxOf); w.unjoined = true; return w },
	} {
		found := false
		for seed := uint64(0); seed < 300 && !found; seed++ {
			found = begin(seed).run() != ""
		}
		if !found {
			t.Errorf("%s: nothing goes wrong", name)
		}
	}
}

// twins are two ranks with streams of small pieces of work, which are done in an order
// that is drawn, and memory that knows of each row who wrote it.
type twins struct {
	*rand.Rand
	ranks    [2]*twin
	memory   map[kernel.Ptr]string
	told     map[kernel.Ptr]bool
	fault    string
	inbox    func(i, n int) int
	unjoined bool
}

// twin is a rank; it is what its kernels run on, multiplies and copies.
type twin struct {
	*twins
	rank    int
	streams [2][]piece // what is computed, and copies
	done    [2]int
	sum     int // at hand
}

// piece is work of a stream, once something holds.
type piece struct {
	may func() bool
	do  func()
}

const (
	twinSums, twinPasses = 5, 3
	twinWidth            = 8
	twinRow              = bf16 * twinWidth
	twinRows             = 24
)

func newTwins(seed uint64, inbox func(i, n int) int) *twins {
	w := &twins{Rand: rand.New(rand.NewPCG(seed, 16)), memory: map[kernel.Ptr]string{}, told: map[kernel.Ptr]bool{}, inbox: inbox}
	for r := range w.ranks {
		w.ranks[r] = &twin{twins: w, rank: r}
	}
	return w
}

// at is memory of a rank.
func at(rank, what int) kernel.Ptr { return kernel.Ptr(rank+1)<<32 + kernel.Ptr(what)<<16 }

// run enqueues all passes, of which each has as many rows as is drawn, and does what is
// enqueued.
func (w *twins) run() string {
	for pass := range twinPasses {
		n := 1 + w.IntN(twinRows)
		for i := range twinSums {
			for _, t := range w.ranks {
				t.sum = pass*twinSums + i
				if err := t.product(i).run(n); err != nil {
					return err.Error()
				}
			}
		}
	}
	for w.fault == "" {
		var ready []func()
		left := false
		for _, t := range w.ranks {
			for s := range t.streams {
				if t.done[s] == len(t.streams[s]) {
					continue
				}
				left = true
				if p := t.streams[s][t.done[s]]; p.may == nil || p.may() {
					ready = append(ready, func() { p.do(); t.done[s]++ })
				}
			}
		}
		switch {
		case !left:
			return ""
		case len(ready) == 0:
			return "all wait"
		}
		ready[w.IntN(len(ready))]()
	}
	return w.fault
}

// product is the rank's i-th of a pass.
func (t *twin) product(i int) *copiedProduct {
	m := &machine{kernels: t, multiply: t.multiply}
	m.rank, m.links = &device.Rank{Index: t.rank, Ranks: 2}, kernel.Links{Rank: int32(t.rank), Ranks: 2, Blocks: 8}
	m.landing.by, m.landing.bytes = t, twinRows*twinRow
	for k := range m.landing.inboxes {
		for r := range 2 {
			m.landing.inboxes[k][r] = at(r, 10+k)
		}
	}
	m.landing.told = [kernel.MaxRanks]kernel.Ptr{at(0, 20), at(1, 20)}
	f := factors{product: product{out: twinWidth, in: 64, ld: twinWidth}, x: at(t.rank, 1), y: at(t.rank, 2), most: twinRows}
	p := &copiedProduct{machine: m, factors: f, in: 1790, sum: kernel.Copied{X: at(t.rank, 3), Hidden: twinWidth}}
	k, other := t.inbox(i, twinSums), 1-t.rank
	p.inbox = k
	p.sum.Part[t.rank], p.sum.Part[other] = f.y, m.landing.place(k, other, t.rank, 2)
	p.to[other] = m.landing.place(k, t.rank, other, 2)
	return p
}

func (t *twin) enqueue(s int, p piece) { t.streams[s] = append(t.streams[s], p) }

// wrote is what a rank's row is of a sum.
func wrote(sum, rank, row int) string {
	return fmt.Sprintf("sum %d of rank %d, row %d", sum, rank, row)
}

func (t *twin) multiply(f factors) error {
	first, sum := int(f.y-at(t.rank, 2))/twinRow, t.sum
	if int(f.x-at(t.rank, 1)) != first*bf16*64 {
		t.fault = "other rows are read than are written"
	}
	for row := first; row < first+f.n; row++ {
		t.enqueue(0, piece{do: func() { t.memory[at(t.rank, 2).Plus(int64(row)*twinRow)] = wrote(sum, t.rank, row) }})
	}
	return nil
}

// copy is a copier's.
func (t *twin) copy(from kernel.Ptr, to, told [kernel.MaxRanks]kernel.Ptr, bytes int64) error {
	other, ahead := 1-t.rank, len(t.streams[0])
	if to[t.rank] != 0 || to[other] == 0 {
		t.fault = "copied to itself"
	}
	for i := int64(0); i < bytes; i += twinRow {
		t.enqueue(1, piece{func() bool { return t.done[0] >= ahead }, func() { t.memory[to[other].Plus(i)] = t.memory[from.Plus(i)] }})
	}
	t.enqueue(1, piece{do: func() { t.told[told[other]] = true }})
	return nil
}

func (t *twin) join() error {
	if ahead := len(t.streams[1]); !t.unjoined {
		t.enqueue(0, piece{func() bool { return t.done[1] >= ahead }, func() {}})
	}
	return nil
}

// Launch is of add_copied.
func (t *twin) Launch(l kernel.Launch) error {
	a, sum := *(*kernel.CopiedArgs)(l.Args), t.sum
	first := int(a.X-at(t.rank, 3)) / (f32 * twinWidth)
	told := a.Told.Plus(4 * int64(1-t.rank))
	t.enqueue(0, piece{func() bool { return t.told[told] }, func() {}})
	for i := range int(a.Rows) {
		t.enqueue(0, piece{do: func() {
			for r := range 2 {
				if got := t.memory[a.Part[r].Plus(int64(i)*twinRow)]; got != wrote(sum, r, first+i) {
					t.fault = fmt.Sprintf("rank %d finds %q, wants %q", t.rank, got, wrote(sum, r, first+i))
				}
			}
		}})
	}
	t.enqueue(0, piece{do: func() { t.told[told] = false }})
	return nil
}
