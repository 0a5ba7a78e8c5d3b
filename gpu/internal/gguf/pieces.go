package gguf

import (
	"bytes"
	"cmp"
	"math"
	"slices"
	"unicode/utf8"
)

// mark stands for a space in SentencePiece's tokens.
const mark = "▁"

// sentencePiece is a tokenizer whose tokens are characters and, where there are none,
// bytes. Its merges follow from the tokens and their scores.
func (v *vocabulary) sentencePiece() ([]byte, error) {
	if m, is := v.f.Metadata["tokenizer.ggml.precompiled_charsmap"]; is && m.Len() > 0 {
		v.faults.Unsupportedf("metadata: \"tokenizer.ggml.precompiled_charsmap\": normalization by a table is not supported")
	}
	tokens, cuts := slices.Clone(v.tokens), 0
	unknown := ""
	for id, t := range tokens {
		cuts += len(t) * len(t)
		switch v.kind(id) {
		case tokenUser: // stored with spaces
			tokens[id] = bytes.ReplaceAll(t, []byte{' '}, []byte(mark))
		case tokenUnknown:
			unknown = string(t)
		}
	}
	if cuts > maxCuts {
		v.faults.Addf("metadata: \"tokenizer.ggml.tokens\": so many long tokens are too much to look for merges in")
	}
	if id, ok := v.whole("tokenizer.ggml.unknown_token_id"); ok && id >= 0 && id < len(tokens) {
		unknown = string(tokens[id])
	}
	if unknown == "" && slices.ContainsFunc(tokens, func(t []byte) bool { return string(t) == "<unk>" }) {
		unknown = "<unk>"
	}
	model := part{"type": "BPE", "fuse_unk": true, "byte_fallback": true}
	if unknown != "" {
		model["unk_token"] = unknown
	}
	toMark := part{"type": "Replace", "pattern": part{"String": " "}, "content": mark}
	normalizer, decoder := toMark, []part{{"type": "Replace", "pattern": part{"String": mark}, "content": " "}, {"type": "ByteFallback"}, {"type": "Fuse"}}
	if space, ok := v.truth("tokenizer.ggml.add_space_prefix"); !ok || space {
		normalizer = sequence("Sequence", "normalizers", part{"type": "Prepend", "prepend": mark}, toMark)
		decoder = append(decoder, part{"type": "Strip", "content": " ", "start": 1, "stop": 0})
	}
	if err := v.faults.Err(); err != nil {
		return nil, err
	}
	return v.assemble(normalizer, nil, v.around(true), sequence("Sequence", "decoders", decoder...), model, tokens, v.mergesOf(tokens))
}

// merge is two tokens that are a third together.
type merge struct {
	left, right, whole int
	cut, rest          int // characters of each
}

// mergesOf are all ways to make a token of two, the best tokens first: those that a
// user defined, whatever their score here, by their parts alone; then those of the
// highest score, of equal ones the first. Of a token those with the longest left part
// come first. It is how merges are made of SentencePiece's models for tokenizer.json.
func (v *vocabulary) mergesOf(tokens [][]byte) func(yield func(left, right []byte) bool) {
	ids := make(map[string]int, len(tokens))
	for id, t := range tokens {
		if _, twice := ids[string(t)]; !twice && !v.filler(id) {
			ids[string(t)] = id
		}
	}
	var all []merge
	for id, t := range tokens {
		if v.kind(id) == tokenByte || v.kind(id) == tokenControl || v.filler(id) {
			continue
		}
		cut, characters := 0, utf8.RuneCount(t)
		for at := range string(t) {
			if at > 0 {
				left, is := ids[string(t[:at])]
				right, are := ids[string(t[at:])]
				if is && are {
					all = append(all, merge{left, right, id, cut, characters - cut})
				}
			}
			cut++
		}
	}
	score := func(id int) float64 {
		switch {
		case v.kind(id) == tokenUser:
			return math.Inf(1)
		case v.scores == nil:
			return 0
		}
		return v.scores[id]
	}
	slices.SortStableFunc(all, func(a, b merge) int {
		byID := cmp.Compare(a.whole, b.whole)
		if v.kind(a.whole) == tokenUser && v.kind(b.whole) == tokenUser {
			byID = cmp.Or(cmp.Compare(b.cut, a.cut), cmp.Compare(b.rest, a.rest), byID)
		}
		return cmp.Or(cmp.Compare(score(b.whole), score(a.whole)), byID, cmp.Compare(b.cut, a.cut))
	})
	return func(yield func(left, right []byte) bool) {
		for _, m := range all {
			if !yield(tokens[m.left], tokens[m.right]) {
				return
			}
		}
	}
}
