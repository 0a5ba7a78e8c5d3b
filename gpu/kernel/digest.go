package kernel

// DigestArgs: see digest.cu.
type DigestArgs struct {
	Y, Out            Ptr
	Columns, Ld, Half int32
}

var digestKernel = newKernel[DigestArgs]("digest.cu", "digest_rows", nil)

// Digest tells rows of a matrix from others, to the bit.
func Digest(q Queue, a DigestArgs, rows int) error { return launch(q, digestKernel, rows, 1, 256, &a) }
