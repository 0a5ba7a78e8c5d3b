package cpu

import (
	"cmp"
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

// histogram counts tokens by how far they are from the likeliest. All three
// filters keep the best tokens of one order (descending logit, ascending id),
// so each is a cut in it; the histogram says in which bucket the cut lies, and
// only that bucket is sorted.
type histogram struct {
	logits, weights []float32
	top, scale      float32
	count           [buckets]int
	mass            [buckets]float64
}

// cut is the last token kept.
type cut struct {
	logit float32
	id    int32
}

func (c cut) keeps(logit float32, id int) bool {
	return logit > c.logit || (logit == c.logit && int32(id) <= c.id)
}

func (h *histogram) bucket(logit float32) int {
	if d := (h.top - logit) * h.scale * perBucket; d < buckets-1 {
		return int(d)
	}
	return buckets - 1
}

func (h *histogram) fill() {
	for i, w := range h.weights {
		if w > 0 {
			b := h.bucket(h.logits[i])
			h.count[b]++
			h.mass[b] += float64(w)
		}
	}
}

// find returns the cut that keeps the fewest tokens that are at least count,
// or weigh at least mass, and what they weigh. Not found: everything is kept.
func (h *histogram) find(count int, mass float64) (c cut, kept float64, found bool) {
	b, n := 0, 0
	for ; b < buckets; b++ {
		if n+h.count[b] >= count || kept+h.mass[b] >= mass {
			break
		}
		n += h.count[b]
		kept += h.mass[b]
	}
	if b == buckets {
		return c, kept, false
	}
	var ids []int32
	for i, z := range h.logits {
		if h.weights[i] > 0 && h.bucket(z) == b {
			ids = append(ids, int32(i))
		}
	}
	slices.SortFunc(ids, func(i, j int32) int {
		return cmp.Or(cmp.Compare(h.logits[j], h.logits[i]), cmp.Compare(i, j))
	})
	for _, i := range ids {
		c = cut{h.logits[i], i}
		n++
		if kept += float64(h.weights[i]); n >= count || kept >= mass {
			break
		}
	}
	return c, kept, true
}

// filter zeroes the weights of the tokens that top-k, then top-p of what is
// left, then min-p remove, and returns the sum of the others.
func filter(logits, weights []float32, s *batch.Sampling, top, scale float32, total float64) float64 {
	n := len(logits)
	cuts := make([]cut, 0, 2)
	if topP := s.TopP > 0 && s.TopP < 1; topP || (s.TopK > 0 && int(s.TopK) < n) {
		h := &histogram{logits: logits, weights: weights, top: top, scale: scale}
		h.fill()
		if s.TopK > 0 && int(s.TopK) < n {
			if c, kept, ok := h.find(int(s.TopK), 2*total); ok {
				cuts, total = append(cuts, c), kept
			}
		}
		if topP {
			if c, _, ok := h.find(n+1, float64(s.TopP)*total); ok {
				cuts = append(cuts, c)
			}
		}
	}
	total = 0
	for i, w := range weights {
		keep := w >= s.MinP
		for _, c := range cuts {
			keep = keep && c.keeps(logits[i], i)
		}
		if keep {
			total += float64(w)
		} else {
			weights[i] = 0
		}
	}
	return total
}
