package kernel

import "fmt"

// RopeArgs: see rope.cu.
type RopeArgs struct {
	QKV, Q, RowScales, ColumnScales, Bias, QNorm, KNorm, Angles, Positions, Slots, Table, KV, KVScales Ptr

	Tokens, TableStride int32
	Eps                 float32
	Stride              int32 // elements from row to row of QKV
	Dims                int32 // leading elements of a head that are turned

	KeyScale, ValueScale float32 // of codes; 0: as each key and value needs it
}

var ropeKernel = newKernel[RopeArgs]("rope.cu", "rope_write", nil)

// RopeWriteTurns says whether rope_write can turn so many elements of a head.
func RopeWriteTurns(headDim, dims int) bool {
	return dims > 0 && dims <= headDim && dims%16 == 0
}

// RopeWrite turns queries and keys, and enters keys and values into pages.
func RopeWrite(q Queue, s Shape, a RopeArgs) error {
	if !RopeWriteTurns(s.HeadDim, int(a.Dims)) || a.Stride%4 != 0 {
		return fmt.Errorf("kernel rope_write: %d elements of heads of %d, rows of %d", a.Dims, s.HeadDim, a.Stride)
	}
	lanes := 2
	for lanes*16 < s.HeadDim {
		lanes *= 2
	}
	threads := int(a.Tokens) * (s.Heads + 2*s.KVHeads) * lanes
	return launch(q, ropeKernel, ceil(threads, 128), 1, 128, &a)
}
