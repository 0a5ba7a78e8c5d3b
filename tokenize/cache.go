package tokenize

import "slices"

// wordCache remembers the tokens of short pieces: the words of a language
// repeat, and finding one here touches a cache line where a walk touches
// dozens. A piece has two slots it may be in, so the size is bounded. A cache
// is part of a scratch, so it has one user at a time and needs no lock.
type wordCache struct {
	sets [1 << cacheBits]wordSet
}

const (
	cacheBits  = 14
	cacheBytes = 16 // longest piece remembered
	cacheIDs   = 5  // most tokens remembered
	idBits     = 21 // a larger id is not remembered
)

// wordSet is a cache line: two slots, the one used last first.
type wordSet [2]wordSlot

// wordSlot is 32 bytes: the piece, zero-padded, and its tokens. From the low
// bits on, c holds the piece's size (0: free) in 5 bits, the number of tokens
// in 3 and two ids; d holds three.
type wordSlot struct{ a, b, c, d uint64 }

// word is a piece on its way to its tokens: text[start:end], and the set it
// may be remembered in with its key.
type word struct {
	start, end int
	set        *wordSet
	a, b       uint64
	seen       uint64 // read from the set, so that the processor fetches it
}

// seek finds the set of a word of at most cacheBytes and at least one.
func (c *wordCache) seek(w *word, text string) {
	var a, b uint64
	i, n := w.start, uint(w.end-w.start)
	if i+cacheBytes <= len(text) {
		a, b = load64(text, i), load64(text, i+8)
	} else {
		var buf [cacheBytes]byte
		copy(buf[:], text[i:w.end])
		for j := range 8 {
			a |= uint64(buf[j]) << (8 * j)
			b |= uint64(buf[8+j]) << (8 * j)
		}
	}
	if n <= 8 {
		a &= ^uint64(0) >> (64 - 8*n)
		b = 0
	} else {
		b &= ^uint64(0) >> (128 - 8*n)
	}
	h := (a ^ b*0xD6E8FEB86659FD93) * 0x9E3779B97F4A7C15
	w.set = &c.sets[(h^h>>29)*0xBF58476D1CE4E5B9>>(64-cacheBits)]
	w.a, w.b, w.seen = a, b, w.set[0].c
}

// find returns the slot that has the tokens of a word, or nil.
func (s *wordSet) find(w *word) *wordSlot {
	if !s[0].holds(w) {
		if !s[1].holds(w) {
			return nil
		}
		s[0], s[1] = s[1], s[0]
	}
	return &s[0]
}

// holds reports whether the slot has the tokens of this word.
func (s *wordSlot) holds(w *word) bool {
	return s.a == w.a && s.b == w.b && int(s.c&31) == w.end-w.start
}

// appendTo appends the tokens. It writes all there may be, and keeps those
// there are: no branch depends on their number.
func (s *wordSlot) appendTo(dst []int32) []int32 {
	const mask = 1<<idBits - 1
	n := len(dst)
	if cap(dst)-n < cacheIDs {
		dst = slices.Grow(dst, cacheIDs)
	}
	ids := dst[n : n+cacheIDs : n+cacheIDs]
	ids[0] = int32(s.c >> 8 & mask)
	ids[1] = int32(s.c >> (8 + idBits) & mask)
	ids[2] = int32(s.d & mask)
	ids[3] = int32(s.d >> idBits & mask)
	ids[4] = int32(s.d >> (2 * idBits) & mask)
	return dst[:n+int(s.c>>5&7)]
}

// keep remembers the tokens of a word, if they fit.
func (s *wordSet) keep(w *word, ids []int32) {
	if len(ids) > cacheIDs {
		return
	}
	var all [cacheIDs]uint64
	for i, id := range ids {
		if id>>idBits != 0 {
			return
		}
		all[i] = uint64(id)
	}
	s[1] = s[0]
	s[0] = wordSlot{
		a: w.a, b: w.b,
		c: uint64(w.end-w.start) | uint64(len(ids))<<5 | all[0]<<8 | all[1]<<(8+idBits),
		d: all[2] | all[3]<<idBits | all[4]<<(2*idBits),
	}
}
