package kernel

// Init gives a slot its sampling parameters; Entry writes the page table; Draw
// asks for a token: see begin.cu and sample.cu.
type (
	Init struct {
		Words        Slot
		Slot, Unused int32
	}
	Entry struct{ Slot, Index, Page int32 }
	Draw  struct {
		Allow               Ptr
		Row, Slot, Position int32
		Ahead, Drafts       int16
	}
)

// BeginArgs: see begin.cu.
type BeginArgs struct {
	Inits, Pages, Tokens, Positions, Slots, RowSlots, RowLens, Draws, DrawTokens, Tiles, Spans Ptr

	ToParams, Last, Table, ToTokens, ToPositions, ToSlots, ToRowSlots, ToRowLens, ToDraws, ToDrawTokens, ToTiles, ToSpans, ToCounts, ToResult Ptr

	Result Ptr

	NInits, NPages, NTokens, NRows, NDraws, NTiles, NSpans, TableStride int32
}

var beginKernel = newKernel[BeginArgs]("begin.cu", "begin", nil)

// Begin distributes a step's data.
func Begin(q Queue, a BeginArgs) error {
	most := max(a.NInits, a.NPages, a.NTokens, a.NRows, a.NDraws, a.NTiles, a.NSpans, 1)
	return launch(q, beginKernel, min(ceil(int(most), 256), 256), 1, 256, &a)
}
