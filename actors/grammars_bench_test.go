package actors

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/troupe-llm/troupe/tokenize/grammar"
)

// BenchmarkShortBesideGrammars is how long a short prompt takes from Submit to its
// last token, alone and while another client brings 16 schemas at a time that are
// much to compile, each a new one; and how long a request with a small schema of
// its own takes meanwhile. The toy device computes nothing.
func BenchmarkShortBesideGrammars(b *testing.B) {
	costly := func(n int) *grammar.Spec {
		var all []string
		for i := range 24 {
			all = append(all, fmt.Sprintf(`{"properties":{"p%d":{"type":"integer"}},"additionalProperties":{"type":"string"}}`, i))
		}
		return grammar.Schema([]byte(fmt.Sprintf(`{"title":"%d","oneOf":[%s]}`, n, strings.Join(all, ","))))
	}
	for _, beside := range []bool{false, true} {
		b.Run(map[bool]string{false: "alone", true: "beside"}[beside], func(b *testing.B) {
			s := textSystem(b, Config{}, letters(b))
			collect(b, submit(b, s, &Request{Text: "hello", MaxTokens: 1, Grammar: grammar.Regex("[a-y]+")}))
			ctx, stop := context.WithCancel(context.Background())
			defer stop()
			var wg sync.WaitGroup
			if beside {
				for i := range 16 {
					wg.Go(func() {
						for n := i; ctx.Err() == nil; n += 16 {
							collect(b, submit(b, s, flooding(&Request{Text: "hello", MaxTokens: 1, Grammar: costly(n)})))
						}
					})
				}
			}
			var plain, small []time.Duration
			timed := func(r *Request) time.Duration {
				at := time.Now()
				collect(b, submit(b, s, r))
				return time.Since(at)
			}
			n := 0
			for b.Loop() {
				n++
				plain = append(plain, timed(&Request{Text: "hello there", MaxTokens: 1, IgnoreEOS: true}))
				small = append(small, timed(&Request{Text: "hello there", MaxTokens: 1, Grammar: grammar.Regex(fmt.Sprintf("[a-y]{1,%d}", n))}))
			}
			stop()
			wg.Wait()
			for name, took := range map[string][]time.Duration{"plain": plain, "small-schema": small} {
				slices.SortFunc(took, func(x, y time.Duration) int { return cmp.Compare(x, y) })
				b.ReportMetric(float64(took[len(took)/2].Microseconds()), name+"-median-µs")
				b.ReportMetric(float64(took[len(took)-1].Microseconds()), name+"-worst-µs")
			}
		})
	}
}

// flooding has a request come from another client.
func flooding(r *Request) *Request {
	r.Client = "flood"
	return r
}
