package kernel

import "fmt"

// View is a value as ops see it: see rows.cuh.
type View struct {
	At           Ptr
	Stride, Half int32
}

// Span is some new tokens of one request: Count of them from First on, the first
// at position Start.
type Span struct{ First, Count, Slot, Start int32 }

// Arguments of what goes over rows: see rows.cu.
type (
	AddBiasArgs struct {
		X                    View
		Bias, Entries        Ptr
		Rows, Width, Experts int32
	}
	AddRowsArgs struct {
		X, Y        View
		Rows, Width int32
		Scale       float32
	}
	ScaleArgs struct {
		X                     View
		Positions             Ptr
		Rows, Width, Original int32
		By                    float32
	}
	MultiplyArgs struct {
		X, By                  View
		Rows, Width, One, Silu int32
	}
	CopyArgs struct {
		From, To                                 View
		Which                                    Ptr
		Rows, Heads, Width, FromStride, ToStride int32
	}
)

var (
	addBiasKernel  = newKernel[AddBiasArgs]("rows.cu", "add_bias", nil)
	addRowsKernel  = newKernel[AddRowsArgs]("rows.cu", "add_rows", nil)
	scaleKernel    = newKernel[ScaleArgs]("rows.cu", "scale_rows", nil)
	multiplyKernel = newKernel[MultiplyArgs]("rows.cu", "multiply_rows", nil)
	copyKernel     = newKernel[CopyArgs]("rows.cu", "copy_rows", nil)
)

// AddBias adds a vector to rows, or with Entries to each that of its expert.
func AddBias(q Queue, a AddBiasArgs) error {
	return overRows(q, addBiasKernel, int(a.Rows), int(a.Width), &a)
}

// AddRows adds rows, scaled, to others.
func AddRows(q Queue, a AddRowsArgs) error {
	return overRows(q, addRowsKernel, int(a.Rows), int(a.Width), &a)
}

// ScaleRows multiplies rows by a number, with Positions by one that grows with
// the position.
func ScaleRows(q Queue, a ScaleArgs) error {
	if a.Positions != 0 && a.Original <= 0 {
		return fmt.Errorf("kernel scale_rows: positions in steps of %d; they must be above 0", a.Original)
	}
	return overRows(q, scaleKernel, int(a.Rows), int(a.Width), &a)
}

// MultiplyRows multiplies rows by what an activation makes of others.
func MultiplyRows(q Queue, a MultiplyArgs) error {
	return overRows(q, multiplyKernel, int(a.Rows), int(a.Width), &a)
}

// CopyRows copies columns of the heads of rows.
func CopyRows(q Queue, a CopyArgs) error {
	if a.Heads <= 0 {
		return fmt.Errorf("kernel copy_rows: %d heads", a.Heads)
	}
	return overRows(q, copyKernel, int(a.Rows)*int(a.Heads), int(a.Width), &a)
}

// overRows gives every eight columns of every row a thread.
func overRows[Args any](q Queue, k *Kernel, rows, width int, a *Args) error {
	if rows < 0 || width <= 0 {
		return fmt.Errorf("kernel %s: %d rows of %d", k.Name, rows, width)
	}
	return launch(q, k, ceil(rows*ceil(width, 8), 256), 1, 256, a)
}
