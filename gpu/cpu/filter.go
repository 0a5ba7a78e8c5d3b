package cpu

import (
	"cmp"
	"math"
	"slices"

	"github.com/troupe-llm/troupe/gpu/batch"
)

// filters reports whether top-k, top-p or min-p removes anything from n tokens.
func filters(s *batch.Sampling, n int) bool {
	return (s.TopK > 0 && int(s.TopK) < n) || (s.TopP > 0 && s.TopP < 1) || s.MinP > 0
}

// buckets of the histogram: 1/32 nat each, so that the last begins where a
// token has e⁻³² of the likeliest one's weight.
const (
	buckets   = 1024
	perBucket = 32
)

// filter counts tokens by how far they are from the likeliest. All three
// filters keep the best tokens of one order (descending logit, ascending id),
// so each is a cut in it; the histogram says in which bucket the cut lies, and
// only that bucket is sorted.
type filter struct {
	count  [buckets]int
	mass   [buckets]float64
	bucket []uint16 // of every token
	ids    []int32  // of the bucket being sorted
}

// cut is the last token kept.
type cut struct {
	logit float32
	id    int32
}

// apply zeroes the weights of the tokens that top-k, then top-p of what is
// left, then min-p remove, and returns the sum of the others. Weights are
// exp((logits−top)·scale), their sum is total.
func (f *filter) apply(logits, weights []float32, s *batch.Sampling, top, scale float32, total float64) float64 {
	n := len(logits)
	topK, topP := s.TopK > 0 && int(s.TopK) < n, s.TopP > 0 && s.TopP < 1
	last := cut{float32(math.Inf(-1)), int32(n)}
	if topK || topP {
		f.fill(logits, weights, top, scale)
	}
	if topK {
		if c, kept, ok := f.find(logits, weights, int(s.TopK), math.Inf(1)); ok {
			last, total = c, kept
		}
	}
	if topP {
		if c, _, ok := f.find(logits, weights, n+1, float64(s.TopP)*total); ok && c.before(last) {
			last = c
		}
	}
	total = 0
	for i, w := range weights {
		if z := logits[i]; w < s.MinP || z < last.logit || (z == last.logit && int32(i) > last.id) {
			weights[i] = 0
		} else {
			total += float64(w)
		}
	}
	return total
}

func (c cut) before(d cut) bool {
	return c.logit > d.logit || (c.logit == d.logit && c.id < d.id)
}

func (f *filter) fill(logits, weights []float32, top, scale float32) {
	clear(f.count[:])
	clear(f.mass[:])
	f.bucket = slices.Grow(f.bucket[:0], len(logits))[:len(logits)]
	scale *= perBucket
	for i, z := range logits {
		b := uint16(buckets - 1)
		if d := (top - z) * scale; d < buckets-1 {
			b = uint16(d)
		}
		f.bucket[i] = b
		f.count[b]++
		f.mass[b] += float64(weights[i])
	}
}

// find returns the cut that keeps the fewest tokens that are at least count or
// weigh at least mass, and what they weigh. Not found: everything is kept.
func (f *filter) find(logits, weights []float32, count int, mass float64) (c cut, kept float64, found bool) {
	b, n := 0, 0
	for ; b < buckets && n+f.count[b] < count && kept+f.mass[b] < mass; b++ {
		n += f.count[b]
		kept += f.mass[b]
	}
	if b == buckets {
		return c, kept, false
	}
	f.ids = f.ids[:0]
	for i, of := range f.bucket {
		if of == uint16(b) {
			f.ids = append(f.ids, int32(i))
		}
	}
	slices.SortFunc(f.ids, func(i, j int32) int {
		return cmp.Or(cmp.Compare(logits[j], logits[i]), cmp.Compare(i, j))
	})
	for _, i := range f.ids {
		c = cut{logits[i], i}
		n++
		if kept += float64(weights[i]); n >= count || kept >= mass {
			break
		}
	}
	return c, kept, true
}
