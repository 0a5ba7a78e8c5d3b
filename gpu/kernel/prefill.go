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

// SplitKeys is how many positions of a row's history deterministic attention adds up in one
// piece, by Hopper's kernel. Short pieces let more multiprocessors share a row that
// decodes; of a prompt each costs as much as one or two blocks of keys.
const SplitKeys = 1024

// MostParts is how many pieces a step may have that blocks share; rows beyond have each of
// their heads added up by one, to the same bits.
const MostParts = 1024

// Tile is work of prefill attention: see prefill.cuh.
type Tile struct {
	Slot, Token, Position, Tokens, Pair, Split, Part int32
}

// splits says that prefill attention adds up in pieces.
func (s Shape) splits() bool { return s.Invariant && s.HopperAttention() }

// AppendTiles cuts a run of tokens into tiles: of a slot, the token of the
// step it begins at, its position, and how many tokens it has.
func (s Shape) AppendTiles(dst []Tile, slot, token, position, tokens int) []Tile {
	for pair := 0; pair < tokens*s.Heads/s.KVHeads; pair += prefillRows {
		dst = append(dst, Tile{Slot: int32(slot), Token: int32(token), Position: int32(position), Tokens: int32(tokens), Pair: int32(pair)})
	}
	return dst
}

// AppendSplits cuts one token's history into tiles, if the shape has splits, there are several
// and parts for all of them, from the one given on; taken says how many.
func (s Shape) AppendSplits(dst []Tile, slot, token, position, part int) (list []Tile, taken int) {
	n := position/SplitKeys + 1
	if !s.splits() || n == 1 || part+n > MostParts {
		return s.AppendTiles(dst, slot, token, position, 1), 0
	}
	for i := range n {
		dst = append(dst, Tile{Slot: int32(slot), Token: int32(token), Position: int32(position), Tokens: 1, Split: int32(1 + i), Part: int32(part + i)})
	}
	return dst, n
}

// SplitScratch is the bytes that PrefillArgs' Kept, Parts and Arrived take; 0: there are no
// splits. Arrived must be zeroed once.
func (s Shape) SplitScratch() (kept, parts, arrived int64) {
	if !s.splits() {
		return 0, 0, 0
	}
	group := s.Heads / s.KVHeads
	return int64(s.Hopper) * 4 * 256 * int64(s.HeadDim/2+4), 4 * MostParts * int64(s.KVHeads*group*(s.HeadDim+8)), 4 * MostParts * int64(s.KVHeads)
}

// MostTiles is how many tiles so many tokens of so many runs are at most.
func (s Shape) MostTiles(tokens, runs int) int {
	n := tokens*s.Heads/s.KVHeads/prefillRows + min(tokens, runs)
	if s.splits() {
		n += MostParts
	}
	return n
}

// SortTiles puts those that look at most keys first, so that the last blocks
// to start are short.
func (s Shape) SortTiles(tiles []Tile) {
	keys := func(t Tile) int {
		if t.Split > 0 {
			return min(SplitKeys, int(t.Position+1-(t.Split-1)*SplitKeys))
		}
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

	Kept, Parts, Arrived Ptr // see SplitScratch
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
