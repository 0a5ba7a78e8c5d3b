package cuda

import (
	"encoding/binary"
	"fmt"
	"math"
	"slices"
	"testing"

	"github.com/troupe-llm/troupe/gpu/model"
	"github.com/troupe-llm/troupe/gpu/program"
)

// A slot's parts lie one under the other as bfloat16, however a checkpoint has
// their numbers.
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
	packed := tensor(model.Float32, in/2, 20) // of AWQ 24 inputs of 80 outputs: as many bytes
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
	}
	for _, s := range []*model.Slot{{Weight: &program.Weight{Shape: []int{267, in}}, Sources: matrix}, {Weight: &program.Weight{Shape: []int{49}}, Sources: vector}} {
		model.NewWeights(s)
		width := s.Weight.In()
		var want, got []byte
		row := make([]float32, width)
		for out := range s.Weight.Out() {
			source, i := s.Row(out)
			source.Read(i, row)
			for _, v := range row {
				want = binary.LittleEndian.AppendUint16(want, model.ToBF16(v))
			}
		}
		for _, c := range chunksOf(s, 4096) {
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
	// As much as a buffer holds at a time.
	big := &model.Slot{Weight: &program.Weight{Shape: []int{5 << 20, 8}}, Sources: []model.Source{{Part: program.Part{Rows: 5 << 20, Block: 5 << 20}}}}
	var sizes []int64
	for _, c := range chunksOf(big, 0) {
		sizes = append(sizes, c.bytes())
	}
	if fmt.Sprint(sizes) != fmt.Sprint([]int64{chunkBytes, chunkBytes, 16 << 20}) {
		t.Errorf("80 MiB in chunks of %d", sizes)
	}
}
