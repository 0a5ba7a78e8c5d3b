package tokenize

import (
	"errors"
	"fmt"
	"unicode/utf8"
)

// bpe is a byte-pair model: a piece of text starts as symbols, one for each
// byte (byteLevel) or character, and the adjacent pair of lowest rank is
// merged, leftmost first, until no pair has a merge.
type bpe struct {
	vocab        *vocab
	pairs        *pairs
	byteLevel    bool
	ignoreMerges bool // a piece that is a token is that token
	fuseUnk      bool
	unk          int32      // -1: unknown characters vanish
	bytes        [256]int32 // byteLevel: the symbol of each byte, or -1
	fallback     [256]int32 // <0x00>…<0xFF>, or -1
	hasFallback  bool
}

func newBPE(m *modelPart, byteLevel bool) (*bpe, error) {
	v, err := readVocab(m.vocab)
	if err != nil {
		return nil, err
	}
	b := &bpe{vocab: v, byteLevel: byteLevel, ignoreMerges: m.ignoreMerges, fuseUnk: m.fuseUnk,
		hasFallback: m.byteFallback, unk: -1}
	if m.unk != nil {
		id, ok := v.lookup([]byte(*m.unk))
		if !ok {
			return nil, fmt.Errorf("model: unk_token %q is not in the vocabulary", *m.unk)
		}
		b.unk = id
	}
	for i := range b.bytes {
		b.bytes[i] = b.tokenOr(utf8.AppendRune(nil, byteRune[i]))
		b.fallback[i] = b.tokenOr(fmt.Appendf(nil, "<0x%02X>", i))
	}
	return b, b.readMerges(m.merges)
}

func (b *bpe) tokenOr(s []byte) int32 {
	id, _ := b.vocab.lookup(s)
	return id
}

func (b *bpe) readMerges(raw []byte) error {
	if raw == nil {
		return errors.New("model: no merges")
	}
	b.pairs = newPairs(len(raw) / 16)
	var join []byte
	return readMerges(raw, func(rank int, left, right []byte) error {
		if 8*b.pairs.count >= 5*len(b.pairs.slots) {
			b.pairs = b.pairs.grown()
		}
		join = append(append(join[:0], left...), right...)
		l, okL := b.vocab.lookup(left)
		r, okR := b.vocab.lookup(right)
		id, ok := b.vocab.lookup(join)
		if !okL || !okR || !ok {
			return fmt.Errorf("model: merge %d: %q + %q: not all in the vocabulary", rank, left, right)
		}
		b.pairs.set(merge{l, r, int32(rank), id})
		return nil
	})
}

// appendPiece appends the tokens of one piece of text.
func (b *bpe) appendPiece(dst []int32, piece string, s *scratch) []int32 {
	if piece == "" {
		return dst
	}
	if b.ignoreMerges {
		if id, ok := b.whole(piece, s); ok {
			return append(dst, id)
		}
	}
	s.symbols = b.symbols(s.symbols[:0], piece)
	return b.mergeAll(dst, s.symbols, &s.queue)
}

// whole looks a piece up in the vocabulary.
func (b *bpe) whole(piece string, s *scratch) (int32, bool) {
	s.spell = s.spell[:0]
	if !b.byteLevel {
		s.spell = append(s.spell, piece...)
		return b.vocab.lookup(s.spell)
	}
	for i := range len(piece) {
		s.spell = utf8.AppendRune(s.spell, byteRune[piece[i]])
	}
	return b.vocab.lookup(s.spell)
}

// symbols appends what a piece consists of before any merge.
func (b *bpe) symbols(dst []symbol, piece string) []symbol {
	unk := false // an unknown token is pending
	add := func(id int32) { dst = append(dst, symbol{id: id}) }
	unknown := func(s string) {
		if b.hasFallback && b.appendFallback(&dst, s) {
			return
		}
		if b.unk < 0 {
			return
		}
		if unk && !b.fuseUnk {
			add(b.unk)
		}
		unk = true
	}
	known := func(id int32) {
		if unk {
			add(b.unk)
			unk = false
		}
		add(id)
	}
	if b.byteLevel {
		for i := range len(piece) {
			if id := b.bytes[piece[i]]; id >= 0 {
				known(id)
			} else {
				unknown(string(byteRune[piece[i]]))
			}
		}
	} else {
		var buf [utf8.UTFMax]byte
		for _, r := range piece {
			n := utf8.EncodeRune(buf[:], r)
			if id, ok := b.vocab.lookup(buf[:n]); ok {
				known(id)
			} else {
				unknown(string(buf[:n]))
			}
		}
	}
	if unk {
		add(b.unk)
	}
	return dst
}

// appendFallback spells s in byte tokens, if the vocabulary has them all.
func (b *bpe) appendFallback(dst *[]symbol, s string) bool {
	for i := range len(s) {
		if b.fallback[s[i]] < 0 {
			return false
		}
	}
	for i := range len(s) {
		*dst = append(*dst, symbol{id: b.fallback[s[i]]})
	}
	return true
}
