package tokenize

// pairs maps two adjacent tokens to their merge: an open-addressing table, at
// most 5/8 full, four entries to a cache line.
//
// Most pairs asked for have no merge. A filter of a few bits per slot, which
// fits where the table does not, in the processor's second cache, answers most
// of those: a pair has no merge unless its two bits, in one word, are set.
type pairs struct {
	slots  []merge
	filter []uint64
	shift  uint
	count  int
}

const filterBits = 3 // 2^3 bits per slot

// filterBit returns where the two bits of a pair are, by its hash.
func (p *pairs) filterBit(h uint64) (word int, bits uint64) {
	return int(h >> (p.shift + 6 - filterBits)), 1<<(h>>20&63) | 1<<(h>>26&63)
}

// merge joins left and right into id. The merge of lowest rank goes first; of
// equal ranks the leftmost.
type merge struct {
	left, right int32 // left is -1 in a free slot
	rank, id    int32
}

func newPairs(n int) *pairs {
	bits := uint(4)
	for n > 5<<bits/8 {
		bits++
	}
	p := &pairs{slots: make([]merge, 1<<bits), filter: make([]uint64, 1<<(bits+filterBits)/64), shift: 64 - bits}
	for i := range p.slots {
		p.slots[i].left = -1
	}
	return p
}

func hashPair(left, right int32) uint64 {
	return (uint64(uint32(left))<<32 | uint64(uint32(right))) * 0x9E3779B97F4A7C15
}

// find returns the merge of a pair, or nil.
func (p *pairs) find(left, right int32) *merge {
	h := hashPair(left, right)
	if word, bits := p.filterBit(h); p.filter[word]&bits != bits {
		return nil
	}
	for i := h >> p.shift; ; i++ {
		m := &p.slots[i&uint64(len(p.slots)-1)]
		if m.left == left && m.right == right {
			return m
		}
		if m.left < 0 {
			return nil
		}
	}
}

// set adds a merge; a pair listed twice keeps its last.
func (p *pairs) set(m merge) {
	h := hashPair(m.left, m.right)
	word, bits := p.filterBit(h)
	p.filter[word] |= bits
	for i := h >> p.shift; ; i++ {
		s := &p.slots[i&uint64(len(p.slots)-1)]
		if s.left < 0 {
			*s = m
			p.count++
			return
		}
		if s.left == m.left && s.right == m.right {
			*s = m
			return
		}
	}
}

// grown returns a copy with twice the slots.
func (p *pairs) grown() *pairs {
	q := newPairs(5 * len(p.slots) / 4)
	for _, m := range p.slots {
		if m.left >= 0 {
			q.set(m)
		}
	}
	return q
}
