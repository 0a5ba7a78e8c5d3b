package kernel

import "fmt"

// TurnArgs: see store.cu.
type TurnArgs struct {
	X, Angles, Positions                 Ptr
	Tokens, Heads, HeadDim, Dims, Stride int32
}

// StoreArgs: see store.cu.
type StoreArgs struct {
	Keys, Values, Positions, Slots, Table, KV Ptr // Values 0: the leading elements of keys
	Scales                                    Ptr // of codes; 0: KV is bf16

	Tokens, Heads, Dim, PageSize, TableStride, KeyStride, ValueStride int32
	KeyScale, ValueScale                                              float32
}

// WidenArgs: see store.cu.
type WidenArgs struct {
	KV, Scales, Spans, Count, Table, Out Ptr // Count: i32, of spans
	Heads, Dim, PageSize, TableStride    int32
	Window                               int32 // 0: all positions
}

// QueriesArgs: see store.cu.
type QueriesArgs struct {
	X, Y                  Ptr
	Tokens, Width, Stride int32
}

var (
	turnKernel    = newKernel[TurnArgs]("store.cu", "rope", nil)
	storeKernel   = newKernel[StoreArgs]("store.cu", "store", nil)
	widenKernel   = newKernel[WidenArgs]("store.cu", "widen_pages", nil)
	queriesKernel = newKernel[QueriesArgs]("store.cu", "round_queries", nil)
)

// Turn turns heads in place.
func Turn(q Queue, a TurnArgs) error {
	if a.Dims <= 0 || a.Dims%2 != 0 || a.Dims > a.HeadDim {
		return fmt.Errorf("kernel rope: %d elements of heads of %d", a.Dims, a.HeadDim)
	}
	return launch(q, turnKernel, ceil(int(a.Tokens)*int(a.Heads)*int(a.Dims/2), 256), 1, 256, &a)
}

// Store enters keys and values into pages.
func Store(q Queue, a StoreArgs) error {
	if a.Dim <= 0 || a.Dim%8 != 0 || a.KeyStride%4 != 0 || a.ValueStride%4 != 0 {
		return fmt.Errorf("kernel store: heads of %d in rows of %d and %d", a.Dim, a.KeyStride, a.ValueStride)
	}
	sides := 2
	if a.Values == 0 {
		sides = 1
	}
	return launch(q, storeKernel, ceil(int(a.Tokens)*sides*int(a.Heads)*int(a.Dim/8), 256), 1, 256, &a)
}

// WidenPages makes bf16 of the pages of codes that some spans look at, at most so many.
func WidenPages(q Queue, a WidenArgs, spans int) error {
	if a.Dim <= 0 || a.Dim%16 != 0 {
		return fmt.Errorf("kernel widen_pages: heads of %d", a.Dim)
	}
	a.Window = window(a.Window)
	most := min(spans, 16)
	return launch(q, widenKernel, max(32, ceil(1024, max(most, 1))), most, 256, &a)
}

// RoundQueries leaves queries as attention reads them.
func RoundQueries(q Queue, a QueriesArgs) error {
	if a.Width%8 != 0 || a.Stride%4 != 0 {
		return fmt.Errorf("kernel round_queries: %d in rows of %d", a.Width, a.Stride)
	}
	return launch(q, queriesKernel, ceil(int(a.Tokens)*int(a.Width/8), 256), 1, 256, &a)
}
