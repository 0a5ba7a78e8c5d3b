package kernel

import "fmt"

// NormArgs: see norm.cu.
type NormArgs struct {
	X, W, Rows, Y Ptr
	Hidden        int32
	Eps           float32
}

var (
	normKernel     = newKernel[NormArgs]("norm.cu", "rms_norm", nil)
	normWideKernel = newKernel[NormArgs]("norm.cu", "rms_norm_wide", nil)
)

// MaxHidden is the widest row that RMSNorm takes.
const MaxHidden = 8 * 256 * 8

// RMSNorm normalises rows.
func RMSNorm(q Queue, a NormArgs, rows int) error {
	if err := vectors("rms_norm", int(a.Hidden)); err != nil {
		return err
	}
	if a.Hidden > MaxHidden {
		return fmt.Errorf("kernel rms_norm: rows of %d; at most %d", a.Hidden, MaxHidden)
	}
	k := normKernel
	if a.Hidden > 8*256 {
		k = normWideKernel
	}
	block := min(256, ceil(int(a.Hidden)/8, 32)*32)
	return launch(q, k, rows, 1, block, &a)
}
