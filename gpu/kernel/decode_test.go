package kernel_test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/troupe-llm/troupe/gpu/kernel"
	"github.com/troupe-llm/troupe/gpu/kernel/ref"
	"github.com/troupe-llm/troupe/gpu/model"
)

// decodeJob is what testdata/emulate/decode.cpp runs.
type decodeJob struct{ Rows, Slots, Pages, Stride, Window, Sinks, Blocks, ByBlocks, Shortest, Whole, Shared, Seed int32 }

// Decode attention, run on the processor by its own source, shares rows out among warps
// and among blocks, and finds what the reference does: pages apart, rows that one block
// has and that many share, padding, windows, sinks.
func TestEmulatedDecode(t *testing.T) {
	for _, s := range []kernel.Shape{
		{Heads: 10, KVHeads: 2, HeadDim: 128, PageSize: 16, KVCodes: true, Hopper: 132},
		{Heads: 4, KVHeads: 2, HeadDim: 128, PageSize: 16, Hopper: 132},
		{Heads: 12, KVHeads: 1, HeadDim: 64, PageSize: 5, KVCodes: true},
		{Heads: 11, KVHeads: 1, HeadDim: 96, PageSize: 32},
	} {
		t.Run(fmt.Sprintf("%d:%d×%d/%v/%d", s.Heads, s.KVHeads, s.HeadDim, s.KVCodes, s.Hopper), func(t *testing.T) {
			t.Parallel()
			s.Stages = 3
			codes := 0
			if s.KVCodes {
				codes = 1
			}
			program := emulated(t, "decode", fmt.Sprint("-DHEADS=", s.Heads), fmt.Sprint("-DKV_HEADS=", s.KVHeads), fmt.Sprint("-DHEAD_DIM=", s.HeadDim),
				fmt.Sprint("-DPAGE_SIZE=", s.PageSize), fmt.Sprint("-DSTAGES=", s.Stages), fmt.Sprint("-DKV_CODES=", codes), fmt.Sprint("-DDECODE_WARPS=", s.DecodeWorkers(1)), fmt.Sprint("-DNEWEST_TOKENS=", kernel.NewestTokens))
			r := rand.New(rand.NewPCG(3, uint64(s.Heads)))
			for i, c := range []struct {
				lens   []int32
				blocks int32
				whole  int32 // tiles; 0: shared out among warps
				window int32
				sinks  int32
			}{
				{[]int32{0, 5, 300, 16, 0, 33}, 2, 0, math.MaxInt32, 1},
				{[]int32{0, 5, 300, 16, 0, 33}, 2, 0, 40, 0},
				{[]int32{700}, 5, 0, math.MaxInt32, 0},
				{[]int32{0, 270, 3}, 6, 2, math.MaxInt32, 1},
				{[]int32{500, 100}, 3, 1, 130, 0},
			} {
				j := decodeJob{Rows: int32(len(c.lens)), Window: c.window, Sinks: c.sinks, Blocks: c.blocks, Shortest: 2, Whole: c.whole, Seed: int32(i + 1)}
				if c.whole > 0 {
					j.ByBlocks = 1
				}
				j.Shared = int32(kernel.DecodeShared(s, c.whole > 0))
				checkDecode(t, program, s, j, c.lens, r)
			}
		})
	}
}

func checkDecode(t *testing.T, program string, s kernel.Shape, j decodeJob, lens []int32, r *rand.Rand) {
	t.Helper()
	n := len(lens)
	j.Slots, j.Stride = j.Rows, (slices.Max(lens)+int32(s.PageSize)-1)/int32(s.PageSize)
	j.Pages = j.Slots * j.Stride
	random := func(n int) ([]float32, []uint16) {
		f, bits := make([]float32, n), make([]uint16, n)
		for i := range f {
			bits[i] = model.ToBF16(float32(r.NormFloat64()))
			f[i] = model.FromBF16(bits[i])
		}
		return f, bits
	}
	table, slots := make([]int32, j.Pages), make([]int32, n)
	for i, p := range r.Perm(len(table)) {
		table[i] = int32(p)
	}
	for i := range slots {
		slots[i] = int32(n - 1 - i)
	}
	width, size := s.Heads*s.HeadDim, int(j.Pages)*2*s.KVHeads*s.PageSize*s.HeadDim
	q, qBits := random(n * width)
	sinks, sinkBits := random(s.Heads)
	pool, poolBits := random(size)
	var kept any = poolBits
	scales := make([]float32, size/s.HeadDim)
	if s.KVCodes {
		codes := make([]byte, size)
		for i := range scales {
			scales[i] = model.Quantize(pool[i*s.HeadDim:][:s.HeadDim], codes[i*s.HeadDim:])
		}
		pool, kept = ref.Widen(codes, s.HeadDim, func(row, _ int) float32 { return scales[row] }), codes
	}
	before := bytes.Repeat([]byte{0x3f}, 2*n*width)
	got := emulate(t, program, j, before, qBits, kept, scales, table, slots, lens, sinkBits)
	for row, length := range lens {
		for head := range s.Heads {
			at := (row*s.Heads + head) * s.HeadDim
			want, first, sink, kv := make([]float32, s.HeadDim), 0, math.Inf(-1), head/(s.Heads/s.KVHeads)
			of := func(which int) func(int) []float32 {
				return func(p int) []float32 {
					page := int(table[int(slots[row])*int(j.Stride)+p/s.PageSize])
					return pool[(((page*2+which)*s.KVHeads+kv)*s.PageSize+p%s.PageSize)*s.HeadDim:][:s.HeadDim]
				}
			}
			if int(j.Window) < int(length) {
				first = int(length - j.Window)
			}
			if j.Sinks != 0 {
				sink = float64(sinks[head])
			}
			if length > 0 {
				want = ref.Windowed(q[at:][:s.HeadDim], first, int(length), sink, of(0), of(1))
			}
			for i, w := range want {
				bits := binary.LittleEndian.Uint16(got[2*(at+i):])
				if length == 0 && bits != 0x3f3f {
					t.Fatalf("%+v: row %d has no positions and is written", j, row)
				}
				if g := model.FromBF16(bits); length > 0 && !(math.Abs(float64(g-w)) <= 0.004+0.01*math.Abs(float64(w))) {
					t.Fatalf("%+v: row %d of %d, head %d, element %d is %v, want %v", j, row, length, head, i, g, w)
				}
			}
		}
	}
}
