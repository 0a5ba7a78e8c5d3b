package kernel

// RopeArgs: see rope.cu.
type RopeArgs struct {
	QKV, Q, Bias, QNorm, KNorm, Angles, Positions, Slots, Table, KV Ptr

	Tokens, TableStride int32
	Eps                 float32
}

var ropeKernel = newKernel[RopeArgs]("rope.cu", "rope_write", nil)

// RopeWrite turns queries and keys, and enters keys and values into pages.
func RopeWrite(q Queue, s Shape, a RopeArgs) error {
	threads := int(a.Tokens) * (s.Heads + 2*s.KVHeads) * s.HeadDim / 16
	return launch(q, ropeKernel, ceil(threads, 128), 1, 128, &a)
}
