package kernel

import "fmt"

// HopperRows is the rows of the tiles of Hopper's products of experts.
const HopperRows = 128

// HopperFrom is how many entries an expert has in the mean from where on these
// are taken. On an H200 with Qwen3-30B-A3B they take 328 µs for the 302 of tiles
// of 32 at 16 entries, 460 for 707 at 128.
const HopperFrom = 64

// hopperExperts are the kernels of a product, by the bits of numbers.
func hopperExperts(name string) map[int]*Kernel {
	const shares = 8 * 4 * HopperRows
	shared := map[int]int{ // of stages: of 256 outputs' numbers, their scales and tokens, by 64 inputs or 128
		ExpertsWide:  4 * (256 + HopperRows) * 128,
		ExpertsFP8:   3 * (256*128 + HopperRows*256),
		ExpertsMXFP4: 4 * (256*(64+4) + HopperRows*256),
	}
	kernels := map[int]*Kernel{}
	for bits, source := range map[int]string{ExpertsWide: "moe_hopper.cu", ExpertsFP8: "moe_fp8_hopper.cu", ExpertsMXFP4: "moe_mxfp4_hopper.cu"} {
		kernels[bits] = newKernel[ExpertArgs](source, name+expertSuffixes[bits], func(Shape) int { return 1024 + shared[bits] + shares + 64 })
	}
	return kernels
}

var (
	hopperUp    = hopperExperts("moe_up_hopper")
	hopperPlain = hopperExperts("moe_plain_hopper")
	hopperDown  = hopperExperts("moe_down_hopper")
)

// MoEUpHopper is MoEUp for tiles of HopperRows on so many multiprocessors of a
// device of compute capability 9.0. Scales of entries are taken for 1.
func MoEUpHopper(q Queue, a ExpertArgs, bits, multiprocessors int) error {
	return onHopper(q, hopperUp, a, bits, multiprocessors)
}

// MoEPlainHopper is MoEPlain.
func MoEPlainHopper(q Queue, a ExpertArgs, bits, multiprocessors int) error {
	return onHopper(q, hopperPlain, a, bits, multiprocessors)
}

// MoEDownHopper is MoEDown.
func MoEDownHopper(q Queue, a ExpertArgs, bits, multiprocessors int) error {
	return onHopper(q, hopperDown, a, bits, multiprocessors)
}

func onHopper(q Queue, kernels map[int]*Kernel, a ExpertArgs, bits, multiprocessors int) error {
	if err := a.check(HopperRows); err != nil {
		return err
	}
	k := kernels[bits]
	if k == nil || int(a.In)%expertInputs(bits) != 0 {
		return fmt.Errorf("kernel moe_hopper: weights of %d bits, %d inputs; those of 8 and 4 bits have inputs a multiple of 128 and 64", bits, a.In)
	}
	return launch(q, k, multiprocessors, 1, 384, &a)
}
