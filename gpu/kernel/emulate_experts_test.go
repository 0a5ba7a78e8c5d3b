package kernel_test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/troupe-llm/troupe/gpu/kernel"
	"github.com/troupe-llm/troupe/gpu/kernel/ref"
	"github.com/troupe-llm/troupe/gpu/model"
)

// What testdata/emulate/experts.cpp computes.
const (
	emulatedUp int32 = iota
	emulatedPlain
	emulatedDown
	emulatedWiden
)

// expertsJob is what it is told.
type expertsJob struct {
	Bits, Form, Rows, In, Out, Experts, Stride, XRows, Entries, Tiles, Blocks, Seed, Weights, Scales, Y int32
}

// The kernels of experts in codes, run on the processor by their own source: every lane
// finds its numbers and their scales, of tiles of all sizes, in items of several experts
// behind one another; tiles of 128 are Hopper's.
func TestEmulatedExperts(t *testing.T) {
	program := emulated(t, "experts")
	r := rand.New(rand.NewPCG(11, 12))
	for _, c := range []struct {
		rows, tokens, in, out, experts, blocks int
		bits                                   int
		byBlock                                bool
		forms                                  []int32
	}{
		{16, 9, 192, 72, 3, 2, kernel.ExpertsMXFP4, false, []int32{0, 1, 2, 3}},
		{32, 40, 128, 136, 2, 1, kernel.ExpertsMXFP4, false, []int32{0, 2}},
		{64, 50, 64, 72, 1, 1, kernel.ExpertsMXFP4, false, []int32{1}},
		{64, 20, 64, 128, 1, 1, kernel.ExpertsMXFP4, false, []int32{2}},
		{128, 90, 192, 136, 2, 1, kernel.ExpertsMXFP4, false, []int32{0, 1}},
		{128, 20, 64, 264, 2, 1, kernel.ExpertsMXFP4, false, []int32{2}},
		{128, 40, 384, 256, 2, 2, kernel.ExpertsFP8, true, []int32{0, 2}},
		{128, 70, 128, 72, 1, 1, kernel.ExpertsFP8, false, []int32{1}},
		{16, 9, 256, 128, 2, 2, kernel.ExpertsFP8, true, []int32{0, 1, 2, 3}},
		{16, 9, 128, 72, 2, 1, kernel.ExpertsFP8, false, []int32{0, 2, 3}},
		{32, 20, 128, 128, 2, 1, kernel.ExpertsFP8, true, []int32{0, 2}},
		{64, 50, 128, 72, 1, 1, kernel.ExpertsFP8, false, []int32{1}},
		{16, 9, 136, 72, 2, 1, kernel.ExpertsWide, false, []int32{0, 2}},
	} {
		for _, form := range c.forms {
			outputs := c.out
			if form == emulatedUp {
				outputs *= 2
			}
			j := expertsJob{Bits: int32(c.bits), Form: form, Rows: int32(c.rows), In: int32(c.in), Out: int32(c.out), Experts: int32(c.experts), Blocks: int32(c.blocks), Seed: 3}
			t.Run(fmt.Sprintf("%+v", j), func(t *testing.T) {
				var w codedExperts
				if c.bits == kernel.ExpertsWide {
					w.bits, w.numbers = c.bits, make([]float32, c.experts*outputs*c.in)
					for i := range w.numbers {
						bits := model.ToBF16(float32(r.NormFloat64() / math.Sqrt(float64(c.in))))
						w.w, w.numbers[i] = binary.LittleEndian.AppendUint16(w.w, bits), model.FromBF16(bits)
					}
				} else {
					w = randomExperts(r, c.experts*outputs, c.in, c.bits, c.byBlock)
				}
				j.run(t, program, r, w, c.tokens)
			})
		}
	}
}

// run holds a job against ref.
func (j expertsJob) run(t *testing.T, program string, r *rand.Rand, w codedExperts, tokens int) {
	in, out, experts := int(j.In), int(j.Out), int(j.Experts)
	choice, share, scales := make([]int32, 2*tokens), make([]float32, 2*tokens), make([]float32, tokens)
	for i := range choice {
		choice[i], share[i] = int32(r.IntN(experts)), 0.5+r.Float32()
		if i%2 == 1 && choice[i] == choice[i-1] {
			choice[i] = -1
		}
		scales[i/2] = 1
		if j.Form == emulatedUp && j.Rows < 128 {
			scales[i/2] = 0.5 + r.Float32()
		}
	}
	entries, _, tiles := group(choice, share, scales, experts, 2, int(j.Rows))
	rows := tokens
	if j.Form == emulatedDown {
		rows = len(entries)
	}
	x, bits := make([]float32, rows*in), make([]uint16, rows*in)
	for i := range x {
		bits[i] = model.ToBF16(float32(r.NormFloat64()))
		x[i] = model.FromBF16(bits[i])
	}
	var want []float32
	for i, e := range entries {
		at := int(e.Token)
		if j.Form == emulatedDown {
			at = i
		}
		row, matrix := append([]float32(nil), x[at*in:][:in]...), w.numbers[int(e.Expert)*len(w.numbers)/experts:][:len(w.numbers)/experts]
		for k := range row {
			row[k] *= e.Scale
		}
		if j.Form == emulatedUp {
			want = append(want, ref.Expert(row, matrix, e.Share)...)
		} else {
			want = append(want, ref.Product(row, matrix, in)...)
		}
	}
	if j.Form == emulatedWiden {
		want = w.numbers
	}
	j.Stride, j.XRows, j.Entries, j.Tiles = int32(w.stride), int32(rows), int32(len(entries)), int32(len(tiles))
	j.Weights, j.Scales, j.Y = int32(len(w.w)), int32(len(w.scales)), int32(2*len(want))
	y := bytes.Repeat([]byte{0xff}, 2*len(want))
	var b bytes.Buffer
	for _, part := range []any{j, w.w, w.scales, bits, entries, tiles, y} {
		if err := binary.Write(&b, binary.LittleEndian, part); err != nil {
			t.Fatal(err)
		}
	}
	file := filepath.Join(t.TempDir(), "job")
	if err := os.WriteFile(file, b.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command(program, file).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	after, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	after = after[b.Len()-len(y):]
	for i, v := range want {
		got := model.FromBF16(binary.LittleEndian.Uint16(after[2*i:]))
		if d := math.Abs(float64(got - v)); !(d <= 0.005+math.Abs(float64(v))/128) || j.Form == emulatedWiden && got != model.FromBF16(model.ToBF16(v)) {
			t.Fatalf("element %d of row %d is %v, want %v", i%out, i/out, got, v)
		}
	}
}
