package route

import (
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/troupe-llm/troupe/actors/wire"
)

// Whatever engines tell, in whatever order, each is believed to have of a prompt what a plain set of
// its pages says.
func TestRouterAgainstSets(t *testing.T) {
	const size, kinds = 4, 6
	for _, engines := range []int{3, 70, 130} {
		rnd := rand.New(rand.NewPCG(3, uint64(engines)))
		prompt := func() []int32 { // few kinds of pages, so that prefixes are common
			var tokens []int32
			for range rnd.IntN(5) {
				kind := int32(rnd.IntN(kinds))
				tokens = append(tokens, kind, kind, kind, kind)
			}
			return append(tokens, make([]int32, rnd.IntN(size))...)
		}
		r := New(size)
		has := make([]map[uint64]bool, engines)
		seq := make([]uint64, engines)
		for i := range engines {
			r.Join(i)
			has[i] = map[uint64]bool{}
		}
		for range 4000 {
			at := rnd.IntN(engines)
			switch what := rnd.IntN(200); {
			case what == 0: // all there is
				clear(has[at])
				r.hash(prompt())
				p := wire.Prefixes{Seq: 1, Whole: true}
				for _, hash := range r.hashes {
					p.Pages = append(p.Pages, wire.Page{Hash: hash})
					has[at][hash] = true
				}
				r.Learn(at, p)
			case what == 1:
				clear(has[at])
				r.Join(at)
			default: // some pages, also such as it has or has not already
				r.hash(prompt())
				seq[at]++
				p := wire.Prefixes{Seq: seq[at]}
				for _, hash := range r.hashes {
					gone := rnd.IntN(3) == 0
					p.Pages = append(p.Pages, wire.Page{Hash: hash, Gone: gone})
					if has[at][hash] = true; gone {
						delete(has[at], hash)
					}
				}
				r.Learn(at, p)
				if r.Seq(at) != seq[at] {
					t.Fatalf("engine %d is known up to change %d, want %d", at, r.Seq(at), seq[at])
				}
			}
			tokens := prompt()
			r.look(tokens)
			for i := range engines {
				want := slices.IndexFunc(r.hashes, func(hash uint64) bool { return !has[i][hash] })
				if want < 0 {
					want = len(r.hashes)
				}
				if int(r.depths[i]) != want {
					t.Fatalf("%d pages of %v are believed to be on engine %d of %d, want %d", r.depths[i], tokens, i, engines, want)
				}
			}
		}
		total := 0
		for i := range has {
			total += len(has[i])
			if len(has[i]) != r.holders.pages[i] {
				t.Errorf("engine %d of %d is counted with %d pages, has %d", i, engines, r.holders.pages[i], len(has[i]))
			}
			r.Join(i)
		}
		if n := len(r.holders.of); n > 0 || len(r.holders.spare) != len(r.holders.sets) || total == 0 {
			t.Errorf("when all %d engines have joined again, of %d pages %d are known, and %d sets of %d are in use",
				engines, total, n, len(r.holders.sets)-len(r.holders.spare), len(r.holders.sets))
		}
	}
}
