package route

import "math/bits"

// holders says which engines have which page of a prefix. It is by page, not by engine: a prompt is
// then looked up once, however many engines there are. Of the pages of conversations most are had by
// one engine, so a page has the engine's number, and a set only where there are several.
type holders struct {
	of    map[uint64]uint32 // by hash: the engine, or shared and which of the sets
	sets  []set
	spare []uint32 // of sets: those not in use
	pages []int    // by engine: how many it has
}

const (
	shared = uint32(1) << 31
	nobody = ^uint32(0)
)

// add notes that an engine has a page.
func (h *holders) add(hash uint64, at int) {
	if h.of == nil {
		h.of = map[uint64]uint32{}
	}
	for len(h.pages) <= at {
		h.pages = append(h.pages, 0)
	}
	who, known := h.of[hash]
	switch {
	case !known:
		h.of[hash] = uint32(at)
	case who&shared != 0:
		s := &h.sets[who&^shared]
		if s.has(at) {
			return
		}
		s.put(at)
	case int(who) == at:
		return
	default:
		h.of[hash] = h.share(int(who), at)
	}
	h.pages[at]++
}

// share is a set of two.
func (h *holders) share(a, b int) uint32 {
	i := uint32(len(h.sets))
	if n := len(h.spare); n > 0 {
		i, h.spare = h.spare[n-1], h.spare[:n-1]
	} else {
		h.sets = append(h.sets, nil)
	}
	s := h.sets[i][:0]
	s.put(a)
	s.put(b)
	h.sets[i] = s
	return i | shared
}

// remove notes that an engine has a page no longer.
func (h *holders) remove(hash uint64, at int) {
	who, known := h.of[hash]
	switch {
	case !known:
		return
	case who&shared == 0:
		if int(who) != at {
			return
		}
		delete(h.of, hash)
	default:
		s := h.sets[who&^shared]
		if !s.has(at) {
			return
		}
		s.cut(at)
		if one, only := s.only(); only {
			h.of[hash] = uint32(one)
			h.spare = append(h.spare, who&^shared)
		}
	}
	h.pages[at]--
}

// drop forgets all pages of an engine. It goes over everybody's: that is rare.
func (h *holders) drop(at int) {
	if at >= len(h.pages) {
		return
	}
	for hash := range h.of {
		if h.pages[at] == 0 {
			return
		}
		h.remove(hash, at)
	}
}

// depths says of each engine in a set, which is used up, how many of these pages it has: a page
// counts only behind those before it. Those of others are left as they are.
func (h *holders) depths(hashes []uint64, among set, depths []int32) {
	for i := 0; ; i++ {
		who := nobody
		if i < len(hashes) {
			if w, known := h.of[hashes[i]]; known {
				who = w
			}
		}
		left := false
		for w, in := range among {
			stay := in & h.word(who, w)
			for out := in &^ stay; out != 0; out &= out - 1 {
				depths[w*64+bits.TrailingZeros64(out)] = int32(i)
			}
			among[w] = stay
			left = left || stay != 0
		}
		if !left {
			return
		}
	}
}

// word is a word of the set of those who have a page.
func (h *holders) word(who uint32, w int) uint64 {
	switch {
	case who == nobody:
	case who&shared != 0:
		if s := h.sets[who&^shared]; w < len(s) {
			return s[w]
		}
	case int(who)/64 == w:
		return 1 << (who % 64)
	}
	return 0
}

// set is a set of small numbers, bit by bit.
type set []uint64

func (s set) has(i int) bool { return i/64 < len(s) && s[i/64]>>(i%64)&1 == 1 }

func (s *set) put(i int) {
	for len(*s) <= i/64 {
		*s = append(*s, 0)
	}
	(*s)[i/64] |= 1 << (i % 64)
}

func (s set) cut(i int) { s[i/64] &^= 1 << (i % 64) }

// only is the one member of a set of one.
func (s set) only() (one int, only bool) {
	n := 0
	for w, b := range s {
		if n += bits.OnesCount64(b); b != 0 {
			one = w*64 + bits.TrailingZeros64(b)
		}
	}
	return one, n == 1
}
