package batch

import (
	"math/bits"
	"time"
)

// Uniform is the random number in [0, 1) with which a request of this seed
// draws the token at this position. It is the first word of Philox4x32-10
// (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011),
// keyed by the seed and counting positions, so every device draws the same
// number without keeping a state.
func Uniform(seed uint64, position int32) float32 {
	c := [4]uint32{uint32(position), 0, 0, 0}
	k0, k1 := uint32(seed), uint32(seed>>32)
	for range 10 {
		h0, l0 := bits.Mul32(0xD2511F53, c[0])
		h1, l1 := bits.Mul32(0xCD9E8D57, c[2])
		c = [4]uint32{h1 ^ c[1] ^ k0, l1, h0 ^ c[3] ^ k1, l0}
		k0 += 0x9E3779B9
		k1 += 0xBB67AE85
	}
	return float32(c[0]>>8) / (1 << 24)
}

var epoch = time.Now()

// Now is the host's monotonic clock in nanoseconds since the program began;
// every time in a Result or a trace is on it.
func Now() int64 { return int64(time.Since(epoch)) }
