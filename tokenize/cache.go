package tokenize

// wordCache remembers the tokens of short pieces: the words of a language
// repeat, and one slot is one or two cache lines where a walk is dozens. It is
// direct-mapped, so its size is bounded, and part of a scratch, so it has one
// user at a time and needs no lock.
type wordCache struct {
	slots [cacheSlots]wordSlot
}

const (
	cacheBits  = 13
	cacheSlots = 1 << cacheBits
	cacheBytes = 16 // longest piece remembered
	cacheIDs   = 5  // most tokens remembered
)

type wordSlot struct {
	a, b uint64 // the piece's bytes, zero-padded
	size uint8  // of the piece; 0: free
	n    uint8  // tokens
	ids  [cacheIDs]int32
}

// slot returns the place for text[i:end], at most cacheBytes long and not
// empty, with the key it is found by.
func (c *wordCache) slot(text string, i, end int) (s *wordSlot, a, b uint64) {
	n := end - i
	if i+cacheBytes <= len(text) {
		a, b = load64(text, i), load64(text, i+8)
	} else {
		var buf [cacheBytes]byte
		copy(buf[:], text[i:end])
		for j := range 8 {
			a |= uint64(buf[j]) << (8 * j)
			b |= uint64(buf[8+j]) << (8 * j)
		}
	}
	if n <= 8 {
		a &= ^uint64(0) >> (64 - 8*uint(n))
		b = 0
	} else {
		b &= ^uint64(0) >> (128 - 8*uint(n))
	}
	h := (a ^ b*0xD6E8FEB86659FD93) * 0x9E3779B97F4A7C15
	return &c.slots[(h^h>>29)*0xBF58476D1CE4E5B9>>(64-cacheBits)], a, b
}
