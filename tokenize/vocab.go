package tokenize

import (
	"bytes"
	"fmt"
	"unicode/utf8"
)

// vocab maps token strings to ids and back. Strings lie in one block, and the
// map is an open-addressing table of ids: no pointer for the collector to
// follow, no string header per token.
type vocab struct {
	text  []byte   // all token strings, one after another
	start []uint32 // by id: where its string starts in text
	size  []uint32 // by id: its length; 0 for an id without a token
	slots []int32  // id+1, 0 = free; len is a power of two
	count int      // used slots
}

func newVocab(hint int) *vocab {
	n := 64
	for n < 2*hint {
		n *= 2
	}
	return &vocab{slots: make([]int32, n)}
}

func hashBytes(b []byte) uint64 {
	h := uint64(len(b)) * 0x9E3779B97F4A7C15
	for len(b) >= 8 {
		w := uint64(b[0]) | uint64(b[1])<<8 | uint64(b[2])<<16 | uint64(b[3])<<24 |
			uint64(b[4])<<32 | uint64(b[5])<<40 | uint64(b[6])<<48 | uint64(b[7])<<56
		h = (h ^ w) * 0xD6E8FEB86659FD93
		h ^= h >> 32
		b = b[8:]
	}
	for _, c := range b {
		h = (h ^ uint64(c)) * 0x100000001B3
	}
	h ^= h >> 29
	h *= 0x9E3779B97F4A7C15
	return h ^ h>>32
}

// bytes returns the string of an id, nil when there is none.
func (v *vocab) bytes(id int32) []byte {
	if id < 0 || int(id) >= len(v.start) || v.size[id] == 0 {
		return nil
	}
	s := v.start[id]
	return v.text[s : s+v.size[id] : s+v.size[id]]
}

// len is one more than the largest id.
func (v *vocab) len() int { return len(v.start) }

func (v *vocab) lookup(s []byte) (int32, bool) {
	mask := uint64(len(v.slots) - 1)
	for i := hashBytes(s) & mask; ; i = (i + 1) & mask {
		id := v.slots[i] - 1
		if id < 0 {
			return -1, false
		}
		if int(v.size[id]) == len(s) && bytes.Equal(v.text[v.start[id]:v.start[id]+v.size[id]], s) {
			return id, true
		}
	}
}

// A vocabulary may be no larger: tables are made by id, and what stands at a place of
// a text is found by following its bytes through a token. Published ones have up to
// 262,208 ids, 2.3 MB of text and tokens of 256 bytes.
const (
	maxIDs        = 1 << 22
	maxTokenBytes = 1 << 11
	maxVocabBytes = 1 << 24
)

// check tells why a token cannot be taken.
func (v *vocab) check(s []byte, id int) error {
	switch {
	case id < 0 || id >= maxIDs:
		return fmt.Errorf("token %.40q has the id %d; ids from 0 to %d are taken", s, id, maxIDs-1)
	case !utf8.Valid(s):
		return fmt.Errorf("token %.40q, id %d, is not UTF-8", s, id)
	case len(s) > maxTokenBytes:
		return fmt.Errorf("token %.40q…, id %d, is %d bytes long; at most %d are taken", s, id, len(s), maxTokenBytes)
	case len(v.text)+len(s) > maxVocabBytes:
		return fmt.Errorf("the tokens have more than %d bytes in all", maxVocabBytes)
	}
	return nil
}

// add binds s, which check passed, to id. It reports false when s has another id
// already, or id another string.
func (v *vocab) add(s []byte, id int32) bool {
	if len(s) == 0 {
		return true // can never be matched, and decodes to nothing
	}
	if have, ok := v.lookup(s); ok {
		return have == id
	}
	for int(id) >= len(v.start) {
		v.start = append(v.start, 0)
		v.size = append(v.size, 0)
	}
	if v.size[id] != 0 {
		return false
	}
	v.start[id] = uint32(len(v.text))
	v.size[id] = uint32(len(s))
	v.text = append(v.text, s...)
	if v.count++; 2*v.count > len(v.slots) {
		v.grow()
	} else {
		v.place(id)
	}
	return true
}

func (v *vocab) place(id int32) {
	mask := uint64(len(v.slots) - 1)
	i := hashBytes(v.bytes(id)) & mask
	for v.slots[i] != 0 {
		i = (i + 1) & mask
	}
	v.slots[i] = id + 1
}

func (v *vocab) grow() {
	v.slots = make([]int32, 2*len(v.slots))
	for id := range v.start {
		if v.size[id] != 0 {
			v.place(int32(id))
		}
	}
}
