package kernel

import (
	"strings"
	"testing"
)

// last is a queue that keeps what was launched last.
type last struct{ launched Launch }

func (q *last) Launch(l Launch) error {
	q.launched = l
	return nil
}

// Few bytes are sent, many are read from other ranks' memory; no grid has more blocks
// than fit.
func TestReduceChooses(t *testing.T) {
	inbox := [MaxRanks]Ptr{1}
	for _, c := range []struct {
		name   string
		ranks  int32
		sum    Sum
		kernel string
		grid   int
	}{
		{"a row", 2, Sum{Inbox: inbox, Half: 1, X: 1, Vectors: 640}, "push", 3},
		{"as many as an inbox holds", 2, Sum{Inbox: inbox, Half: 1, X: 1, Vectors: SlotBytes / 16}, "push", 264},
		{"one more", 2, Sum{Inbox: inbox, Half: 1, X: 1, Vectors: SlotBytes/16 + 1}, "reduce_add", 128},
		{"float32", 2, Sum{Inbox: inbox, Vectors: SlotBytes / 32}, "push_floats", 264},
		{"more of them", 2, Sum{Inbox: inbox, Vectors: SlotBytes/32 + 1}, "reduce", 128},
		{"no inbox", 4, Sum{Half: 1, X: 1, Vectors: 64}, "reduce_add", 1},
		{"no inbox, many", 4, Sum{Half: 1, X: 1, Vectors: 1 << 20}, "reduce", 128},
	} {
		q, l := &last{}, Links{Ranks: c.ranks, Blocks: 264}
		if err := Reduce(q, &l, c.sum); err != nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		if got := q.launched; got.Kernel.Name != c.kernel || got.Grid[0] != c.grid {
			t.Errorf("%s: %s in %d blocks, want %s in %d", c.name, got.Kernel.Name, got.Grid[0], c.kernel, c.grid)
		}
	}
}

// Two crossings are worth it where ranks are many and so are bytes.
func TestTwoShot(t *testing.T) {
	for _, c := range []struct {
		ranks, vectors, want int32
	}{{2, SlotBytes / 16, 0}, {4, 64 * 640, 1}, {4, 32 * 640, 0}, {8, 16 * 640, 1}, {8, 8 * 640, 0}} {
		q, l := &last{}, Links{Ranks: c.ranks, Blocks: 264}
		if err := Reduce(q, &l, Sum{Inbox: [MaxRanks]Ptr{1}, Half: 1, X: 1, Vectors: c.vectors}); err != nil {
			t.Fatal(err)
		}
		if a := (*PushArgs)(q.launched.Args); a.TwoShot != c.want {
			t.Errorf("%d ranks, %d vectors: two_shot %d, want %d", c.ranks, c.vectors, a.TwoShot, c.want)
		}
	}
}

func TestReduceNormTakes(t *testing.T) {
	inbox := [MaxRanks]Ptr{1}
	for _, c := range []struct {
		sum  Sum
		want string // kernel; "": refused
		grid int
	}{
		{Sum{Inbox: inbox, Half: 1, X: 1, Vectors: 3 * 640, Hidden: 5120}, "push_norm", 3},
		{Sum{Inbox: inbox, Half: 1, X: 1, Vectors: 300 * 896, Hidden: 7168}, "push_norm", 264},
		{Sum{Inbox: inbox, Half: 1, X: 1, Vectors: 300 * 1024, Hidden: 8192}, "push_norm_wide", 132},
		{Sum{Inbox: inbox, Half: 1, X: 1, Vectors: 2048, Hidden: 16384}, "", 0},
		{Sum{Inbox: inbox, X: 1, Vectors: 640, Hidden: 5120}, "", 0},
		{Sum{Inbox: inbox, Half: 1, X: 1, Vectors: 641, Hidden: 5120}, "", 0},
		{Sum{Half: 1, X: 1, Vectors: 640, Hidden: 5120}, "", 0},
	} {
		q, l := &last{}, Links{Ranks: 2, Blocks: 264}
		err := ReduceNorm(q, &l, c.sum)
		switch {
		case c.want == "" && (err == nil || !strings.Contains(err.Error(), "rows are multiples of 8")):
			t.Errorf("%+v: %v", c.sum, err)
		case c.want != "" && (err != nil || q.launched.Kernel.Name != c.want || q.launched.Grid[0] != c.grid):
			t.Errorf("%d vectors of %d: %v, %v in %v blocks, want %s in %d", c.sum.Vectors, c.sum.Hidden, err, q.launched.Kernel, q.launched.Grid, c.want, c.grid)
		}
	}
}

func TestRanksChecked(t *testing.T) {
	for _, l := range []Links{{Ranks: 1, Blocks: 9}, {Ranks: 9, Blocks: 9}, {Ranks: 2, Rank: 2, Blocks: 9}, {Ranks: 2}} {
		if err := Reduce(&last{}, &l, Sum{}); err == nil || !strings.Contains(err.Error(), "there may be 2 to 8 ranks") {
			t.Errorf("%+v: %v", l, err)
		}
	}
}
