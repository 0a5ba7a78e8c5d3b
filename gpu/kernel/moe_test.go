//go:build cuda

package kernel_test

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"testing"

	"github.com/troupe-llm/troupe/gpu/cuda"
	"github.com/troupe-llm/troupe/gpu/kernel"
	"github.com/troupe-llm/troupe/gpu/kernel/ref"
	"github.com/troupe-llm/troupe/gpu/model"
)

// scaled are random weights of products over so many inputs, small enough that
// results are about 1: gates are neither all shut nor all open.
func (b *bench) scaled(n, inputs int) ([]float32, kernel.Ptr) {
	b.t.Helper()
	f, bits := make([]float32, n), make([]uint16, n)
	for i := range f {
		bits[i] = uint16(math.Float32bits(float32(b.rand.NormFloat64()/math.Sqrt(float64(inputs)))) >> 16)
		f[i] = math.Float32frombits(uint32(bits[i]) << 16)
	}
	return f, upload(b, bits)
}

func download[T any](b *bench, n int, from kernel.Ptr) []T {
	b.t.Helper()
	data := make([]T, n)
	b.must(cuda.Download(b.Workbench, data, from))
	return data
}

// routes allocates what routing writes.
func (b *bench) routes(tokens, hidden, experts, chosen, rows int) kernel.RouteArgs {
	s := kernel.RouteScratchFor(tokens, experts, chosen)
	return kernel.RouteArgs{
		Logits: b.zeros(s.Logits), Normed: b.zeros(int64(2 * tokens * hidden)), Scales: b.zeros(s.Scales), Choice: b.zeros(s.Choice), Share: b.zeros(s.Share),
		Entries: b.zeros(s.Entries), Place: b.zeros(s.Place), Counts: b.zeros(s.Counts), Tiles: b.zeros(s.Tiles), Count: b.zeros(s.Count), Arrived: b.zeros(s.Arrived),
		Tokens: int32(tokens), Hidden: int32(hidden), Experts: int32(experts), Chosen: int32(chosen), Rows: int32(rows), Eps: 1e-6, Scale: 1,
	}
}

// Tokens get the experts of largest logits, and lie expert by expert, for few
// tokens and many, with ties, with padding, and with everybody at one expert.
func TestRoute(t *testing.T) {
	b := open(t, shapes[0])
	for i, c := range []struct {
		tokens, hidden, experts, chosen, rows int
		ties, padding                         bool
	}{
		{1, 2048, 128, 8, 16, false, false},
		{5, 128, 8, 2, 16, false, true},
		{64, 2048, 128, 8, 16, false, true},
		{37, 64, 12, 3, 16, true, true},
		{64, 192, 512, 16, 16, false, false},
		{9, 320, 60, 1, 16, true, false},
		{3, 64, 8, 3, 32, false, true},
		{65, 64, 8, 8, 32, true, false},
		{1000, 64, 128, 8, 32, false, true},
		{4099, 64, 128, 8, 64, true, true},
		{8192, 64, 300, 5, 128, false, false},
	} {
		a := b.routes(c.tokens, c.hidden, c.experts, c.chosen, c.rows)
		a.Normalize = int32(i % 2)
		slots := make([]int32, c.tokens)
		for i := range slots {
			if c.padding && i%7 == 2 {
				slots[i] = -1
			}
		}
		a.Slots = upload(b, slots)
		name := fmt.Sprintf("%+v", c)
		scales := slices.Repeat([]float32{1}, c.tokens)
		run := func() error { return kernel.MoEGroup(b, a) }
		if c.rows == 16 {
			run = func() error { return kernel.MoERoute(b, a) }
			x, xp := b.randomFloats(c.tokens * c.hidden)
			norm, np := b.random(c.hidden)
			w, _ := b.scaled(c.experts*c.hidden, c.hidden)
			for e := range c.experts {
				if c.ties && e%3 > 0 {
					copy(w[e*c.hidden:][:c.hidden], w)
				}
			}
			bits := make([]uint16, len(w))
			for i, v := range w {
				bits[i] = uint16(math.Float32bits(v) >> 16)
			}
			a.X, a.Norm, a.W = xp, np, upload(b, bits)
			b.must(run())
			b.sameFloats(name+": logits", a.Logits, ref.Product(ref.RMSNorm(x, norm, 1e-6), w, c.hidden), 1e-4)
			scales = download[float32](b, c.tokens, a.Scales)
			var want []float32
			for i, v := range ref.RMSNorm(x, norm, 1e-6) {
				want = append(want, v/scales[i/c.hidden])
			}
			b.same(name+": tokens", a.Normed, want)
		} else {
			logits, _ := b.randomFloats(c.tokens * c.experts)
			for i := range logits {
				if c.ties {
					logits[i] = float32(math.Round(float64(logits[i])))
				}
			}
			a.Logits = upload(b, logits)
		}
		logits := download[float32](b, c.tokens*c.experts, a.Logits)
		choice, share := ref.Route(logits, c.experts, c.chosen, a.Normalize == 1)
		for i := range choice {
			if slots[i/c.chosen] < 0 {
				choice[i] = -1
			}
		}
		for range 2 { // what counts arrivals is zero again
			b.must(run())
			if got := download[int32](b, len(choice), a.Choice); !slices.Equal(got, choice) {
				at := 0
				for got[at] == choice[at] {
					at++
				}
				t.Fatalf("%s: choice %d is %d, want %d", name, at, got[at], choice[at])
			}
			b.sameFloats(name+": shares", a.Share, share, 1e-5)
			entries, place, tiles := group(choice, download[float32](b, len(share), a.Share), scales, c.experts, c.chosen, c.rows)
			if n := download[int32](b, 1, a.Count)[0]; int(n) != len(tiles) {
				t.Fatalf("%s: %d tiles, want %d", name, n, len(tiles))
			}
			if !slices.Equal(download[kernel.ExpertEntry](b, len(entries), a.Entries), entries) {
				t.Errorf("%s: entries differ", name)
			}
			if !slices.Equal(download[int32](b, len(place), a.Place), place) {
				t.Errorf("%s: places differ", name)
			}
			if !slices.Equal(download[kernel.ExpertTile](b, len(tiles), a.Tiles), tiles) {
				t.Errorf("%s: tiles differ", name)
			}
		}
	}
	for _, c := range []struct{ tokens, hidden, experts, chosen int }{{65, 64, 8, 2}, {1, 72, 8, 2}, {1, 64, 513, 2}, {1, 64, 8, 9}, {1, 64, 64, 17}} {
		if kernel.MoERoute(b, kernel.RouteArgs{Tokens: int32(c.tokens), Hidden: int32(c.hidden), Experts: int32(c.experts), Chosen: int32(c.chosen), Rows: 8, Scale: 1}) == nil {
			t.Errorf("%+v: accepted", c)
		}
	}
}

// product is a size of tiles, and which kernels take them.
type product struct {
	rows   int // of a tile
	hopper bool
}

func (p product) String() string {
	if p.hopper {
		return "hopper"
	}
	return fmt.Sprintf("tiles-%d", p.rows)
}

func (p product) up(b *bench, a kernel.ExpertArgs, bits, blocks int) error {
	if p.hopper {
		return kernel.MoEUpHopper(b, a, bits, blocks/2+blocks%2)
	}
	return kernel.MoEUp(b, a, bits, p.rows, blocks)
}

func (p product) plain(b *bench, a kernel.ExpertArgs, bits, blocks int) error {
	if p.hopper {
		return kernel.MoEPlainHopper(b, a, bits, blocks/2+blocks%2)
	}
	return kernel.MoEPlain(b, a, bits, p.rows, blocks)
}

func (p product) down(b *bench, a kernel.ExpertArgs, bits, blocks int) error {
	if p.hopper {
		return kernel.MoEDownHopper(b, a, bits, blocks/2+blocks%2)
	}
	return kernel.MoEDown(b, a, bits, p.rows, blocks)
}

// products lists those that the device has.
func (b *bench) products() []product {
	list := []product{{rows: 16}, {rows: 32}, {rows: 64}, {rows: 128}}
	if b.shape.Hopper > 0 {
		list = append(list, product{kernel.HopperRows, true})
	}
	return list
}

// Both products of experts, for tiles of every size, with many experts and one,
// experts without tokens, in as many blocks as fit and in few.
func TestExperts(t *testing.T) {
	b := open(t, shapes[0])
	b.Overlap()
	for _, c := range []struct {
		tokens, hidden, intermediate, experts, chosen int
		one                                           bool // expert for all
	}{
		{1, 2048, 768, 16, 8, false},
		{7, 128, 64, 8, 2, false},
		{64, 320, 192, 12, 3, false},
		{50, 64, 64, 4, 1, true},
		{3, 64, 40, 8, 3, false},
		{90, 136, 72, 6, 2, false},
		{300, 192, 136, 5, 2, false},
		{40, 64, 1024, 6, 2, false},
		{333, 256, 64, 3, 1, true},
	} {
		x, xp := b.random(c.tokens * c.hidden)
		gateUp, gp := b.scaled(c.experts*2*c.intermediate*c.hidden, c.hidden)
		down, dp := b.scaled(c.experts*c.hidden*c.intermediate, c.intermediate)
		logits, _ := b.randomFloats(c.tokens * c.experts)
		for i := range logits {
			if c.one && i%c.experts == 1 {
				logits[i] = 100
			}
		}
		choice, share := ref.Route(logits, c.experts, c.chosen, true)
		for i := range share {
			share[i] *= float32(1 + i%3) // any numbers will do
		}
		scales := make([]float32, c.tokens)
		for _, p := range b.products() {
			for i := range scales {
				scales[i] = 1
				if !p.hopper {
					scales[i] = 0.5 + float32(i%4)/4
				}
			}
			entries, _, tiles := group(choice, share, scales, c.experts, c.chosen, p.rows)
			var activated []float32
			for _, tile := range tiles {
				for _, e := range entries[tile.First:][:tile.Count] {
					row := slices.Clone(x[int(e.Token)*c.hidden:][:c.hidden])
					for i := range row {
						row[i] *= e.Scale
					}
					activated = append(activated, ref.Expert(row, gateUp[int(tile.Expert)*2*c.intermediate*c.hidden:][:2*c.intermediate*c.hidden], e.Share)...)
				}
			}
			for _, blocks := range []int{3, 2 * b.GPU.SMs} {
				name := fmt.Sprintf("%+v, %v, %d blocks", c, p, blocks)
				nan := slices.Repeat([]uint16{0xffff}, 2*len(entries)*max(c.hidden, c.intermediate))
				a := kernel.ExpertArgs{
					X: xp, W: gp, Entries: upload(b, entries), Tiles: upload(b, tiles), Count: upload(b, []int32{int32(len(tiles))}), Y: upload(b, nan),
					In: int32(c.hidden), Out: int32(c.intermediate),
				}
				next := a
				next.X, next.W, next.Y, next.In, next.Out = a.Y, dp, upload(b, nan), a.Out, a.In
				b.must(p.up(b, a, kernel.ExpertsWide, blocks))
				b.must(p.down(b, next, kernel.ExpertsWide, blocks))
				b.same(name+": activated", a.Y, activated)
				var want []float32
				bits := download[uint16](b, len(activated), a.Y) // as they were rounded
				for _, tile := range tiles {
					for i := range int(tile.Count) {
						row := make([]float32, c.intermediate)
						for j := range row {
							row[j] = math.Float32frombits(uint32(bits[(int(tile.First)+i)*c.intermediate+j]) << 16)
						}
						want = append(want, ref.Product(row, down[int(tile.Expert)*c.hidden*c.intermediate:][:c.hidden*c.intermediate], c.intermediate)...)
					}
				}
				b.same(name, next.Y, want)
			}
		}
	}
	for _, a := range []kernel.ExpertArgs{{In: 60, Out: 64}, {In: 64, Out: 60}} {
		if kernel.MoEUp(b, a, kernel.ExpertsWide, 64, 1) == nil || kernel.MoEDown(b, kernel.ExpertArgs{In: 64, Out: 64}, kernel.ExpertsWide, 8, 1) == nil {
			t.Errorf("tiles: %+v accepted", a)
		}
	}
}

// Products of experts in codes, gated, plain and of entries, and the same codes widened.
func TestCodedExperts(t *testing.T) {
	b := open(t, shapes[0])
	b.Overlap()
	for _, c := range []struct {
		tokens, hidden, intermediate, experts, chosen int
		bits                                          int
		byBlock                                       bool
	}{
		{1, 2880, 352, 8, 4, kernel.ExpertsMXFP4, false},
		{40, 64, 72, 5, 2, kernel.ExpertsMXFP4, false},
		{300, 192, 136, 3, 2, kernel.ExpertsMXFP4, false},
		{7, 2048, 256, 8, 2, kernel.ExpertsFP8, true},
		{300, 256, 384, 4, 2, kernel.ExpertsFP8, true},
		{50, 640, 72, 5, 2, kernel.ExpertsFP8, false},
	} {
		x, xp := b.random(c.tokens * c.hidden)
		w := randomExperts(b.rand, c.experts*2*c.intermediate, c.hidden, c.bits, c.byBlock)
		wp, sp := upload(b, w.w), upload(b, w.scales)
		logits, _ := b.randomFloats(c.tokens * c.experts)
		choice, share := ref.Route(logits, c.experts, c.chosen, true)
		scales := make([]float32, c.tokens)
		for i := range scales {
			scales[i] = 0.5 + float32(i%4)/4
		}
		for _, p := range b.products() {
			rows := p.rows
			if rows > kernel.MaxCodedTile && !p.hopper {
				continue
			}
			scales := scales
			if p.hopper { // scales are taken for 1
				scales = slices.Repeat([]float32{1}, c.tokens)
			}
			entries, _, tiles := group(choice, share, scales, c.experts, c.chosen, rows)
			var gated, plain, down []float32
			for i, e := range entries {
				matrix := w.numbers[int(e.Expert)*2*c.intermediate*c.hidden:][:2*c.intermediate*c.hidden]
				row := slices.Clone(x[int(e.Token)*c.hidden:][:c.hidden])
				plain = append(plain, ref.Product(row, matrix, c.hidden)...)
				for k := range row {
					row[k] *= e.Scale
				}
				gated = append(gated, ref.Expert(row, matrix, e.Share)...)
				down = append(down, ref.Product(x[i%c.tokens*c.hidden:][:c.hidden], matrix, c.hidden)...)
			}
			var repeated []uint16 // x by entry
			for i := range entries {
				for _, v := range x[i%c.tokens*c.hidden:][:c.hidden] {
					repeated = append(repeated, uint16(math.Float32bits(v)>>16))
				}
			}
			for _, blocks := range []int{3, 2 * b.GPU.SMs} {
				name := fmt.Sprintf("%+v, %v, %d blocks", c, p, blocks)
				nan := func(n int) kernel.Ptr { return upload(b, slices.Repeat([]uint16{0xffff}, n)) }
				a := kernel.ExpertArgs{
					X: xp, W: wp, Scales: sp, Entries: upload(b, entries), Tiles: upload(b, tiles), Count: upload(b, []int32{int32(len(tiles))}),
					In: int32(c.hidden), Out: int32(c.intermediate), Stride: int32(w.stride), Y: nan(len(gated)),
				}
				b.must(p.up(b, a, c.bits, blocks))
				b.same(name+": gated", a.Y, gated)
				a.Out, a.Y = int32(2*c.intermediate), nan(len(plain))
				b.must(p.plain(b, a, c.bits, blocks))
				b.same(name+": plain", a.Y, plain)
				a.X, a.Y = upload(b, repeated), nan(len(down))
				b.must(p.down(b, a, c.bits, blocks))
				b.same(name+": of entries", a.Y, down)
			}
		}
		wide := kernel.WidenExpertsArgs{W: wp, Scales: sp, Y: b.zeros(int64(2 * len(w.numbers))), Rows: int64(c.experts * 2 * c.intermediate), In: int32(c.hidden), Stride: int32(w.stride)}
		b.must(kernel.WidenExperts(b, wide, c.bits))
		for i, bits := range download[uint16](b, len(w.numbers), wide.Y) {
			if want := model.ToBF16(w.numbers[i]); bits != want {
				t.Fatalf("%+v, widened: number %d is %x, want %x", c, i, bits, want)
			}
		}
	}
	for _, a := range []kernel.ExpertArgs{{In: 96, Out: 64}, {In: 64, Out: 60}} {
		if kernel.MoEUp(b, a, kernel.ExpertsMXFP4, 16, 1) == nil || kernel.MoEUp(b, a, kernel.ExpertsFP8, 16, 1) == nil {
			t.Errorf("%+v: accepted", a)
		}
	}
	if kernel.MoEUp(b, kernel.ExpertArgs{In: 128, Out: 64}, kernel.ExpertsFP8, 128, 1) == nil || kernel.WidenExperts(b, kernel.WidenExpertsArgs{In: 128}, kernel.ExpertsWide) == nil {
		t.Error("tiles of 128, or wide weights to be widened, were accepted")
	}
}

func TestCombine(t *testing.T) {
	b := open(t, shapes[0])
	for _, c := range []struct{ tokens, hidden, chosen int }{{1, 2048, 8}, {9, 136, 3}, {200, 64, 1}} {
		n := c.tokens * c.chosen
		var place []int32
		for _, p := range b.rand.Perm(n) {
			place = append(place, int32(p))
		}
		place[n/2] = -1
		x, xp := b.randomFloats(c.tokens * c.hidden)
		y, yp := b.random(n * c.hidden)
		for i := range x {
			for _, p := range place[i/c.hidden*c.chosen:][:c.chosen] {
				if p >= 0 {
					x[i] += y[int(p)*c.hidden+i%c.hidden]
				}
			}
		}
		b.must(kernel.MoECombine(b, kernel.CombineArgs{X: xp, Y: yp, Place: upload(b, place), Hidden: int32(c.hidden), Chosen: int32(c.chosen), Add: 1}, c.tokens))
		b.sameFloats(fmt.Sprintf("%+v", c), xp, x, 1e-5)
		// Not added, but weighed.
		share, sp := b.randomFloats(n)
		clear(x)
		for i := range x {
			for j, p := range place[i/c.hidden*c.chosen:][:c.chosen] {
				if p >= 0 {
					x[i] += share[i/c.hidden*c.chosen+j] * y[int(p)*c.hidden+i%c.hidden]
				}
			}
		}
		b.must(kernel.MoECombine(b, kernel.CombineArgs{X: xp, Y: yp, Share: sp, Place: upload(b, place), Hidden: int32(c.hidden), Chosen: int32(c.chosen)}, c.tokens))
		b.sameFloats(fmt.Sprintf("%+v, weighed", c), xp, x, 1e-4)
	}
}

// Products without gates, and biases of experts.
func TestPlainExperts(t *testing.T) {
	b := open(t, shapes[0])
	b.Overlap()
	for _, c := range []struct{ tokens, hidden, out, experts, chosen int }{{1, 128, 64, 8, 2}, {50, 136, 264, 5, 2}, {300, 64, 1024, 4, 1}} {
		x, xp := b.random(c.tokens * c.hidden)
		w, wp := b.scaled(c.experts*c.out*c.hidden, c.hidden)
		bias, bp := b.random(c.experts * c.out)
		logits, _ := b.randomFloats(c.tokens * c.experts)
		choice, share := ref.Route(logits, c.experts, c.chosen, true)
		for _, p := range b.products() {
			rows := p.rows
			entries, _, tiles := group(choice, share, slices.Repeat([]float32{1}, c.tokens), c.experts, c.chosen, rows)
			var want []float32
			for _, e := range entries {
				row := ref.Product(x[int(e.Token)*c.hidden:][:c.hidden], w[int(e.Expert)*c.out*c.hidden:][:c.out*c.hidden], c.hidden)
				for i := range row {
					row[i] += bias[int(e.Expert)*c.out+i]
				}
				want = append(want, row...)
			}
			ep, y := upload(b, entries), upload(b, slices.Repeat([]uint16{0xffff}, len(want)))
			b.must(p.plain(b, kernel.ExpertArgs{
				X: xp, W: wp, Entries: ep, Tiles: upload(b, tiles), Count: upload(b, []int32{int32(len(tiles))}), Y: y, In: int32(c.hidden), Out: int32(c.out),
			}, kernel.ExpertsWide, 2*b.GPU.SMs))
			b.must(kernel.AddBias(b, kernel.AddBiasArgs{
				X: kernel.View{At: y, Stride: int32(c.out), Half: 1}, Bias: bp, Entries: ep, Rows: int32(len(entries)), Width: int32(c.out), Experts: int32(c.experts),
			}))
			bits := download[uint16](b, len(want), y)
			for i, v := range want { // rounded twice
				if got := math.Float32frombits(uint32(bits[i]) << 16); !(math.Abs(float64(got-v)) <= 0.02+0.02*math.Abs(float64(v))) {
					t.Fatalf("%+v, %v: element %d is %v, want %v", c, p, i, got, v)
				}
			}
		}
	}
}

// Experts chosen by scores of every kind.
func TestScoredRoute(t *testing.T) {
	b := open(t, shapes[0])
	for _, c := range []struct {
		tokens, experts, chosen int
		correct                 bool
		scores                  ref.Scores
	}{
		{1, 8, 2, true, ref.Scores{Sigmoid: true, Normalize: true, Scale: 2.5, Groups: 2, GroupsTaken: 1}},
		{300, 256, 8, true, ref.Scores{Sigmoid: true, Normalize: true, Scale: 2.5, Groups: 8, GroupsTaken: 4}},
		{65, 128, 8, true, ref.Scores{Sigmoid: true, Normalize: true, Scale: 1}},
		{65, 160, 8, false, ref.Scores{Sigmoid: true, Scale: 1.5, Groups: 1, GroupsTaken: 1}},
		{40, 64, 6, false, ref.Scores{Scale: 16, Groups: 8, GroupsTaken: 3}},
		{40, 60, 4, true, ref.Scores{Normalize: true, Scale: 1}},
	} {
		a := b.routes(c.tokens, 64, c.experts, c.chosen, 32)
		var logits []float32
		for range c.tokens {
			for _, p := range b.rand.Perm(c.experts) {
				logits = append(logits, float32(p)/16-4)
			}
		}
		a.Logits = upload(b, logits)
		if c.correct {
			correction, _ := b.scaled(c.experts, 16)
			c.scores.Correction, a.Correction = correction, upload(b, correction)
		}
		s := c.scores
		a.Scale, a.Groups, a.GroupsTaken = float32(s.Scale), int32(s.Groups), int32(s.GroupsTaken)
		if s.Sigmoid {
			a.Sigmoid = 1
		}
		if s.Normalize {
			a.Normalize = 1
		}
		b.must(kernel.MoEGroup(b, a))
		choice, share := ref.ScoredRoute(logits, c.experts, c.chosen, s)
		if got := download[int32](b, len(choice), a.Choice); !slices.Equal(got, choice) {
			t.Fatalf("%+v: choices %v, want %v", c, got[:c.chosen], choice[:c.chosen])
		}
		b.sameFloats(fmt.Sprintf("%+v: shares", c), a.Share, share, 1e-4)
		entries, _, _ := group(choice, download[float32](b, len(share), a.Share), slices.Repeat([]float32{1}, c.tokens), c.experts, c.chosen, 32)
		if !slices.Equal(download[kernel.ExpertEntry](b, len(entries), a.Entries), entries) {
			t.Errorf("%+v: entries differ", c)
		}
	}
	a := b.routes(1, 64, 8, 2, 16)
	a.Scale = 2
	if kernel.MoERoute(b, a) == nil {
		t.Error("shares are scaled where they cannot be")
	}
}

// BenchmarkExperts times a layer's mixture of experts in Qwen3-30B-A3B's
// shapes, in the median, whole and by kernel, each beside the longer of two
// times: that of reading the experts that have tokens at 4.43 TB/s, and that of
// their products at 780 TFLOP/s. Layers take turns, so that weights come from
// memory, and kernels overlap as in a step. What makes logits of many tokens is
// not in it.
func BenchmarkExperts(tb *testing.B) {
	const hidden, intermediate, experts, chosen, layers = 2048, 768, 128, 8, 4
	for _, tokens := range []int{1, 2, 4, 8, 32, 64, 256, 2048, 8192} {
		for _, p := range []product{{rows: 16}, {rows: 32}, {rows: 64}, {rows: 128}, {kernel.HopperRows, true}} {
			if few := tokens <= kernel.MaxRouted; few != (p.rows == 16) && p.rows != 32 {
				continue
			}
			tb.Run(fmt.Sprintf("%d/%v", tokens, p), func(tb *testing.B) {
				b := open(tb, shapes[0])
				b.Overlap()
				if p.hopper && b.shape.Hopper == 0 {
					tb.Skip("not a Hopper")
				}
				const matrix = hidden * intermediate
				w := b.zeros(2 * layers * experts * 3 * matrix)
				b.must(kernel.FillRandom(b, w, layers*experts*3*matrix, hidden, 1))
				a := b.routes(tokens, hidden, experts, chosen, p.rows)
				_, a.X = b.randomFloats(tokens * hidden)
				_, a.Logits = b.randomFloats(tokens * experts)
				_, a.W = b.scaled(experts*hidden, hidden)
				_, a.Norm = b.random(hidden)
				a.Normalize = 1
				b.must(kernel.FillRandom(b, a.Normed, int64(tokens*hidden), 3, 2))
				up := kernel.ExpertArgs{
					X: a.Normed, Entries: a.Entries, Tiles: a.Tiles, Count: a.Count, Y: b.zeros(2 * int64(tokens) * chosen * intermediate), In: hidden, Out: intermediate,
				}
				down := up
				down.X, down.Y, down.In, down.Out = up.Y, b.zeros(2*int64(tokens)*chosen*hidden), intermediate, hidden
				blocks, turn := 2*b.GPU.SMs, int64(0)
				route := func() error {
					if tokens <= kernel.MaxRouted {
						return kernel.MoERoute(b, a)
					}
					return kernel.MoEGroup(b, a)
				}
				first := func() error {
					up.W = w.Plus(turn % layers * 2 * experts * 3 * matrix)
					turn++
					return p.up(b, up, kernel.ExpertsWide, blocks)
				}
				second := func() error {
					down.W = w.Plus(turn%layers*2*experts*3*matrix + 2*experts*2*matrix)
					turn++
					return p.down(b, down, kernel.ExpertsWide, blocks)
				}
				combine := func() error {
					return kernel.MoECombine(b, kernel.CombineArgs{X: a.X, Y: down.Y, Place: a.Place, Hidden: hidden, Chosen: chosen, Add: 1}, tokens)
				}
				b.must(route())
				touched := map[int32]bool{}
				for _, e := range download[int32](b, tokens*chosen, a.Choice) {
					touched[e] = true
				}
				all := func(list ...func() error) func() error {
					return func() error {
						for _, f := range list {
							if err := f(); err != nil {
								return err
							}
						}
						return nil
					}
				}
				type part struct {
					name     string
					run      func() error
					matrices int
					times    []int64
				}
				parts := []part{
					{"route", route, 0, nil},
					{"up", first, 2, nil},
					{"down", second, 1, nil},
					{"combine", combine, 0, nil},
					{"all", all(route, first, second, combine), 3, nil},
				}
				for tb.Loop() {
					for i := range parts {
						ns, err := b.Time(parts[i].run)
						b.must(err)
						parts[i].times = append(parts[i].times, ns)
					}
				}
				for _, part := range parts {
					slices.Sort(part.times)
					ns := float64(part.times[len(part.times)/2])
					tb.ReportMetric(ns/1e3, "us-"+part.name)
					if part.matrices > 0 {
						bytes, flops := float64(2*part.matrices*matrix*len(touched)), float64(2*part.matrices*matrix*tokens*chosen)
						tb.ReportMetric(max(bytes/4430, flops/780e3)/ns, "limit-"+part.name)
						if part.name == "all" {
							tb.ReportMetric(bytes/ns, "GB/s")
							tb.ReportMetric(flops/ns/1e3, "TFLOP/s")
						}
					}
				}
			})
		}
	}
}

// BenchmarkCodedExperts times both products of a layer's experts by what the weights are,
// of tokens that are spread at random: in the median, in turns, beside the longer of reading
// what is touched at 4.43 TB/s and computing at 780 TFLOP/s. Layers take turns, so that
// weights come from memory. It is by the kernels that a pass of so many tokens takes, and,
// where these change, by the others, too; what widening takes is beside it.
func BenchmarkCodedExperts(tb *testing.B) {
	for _, l := range []layerOfExperts{
		{"gpt-oss-20b", 2880, 2880, 32, 4, false, kernel.ExpertsMXFP4},
		{"qwen3-30b-a3b", 2048, 768, 128, 8, true, kernel.ExpertsFP8},
	} {
		for _, tokens := range []int{1, 4, 16, 64, 256, 1024, 2048, 4096} {
			tb.Run(fmt.Sprintf("%s/%d", l.name, tokens), func(tb *testing.B) { l.time(tb, tokens) })
		}
	}
}

// layerOfExperts is a mixture as published, by whose shapes products are timed.
type layerOfExperts struct {
	name                                  string
	hidden, intermediate, experts, chosen int
	gated                                 bool // in the first product
	codes                                 int  // that it is in
}

func (l *layerOfExperts) time(tb *testing.B, tokens int) {
	b := open(tb, shapes[0])
	b.Overlap()
	const layers = 3
	matrix := l.hidden * l.intermediate
	each := int64(2 * l.experts * 3 * matrix) // bytes of a layer in bfloat16
	w, wide := b.zeros(layers*each), b.zeros(each/3*2)
	b.must(kernel.FillRandom(b, w, layers*each/2, l.hidden, 1))
	scales := b.zeros(int64(l.experts * 3 * matrix / 32)) // more than any have
	b.must(b.Fill(scales, 0x3c, int64(l.experts*3*matrix/32)))
	var choice []int32
	touched := map[int32]bool{}
	for range tokens {
		for _, e := range b.rand.Perm(l.experts)[:l.chosen] {
			choice, touched[int32(e)] = append(choice, int32(e)), true
		}
	}
	_, x := b.random(tokens * l.hidden)
	y, z := b.zeros(int64(4*len(choice)*l.intermediate)), b.zeros(int64(2*len(choice)*l.hidden))
	many := len(choice) >= kernel.HopperFrom*l.experts && b.shape.Hopper > 0
	layer := func(bits int, hopper bool) func() error {
		p := product{rows: kernel.ExpertRows(len(choice), l.experts)}
		switch {
		case hopper:
			p = product{kernel.HopperRows, true}
		case bits != kernel.ExpertsWide:
			p.rows = min(p.rows, kernel.MaxCodedTile)
		}
		ones := func(n int) []float32 { return slices.Repeat([]float32{1}, n) }
		entries, _, tiles := group(choice, ones(len(choice)), ones(tokens), l.experts, l.chosen, p.rows)
		up := kernel.ExpertArgs{
			X: x, Scales: scales, Entries: upload(b, entries), Tiles: upload(b, tiles), Count: upload(b, []int32{int32(len(tiles))}), Y: y,
			In: int32(l.hidden), Out: int32(l.intermediate), Stride: int32(strideOf(bits, l.hidden)),
		}
		down := up
		down.X, down.Y, down.In, down.Out, down.Stride = y, z, int32(l.intermediate), int32(l.hidden), int32(strideOf(bits, l.intermediate))
		if !l.gated {
			up.Out *= 2
		}
		turn, blocks := int64(0), 2*b.GPU.SMs
		first := p.plain
		if l.gated {
			first = p.up
		}
		return func() error {
			up.W = w.Plus(turn % layers * each * int64(bits) / 16)
			down.W = up.W.Plus(each / 3 * 2 * int64(bits) / 16)
			turn++
			if err := first(b, up, bits, blocks); err != nil {
				return err
			}
			return p.down(b, down, bits, blocks)
		}
	}
	type variant struct {
		name  string
		bits  int
		run   func() error
		times []int64
	}
	variants := []variant{{"bf16", kernel.ExpertsWide, layer(kernel.ExpertsWide, many), nil}, {"codes", l.codes, layer(l.codes, many), nil}}
	if len(choice) >= l.experts*kernel.HopperFrom/8 && b.shape.Hopper > 0 { // around the border
		variants = append(variants, variant{"other", l.codes, layer(l.codes, !many), nil})
	}
	if many {
		up := kernel.WidenExpertsArgs{W: w, Scales: scales, Y: wide, Rows: int64(l.experts * 2 * l.intermediate), In: int32(l.hidden), Stride: int32(strideOf(l.codes, l.hidden))}
		down := kernel.WidenExpertsArgs{W: w, Scales: scales, Y: wide, Rows: int64(l.experts * l.hidden), In: int32(l.intermediate), Stride: int32(strideOf(l.codes, l.intermediate))}
		variants = append(variants, variant{"widening", l.codes, func() error {
			return errors.Join(kernel.WidenExperts(b, up, l.codes), kernel.WidenExperts(b, down, l.codes))
		}, nil})
	}
	for tb.Loop() {
		for i := range variants {
			ns, err := b.Time(variants[i].run)
			b.must(err)
			variants[i].times = append(variants[i].times, ns)
		}
	}
	for _, v := range variants {
		slices.Sort(v.times)
		ns := float64(v.times[len(v.times)/2])
		bytes, flops := float64(len(touched)*3*matrix*v.bits)/8, float64(2*3*matrix*len(choice))
		if v.bits == kernel.ExpertsMXFP4 {
			bytes *= 17. / 16
		}
		tb.ReportMetric(ns/1e3, "us-"+v.name)
		tb.ReportMetric(100*max(bytes/4430, flops/780e3)/ns, "%-"+v.name)
	}
}

// strideOf is how far apart scales of so many inputs' rows, or rows of blocks, are.
func strideOf(bits, in int) int {
	switch bits {
	case kernel.ExpertsFP8:
		return (in/128 + 3) &^ 3
	case kernel.ExpertsMXFP4:
		return (in/32 + 3) &^ 3
	}
	return 0
}
