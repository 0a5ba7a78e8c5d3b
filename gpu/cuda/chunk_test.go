package cuda

import (
	"encoding/binary"
	"fmt"
	"math"
	"slices"
	"testing"

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
		for _, c := range chunksOf(s, 4096, program.NoCodes, 0) {
			if at := int(c.to) - 4096; at != len(got) {
				t.Fatalf("a chunk goes to %d, the one before ends at %d", at, len(got))
			}
			b := make([]byte, c.bytes())
			c.read(b)
			got = append(got, b...)
		}
		if !slices.Equal(got, want) {
			t.Errorf("%v: other bytes", s.Weight.Shape)
		}
	}
	checkCodes(t, tensor, whole)
	// As much as a buffer holds at a time.
	big := &model.Slot{Weight: &program.Weight{Shape: []int{5 << 20, 8}}, Sources: []model.Source{{Part: program.Part{Rows: 5 << 20, Block: 5 << 20}}}}
	var sizes []int64
	for _, c := range chunksOf(big, 0, program.NoCodes, 0) {
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
	for codes, sources := range map[program.Codes][]model.Source{
		program.CodesByOutput: {whole(coded(byTensor, 100)), whole(coded(model.ByOutput(model.Float8), 33)), whole(tensor(model.BFloat16, 7, in))},
		program.CodesByBlock:  {whole(coded(model.ByBlock(model.Float8), 256)), whole(coded(model.ByBlock(model.Float8), 130))},
	} {
		rows := 0
		for _, s := range sources {
			rows += s.Rows
		}
		s := &model.Slot{Weight: &program.Weight{Shape: []int{rows, in}}, Sources: sources}
		model.NewWeights(s)
		stride := scaleStride(codes, in)
		elements, scales := make([]byte, rows*in), make([]byte, scaleBytes(codes, rows, stride))
		for _, c := range chunksOf(s, 0, codes, 0) {
			b := make([]byte, c.bytes())
			c.read(b)
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
