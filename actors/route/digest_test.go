package route

import (
	"maps"
	"math/rand/v2"
	"testing"

	"github.com/troupe-llm/troupe/actors/plan"
	"github.com/troupe-llm/troupe/actors/wire"
)

// However often somebody asks, who applies what is new knows what is there.
func TestDigest(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	d := Digest{}
	type reader struct {
		every int // rounds
		wire.Known
		wholes, told int
	}
	readers := []*reader{{every: 1}, {every: 7}, {every: 900}}
	for round := range 3000 {
		c := plan.Changes{Cleared: rnd.IntN(700) == 0}
		for range rnd.IntN(60) {
			hash := rnd.Uint64N(4000)
			_, there := d.has[hash] // as a tree has it: a page joins when it is not there, and leaves when it is
			already := false
			for _, p := range c.Pages {
				already = already || p.Hash == hash
			}
			if !already && (!c.Cleared || !there) {
				c.Pages = append(c.Pages, plan.PageChange{Hash: hash, Gone: there})
			}
		}
		d.Apply(c)
		for _, r := range readers {
			if round%r.every != 0 {
				continue
			}
			p := d.Since(r.Seq)
			if r.told += len(p.Pages); p.Whole {
				r.wholes++
			}
			if r.Apply(p); !maps.Equal(r.Pages, d.has) {
				t.Fatalf("round %d, asked every %d: %d pages are known, %d there", round, r.every, len(r.Pages), len(d.has))
			}
		}
	}
	if n := readers[0].wholes; n == 0 || n > 30 || readers[2].wholes < 3 {
		t.Errorf("all was told %d times to who always asks, %d times to who seldom does", n, readers[2].wholes)
	}
	if got := d.Since(1 << 40); !got.Whole { // of another engine's life
		t.Errorf("who knows more than there was is told %+v", got)
	}
}
