package route

import (
	"fmt"
	"math/rand/v2"
	"runtime"
	"testing"

	"github.com/troupe-llm/troupe/actors/plan"
	"github.com/troupe-llm/troupe/actors/wire"
)

// telling is a router that engines have told of conversations: prompts that begin alike, of which each
// engine has some.
func telling(engines, size, prompts, pages, common int) (*Router, func(int) []int32) {
	r := New(size)
	prompt := func(i int) []int32 {
		rnd := rand.New(rand.NewPCG(7, uint64(i)))
		tokens := make([]int32, pages*size)
		for k := common * size; k < len(tokens); k++ {
			tokens[k] = rnd.Int32N(150000)
		}
		return tokens
	}
	for e := range engines {
		r.Join(e)
		for k := range prompts {
			var p wire.Prefixes
			above := uint64(0)
			for tokens := prompt(e*prompts + k); len(tokens) > 0; tokens = tokens[size:] {
				above = plan.HashPage(above, tokens[:size])
				p.Pages = append(p.Pages, wire.Page{Hash: above})
			}
			r.Learn(e, p)
		}
	}
	return r, prompt
}

// What a front spends on a request of 12,000 tokens, of which some engine has the most and all have the
// beginning, and on a page that it is told of; and what it keeps of each.
func BenchmarkRouter(b *testing.B) {
	const size, prompts, pages, common = 16, 3, 750, 64
	for _, engines := range []int{8, 64, 256, 1000} {
		var before, after runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&before)
		r, prompt := telling(engines, size, prompts, pages, common)
		runtime.GC()
		runtime.ReadMemStats(&after)
		kept := float64(after.HeapAlloc-before.HeapAlloc) / float64(r.Known())
		tokens := make([][]int32, 64)
		for i := range tokens {
			tokens[i] = prompt(i * engines * prompts / len(tokens))
		}
		b.Run(fmt.Sprintf("Choose/engines=%d", engines), func(b *testing.B) {
			for i := range b.N {
				if at, cached := r.Choose(tokens[i%len(tokens)]); at < 0 || cached != pages*size {
					b.Fatal(at, cached)
				}
			}
			b.ReportMetric(kept, "B/page")
		})
		told := wire.Prefixes{}
		for i := range 344 { // what a quarter of a second computes
			told.Pages = append(told.Pages, wire.Page{Hash: uint64(i) * 0x9E3779B97F4A7C15})
		}
		gone := wire.Prefixes{}
		for _, p := range told.Pages {
			gone.Pages = append(gone.Pages, wire.Page{Hash: p.Hash, Gone: true})
		}
		b.Run(fmt.Sprintf("Learn/engines=%d", engines), func(b *testing.B) {
			for range b.N {
				r.Learn(engines-1, told)
				r.Learn(engines-1, gone)
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*2*len(told.Pages)), "ns/page")
		})
		b.Run(fmt.Sprintf("Drop/engines=%d", engines), func(b *testing.B) {
			for range b.N {
				r.Learn(0, wire.Prefixes{Pages: told.Pages[:1]}) // so that there is something to look for
				b.StartTimer()
				r.Join(0)
				b.StopTimer()
			}
		})
	}
}
