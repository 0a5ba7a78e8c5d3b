package cuda

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/troupe-llm/troupe/gpu/kernel"
	"github.com/troupe-llm/troupe/gpu/kernel/ref"
	"github.com/troupe-llm/troupe/gpu/model"
	"github.com/troupe-llm/troupe/gpu/program"
)

// A slot's parts lie one under the other as bfloat16, or float32 where they are to
// be exact, however a checkpoint has their numbers.
func TestChunks(t *testing.T) {
	const in = 24
	tensor := func(d model.DType, shape ...int) *model.Tensor {
		t := &model.Tensor{Encoding: model.Plain(d), Shape: shape}
		n := 1
		for _, d := range shape {
			n *= d
		}
		for i := range n {
			switch v := float32(i % 128); d { // exact in all types
			case model.Float32:
				t.Data = binary.LittleEndian.AppendUint32(t.Data, math.Float32bits(v))
			case model.BFloat16:
				t.Data = binary.LittleEndian.AppendUint16(t.Data, model.ToBF16(v))
			}
		}
		return t
	}
	whole := func(t *model.Tensor) model.Source {
		return model.Source{Part: program.Whole("", t.Shape...), Tensor: t}
	}
	every := program.Part{Rows: 50, First: 1, Block: 2, Stride: 4}
	turned := program.Part{Rows: 30, Block: 30, Stride: 30, Transposed: true}
	some := program.Part{Rows: 20, Block: 20, Stride: 20, Column: 8} // as a rank has of more inputs
	packed := tensor(model.Float32, in/2, 20)                        // of AWQ 24 inputs of 80 outputs: as many bytes
	packed.Encoding, packed.Shape = model.Encoding{Element: model.AWQ4, Scale: model.BFloat16, Rows: 1, Columns: 8, Zeros: model.ZerosStored}, []int{80, in}
	packed.Scales, packed.Zeros = tensor(model.BFloat16, 3, 80).Data, tensor(model.Float32, 3, 10).Data
	if err := packed.Check(); err != nil {
		t.Fatal(err)
	}
	vector := []model.Source{whole(tensor(model.Float32, 40)), whole(tensor(model.BFloat16, 9))}
	matrix := []model.Source{
		whole(tensor(model.BFloat16, 100, in)), whole(tensor(model.Float32, 7, in)),
		{Part: every, Tensor: tensor(model.BFloat16, 100, in)},
		{Part: turned, Tensor: tensor(model.BFloat16, in, 30)},
		whole(packed),
		{Part: some, Tensor: tensor(model.BFloat16, 20, 3*in)},
		{Part: some, Tensor: tensor(model.Float32, 20, 2*in)},
	}
	for _, s := range []*model.Slot{
		{Weight: &program.Weight{Shape: []int{307, in}}, Sources: matrix},
		{Weight: &program.Weight{Shape: []int{49}}, Sources: vector},
		{Weight: &program.Weight{Shape: []int{49}, Exact: true}, Sources: slices.Clone(vector)},
	} {
		model.NewWeights(s)
		width := s.Weight.In()
		var want, got []byte
		row := make([]float32, width)
		for out := range s.Weight.Out() {
			source, i := s.Row(out)
			source.Read(i, row)
			for _, v := range row {
				if s.Weight.Exact {
					want = binary.LittleEndian.AppendUint32(want, math.Float32bits(v))
				} else {
					want = binary.LittleEndian.AppendUint16(want, model.ToBF16(v))
				}
			}
		}
		for _, c := range chunksOf(s, 4096, wide, 0) {
			if at := int(c.to) - 4096; at != len(got) {
				t.Fatalf("a chunk goes to %d, the one before ends at %d", at, len(got))
			}
			b := make([]byte, c.bytes())
			if err := c.read(b); err != nil {
				t.Fatal(err)
			}
			got = append(got, b...)
		}
		if !slices.Equal(got, want) {
			t.Errorf("%v: other bytes", s.Weight.Shape)
		}
	}
	checkCodes(t, tensor, whole)
	checkInt4(t, tensor, whole)
	// As much as a buffer holds at a time.
	big := &model.Slot{Weight: &program.Weight{Shape: []int{5 << 20, 8}}, Sources: []model.Source{{Part: program.Part{Rows: 5 << 20, Block: 5 << 20}}}}
	var sizes []int64
	for _, c := range chunksOf(big, 0, wide, 0) {
		sizes = append(sizes, c.bytes())
	}
	if fmt.Sprint(sizes) != fmt.Sprint([]int64{chunkBytes, chunkBytes, 16 << 20}) {
		t.Errorf("80 MiB in chunks of %d", sizes)
	}
}

// checkCodes holds what weights in FP8 become on the device against their values: of
// tensors with a scale, of outputs, of blocks, and of bfloat16 that is quantised.
func checkCodes(t *testing.T, tensor func(d model.DType, shape ...int) *model.Tensor, whole func(*model.Tensor) model.Source) {
	const in = 384
	coded := func(e model.Encoding, rows int) *model.Tensor {
		of := &model.Tensor{Encoding: e, Shape: []int{rows, in}, Data: make([]byte, rows*in)}
		for i := range of.Data {
			of.Data[i] = byte(i % 127)
		}
		for i := range (e.Bytes(of.Shape) - int64(len(of.Data))) / 4 {
			of.Scales = binary.LittleEndian.AppendUint32(of.Scales, math.Float32bits(float32(1+i)))
		}
		if err := of.Check(); err != nil {
			t.Fatal(err)
		}
		return of
	}
	byTensor := model.Encoding{Element: model.Float8, Scale: model.Float32}
	for e, sources := range map[model.Encoding][]model.Source{
		model.ByOutput(model.Float8): {whole(coded(byTensor, 100)), whole(coded(model.ByOutput(model.Float8), 33)), whole(tensor(model.BFloat16, 7, in))},
		model.ByBlock(model.Float8):  {whole(coded(model.ByBlock(model.Float8), 256)), whole(coded(model.ByBlock(model.Float8), 130))},
	} {
		rows := 0
		for _, s := range sources {
			rows += s.Rows
		}
		s := &model.Slot{Weight: &program.Weight{Name: "w", Shape: []int{rows, in}}, Sources: sources}
		model.NewWeights(s)
		held := model.Held{Matrix: wide.Matrix, Own: map[string]model.Encoding{"w": e}}
		codes := held.Codes(s.Weight)
		stride := scaleStride(codes, in)
		elements, scales := make([]byte, rows*in), make([]byte, scaleBytes(codes, rows, stride))
		for _, c := range chunksOf(s, 0, held, 0) {
			b := make([]byte, c.bytes())
			if err := c.read(b); err != nil {
				t.Fatal(err)
			}
			n, _ := c.sizes()
			copy(elements[c.to:], b[:n])
			copy(scales[c.scales:], b[n:])
		}
		want := make([]float32, in)
		for row := range rows {
			source, i := s.Row(row)
			source.Read(i, want)
			for j, v := range want {
				at := row
				if codes == program.CodesByBlock {
					at = row/128*stride + j/128
				}
				scale := math.Float32frombits(binary.LittleEndian.Uint32(scales[4*at:]))
				got := ref.E4M3(elements[row*in+j]) * scale
				if d := math.Abs(float64(got - v)); !(d == 0 || source.Tensor.Encoding.Scale == "" && d <= float64(v)/16+float64(scale)/1000) {
					t.Fatalf("codes %d: element %d of row %d is %v, want %v", codes, j, row, got, v)
				}
			}
		}
	}
}

// Codes of experts lie on the device so that a lane of products finds its numbers in a
// word, and stand for what they do in the file; scales that kernels do not take are refused.
func TestExpertChunks(t *testing.T) {
	const out = 130
	r := rand.New(rand.NewPCG(3, 5))
	for e, in := range map[model.Encoding]int{model.Microscaled(): 192, model.ByOutput(model.Float8): 256, model.ByBlock(model.Float8): 256} {
		scales := map[model.Encoding]int{model.Microscaled(): out * in / 32, model.ByOutput(model.Float8): 4 * out, model.ByBlock(model.Float8): 4 * 2 * in / 128}[e]
		of := &model.Tensor{Name: "w", Encoding: e, Shape: []int{out, in}, Data: make([]byte, out*in), Scales: make([]byte, scales)}
		if e == model.Microscaled() {
			of.Data = of.Data[:out*in/2]
		}
		for i := range of.Data {
			of.Data[i] = byte(r.IntN(127))
		}
		for i := range of.Scales {
			of.Scales[i] = byte(100 + r.IntN(29))
			if e != model.Microscaled() {
				of.Scales[i] = []byte{0, 0, 0x80, 0x3e}[i%4]
			}
		}
		if err := of.Check(); err != nil {
			t.Fatal(err)
		}
		s := &model.Slot{Weight: &program.Weight{Name: "w", Shape: []int{1, out, in}}, Sources: []model.Source{{Part: program.Whole("w", out, in), Tensor: of}}}
		model.NewWeights(s)
		held := model.Held{Matrix: wide.Matrix, Own: map[string]model.Encoding{"w": e}}
		chunks := chunksOf(s, 0, held, 0)
		b := bytes.Repeat([]byte{0xff}, int(chunks[0].bytes())) // as a chunk before it left it
		if err := chunks[0].read(b); err != nil || len(chunks) != 1 {
			t.Fatal(len(chunks), err)
		}
		elements, _ := chunks[0].sizes()
		codes := b[:elements]
		got := ref.ExpertCodes(codes, e == model.Microscaled())
		want := make([]float32, in)
		stride := scaleStride(held.Codes(s.Weight), in)
		for row := range out {
			s.Sources[0].Read(row, want)
			for k, v := range want {
				by := float32(0.25)
				if e == model.Microscaled() {
					by = float32(math.Ldexp(1, int(b[int(elements)+row*stride+k/32])-126-127))
				}
				if g := got[row*in+k] * by; g != v {
					t.Fatalf("%s: element %d of row %d is %v, want %v", e, k, row, g, v)
				}
			}
		}
		if e == model.Microscaled() {
			of.Scales[7] = 129
			if err := chunks[0].read(b); err == nil || !strings.Contains(err.Error(), "--dtype bfloat16") {
				t.Errorf("a scale of 4: %v", err)
			}
		}
	}
}

// checkInt4 holds what weights of 4 bits become on the device against their values, as
// kernels read them: of GPTQ, AWQ and compressed-tensors, with zero points and without,
// inputs in any order, groups that share a scale, and of bfloat16 that is quantised.
func checkInt4(t *testing.T, tensor func(d model.DType, shape ...int) *model.Tensor, whole func(*model.Tensor) model.Source) {
	const in = 256
	r := rand.New(rand.NewPCG(5, 6))
	packed := func(e model.Encoding, rows int, groups bool) model.Source {
		of := &model.Tensor{Encoding: e, Shape: []int{rows, in}}
		zeros := func(n int64) []byte {
			b := make([]byte, n)
			for i := range b {
				b[i] = byte(r.Uint32())
			}
			return b
		}
		bare := model.Encoding{Element: e.Element}
		of.Data = zeros(bare.Bytes(of.Shape))
		each := int64(in / max(e.Columns, 1))
		if e.Columns == 0 {
			each = 1
		}
		for range each * int64(rows) {
			of.Scales = binary.LittleEndian.AppendUint16(of.Scales, model.ToBF16(0.5+r.Float32()))
		}
		if e.Zeros != model.NoZeros {
			of.Zeros = zeros(e.Bytes(of.Shape) - int64(len(of.Data)) - int64(len(of.Scales)))
		}
		if groups {
			for _, i := range r.Perm(in) {
				of.Groups = binary.LittleEndian.AppendUint32(of.Groups, uint32(i/e.Columns))
			}
		}
		if err := of.Check(); err != nil {
			t.Fatal(err)
		}
		return whole(of)
	}
	of := func(d model.DType, columns int, z model.Zeros) model.Encoding {
		return model.Encoding{Element: d, Scale: model.BFloat16, Rows: 1, Columns: columns, Zeros: z}
	}
	for name, c := range map[string]struct {
		group   int
		sources []model.Source
	}{
		"GPTQ":             {32, []model.Source{packed(of(model.GPTQ4, 32, model.ZerosLessOne), 48, false), packed(of(model.GPTQ4, 32, model.ZerosStored), 16, false)}},
		"AWQ":              {64, []model.Source{packed(of(model.AWQ4, 64, model.ZerosStored), 48, false)}},
		"packed":           {128, []model.Source{packed(of(model.Packed4, 128, model.NoZeros), 32, false), packed(of(model.Packed4, 128, model.ZerosStored), 16, false)}},
		"by output":        {128, []model.Source{packed(of(model.GPTQ4, 0, model.ZerosLessOne), 32, false)}},
		"wide groups":      {128, []model.Source{packed(of(model.Packed4, 256, model.NoZeros), 32, false)}},
		"in another order": {64, []model.Source{packed(of(model.GPTQ4, 64, model.ZerosLessOne), 32, true)}},
		"quantised":        {64, []model.Source{whole(tensor(model.BFloat16, 32, in))}},
	} {
		rows := 0
		for _, s := range c.sources {
			rows += s.Rows
		}
		s := &model.Slot{Weight: &program.Weight{Name: "w", Shape: []int{rows, in}}, Sources: c.sources}
		model.NewWeights(s)
		held := model.Held{Matrix: wide.Matrix, Own: map[string]model.Encoding{"w": model.InGroups(model.Int4, c.group)}}
		var got []byte
		for _, chunk := range chunksOf(s, 0, held, 0) {
			b := make([]byte, chunk.bytes())
			if err := chunk.read(b); err != nil {
				t.Fatal(err)
			}
			got = append(got, b...)
		}
		if want := kernel.Int4Bytes(rows, in, c.group); int64(len(got)) != want || held.Of(s.Weight).Bytes(s.Weight.Shape) != want {
			t.Fatalf("%s: %d bytes, want %d", name, len(got), want)
		}
		values := ref.Int4(got, rows, in, c.group)
		order, _ := c.sources[0].Tensor.Order()
		want := make([]float32, in)
		for row := range rows {
			source, i := s.Row(row)
			source.Read(i, want)
			for j := range want {
				k := j
				if order != nil {
					k = int(order[j])
				}
				within := 0.0
				if name == "quantised" {
					within = 127.0 / 12 // numbers to 127 in steps of an eighth of that, and what is cut off
				}
				if v := values[row*in+j]; !(math.Abs(float64(v-want[k])) <= within) {
					t.Fatalf("%s: element %d of row %d is %v, want %v", name, j, row, v, want[k])
				}
			}
		}
	}
}
