package kernel

import "fmt"

// Codes are rows of E4M3 with their scales: see fp8.cuh.
type Codes struct {
	At, Scales Ptr
	Stride     int32 // 0: a scale a row; else every CodeGroup have one, those of a group so far apart
}

// CodeGroup is how many numbers of a row share a scale where not all of them do.
const CodeGroup = 128

// Arguments of what quantises: see codes.cu.
type (
	NormCodesArgs struct {
		X, W, Sums, RowScales, ColumnScales Ptr
		Y                                   Codes
		Hidden, Rounded                     int32
		Eps                                 float32
	}
	SiluCodesArgs struct {
		GateUp, RowScales, ColumnScales Ptr
		Y                               Codes
		Intermediate, Rows              int32
	}
	CodeRowsArgs struct {
		X     View
		Y     Codes
		Width int32
	}
)

// perThread are the kernels of a source by how many vectors of eight a thread has
// at most, in blocks of so many threads.
type perThread struct {
	vectors, threads int
	kernel           *Kernel
}

func newPerThread[Args any](name string, sizes ...[2]int) (list []perThread) {
	for _, s := range sizes {
		list = append(list, perThread{s[0], s[1], newKernel[Args]("codes.cu", fmt.Sprintf("%s_%d", name, s[0]), nil)})
	}
	return list
}

var (
	normCodesKernels = newPerThread[NormCodesArgs]("norm_codes", [2]int{1, 256}, [2]int{2, 1024})
	siluCodesKernels = newPerThread[SiluCodesArgs]("silu_codes", [2]int{1, 1024}, [2]int{3, 768}, [2]int{4, 1024})
	codeRowsKernels  = newPerThread[CodeRowsArgs]("code_rows", [2]int{1, 1024}, [2]int{4, 1024})
)

// MaxCoded is the widest row that is quantised, but by NormCodes: MaxHidden.
const MaxCoded = 8 * 1024 * 4

// NormCodes normalises rows, adds to them before, and quantises them.
func NormCodes(q Queue, a NormCodesArgs, rows int) error {
	return coded(q, normCodesKernels, int(a.Hidden), a.Y, rows, &a)
}

// SiluCodes gates rows and quantises them. Wide rows are shared out among so many blocks at most.
func SiluCodes(q Queue, a SiluCodesArgs, rows, blocks int) error {
	a.Rows = int32(rows)
	if a.Intermediate <= 8*1024 { // several blocks of these fit on a multiprocessor
		blocks = rows
	}
	return coded(q, siluCodesKernels, int(a.Intermediate), a.Y, min(rows, blocks), &a)
}

// CodeRows quantises rows.
func CodeRows(q Queue, a CodeRowsArgs, rows int) error {
	return coded(q, codeRowsKernels, int(a.Width), a.Y, rows, &a)
}

func coded[Args any](q Queue, kernels []perThread, width int, y Codes, rows int, a *Args) error {
	if width <= 0 || width%8 != 0 || y.Stride != 0 && width%CodeGroup != 0 {
		return fmt.Errorf("kernel %s: rows of %d; they must be a multiple of 8, by groups of %d", kernels[0].kernel.Name, width, CodeGroup)
	}
	for _, k := range kernels {
		if vectors := width / 8; vectors <= k.vectors*k.threads {
			return launch(q, k.kernel, rows, 1, ceil(ceil(vectors, k.vectors), 32)*32, a)
		}
	}
	return fmt.Errorf("kernel %s: rows of %d are too wide", kernels[0].kernel.Name, width)
}
