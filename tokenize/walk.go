package tokenize

import "math"

// walker encodes a piece from left to right, without a queue of merges.
//
// It rests on this: the tokens t1 … tn are what byte-pair merging makes of
// their text if and only if it makes each two neighbours of theirs alone. For
// look at the first merge that crosses a boundary between two of them: up to
// then each side was merged as if it stood alone with the other, so the same
// merge happens with those two alone. Hence every prefix of a text has one
// chain of tokens that fit, and the longest that fits is found by trying the
// longest token at each place, then shorter ones, then going back. A place
// that proved dead is never entered again, so the work is linear.
// (github.com/github/rust-gems, crate bpe, describes the same idea.)
//
// Whether two tokens fit is decided by undoing their merges, latest first,
// and looking for a merge across the boundary that would have come earlier.
// That needs merges to happen in the order of their ranks: a merge must rank
// after those that made its parts. Merges that can never happen are no
// obstacle; newWalker finds out, and gives up on the vocabulary otherwise.
type walker struct {
	pairs  *pairs
	tokens []origin // by id
	sizes  []int32  // by id, in bytes
	trie   *trie    // of the tokens that merging can make
}

// origin is how merging makes a token.
type origin struct {
	left, right int32
	rank        int32 // of the merge of left and right; see below
	prefix      int32 // the longest other token this one starts with, or -1
}

const (
	basic = -1            // the rank of a symbol that is no merge's product
	never = math.MaxInt32 // the rank of a token that merging cannot make
)

// newWalker prepares for symbols basics, each spelled text(id). It returns nil
// when the merges do not happen in rank order.
func newWalker(v *vocab, p *pairs, basics []int32, text func(id int32) []byte) (*walker, error) {
	w := &walker{pairs: p, tokens: make([]origin, v.len()), sizes: make([]int32, v.len())}
	for id := range w.tokens {
		w.tokens[id] = origin{-1, -1, never, -1}
		w.sizes[id] = int32(len(text(int32(id))))
	}
	for _, id := range basics {
		w.tokens[id].rank = basic
	}
	if !w.findOrigins() {
		return nil, nil
	}
	tokens := sortedByText(len(w.tokens), func(id int32) []byte {
		if w.tokens[id].rank == never {
			return nil
		}
		return text(id)
	})
	var err error
	w.trie, err = newTrie(tokens, func(id, of int32) { w.tokens[id].prefix = of })
	return w, err
}

// findOrigins finds the one merge that makes each token when its text stands
// alone. A token's parts are shorter than itself, so it goes by length.
func (w *walker) findOrigins() bool {
	for _, m := range w.byLength() {
		l, r := &w.tokens[m.left], &w.tokens[m.right]
		if l.rank == never || r.rank == never || !w.meet(m.left, m.right) {
			continue // the two never stand side by side
		}
		t := &w.tokens[m.id]
		if m.rank <= l.rank || m.rank <= r.rank || t.rank != never {
			return false
		}
		t.left, t.right, t.rank = m.left, m.right, m.rank
	}
	return true
}

// byLength lists all merges, those with the shortest product first.
func (w *walker) byLength() []*merge {
	var count []int32
	product := func(m *merge) int32 { return w.sizes[m.left] + w.sizes[m.right] }
	for i := range w.pairs.slots {
		if m := &w.pairs.slots[i]; m.left >= 0 {
			for int(product(m)) >= len(count) {
				count = append(count, 0)
			}
			count[product(m)]++
		}
	}
	sum := int32(0)
	for i, n := range count {
		count[i] = sum
		sum += n
	}
	all := make([]*merge, sum)
	for i := range w.pairs.slots {
		if m := &w.pairs.slots[i]; m.left >= 0 {
			all[count[product(m)]] = m
			count[product(m)]++
		}
	}
	return all
}

// fit reports whether merging leaves the text of x and y as these two tokens.
func (w *walker) fit(x, y int32) bool {
	return w.pairs.find(x, y) == nil && w.meet(x, y)
}

// meet reports whether, while x and y form side by side, nothing merges across
// the boundary between them.
func (w *walker) meet(x, y int32) bool {
	for {
		tx, ty := &w.tokens[x], &w.tokens[y]
		// Of two merges of one rank the left one came first: undo the right
		// one first; and a merge across stands left of it, but right of x's.
		if ty.rank >= tx.rank {
			if ty.rank == basic {
				return true
			}
			y = ty.left
			if m := w.pairs.find(x, y); m != nil && m.rank <= ty.rank {
				return false
			}
		} else {
			x = tx.right
			if m := w.pairs.find(x, y); m != nil && m.rank < tx.rank {
				return false
			}
		}
	}
}

// append appends the tokens of s, which consists of known symbols.
func (w *walker) append(dst []int32, s string, mem *walkMemory) []int32 {
	base, pos := len(dst), 0
	dead := &mem.dead
	dead.reset(len(s))
	token, size := w.trie.longest(s)
	for {
		end := pos + size
		if !dead.has(end) && (len(dst) == base || mem.fit(w, dst[len(dst)-1], token)) {
			dst = append(dst, token)
			if end == len(s) {
				return dst
			}
			pos = end
			token, size = w.trie.longest(s[pos:])
			continue
		}
		if shorter := w.tokens[token].prefix; shorter >= 0 {
			token = shorter
		} else {
			dead.set(pos)
			token = dst[len(dst)-1]
			dst = dst[:len(dst)-1]
			pos -= int(w.sizes[token])
		}
		size = int(w.sizes[token])
	}
}

// walkMemory is what one walk needs, and what it leaves to the next.
type walkMemory struct {
	dead bitset
	// Which pairs fit: direct-mapped by pair, (x+1)<<32 | y<<1 | fit.
	fits [1 << fitBits]uint64
}

const fitBits = 14

// fit is w.fit, remembered.
func (mem *walkMemory) fit(w *walker, x, y int32) bool {
	key := uint64(x+1)<<32 | uint64(y)<<1
	slot := &mem.fits[key*0x9E3779B97F4A7C15>>(64-fitBits)]
	if *slot&^1 == key {
		return *slot&1 != 0
	}
	ok := w.fit(x, y)
	*slot = key
	if ok {
		*slot |= 1
	}
	return ok
}

// bitset is a set of places in a piece.
type bitset struct{ words []uint64 }

func (b *bitset) reset(n int) {
	n = n/64 + 1
	if cap(b.words) < n {
		b.words = make([]uint64, n)
		return
	}
	b.words = b.words[:n]
	clear(b.words)
}

// from returns the 64 bits from i on.
func (b *bitset) from(i int) uint64 {
	w := b.words[i>>6:]
	return w[0]>>(i&63) | w[1]<<1<<(63-i&63)
}

func (b *bitset) has(i int) bool { return b.words[i>>6]&(1<<(i&63)) != 0 }
func (b *bitset) set(i int)      { b.words[i>>6] |= 1 << (i & 63) }
