package bench

import "math/bits"

// PythonRandom is the generator behind Python's random module, so that a seed
// means the same work here as in benchmarks written in Python: MT19937
// (Matsumoto and Nishimura, "Mersenne Twister", ACM TOMACS 1998), seeded from
// an integer's 32-bit words, with integers in a range drawn by rejection.
type PythonRandom struct {
	state [mtSize]uint32
	next  int // index of the next unused word of state
}

const (
	mtSize  = 624
	mtShift = 397
)

// NewPythonRandom is random.seed(seed) for a non-negative integer.
func NewPythonRandom(seed uint64) *PythonRandom {
	key := []uint32{uint32(seed)}
	if high := uint32(seed >> 32); high != 0 {
		key = append(key, high)
	}
	r := &PythonRandom{next: mtSize}
	s := &r.state
	s[0] = 19650218
	for i := 1; i < mtSize; i++ {
		s[i] = 1812433253*(s[i-1]^s[i-1]>>30) + uint32(i)
	}
	i, j := 1, 0
	wrap := func() {
		if i++; i == mtSize {
			s[0], i = s[mtSize-1], 1
		}
	}
	for range max(mtSize, len(key)) {
		s[i] = (s[i] ^ (s[i-1]^s[i-1]>>30)*1664525) + key[j] + uint32(j)
		wrap()
		j = (j + 1) % len(key)
	}
	for range mtSize - 1 {
		s[i] = (s[i] ^ (s[i-1]^s[i-1]>>30)*1566083941) - uint32(i)
		wrap()
	}
	s[0] = 1 << 31
	return r
}

// Uint32 is the generator's next word: Python's getrandbits(32).
func (r *PythonRandom) Uint32() uint32 {
	if r.next == mtSize {
		r.twist()
	}
	y := r.state[r.next]
	r.next++
	y ^= y >> 11
	y ^= y << 7 & 0x9d2c5680
	y ^= y << 15 & 0xefc60000
	return y ^ y>>18
}

func (r *PythonRandom) twist() {
	s := &r.state
	for i := range s {
		y := s[i]&(1<<31) | s[(i+1)%mtSize]&(1<<31-1)
		s[i] = s[(i+mtShift)%mtSize] ^ y>>1 ^ -(y&1)&0x9908b0df
	}
	r.next = 0
}

// IntRange is random.randint(low, high): both ends included. The range must
// hold at least one and fewer than 2³² numbers.
func (r *PythonRandom) IntRange(low, high int) int {
	n := uint32(high - low + 1)
	shift := 32 - bits.Len32(n)
	for {
		if v := r.Uint32() >> shift; v < n {
			return low + int(v)
		}
	}
}

// Float64 is random.random(): uniform in [0, 1), 53 bits.
func (r *PythonRandom) Float64() float64 {
	a, b := r.Uint32()>>5, r.Uint32()>>6
	return (float64(a)*(1<<26) + float64(b)) / (1 << 53)
}
