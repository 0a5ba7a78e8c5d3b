package model

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"math"
	"testing"
)

// blockSums are of what llama.cpp makes of blocks of our own (see made), in float32:
// both its functions in C (ggml of October 2026) and those of gguf-py 0.19, which agree.
var blockSums = []struct {
	dtype DType
	name  string // the seed
	halfs []int  // where in a block scales of 16 bits are
	sum   string // the first half of SHA-256's
}{
	{Q4_0, "Q4_0", []int{0}, "64347586fa9b29135755b8ef2e432ecc"},
	{Q4_1, "Q4_1", []int{0, 2}, "4452101e0b87ddd7d4116757f7d8b7de"},
	{Q5_0, "Q5_0", []int{0}, "eb5b7ddce7ca7a5615ca130a35cbe2a3"},
	{Q5_1, "Q5_1", []int{0, 2}, "9ac9ff23e2fda25e869fc977ca58e913"},
	{Q8_0, "Q8_0", []int{0}, "b72d7e5dc2dac76cc17f62de462b13ee"},
	{Q2_K, "Q2_K", []int{80, 82}, "f1055ae2c291cb423fd1b4910ea57abd"},
	{Q3_K, "Q3_K", []int{108}, "e15f94fbb57e94288e613ef679ed70ca"},
	{Q4_K, "Q4_K", []int{0, 2}, "5d82b72b7aaf459c5ec8d03c6930e411"},
	{Q5_K, "Q5_K", []int{0, 2}, "90f96aa77ea215b6c2085ee24f9af8ac"},
	{Q6_K, "Q6_K", []int{208}, "91b797f7614f831e50900b32ce3bfec2"},
	{IQ4_NL, "IQ4_NL", []int{0}, "f9cc3d241f88defd1034284c97fc38ed"},
	{IQ4_XS, "IQ4_XS", []int{0}, "4f447bc30f8c6d5330cbd253e435c73f"},
	{BlockMXFP4, "MXFP4", nil, "f75f25a6124e56231ca38cc677b96348"},
}

// made are n blocks of bytes of a linear congruential generator, of which scales are
// below 2, subnormal ones among them.
func made(dtype DType, seed string, halfs []int, n int) []byte {
	_, size := dtype.Block()
	state := uint32(len(seed))
	for _, c := range []byte(seed) {
		state = state*31 + uint32(c)
	}
	data := make([]byte, n*size)
	for i := range data {
		state = state*1664525 + 1013904223
		data[i] = byte(state >> 24)
	}
	for b := range n {
		for _, at := range halfs {
			data[b*size+at+1] &= 0xbf
		}
		if halfs == nil { // an exponent
			data[b*size] &= 0x7f
		}
	}
	return data
}

func blockTensor(dtype DType, seed string, halfs []int, rows, perRow int) *Tensor {
	n, _ := dtype.Block()
	return &Tensor{Name: seed, Encoding: Plain(dtype), Shape: []int{rows, perRow * n}, Data: made(dtype, seed, halfs, rows*perRow)}
}

// Every bit is llama.cpp's.
func TestBlocks(t *testing.T) {
	for _, c := range blockSums {
		tensor := blockTensor(c.dtype, c.name, c.halfs, 8, 8)
		if err := tensor.Check(); err != nil {
			t.Fatal(err)
		}
		rows, columns := tensor.matrix()
		got := make([]float32, rows*columns)
		tensor.widen(got, rows, 0, 0, 0)
		sum := sha256.New()
		if err := binary.Write(sum, binary.LittleEndian, got); err != nil {
			t.Fatal(err)
		}
		if s := hex.EncodeToString(sum.Sum(nil)[:16]); s != c.sum {
			t.Errorf("%s: the values' sum is %s, want %s", c.dtype, s, c.sum)
		}
		// Parts of rows are the same, wherever they begin and end.
		for row := range rows {
			for _, cut := range [][2]int{{0, 1}, {1, 31}, {5, columns - 5}, {columns / 2, columns/2 - 1}, {columns - 1, 1}} {
				part := make([]float32, cut[1])
				tensor.widen(part, 1, 0, row, cut[0])
				for i, v := range part {
					if want := got[row*columns+cut[0]+i]; math.Float32bits(v) != math.Float32bits(want) {
						t.Fatalf("%s: row %d from %d on, element %d is %v, want %v", c.dtype, row, cut[0], i, v, want)
					}
				}
			}
		}
	}
	if len(blockSums) != len(Blocks) {
		t.Errorf("%d of %d types are tested", len(blockSums), len(Blocks))
	}
}

// What devices get of a row that they keep as it is.
func TestBlockBytes(t *testing.T) {
	tensor := blockTensor(Q4_K, "Q4_K", []int{0, 2}, 4, 2)
	s := Source{Tensor: tensor, in: 512}
	s.Rows, s.Block, s.Stride = 4, 4, 4
	if got := s.Bytes(1, 2); len(got) != 2*2*144 || &got[0] != &tensor.Data[2*144] {
		t.Errorf("two rows are %d bytes, want %d from the second row on", len(got), 2*2*144)
	}
	tensor.Data = tensor.Data[1:]
	if tensor.Check() == nil {
		t.Error("a byte too few was taken")
	}
}

// bytes a second are those of the float32 that come out.
func BenchmarkBlocks(b *testing.B) {
	for _, c := range blockSums {
		b.Run(c.name, func(b *testing.B) {
			n, _ := c.dtype.Block()
			tensor := blockTensor(c.dtype, c.name, c.halfs, 1, 4096/n)
			out := make([]float32, 4096)
			b.SetBytes(4 * 4096)
			for b.Loop() {
				tensor.widen(out, 1, 0, 0, 0)
			}
		})
	}
}
