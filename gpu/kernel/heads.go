package kernel

import "fmt"

// HeadProductArgs: see heads.cu.
type HeadProductArgs struct {
	X, Y                                 View
	W                                    Ptr
	Tokens, In, Out, InStride, OutStride int32
}

var headProductKernel = newKernel[HeadProductArgs]("heads.cu", "head_product", nil)

// HeadProduct multiplies each head of rows by its matrix.
func HeadProduct(q Queue, a HeadProductArgs, heads int) error {
	if a.X.Half != 1 || a.In <= 0 || a.Out <= 0 || a.In%8 != 0 || a.InStride%8 != 0 || a.X.Stride%8 != 0 || a.X.At%16 != 0 {
		return fmt.Errorf("kernel head_product: %d of every %d columns of rows of %d to %d; all but the last must be multiples of 8, of bf16", a.In, a.InStride, a.X.Stride, a.Out)
	}
	return launch(q, headProductKernel, ceil(int(a.Tokens), 64)*ceil(int(a.Out), 64), heads, 128, &a)
}
