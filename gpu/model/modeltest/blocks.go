package modeltest

import (
	"encoding/binary"
	"math"
	"math/rand/v2"

	"github.com/troupe-llm/troupe/gpu/internal/gguf"
	"github.com/troupe-llm/troupe/gpu/model"
	"github.com/troupe-llm/troupe/gpu/program"
)

// Matrices makes a matrix of a GGUF file of the numbers that llama.cpp put there.
type Matrices func(name string, shape []int, values []float32) (gguf.Type, []byte)

// blockKinds are GGUF's types of blocks: where their scales of 16 bits are, and the
// exponent that gives numbers of about a tenth.
var blockKinds = map[gguf.Type]struct {
	as       model.DType
	scales   []int
	exponent uint16
}{
	gguf.Q4_0: {model.Q4_0, []int{0}, 9}, gguf.Q4_1: {model.Q4_1, []int{0, 2}, 9}, gguf.Q5_0: {model.Q5_0, []int{0}, 8}, gguf.Q5_1: {model.Q5_1, []int{0, 2}, 8},
	gguf.Q8_0: {model.Q8_0, []int{0}, 5}, gguf.Q2_K: {model.Q2_K, []int{80, 82}, 7}, gguf.Q3_K: {model.Q3_K, []int{108}, 5}, gguf.Q4_K: {model.Q4_K, []int{0, 2}, 3},
	gguf.Q5_K: {model.Q5_K, []int{0, 2}, 2}, gguf.Q6_K: {model.Q6_K, []int{208}, 1}, gguf.IQ4_NL: {model.IQ4_NL, []int{0}, 5}, gguf.IQ4_XS: {model.IQ4_XS, []int{0}, 1},
	gguf.MXFP4: {model.BlockMXFP4, nil, 0},
}

// Blocks are random ones of a type; nil where rows of that shape are no whole blocks.
func Blocks(kind gguf.Type, shape []int, r *rand.Rand) []byte {
	k := blockKinds[kind]
	elements, size := k.as.Block()
	if shape[len(shape)-1]%elements != 0 {
		return nil
	}
	data := make([]byte, model.Plain(k.as).Bytes(shape))
	for i := range data {
		data[i] = byte(r.Uint32())
	}
	for b := 0; b < len(data); b += size {
		for _, at := range k.scales {
			binary.LittleEndian.PutUint16(data[b+at:], k.exponent<<10|uint16(r.Uint32()&0x3ff))
		}
		if k.scales == nil { // an exponent
			data[b] = 122 + byte(r.Uint32()&1)
		}
	}
	return data
}

// Numbers are what blocks stand for, as float32 lies in files.
func Numbers(kind gguf.Type, shape []int, data []byte) []byte {
	columns, rows := shape[len(shape)-1], 1
	for _, d := range shape[:len(shape)-1] {
		rows *= d
	}
	values := make([]float32, rows*columns)
	s := model.Source{
		Part:   program.Whole("", rows, columns),
		Tensor: &model.Tensor{Encoding: model.Plain(blockKinds[kind].as), Shape: []int{rows, columns}, Data: data},
	}
	s.ReadRows(0, rows, values)
	return Float32s(values)
}

// Float32s are numbers as they lie in files.
func Float32s(values []float32) []byte {
	out := make([]byte, 0, 4*len(values))
	for _, v := range values {
		out = binary.LittleEndian.AppendUint32(out, math.Float32bits(v))
	}
	return out
}
