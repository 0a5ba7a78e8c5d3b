package grammar

import (
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

// TestMarked holds texts with and without markers, some of which are in each
// other, against a search for them.
func TestMarked(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for range 60 {
		var markers []string
		for range 1 + rng.IntN(4) {
			markers = append(markers, draw(rng, "ab<", 1+rng.IntN(5)))
		}
		ending := rng.IntN(len(markers)+1) - 1
		e, ok := marked(nil, markers, ending)
		if !ok {
			t.Fatal(markers)
		}
		if e.op == opNever { // another marker always comes first
			continue
		}
		measure(e)
		a := newAutomaton(e)
		for range 100 {
			s := draw(rng, "ab<é", rng.IntN(14))
			at, met := firstMarker(s, markers)
			want := met < 0
			if ending >= 0 {
				want = met == ending && at == len(s)
			}
			if got := a.takes(s); got != want {
				t.Fatalf("%q, %d of %q: let through: %v", s, ending, markers, got)
			}
		}
	}
}

func draw(rng *rand.Rand, of string, n int) string {
	var b strings.Builder
	for range n {
		all := []rune(of)
		b.WriteRune(all[rng.IntN(len(all))])
	}
	return b.String()
}

// firstMarker is where the first marker of a text ends, and which it is; -1:
// there is none.
func firstMarker(s string, markers []string) (end, which int) {
	for end := range len(s) + 1 {
		met := func(m string) bool { return strings.HasSuffix(s[:end], m) }
		if i := slices.IndexFunc(markers, met); i >= 0 {
			return end, i
		}
	}
	return 0, -1
}
