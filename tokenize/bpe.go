package tokenize

import (
	"errors"
	"fmt"
	"slices"
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
	complete     bool     // byteLevel, and every byte has a symbol
	known        []uint64 // otherwise: the set of characters that are symbols
	walker       *walker  // nil: merge by definition
	odd          *trie    // with ignoreMerges: tokens that merging cannot make
}

func newBPE(m *modelPart, byteLevel bool) (*bpe, error) {
	v, err := readVocab(m.vocab)
	if err != nil {
		return nil, err
	}
	b := &bpe{
		vocab: v, byteLevel: byteLevel, ignoreMerges: m.ignoreMerges, fuseUnk: m.fuseUnk,
		hasFallback: m.byteFallback, unk: -1,
	}
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
	if err := b.readMerges(m.merges); err != nil {
		return nil, err
	}
	return b, b.prepare()
}

// prepare builds what makes encoding fast.
func (b *bpe) prepare() (err error) {
	texts := b.texts()
	text := func(id int32) []byte { return texts.bytes(id) }
	var basics []int32
	if !b.byteLevel {
		b.known = make([]uint64, (utf8.MaxRune+1)/64)
	}
	for id := range int32(b.vocab.len()) {
		t := text(id)
		if b.byteLevel && len(t) == 1 {
			basics = append(basics, id)
		} else if r, n := utf8.DecodeRune(t); !b.byteLevel && n > 0 && n == len(t) {
			basics = append(basics, id)
			b.known[r>>6] |= 1 << (r & 63)
		}
	}
	b.complete = b.byteLevel && !slices.Contains(b.bytes[:], -1)
	odd := b.hasFallback && (b.byteLevel && !b.complete || slices.Contains(b.fallback[:], -1))
	if !odd && !b.mergesUnknown() {
		if b.walker, err = newWalker(b.vocab, b.pairs, basics, text); err != nil {
			return err
		}
	}
	if b.ignoreMerges {
		b.odd, err = newTrie(sortedByText(b.vocab.len(), func(id int32) []byte {
			if b.walker != nil && b.walker.tokens[id].rank != never {
				return nil
			}
			return text(id)
		}), func(id, of int32) {})
	}
	return err
}

// texts holds what each token stands for, by id; nothing for tokens that no
// text can contain.
func (b *bpe) texts() *vocab {
	if !b.byteLevel {
		return b.vocab
	}
	v := &vocab{start: make([]uint32, b.vocab.len()), size: make([]uint32, b.vocab.len())}
	v.text = make([]byte, 0, len(b.vocab.text))
	for id := range v.start {
		n := len(v.text)
		v.text, _ = unspell(v.text, b.vocab.bytes(int32(id)))
		v.start[id], v.size[id] = uint32(n), uint32(len(v.text)-n)
	}
	return v
}

// mergesUnknown reports whether what stands for unknown characters can merge.
func (b *bpe) mergesUnknown() bool {
	loose := map[int32]bool{}
	if b.unk >= 0 {
		loose[b.unk] = true
	}
	if b.hasFallback {
		for _, id := range b.fallback {
			if id >= 0 {
				loose[id] = true
			}
		}
	}
	if len(loose) == 0 {
		return false
	}
	for _, m := range b.pairs.slots {
		if m.left >= 0 && (loose[m.left] || loose[m.right]) {
			return true
		}
	}
	return false
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

// appendWords appends the tokens of the words, which are pieces of text.
//
// Two passes: what is remembered of all words is on its way from memory before
// the first is looked at.
func (b *bpe) appendWords(dst []int32, text string, words []word, s *scratch) []int32 {
	for i := range words {
		if w := &words[i]; w.end-w.start <= cacheBytes {
			s.words.seek(w, text)
		} else {
			w.set = nil
		}
	}
	for i := range words {
		w := &words[i]
		if w.set == nil {
			dst = b.appendPiece(dst, text[w.start:w.end], s)
		} else if slot := w.set.find(w); slot != nil {
			dst = slot.appendTo(dst)
		} else {
			n := len(dst)
			dst = b.appendPiece(dst, text[w.start:w.end], s)
			w.set.keep(w, dst[n:])
		}
	}
	return dst
}

// appendPiece appends the tokens of one piece of text.
func (b *bpe) appendPiece(dst []int32, piece string, s *scratch) []int32 {
	if b.odd != nil {
		if id := b.odd.whole(piece); id >= 0 {
			return append(dst, id)
		}
	}
	if b.walker == nil {
		s.symbols = b.symbols(s.symbols[:0], piece)
		return b.mergeAll(dst, s.symbols, &s.queue)
	}
	if b.complete {
		if piece == "" {
			return dst
		}
		return b.walker.append(dst, piece, &s.walk)
	}
	return b.appendUnknown(dst, piece, s)
}

// appendUnknown is appendPiece for a vocabulary that lacks characters.
func (b *bpe) appendUnknown(dst []int32, piece string, s *scratch) []int32 {
	done, unk := 0, false // piece[:done] is encoded; unk: the last token is unknown
	for i := 0; i < len(piece); {
		n := b.charLen(piece, i)
		if b.isKnown(piece, i) {
			i += n
			continue
		}
		if !b.hasFallback && b.unk < 0 {
			return b.walkKnown(dst, piece, s)
		}
		if done < i {
			dst = b.walker.append(dst, piece[done:i], &s.walk)
			unk = false
		}
		if b.hasFallback {
			for _, c := range []byte(piece[i : i+n]) {
				dst = append(dst, b.fallback[c])
			}
		} else if !unk || !b.fuseUnk {
			dst = append(dst, b.unk)
			unk = true
		}
		i += n
		done = i
	}
	if done < len(piece) {
		dst = b.walker.append(dst, piece[done:], &s.walk)
	}
	return dst
}

// walkKnown encodes what is left of a piece without its unknown characters.
func (b *bpe) walkKnown(dst []int32, piece string, s *scratch) []int32 {
	s.spell = s.spell[:0]
	for i := 0; i < len(piece); {
		n := b.charLen(piece, i)
		if b.isKnown(piece, i) {
			s.spell = append(s.spell, piece[i:i+n]...)
		}
		i += n
	}
	if len(s.spell) == 0 {
		return dst
	}
	return b.walker.append(dst, string(s.spell), &s.walk)
}

func (b *bpe) charLen(piece string, i int) int {
	if b.byteLevel || piece[i] < utf8.RuneSelf {
		return 1
	}
	_, n := runeAt(piece, i)
	return n
}

func (b *bpe) isKnown(piece string, i int) bool {
	if b.byteLevel {
		return b.bytes[piece[i]] >= 0
	}
	r := rune(piece[i])
	if r >= utf8.RuneSelf {
		r, _ = runeAt(piece, i)
	}
	return b.known[r>>6]&(1<<(r&63)) != 0
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
