package ngram

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
)

// find is Find, the dumb way: from the end, wherever the last tokens were before.
func find(tokens []int32) (at, long int) {
	for long := Longest; long >= Shortest; long-- {
		for end := len(tokens) - 1; end >= long && len(tokens) > long; end-- {
			if slices.Equal(tokens[end-long:end], tokens[len(tokens)-long:]) {
				return end, long
			}
		}
	}
	return 0, 0
}

// Whatever a sequence is made of, and by how many tokens at a time it is read, the
// index finds what looking at all of it finds.
func TestFindsWhatLookingFinds(t *testing.T) {
	found, lengths := 0, map[int]int{}
	for seed := range uint64(200) {
		rng := rand.New(rand.NewPCG(seed, 0))
		var x Index
		var tokens []int32
		vocab := 1 + rng.IntN(1<<rng.IntN(10))
		for len(tokens) < 600 {
			if n := len(tokens); n > 0 && rng.IntN(10) == 0 { // it repeats itself
				at := rng.IntN(n)
				tokens = append(tokens, tokens[at:min(n, at+rng.IntN(20))]...)
			} else {
				tokens = append(tokens, int32(rng.IntN(vocab)))
			}
			if rng.IntN(3) == 0 {
				continue
			}
			x.Read(tokens, len(tokens))
			at, long := x.Find(tokens)
			if want, wantLong := find(tokens); at != want || long != wantLong {
				t.Fatalf("seed %d, after %d tokens: %d, of %d tokens; want %d, of %d", seed, len(tokens), at, long, want, wantLong)
			}
			if long > 0 {
				found++
				lengths[long]++
			}
		}
		for i := range x.tables {
			if tab := &x.tables[i]; 2*tab.taken > len(tab.slots) || len(tab.slots) > max(least, 4*len(tokens)) {
				t.Errorf("seed %d: %d of %d slots are taken, of %d tokens", seed, tab.taken, len(tab.slots), len(tokens))
			}
		}
	}
	if found < 10000 || len(lengths) != Longest-Shortest+1 {
		t.Errorf("only %d found, by length %v: the test has lost its teeth", found, lengths)
	}
}

func TestDraftGoesOnOverAgain(t *testing.T) {
	tokens := []int32{9, 1, 2, 3, 1, 2, 3}
	for n, want := range [][]int32{{}, {1}, {1, 2}, {1, 2, 3}, {1, 2, 3, 1}, {1, 2, 3, 1, 2}} {
		if got := Draft(nil, tokens, 4, n); !slices.Equal(got, want) {
			t.Errorf("%d tokens: %v, want %v", n, got, want)
		}
	}
	if got := Draft([]int32{7}, []int32{5, 5, 5}, 2, 3); !slices.Equal(got, []int32{7, 5, 5, 5}) {
		t.Errorf("behind others: %v", got)
	}
}

func BenchmarkIndex(b *testing.B) {
	for _, n := range []int{1 << 10, 1 << 17} {
		tokens := make([]int32, n)
		rng := rand.New(rand.NewPCG(1, 2))
		for i := range tokens {
			tokens[i] = int32(rng.IntN(1000))
		}
		b.Run(fmt.Sprintf("read and find/%d", n), func(b *testing.B) {
			var x Index
			for i := range b.N {
				if i%n == 0 {
					x = Index{}
				}
				x.Read(tokens, i%n+1)
				x.Find(tokens[:i%n+1])
			}
		})
	}
}
