package kernel

// HopperRows is the rows of the tiles of MoEUpHopper and MoEDownHopper.
const HopperRows = 128

// HopperFrom is how many entries an expert has in the mean from where on these
// are taken. On an H200 with Qwen3-30B-A3B they take 328 µs for the 302 of tiles
// of 32 at 16 entries, 460 for 707 at 128.
const HopperFrom = 64

func hopperExpertsShared(Shape) int { return 1024 + 4*(256+HopperRows)*128 + 8*4*HopperRows + 64 }

var (
	upHopperKernel   = newKernel[ExpertArgs]("moe_hopper.cu", "moe_up_hopper", hopperExpertsShared)
	downHopperKernel = newKernel[ExpertArgs]("moe_hopper.cu", "moe_down_hopper", hopperExpertsShared)
)

// MoEUpHopper is MoEUp for tiles of HopperRows on so many multiprocessors of a
// device of compute capability 9.0. Scales of entries are taken for 1.
func MoEUpHopper(q Queue, a ExpertArgs, multiprocessors int) error {
	if err := a.check(HopperRows); err != nil {
		return err
	}
	return launch(q, upHopperKernel, multiprocessors, 1, 384, &a)
}

// MoEDownHopper is MoEDown.
func MoEDownHopper(q Queue, a ExpertArgs, multiprocessors int) error {
	if err := a.check(HopperRows); err != nil {
		return err
	}
	return launch(q, downHopperKernel, multiprocessors, 1, 384, &a)
}
