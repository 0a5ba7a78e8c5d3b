package grammar

import (
	"bytes"
	"slices"
	"sync/atomic"
	"unicode/utf8"
)

// Vocabulary is a tokenizer's tokens as a trie of their bytes. It does not
// change, and any number of goroutines may use it.
//
// Plain tokens are those that can stand anywhere in a JSON string: whole
// characters, none of them a quote, a backslash or a control character. They
// have a trie of their own, which need not be walked inside a string. The few
// tokens longer than horizon have one, too, and are not called plain.
type Vocabulary struct {
	text    [][]byte // of each token; nil: never allowed
	plain   trie
	rest    trie
	long    trie
	isPlain []uint32 // the set of plain tokens
	quoted  []int32  // that have a quote
	strings []int32  // of those, that may hold two strings, or the end of one and another
	eos     []int32
	empty   []uint32

	kept atomic.Int64 // bytes that all automata keep, roughly
}

// horizon is how many bytes a token has, unless it is a long one. Two states
// that differ only further away allow the same tokens but for long ones.
const horizon = 24

// NewVocabulary reads the tokens below size. Text is what a token adds to a
// text, nil for one that must never be drawn, such as a special token. The
// tokens of eos end a text; they are allowed only where it may end.
func NewVocabulary(size int, text func(id int32) []byte, eos []int32) *Vocabulary {
	words := (size + 31) / 32
	v := &Vocabulary{text: make([][]byte, size), isPlain: make([]uint32, words), empty: make([]uint32, words)}
	var plain, rest, long []int32
	for _, id := range eos {
		if id >= 0 && int(id) < size {
			v.eos = append(v.eos, id)
		}
	}
	for id := range int32(size) {
		b := text(id)
		if len(b) == 0 || len(b) > maxToken || slices.Contains(v.eos, id) {
			continue
		}
		v.text[id] = b
		if n := bytes.Count(b, []byte{'"'}); n > 0 {
			v.quoted = append(v.quoted, id)
			if n > 2 {
				v.strings = append(v.strings, id)
			}
		}
		switch {
		case len(b) > horizon:
			long = append(long, id)
		case isPlain(b):
			plain = append(plain, id)
			v.isPlain[id/32] |= 1 << (id % 32)
		default:
			rest = append(rest, id)
		}
	}
	v.plain, v.rest, v.long = v.trie(plain), v.trie(rest), v.trie(long)
	return v
}

// maxToken is how long a token may be; longer ones are never drawn.
const maxToken = 1<<16 - 1

func isPlain(b []byte) bool {
	if !utf8.Valid(b) {
		return false
	}
	for _, c := range b {
		if c < ' ' || c == '"' || c == '\\' {
			return false
		}
	}
	return true
}

// trie is a tree of bytes, its nodes in the order in which they are met going
// down first: a child follows its parent.
type trie struct {
	nodes []node
	depth int // of the deepest node
}

type node struct {
	token int32 // that ends here, or -1
	skip  int32 // the first node that is not below this one
	depth uint16
	b     byte
}

// trie arranges these tokens.
func (v *Vocabulary) trie(ids []int32) trie {
	slices.SortFunc(ids, func(a, b int32) int { return bytes.Compare(v.text[a], v.text[b]) })
	var t trie
	var path []int32 // the nodes down to the last one
	var last []byte
	climb := func(depth int) {
		for len(path) > depth {
			t.nodes[path[len(path)-1]].skip = int32(len(t.nodes))
			path = path[:len(path)-1]
		}
	}
	for _, id := range ids {
		b := v.text[id]
		same := 0
		for same < len(b) && same < len(last) && b[same] == last[same] {
			same++
		}
		if same == len(b) { // another token of the same bytes: a leaf beside it
			same--
		}
		climb(same)
		for i := same; i < len(b); i++ {
			path = append(path, int32(len(t.nodes)))
			t.nodes = append(t.nodes, node{token: -1, depth: uint16(i + 1), b: b[i]})
		}
		t.nodes[len(t.nodes)-1].token = id
		t.depth = max(t.depth, len(b))
		last = b
	}
	climb(0)
	return t
}
