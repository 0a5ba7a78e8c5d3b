package kernel

import (
	"cmp"
	"slices"
)

const prefillRows = 128

// prefillKeys is how many keys and values prefill attention takes at once.
func (s Shape) prefillKeys() int {
	switch {
	case s.HeadDim > 192:
		return 16
	case s.wide():
		return 32
	}
	return 64
}

// Tile is work of prefill attention: see prefill.cuh.
type Tile struct {
	Slot, Token, Position, Tokens, Pair int32
}

// AppendTiles cuts a run of tokens into tiles: of a slot, the token of the
// step it begins at, its position, and how many tokens it has.
func (s Shape) AppendTiles(dst []Tile, slot, token, position, tokens int) []Tile {
	for pair := 0; pair < tokens*s.Heads/s.KVHeads; pair += prefillRows {
		dst = append(dst, Tile{int32(slot), int32(token), int32(position), int32(tokens), int32(pair)})
	}
	return dst
}

// MostTiles is how many tiles so many tokens of so many runs are at most.
func (s Shape) MostTiles(tokens, runs int) int {
	return tokens*s.Heads/s.KVHeads/prefillRows + min(tokens, runs)
}

// SortTiles puts those that look at most keys first, so that the last blocks
// to start are short.
func (s Shape) SortTiles(tiles []Tile) {
	keys := func(t Tile) int {
		return int(t.Position) + min(int(t.Tokens), (int(t.Pair)+prefillRows)*s.KVHeads/s.Heads)
	}
	slices.SortStableFunc(tiles, func(a, b Tile) int { return cmp.Compare(keys(b), keys(a)) })
}

// PrefillArgs: see prefill.cuh and prefill.cu.
type PrefillArgs struct {
	Q, KV, Table, Tiles, Count, Out Ptr // Count: i32, of tiles

	Sinks       Ptr // 0: none
	TableStride int32
	Scale       float32
	Window      int32 // 0: all positions
}

var prefillKernel = newKernel[PrefillArgs]("prefill.cu", "paged_prefill", func(s Shape) int {
	return s.Stages * 2 * s.prefillKeys() * (2*s.HeadDim + 16)
})

// prefillHopperKernel is faster in every class that was timed: see its source.
var prefillHopperKernel = newKernel[PrefillArgs]("prefill_hopper.cu", "paged_prefill_hopper", func(s Shape) int {
	ring := 3
	if s.HeadDim == 128 {
		ring = 2
	}
	return 1024 + (2+2*ring)*2*prefillRows*s.HeadDim + 256
})

// PagedPrefill is attention of runs of new tokens, in at most so many tiles.
func PagedPrefill(q Queue, s Shape, a PrefillArgs, tiles int) error {
	a.Window = window(a.Window)
	if s.HopperAttention() {
		return launch(q, prefillHopperKernel, min(s.Hopper, tiles*s.KVHeads), 1, 384, &a)
	}
	return launch(q, prefillKernel, tiles, s.KVHeads, 256, &a)
}
