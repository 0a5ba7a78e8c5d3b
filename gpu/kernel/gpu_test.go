//go:build cuda

package kernel_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/troupe-llm/troupe/gpu/cuda"
	"github.com/troupe-llm/troupe/gpu/kernel"
	"github.com/troupe-llm/troupe/gpu/kernel/ref"
	"github.com/troupe-llm/troupe/gpu/model"
)

// bf16 keeps 8 bits: a result is off by half of 2⁻⁸ of itself for its own
// rounding, and probabilities of attention are rounded once more.
const relative, absolute = 1.0 / 128, 1.0 / 256

func init() { emulating = true }

// bench is a workbench whose errors end the test.
type bench struct {
	*cuda.Workbench
	t     testing.TB
	shape kernel.Shape
	rand  *rand.Rand
	runs  kernel.PlanArgs // of decode attention, where they are chosen
}

func open(t testing.TB, s kernel.Shape) *bench {
	t.Helper()
	if _, err := cuda.Probe(); err != nil {
		t.Skipf("no GPU: %v", err)
	}
	w, err := cuda.OpenWorkbench(&s)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := w.Close(); err != nil {
			t.Error(err)
		}
	})
	return &bench{Workbench: w, t: t, shape: s, rand: rand.New(rand.NewPCG(1, 2))}
}

func (b *bench) must(err error) {
	b.t.Helper()
	if err != nil {
		b.t.Fatal(err)
	}
}

// median times run for as long as the benchmark goes on, in nanoseconds.
func (b *bench) median(tb *testing.B, run func() error) float64 {
	b.must(run())
	var times []int64
	for tb.Loop() {
		ns, err := b.Time(run)
		b.must(err)
		times = append(times, ns)
	}
	slices.Sort(times)
	return float64(times[len(times)/2])
}

// random returns n values as bf16 holds them, and their bits on the device.
func (b *bench) random(n int) ([]float32, kernel.Ptr) {
	b.t.Helper()
	f, bits := make([]float32, n), make([]uint16, n)
	for i := range f {
		bits[i] = uint16(math.Float32bits(float32(b.rand.NormFloat64())) >> 16)
		f[i] = math.Float32frombits(uint32(bits[i]) << 16)
	}
	return f, upload(b, bits)
}

func upload[T any](b *bench, data []T) kernel.Ptr {
	b.t.Helper()
	p, err := cuda.Upload(b.Workbench, data)
	b.must(err)
	return p
}

func (b *bench) zeros(bytes int64) kernel.Ptr {
	b.t.Helper()
	p, err := b.Allocate(bytes)
	b.must(err)
	return p
}

// randomFloats returns n values and them on the device, as float32.
func (b *bench) randomFloats(n int) ([]float32, kernel.Ptr) {
	b.t.Helper()
	f := make([]float32, n)
	for i := range f {
		f[i] = float32(b.rand.NormFloat64())
	}
	return f, upload(b, f)
}

// sameFloats compares float32 on the device with what is wanted, within a distance.
func (b *bench) sameFloats(what string, at kernel.Ptr, want []float32, within float64) {
	b.t.Helper()
	got := make([]float32, len(want))
	b.must(cuda.Download(b.Workbench, got, at))
	for i, w := range want {
		if d := math.Abs(float64(got[i] - w)); !(d <= within) {
			b.t.Fatalf("%s: element %d is %v, want %v", what, i, got[i], w)
		}
	}
}

// same compares bf16 on the device with what is wanted.
func (b *bench) same(what string, at kernel.Ptr, want []float32) {
	b.t.Helper()
	bits := make([]uint16, len(want))
	b.must(cuda.Download(b.Workbench, bits, at))
	for i, w := range want {
		got := math.Float32frombits(uint32(bits[i]) << 16)
		if d := math.Abs(float64(got - w)); !(d <= absolute+relative*math.Abs(float64(w))) {
			b.t.Fatalf("%s: element %d is %v, want %v", what, i, got, w)
		}
	}
}

var shapes = []kernel.Shape{
	{Heads: 16, KVHeads: 8, HeadDim: 128, PageSize: 16},
	{Heads: 40, KVHeads: 8, HeadDim: 128, PageSize: 64},
	{Heads: 14, KVHeads: 2, HeadDim: 64, PageSize: 5},
	{Heads: 12, KVHeads: 1, HeadDim: 64, PageSize: 1},
	{Heads: 4, KVHeads: 4, HeadDim: 32, PageSize: 16},
	{Heads: 6, KVHeads: 2, HeadDim: 96, PageSize: 7},
	{Heads: 6, KVHeads: 2, HeadDim: 192, PageSize: 16},
	{Heads: 8, KVHeads: 4, HeadDim: 256, PageSize: 16},
	{Heads: 16, KVHeads: 1, HeadDim: 256, PageSize: 3}, // sums of half of the heads at a time
}

// looks are what attention may have: windows, smaller and larger than what kernels
// take at once, and sinks.
var looks = []struct {
	window int
	sinks  bool
}{{0, false}, {0, true}, {1, false}, {20, true}, {100, false}, {300, true}}

func TestRMSNorm(t *testing.T) {
	b := open(t, shapes[0])
	for _, hidden := range []int{64, 1024, 2048, 5120, 16384} {
		x, xp := b.randomFloats(7 * hidden)
		w, wp := b.random(hidden)
		y := b.zeros(int64(2 * 7 * hidden))
		b.must(kernel.RMSNorm(b, kernel.NormArgs{X: xp, W: wp, Y: y, Hidden: int32(hidden), Eps: 1e-6}, 7))
		b.same(fmt.Sprintf("hidden %d", hidden), y, ref.RMSNorm(x, w, 1e-6))
		rows := upload(b, []int32{5, 2})
		b.must(kernel.RMSNorm(b, kernel.NormArgs{X: xp, W: wp, Rows: rows, Y: y, Hidden: int32(hidden), Eps: 1e-6}, 2))
		b.same("picked rows", y, ref.RMSNorm(append(append([]float32{}, x[5*hidden:6*hidden]...), x[2*hidden:3*hidden]...), w, 1e-6))
	}
}

func TestSiluMul(t *testing.T) {
	b := open(t, shapes[0])
	for _, n := range []int{8, 128, 3072, 17408} {
		x, xp := b.random(5 * 2 * n)
		y := b.zeros(int64(2 * 5 * n))
		b.must(kernel.SiluMul(b, kernel.SiluArgs{GateUp: xp, Out: y, Intermediate: int32(n)}, 5))
		b.same(fmt.Sprint(n), y, ref.SiluMul(x, n))
	}
}

// Products of few rows, with the norm before and the gate or residual behind.
func TestSkinny(t *testing.T) {
	b := open(t, shapes[0])
	floats := func(at kernel.Ptr, n int) []float32 {
		got := make([]float32, n)
		b.must(cuda.Download(b.Workbench, got, at))
		return got
	}
	for _, in := range []int{64, 576, 1024, 5120} {
		for i, n := range []int{1, 3, 8, 9, 16} {
			most := []int{2, 200}[i%2] // blocks that take several tiles, and one
			for _, out := range []int{16, 90, 20000} {
				if out == 20000 && in != 576 {
					continue
				}
				x, xp := b.randomFloats(20 * in)
				w, wp := b.random(out * in)
				norm, np := b.random(in)
				var rows []int32
				var picked []float32
				for i := range n {
					rows = append(rows, int32(19-i))
					picked = append(picked, x[(19-i)*in:][:in]...)
				}
				ld := out + 3
				y := b.zeros(int64(4 * n * ld))
				b.must(kernel.SkinnyNorm(b, kernel.SkinnyArgs{
					X: xp, W: wp, Norm: np, Rows: upload(b, rows), Y: y, N: int32(n), In: int32(in), Out: int32(out), Ld: int32(ld), Eps: 1e-6,
				}, most))
				got, want := floats(y, n*ld), ref.Product(ref.RMSNorm(picked, norm, 1e-6), w, in)
				// Every x·norm is rounded to 8 bits: √in of those roundings add up.
				within := 5 * math.Sqrt(float64(in)) / 512
				for i, v := range want {
					if d := math.Abs(float64(got[i/out*ld+i%out] - v)); !(d <= within) {
						t.Fatalf("norm: %d×%d by %d×%d: element %d is %v, want %v", n, in, in, out, i, got[i/out*ld+i%out], v)
					}
				}
				mixed, mp := b.random(n * in)
				before, yp := b.randomFloats(n * out)
				sum := ref.Product(mixed, w, in)
				for i := range sum {
					sum[i] += before[i]
				}
				b.must(kernel.SkinnyAdd(b, kernel.SkinnyArgs{X: mp, W: wp, Y: yp, N: int32(n), In: int32(in), Out: int32(out), Ld: int32(out)}, most))
				b.sameFloats("add", yp, sum, 1e-5*float64(in)) // exact products, sums in another order
			}
			const gates = 96
			x, xp := b.randomFloats(n * in)
			w, _ := b.random(2 * gates * in)
			bits := make([]uint16, len(w))
			for i := range w { // small, so that gates are not all shut or open
				w[i] = math.Float32frombits(math.Float32bits(w[i]/float32(math.Sqrt(float64(in)))) &^ 0xffff)
				bits[i] = uint16(math.Float32bits(w[i]) >> 16)
			}
			norm, np := b.random(in)
			y := b.zeros(int64(2 * n * gates))
			b.must(kernel.SkinnyGate(b, kernel.SkinnyArgs{X: xp, W: upload(b, bits), Norm: np, Y: y, N: int32(n), In: int32(in), Out: 2 * gates, Eps: 1e-6}, most))
			want := ref.SiluMul(ref.Product(ref.RMSNorm(x, norm, 1e-6), w, in), gates)
			got := make([]uint16, len(want))
			b.must(cuda.Download(b.Workbench, got, y))
			for i, v := range want {
				if d := math.Abs(float64(math.Float32frombits(uint32(got[i])<<16) - v)); !(d <= 0.05+0.02*math.Abs(float64(v))) {
					t.Fatalf("gate: %d×%d: element %d is %v, want %v", n, in, i, math.Float32frombits(uint32(got[i])<<16), v)
				}
			}
		}
	}
	for _, a := range []kernel.SkinnyArgs{{N: 0, In: 64, Out: 32}, {N: 17, In: 64, Out: 32}, {N: 1, In: 65, Out: 32}} {
		if kernel.SkinnyAdd(b, a, 1) == nil {
			t.Errorf("%+v: accepted", a)
		}
	}
}

func TestEmbed(t *testing.T) {
	b := open(t, shapes[0])
	const hidden = 136
	table, tp := b.random(50 * hidden)
	y := b.zeros(4 * 3 * hidden)
	b.must(kernel.Embed(b, kernel.EmbedArgs{Tokens: upload(b, []int32{49, 0, 7}), Table: tp, Out: y, Hidden: hidden, Scale: 2}, 3))
	var want []float32
	for _, id := range []int{49, 0, 7} {
		want = append(want, table[id*hidden:][:hidden]...)
	}
	for i := range want {
		want[i] *= 2
	}
	b.sameFloats("rows", y, want, 0)
}

// history is a pool of random keys and values with pages in no order.
type history struct {
	b         *bench
	pool      []float32
	at, table kernel.Ptr
	scales    kernel.Ptr // of codes
	pages     []int32    // [slots, stride]
	slots     int
	stride    int
}

func newHistory(b *bench, slots, longest int) *history {
	s := b.shape
	h := &history{b: b, slots: slots, stride: (longest + s.PageSize - 1) / s.PageSize}
	n := slots * h.stride
	for _, p := range b.rand.Perm(n) {
		h.pages = append(h.pages, int32(p))
	}
	size := n * 2 * s.KVHeads * s.PageSize * s.HeadDim
	switch {
	case s.KVCodes && size < 1<<26:
		h.pool, h.at, h.scales = b.randomCodes(size, s.HeadDim)
	case s.KVCodes:
		h.at = b.zeros(int64(size))
		_, err := kernel.FillCodes(b, h.at, int64(size), 3, 1)
		b.must(err)
		h.scales = upload(b, slices.Repeat([]float32{1.0 / 256}, size/s.HeadDim))
	case size < 1<<26:
		h.pool, h.at = b.random(size)
	default: // for timing alone
		h.at = b.zeros(int64(2 * size))
		b.must(kernel.FillRandom(b, h.at, int64(size), 3, 1))
	}
	h.table = upload(b, h.pages)
	return h
}

// randomCodes returns n values that rows of codes stand for, and those and their
// scales on the device.
func (b *bench) randomCodes(n, width int) ([]float32, kernel.Ptr, kernel.Ptr) {
	b.t.Helper()
	codes, scales, row := make([]byte, n), make([]float32, n/width), make([]float32, width)
	for i := range scales {
		size := math.Exp(b.rand.NormFloat64()) // rows differ in size
		for j := range row {
			row[j] = float32(size * b.rand.NormFloat64())
		}
		scales[i] = model.Quantize(row, codes[i*width:][:width])
	}
	return ref.Widen(codes, width, func(row, _ int) float32 { return scales[row] }), upload(b, codes), upload(b, scales)
}

// of returns keys (which 0) or values (1) of a slot and head by position.
func (h *history) of(slot, which, head int) func(int) []float32 {
	s := h.b.shape
	return func(p int) []float32 {
		page := int(h.pages[slot*h.stride+p/s.PageSize])
		return h.pool[(((page*2+which)*s.KVHeads+head)*s.PageSize+p%s.PageSize)*s.HeadDim:][:s.HeadDim]
	}
}

// attention is the reference for a token's query heads, over the last window
// positions; 0: all. Sinks may be nil.
func (h *history) attention(q []float32, slot, n, window int, sinks []float32) []float32 {
	s, first, sink := h.b.shape, 0, math.Inf(-1)
	if window > 0 {
		first = max(0, n-window)
	}
	var out []float32
	for head := range s.Heads {
		if sinks != nil {
			sink = float64(sinks[head])
		}
		kv := head / (s.Heads / s.KVHeads)
		out = append(out, ref.Windowed(q[head*s.HeadDim:][:s.HeadDim], first, n, sink, h.of(slot, 0, kv), h.of(slot, 1, kv))...)
	}
	return out
}

// sinks are some for the shape's heads, large enough to matter, or none.
func (b *bench) sinks(some bool) ([]float32, kernel.Ptr) {
	if !some {
		return nil, 0
	}
	return b.random(b.shape.Heads)
}

func (b *bench) width() int     { return b.shape.Heads * b.shape.HeadDim } // of queries
func (b *bench) scale() float32 { return float32(math.Log2E / math.Sqrt(float64(b.shape.HeadDim))) }

// decode makes what decode attention runs on, for rows of these lengths: each time the
// next so many slots of the history.
func (b *bench) decode(h *history, q kernel.Ptr, lens []int32, window int, sinks kernel.Ptr) (run func() error, out kernel.Ptr) {
	rows := len(lens)
	slots := make([]int32, rows)
	for i := range slots {
		slots[i] = int32(rows - 1 - i)
	}
	sc := kernel.ScratchFor(b.shape, rows, b.Blocks)
	out = b.zeros(int64(2 * rows * b.shape.Heads * b.shape.HeadDim))
	a := kernel.DecodeArgs{
		Q: q, KV: h.at, KVScales: h.scales, Table: h.table, Slots: upload(b, slots), Lens: upload(b, lens), First: b.zeros(sc.First), Runs: b.zeros(sc.Runs),
		Out: out, Partial: b.zeros(sc.Partial), Stats: b.zeros(sc.Stats), Arrived: b.zeros(sc.Arrived),
		Rows: int32(rows), TableStride: int32(h.stride), Scale: b.scale(), Sinks: sinks, Window: int32(window),
	}
	b.must(kernel.DecodePlan(b, b.shape, kernel.PlanArgs{Lens: a.Lens, Slots: a.Slots, First: a.First, Runs: a.Runs, Rows: a.Rows, Window: a.Window, Shortest: b.runs.Shortest, Whole: b.runs.Whole}, b.Blocks))
	times := 0
	return func() error {
		a := a
		a.Table = a.Table.Plus(int64(4 * (times % (h.slots / rows)) * rows * h.stride))
		times++
		return kernel.PagedDecode(b, b.shape, a, b.Blocks)
	}, out
}

func TestPagedDecode(t *testing.T) {
	list := shapes
	for _, s := range shapes {
		s.KVCodes = true
		list = append(list, s)
	}
	some, long := []int32{0, 5, 0, 300, 16, 64, 1, 0}, []int32{33, 1000, 2, 700}
	for _, s := range list {
		t.Run(fmt.Sprintf("%d:%d×%d/%v", s.Heads, s.KVHeads, s.HeadDim, s.KVCodes), func(t *testing.T) {
			b := open(t, s)
			type rows struct {
				lens   []int32
				blocks int // 0: as many as fit
			}
			cases := []rows{{[]int32{1}, 0}, {[]int32{17}, 0}, {some, 0}, {[]int32{900}, 0}, {long, 0}, {[]int32{3000}, 0}}
			// So few that runs of warps, and runs of blocks, have many rows and heads.
			cases = append(cases, rows{some, 1}, rows{long, 2}, rows{some, 8 * s.KVHeads}, rows{long, 4 * s.KVHeads}, rows{long, 4*s.KVHeads + 3}, rows{[]int32{900, 901, 902}, 3*s.KVHeads + 2})
			var many []int32 // so many that warps share them
			for i := range 2*8/s.KVHeads + 7 {
				many = append(many, int32(i*29%70))
			}
			cases = append(cases, rows{many, 8})
			all := b.Blocks
			for _, c := range cases {
				lens := c.lens
				if b.Blocks = all; c.blocks > 0 {
					b.Blocks = c.blocks
				}
				h := newHistory(b, len(lens), int(slices.Max(lens)))
				q, at := b.random(len(lens) * b.width())
				for _, look := range looks {
					sinks, sinksAt := b.sinks(look.sinks)
					run, out := b.decode(h, at, lens, look.window, sinksAt)
					var want []float32
					for i, n := range lens {
						if n == 0 { // left as it was
							want = append(want, make([]float32, s.Heads*s.HeadDim)...)
							continue
						}
						want = append(want, h.attention(q[i*b.width():], len(lens)-1-i, int(n), look.window, sinks)...)
					}
					bits, first := make([]uint16, len(want)), make([]uint16, len(want))
					for i := range 3 { // counters are back at zero after each
						b.must(run())
						b.same(fmt.Sprint(lens, look), out, want)
						b.must(cuda.Download(b.Workbench, bits, out))
						if i == 0 {
							copy(first, bits)
						} else if !slices.Equal(bits, first) {
							t.Fatalf("%v %v: other bits than before", lens, look)
						}
					}
				}
			}
		})
	}
}

// Pages of codes that spans look at become what the codes stand for.
func TestWidenPages(t *testing.T) {
	for _, s := range shapes {
		s.KVCodes = true
		b := open(t, s)
		h := newHistory(b, 3, 500)
		for _, window := range []int{0, 70} {
			spans := []kernel.Span{{First: 0, Count: 1, Slot: 2, Start: 0}, {First: 1, Count: 200, Slot: 0, Start: 290}, {First: 201, Count: 33, Slot: 2, Start: 17}}
			out := b.zeros(int64(2 * len(h.pool)))
			b.must(kernel.WidenPages(b, kernel.WidenArgs{
				KV: h.at, Scales: h.scales, Spans: upload(b, spans), Count: upload(b, []int32{int32(len(spans))}), Table: h.table, Out: out, Heads: int32(s.KVHeads), Dim: int32(s.HeadDim),
				PageSize: int32(s.PageSize), TableStride: int32(h.stride), Window: int32(window),
			}, len(spans)+window))
			want, page := make([]float32, len(h.pool)), 2*s.KVHeads*s.PageSize*s.HeadDim
			for _, span := range spans {
				first := 0
				if window > 0 {
					first = max(0, int(span.Start)+1-window)
				}
				for p := first / s.PageSize; p <= int(span.Start+span.Count-1)/s.PageSize; p++ {
					at := int(h.pages[int(span.Slot)*h.stride+p]) * page
					copy(want[at:at+page], h.pool[at:])
				}
			}
			b.same(fmt.Sprintf("%d×%d, window %d", s.KVHeads, s.HeadDim, window), out, want)
		}
	}
}

// prefills are the kernels of prefill attention that a device has, by the shape
// that chooses them. Few blocks of Hopper's kernel do many items each.
func (b *bench) prefills() []kernel.Shape {
	s := b.shape
	s.Hopper = 0
	list := []kernel.Shape{s}
	if b.shape.HopperAttention() {
		few := b.shape
		few.Hopper = 3
		list = append(list, b.shape, few)
	}
	return list
}

func TestPagedPrefill(t *testing.T) {
	for _, s := range append([]kernel.Shape{{Heads: 8, KVHeads: 8, HeadDim: 128, PageSize: 32}}, shapes...) {
		t.Run(fmt.Sprintf("%d:%d×%d", s.Heads, s.KVHeads, s.HeadDim), func(t *testing.T) {
			b := open(t, s)
			runs := []struct{ start, n int }{{0, 1}, {0, 70}, {100, 3}, {63, 130}, {5, 64}, {383, 40}, {0, 300}, {127, 1}, {128, 1}}
			h := newHistory(b, len(runs), 423)
			total := 0
			var tiles []kernel.Tile
			for i, r := range runs {
				tiles = b.shape.AppendTiles(tiles, i, total, r.start, r.n)
				total += r.n
			}
			b.shape.SortTiles(tiles)
			q, at := b.random(total * b.width())
			for _, look := range looks {
				sinks, sinksAt := b.sinks(look.sinks)
				var want []float32
				token := 0
				for i, r := range runs {
					for j := range r.n {
						want = append(want, h.attention(q[token*b.width():], i, r.start+j+1, look.window, sinks)...)
						token++
					}
				}
				for extra, s := range b.prefills() { // of some launches there is room for more tiles
					out := upload(b, slices.Repeat([]uint16{0xffff}, len(want))) // NaN: nothing is left out
					b.must(kernel.PagedPrefill(b, s, kernel.PrefillArgs{
						Q: at, KV: h.at, Table: h.table, Tiles: upload(b, tiles), Count: upload(b, []int32{int32(len(tiles))}), Out: out, Sinks: sinksAt, TableStride: int32(h.stride),
						Scale: b.scale(), Window: int32(look.window),
					}, len(tiles)+extra))
					b.same(fmt.Sprintf("tokens, Hopper %d, %v", s.Hopper, look), out, want)
				}
			}
		})
	}
}

// With splits a token gets the same bits alone, shared by blocks or not, as in a run, by
// whatever number of blocks; and what it ought to.
func TestSplitAttention(t *testing.T) {
	for _, s := range []kernel.Shape{{Heads: 10, KVHeads: 2, HeadDim: 128, PageSize: 16}, {Heads: 4, KVHeads: 4, HeadDim: 64, PageSize: 16}, {Heads: 16, KVHeads: 1, HeadDim: 64, PageSize: 48}} {
		t.Run(fmt.Sprintf("%d:%d×%d", s.Heads, s.KVHeads, s.HeadDim), func(t *testing.T) {
			s.Invariant = true
			b := open(t, s)
			if !b.shape.HopperAttention() {
				t.Skip("not of this GPU")
			}
			kept, parts, arrived := b.shape.SplitScratch()
			const start, n = 2*kernel.SplitKeys - 12, 24 // a run across an edge
			h := newHistory(b, 1, start+n)
			q, at := b.random(n * b.width())
			a := kernel.PrefillArgs{Q: at, KV: h.at, Table: h.table, TableStride: int32(h.stride), Scale: b.scale(), Kept: b.zeros(kept), Parts: b.zeros(parts), Arrived: b.zeros(arrived)}
			for _, look := range []struct {
				window int
				sinks  bool
			}{{0, false}, {0, true}, {300, true}, {1500, false}} {
				sinks, sinksAt := b.sinks(look.sinks)
				a.Sinks, a.Window = sinksAt, int32(look.window)
				run := func(s kernel.Shape, tiles []kernel.Tile) []uint16 {
					b.shape.SortTiles(tiles)
					out := make([]uint16, n*b.width())
					a.Tiles, a.Count, a.Out = upload(b, tiles), upload(b, []int32{int32(len(tiles))}), upload(b, slices.Repeat([]uint16{0xffff}, len(out)))
					b.must(kernel.PagedPrefill(b, s, a, len(tiles)))
					b.must(cuda.Download(b.Workbench, out, a.Out))
					return out
				}
				whole := run(b.shape, b.shape.AppendTiles(nil, 0, 0, start, n))
				var want []float32
				for j := range n {
					want = append(want, h.attention(q[j*b.width():], 0, start+j+1, look.window, sinks)...)
				}
				b.same(fmt.Sprintf("a run, %v", look), a.Out, want)
				few := b.shape
				few.Hopper = 3
				for _, s := range []kernel.Shape{b.shape, few} {
					var shared, apart []kernel.Tile
					part := 0
					for j := range n {
						var taken int
						shared, taken = s.AppendSplits(shared, 0, j, start+j, part)
						part += taken
						apart = s.AppendTiles(apart, 0, j, start+j, 1)
					}
					for what, tiles := range map[string][]kernel.Tile{"shared by blocks": shared, "token by token": apart} {
						for i, got := range run(s, tiles) {
							if got != whole[i] {
								t.Fatalf("%s, Hopper %d, %v: token %d, element %d is %#x, in a run %#x", what, s.Hopper, look, i/b.width(), i%b.width(), got, whole[i])
							}
						}
					}
				}
			}
		})
	}
}

// BenchmarkPagedDecode reports the share of 4.43 TB/s, an H200's read rate, of kernels
// one behind another and of kernels that overlap as in a step. Histories that the cache
// holds are as many as are timed at once, each another's.
func BenchmarkPagedDecode(b *testing.B) {
	for _, c := range []struct{ rows, from, to int }{
		{256, 100, 2048}, {256, 1000, 1000}, {64, 100, 1100}, {16, 100, 1100}, {8, 8192, 8192}, {16, 16000, 16000}, {1, 600, 600}, {1, 1000, 1000}, {1, 8000, 8000}, {1, 32000, 32000},
	} {
		for _, shape := range []kernel.Shape{shapes[0], {Heads: 40, KVHeads: 8, HeadDim: 128, PageSize: 16}, {Heads: 16, KVHeads: 8, HeadDim: 128, PageSize: 16, KVCodes: true}, {Heads: 40, KVHeads: 8, HeadDim: 128, PageSize: 16, KVCodes: true}} {
			for _, overlap := range []bool{false, true} {
				name := fmt.Sprintf("%d×%d-%d/%d:%d/%v", c.rows, c.from, c.to, shape.Heads, shape.KVHeads, shape.KVCodes)
				if overlap {
					name += "/overlapping"
				}
				b.Run(name, func(tb *testing.B) { benchmarkDecode(tb, shape, c.rows, c.from, c.to, overlap) })
			}
		}
	}
}

func benchmarkDecode(tb *testing.B, shape kernel.Shape, rows, from, to int, overlap bool) {
	b := open(tb, shape)
	if overlap {
		b.Overlap()
	}
	lens, sum, copies := make([]int32, rows), 0, 1
	for i := range lens {
		lens[i] = int32(from + b.rand.IntN(to-from+1))
		sum += int(lens[i])
	}
	bytes := 4 * shape.HeadDim
	if shape.KVCodes {
		bytes = 2*shape.HeadDim + 8
	}
	if bytes *= shape.KVHeads * sum; bytes < 200<<20 {
		copies = 8
	}
	h := newHistory(b, rows*copies, to)
	_, q := b.random(rows * b.width())
	run, _ := b.decode(h, q, lens, 0, 0)
	ns := b.median(tb, run)
	rate := float64(bytes) / ns
	tb.ReportMetric(ns, "ns-gpu/op")
	tb.ReportMetric(rate, "GB/s")
	tb.ReportMetric(rate/4430, "of-H200-limit")
}

// BenchmarkDecodeRuns is what the shortest runs of blocks, and the longest rows that a
// block takes a head of alone, are chosen by: one row, kernels overlapping as in a step.
func BenchmarkDecodeRuns(b *testing.B) {
	for _, shape := range []kernel.Shape{shapes[0], {Heads: 40, KVHeads: 8, HeadDim: 128, PageSize: 16}} {
		for _, n := range []int{100, 600, 1500} {
			for _, c := range [][2]int32{{4, 1}, {8, 1}, {16, 1}, {32, 1}, {4, 256}} {
				b.Run(fmt.Sprintf("%d:%d/%d/%d-%d", shape.Heads, shape.KVHeads, n, c[0], c[1]), func(tb *testing.B) {
					b := open(tb, shape)
					b.Overlap()
					b.runs = kernel.PlanArgs{Shortest: c[0], Whole: c[1]}
					h := newHistory(b, 1, n)
					_, q := b.random(b.width())
					run, _ := b.decode(h, q, []int32{int32(n)}, 0, 0)
					tb.ReportMetric(b.median(tb, run), "ns-gpu/op")
				})
			}
		}
	}
}

// BenchmarkPagedPrefill counts 4·D·Hq FLOP for every pair of a token and a
// position it sees, as FlashAttention's papers do, and reports the median.
func BenchmarkPagedPrefill(b *testing.B) {
	for _, shape := range []kernel.Shape{{Heads: 16, KVHeads: 8, HeadDim: 128, PageSize: 16}, {Heads: 40, KVHeads: 8, HeadDim: 128, PageSize: 16}, {Heads: 32, KVHeads: 8, HeadDim: 64, PageSize: 16}} {
		for _, c := range []struct{ rows, cached, tokens int }{{16, 0, 512}, {4, 0, 2048}, {1, 0, 8192}, {1, 16384, 2048}} {
			b.Run(fmt.Sprintf("%d:%d×%d/%d×%d+%d", shape.Heads, shape.KVHeads, shape.HeadDim, c.rows, c.cached, c.tokens), func(tb *testing.B) {
				b := open(tb, shape)
				h := newHistory(b, c.rows, c.cached+c.tokens)
				total := c.rows * c.tokens
				q := b.zeros(int64(2 * total * b.width()))
				b.must(kernel.FillRandom(b, q, int64(total*b.width()), 5, 1))
				var tiles []kernel.Tile
				for i := range c.rows {
					tiles = b.shape.AppendTiles(tiles, i, i*c.tokens, c.cached, c.tokens)
				}
				b.shape.SortTiles(tiles)
				a := kernel.PrefillArgs{
					Q: q, KV: h.at, Table: h.table, Tiles: upload(b, tiles), Count: upload(b, []int32{int32(len(tiles))}), Out: b.zeros(int64(2 * total * b.shape.Heads * b.shape.HeadDim)),
					TableStride: int32(h.stride), Scale: b.scale(),
				}
				run := func() error { return kernel.PagedPrefill(b, b.shape, a, len(tiles)) }
				ns := b.median(tb, run)
				pairs := float64(c.rows) * float64(c.tokens) * (float64(c.cached) + float64(c.tokens+1)/2)
				rate := 4 * float64(b.shape.HeadDim*b.shape.Heads) * pairs / ns / 1e3
				tb.ReportMetric(ns/1e3, "us-gpu/op")
				tb.ReportMetric(rate, "TFLOP/s")
			})
		}
	}
}
