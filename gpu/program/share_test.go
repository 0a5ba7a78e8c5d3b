package program

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

// What two ranks run of the small program: half of 4 heads over 2, of 24 columns and
// of 50 tokens whole units of 8 and 16; sums where they are needed whole.
func TestShare(t *testing.T) {
	p := small(t)
	var shares []*Share
	for rank := range 2 {
		s, err := p.Share(rank, 2, 8)
		if err != nil {
			t.Fatal(err)
		}
		shares = append(shares, s)
		const want = "embed all_reduce norm qkv qkv_bias norm norm rope store attention o all_reduce add norm gate_up gate down all_reduce add gather norm head all_gather"
		if got := list(s.Ops); got != want {
			t.Errorf("rank %d:\n got %s\nwant %s", rank, got, want)
		}
	}
	table := func(s *Share) string {
		var lines []string
		for _, w := range s.Weights {
			parts := ""
			for _, p := range w.Parts {
				parts += fmt.Sprintf(" %d+%d", p.First, p.Rows)
				if p.Column > 0 {
					parts += fmt.Sprintf(" from %d", p.Column)
				}
			}
			lines = append(lines, fmt.Sprintf("%s %v %s%s", w.Name, w.Shape, s.Cuts[w], parts))
		}
		return strings.Join(lines, "\n")
	}
	// qkv is one tensor of 16 queries, 8 keys and 8 values.
	const want = `embed [34 16] vocabulary 16+34
attn_norm [16] replicated 0+16
qkv [16 16] outputs 8+8 20+4 28+4
qkv_bias [16] outputs 8+8 20+4 28+4
q_norm [4] replicated 0+4
k_norm [4] replicated 0+4
o [16 8] inputs 0+16 from 8
mlp_norm [16] replicated 0+16
gate_up [32 16] outputs 8+16 32+16
down [16 16] inputs 0+16 from 8
norm [16] replicated 0+16
head [34 16] vocabulary 16+34`
	if got := table(shares[1]); got != want {
		t.Errorf("rank 1 has\n%s\nwant\n%s", got, want)
	}
	e := shares[1].Ops[0].(*Embed)
	if e.First != 16 || e.Vocab != 50 || e.Table.Out() != 34 || shares[1].Weights[11].Tied != e.Table {
		t.Errorf("%+v", e)
	}
	if c := shares[1].Caches[0]; c.Heads != 1 || c.KeyDim != 4 {
		t.Errorf("%+v", c)
	}
	if l := shares[1].Logits; l.Width != 50 || l.Rows != Sampled {
		t.Errorf("logits %s", l)
	}
}

// Heads that do not divide are refused by name.
func TestShareRefuses(t *testing.T) {
	if _, err := small(t).Share(0, 3, 0); err == nil || err.Error() != "attention: 4 heads cannot be shared by 3" {
		t.Error(err)
	}
}

// Key heads go where their query heads are: against a plain look at each.
func TestHeadsOf(t *testing.T) {
	for _, c := range []struct{ heads, keys, ranks int }{{8, 8, 4}, {8, 2, 2}, {8, 2, 4}, {8, 2, 8}, {6, 2, 3}, {12, 3, 2}, {12, 3, 4}, {40, 8, 5}} {
		var all []int
		for rank := range c.ranks {
			query, key := headsOf(c.heads, c.keys, rank, c.ranks)
			for i, h := range query {
				if got, want := key[i/(len(query)/len(key))], h/(c.heads/c.keys); got != want {
					t.Errorf("%+v, rank %d: head %d looks at %d, want %d", c, rank, h, got, want)
				}
			}
			all = append(all, query...)
		}
		for i, h := range all {
			if i != h {
				t.Fatalf("%+v: ranks have heads %v", c, all)
			}
		}
	}
}

// Rows cut out of a part are its rows, whatever blocks it is taken in.
func TestPartRows(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	for range 2000 {
		block := 1 + r.IntN(5)
		p := Part{Rows: 1 + r.IntN(20), First: r.IntN(4), Block: block, Stride: block + r.IntN(4)}
		lo := r.IntN(p.Rows + 1)
		hi := lo + r.IntN(p.Rows-lo+1)
		var got, want []int
		for _, one := range p.rows(lo, hi) {
			for i := range one.Rows {
				got = append(got, one.Row(i))
			}
		}
		for i := lo; i < hi; i++ {
			want = append(want, p.Row(i))
		}
		if !slices.Equal(got, want) {
			t.Fatalf("rows %d to %d of %+v are %v, want %v", lo, hi, p, got, want)
		}
	}
}

// Shares of all ranks are one behind the other, none is empty, and units stay
// whole where there are enough.
func TestEven(t *testing.T) {
	for n := 1; n < 200; n++ {
		for ranks := 1; ranks <= min(n, 9); ranks++ {
			for _, unit := range []int{1, 8, 32} {
				at := 0
				for rank := range ranks {
					r := even(n, rank, ranks, unit)
					if r.At != at || r.N <= 0 || n >= unit*ranks && r.At%unit != 0 {
						t.Fatalf("rank %d of %d has %v of %d in units of %d", rank, ranks, r, n, unit)
					}
					at += r.N
				}
				if at != n {
					t.Fatalf("%d of %d shared by %d", at, n, ranks)
				}
			}
		}
	}
}
