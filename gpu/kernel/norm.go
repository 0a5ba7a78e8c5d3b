package kernel

import "fmt"

// NormArgs: see norm.cu.
type NormArgs struct {
	X, W, Rows, Y Ptr
	Hidden        int32
	Eps           float32
	// Early lets the kernel behind begin at once, if it waits before it reads anything but
	// weights.
	Early, Pad int32
}

var (
	normKernel     = newKernel[NormArgs]("norm.cu", "rms_norm", nil)
	normSomeKernel = newKernel[NormArgs]("norm.cu", "rms_norm_some", nil)
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
	switch {
	case a.Hidden > 3*8*256:
		k = normWideKernel
	case a.Hidden > 8*256:
		k = normSomeKernel
	}
	block := min(256, ceil(int(a.Hidden)/8, 32)*32)
	return launch(q, k, rows, 1, block, &a)
}

// GroupNormArgs: see norm.cu.
type GroupNormArgs struct {
	X, Y                       View
	W                          Ptr
	Rows, Groups, Group, Every int32
	Eps                        float32
}

var (
	headsNormKernel      = newKernel[GroupNormArgs]("norm.cu", "rms_norm_heads", nil)
	groupsNormKernel     = newKernel[GroupNormArgs]("norm.cu", "rms_norm_groups", nil)
	groupsNormWideKernel = newKernel[GroupNormArgs]("norm.cu", "rms_norm_groups_wide", nil)
)

// GroupNorm normalises every Group columns of rows.
func GroupNorm(q Queue, a GroupNormArgs) error {
	if err := vectors("rms_norm_groups", int(a.Group)); err != nil {
		return err
	}
	groups := int(a.Rows) * int(a.Groups)
	switch {
	case a.Groups <= 0 || a.Group > MaxHidden:
		return fmt.Errorf("kernel rms_norm_groups: %d groups of %d; at most %d", a.Groups, a.Group, MaxHidden)
	case a.Group <= 8*32:
		return launch(q, headsNormKernel, ceil(groups, 8), 1, 256, &a)
	case a.Group <= 8*256:
		return launch(q, groupsNormKernel, groups, 1, 256, &a)
	default:
		return launch(q, groupsNormWideKernel, groups, 1, 256, &a)
	}
}
