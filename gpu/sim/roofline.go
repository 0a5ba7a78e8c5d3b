package sim

import (
	"math"
	"time"

	"github.com/troupe-llm/troupe/gpu/batch"
	"github.com/troupe-llm/troupe/gpu/model"
)

// Roofline says how long a step takes: each product and each attention as long
// as its memory traffic or its arithmetic, whichever is more, and beginning
// it; never less than launching it all. It follows the kernels of package
// cuda: with few rows, products that take norms and activations along.
//
// With a mixture of experts a step reads, of every layer, those experts that
// one of its tokens was sent to: on average E·(1 − (1 − k/E)^T) of E, when T
// tokens take k each as if by lot (model.MoE.Touched). So a token alone is
// cheap, and a large step reads everything, which it shares.
type Roofline struct {
	layers                  float64
	products                []product // of a layer; without experts
	head                    product
	moe                     *model.MoE // nil: none
	router                  product    // in a layer
	expert                  []product  // of one expert in a layer
	skinny                  int        // most rows of products that take the rest along
	kvBytes, attentionFLOPs float64    // a position; a token and position; of a layer
	ropeBytes, otherBytes   float64    // activations of a token in a layer: RoPE's, those of norms and of the MLP
	logitBytes              float64    // of a sampled row
	reduceBytes             float64    // a token, all layers
	reduces                 float64
	read, readKV            float64 // bytes a second
	flops, experts          float64 // a second, of products
	attention               float64 // a second
	link                    float64 // bytes a second
	rates                   rates
}

// product is a matrix product on each GPU.
type product struct {
	bytes float64 // of weights
	flops float64 // a row
}

func newRoofline(o *options, c *model.Config, dtype model.DType, by rates) *Roofline {
	tp, width := float64(o.tp), float64(dtype.Size())
	matrix := func(out, in int) product {
		weights := float64(out) * float64(in) / tp
		return product{bytes: weights * width, flops: 2 * weights}
	}
	hidden, heads, all := c.Hidden, c.Heads*c.HeadDim, (c.Heads+2*c.KVHeads)*c.HeadDim
	r := &Roofline{
		rates: by, layers: float64(c.Layers),
		products: []product{matrix(all, hidden), matrix(hidden, heads)},
		head:     matrix(c.Vocab, hidden),
		kvBytes:  float64(c.KVBytesPerToken(dtype)) / float64(c.Layers) / tp, attentionFLOPs: 4 * float64(heads) / tp,
		// Products give float32 to RoPE; two norms read and write the residual
		// stream; the activation reads two and writes one; logits are written
		// and read twice.
		ropeBytes:  (4 + width) * float64(all) / tp,
		otherBytes: width * 4 * float64(hidden),
		logitBytes: 3 * 4 * float64(c.Vocab) / tp,
		read:       o.hw.Read * by.weights, readKV: o.hw.Read * by.kv,
		flops: o.hw.FLOPs * by.products, experts: o.hw.FLOPs * by.experts, attention: o.hw.FLOPs * by.attention,
	}
	if m := c.MoE; m != nil {
		r.moe = m
		r.router = product{width * float64(m.Experts*hidden), 2 * float64(m.Experts*hidden)}
		r.expert = []product{matrix(2*m.Intermediate, hidden), matrix(hidden, m.Intermediate)}
		// A copy of the token for each of its experts, and what they make of
		// it: written and read.
		r.otherBytes += width * float64(m.PerToken) * (4*float64(hidden) + 3*float64(m.Intermediate)/tp)
	} else {
		r.products = append(r.products, matrix(2*c.Intermediate, hidden), matrix(hidden, c.Intermediate))
		r.otherBytes += width * 3 * float64(c.Intermediate) / tp
	}
	r.skinny = 8
	if hidden <= 2048 {
		r.skinny = 16
	}
	if o.tp > 1 {
		// A ring moves 2(n−1)/n of the data over each link, twice a layer.
		r.reduces = float64(2 * c.Layers)
		r.reduceBytes = r.reduces * float64(hidden) * width * 2 * (tp - 1) / tp
		r.link = o.hw.Link * linkShare
	}
	return r
}

// corner is how far the roofline's corner is rounded: reading and arithmetic
// that take as long as each other take 2^(1/corner) as long together.
const corner = 3.0

// multiply is how long a product of so many rows takes, which are shared by so
// many matrices, at so many operations a second.
func (r *Roofline) multiply(p product, rows, matrices, flops float64) float64 {
	return math.Pow(math.Pow(p.bytes*matrices/r.read, corner)+math.Pow(p.flops*rows/flops, corner), 1/corner)
}

// rounded is how many rows products have, so that there are few shapes.
func rounded(rows int) float64 {
	if rows > 256 {
		return float64((rows + 63) &^ 63)
	}
	return float64((rows + 15) &^ 15)
}

// Step is how long the step takes on the device.
func (r *Roofline) Step(s *batch.Step) time.Duration {
	var context, pairs, decoded float64 // positions read; (token, position) pairs
	samples, scores := 0, 0
	for i := range s.Rows {
		row := &s.Rows[i]
		n, start := float64(row.Len()), float64(row.Start)
		if row.Tokens == nil {
			decoded += start + 1
		} else {
			context += start + n
			pairs += n*start + n*(n+1)/2
		}
		if row.Sample {
			samples++
		}
		scores += len(row.Score)
	}
	prompts := len(s.Rows) > s.NumDecode
	tokens := float64(s.NumTokens)

	// A layer. A kernel of products alone takes the time of two: it waits for
	// all it reads, and many split their sums and add them up at the end.
	kernels, starts := 1.0, 1.0 // RoPE
	run := func(n, begun float64) { kernels, starts = kernels+n, starts+begun }
	t := tokens * r.ropeBytes / r.read
	if s.NumTokens <= r.skinny {
		for _, p := range r.products {
			t += p.bytes / r.read
			run(1, 1)
		}
	} else {
		for _, p := range r.products {
			t += r.multiply(p, rounded(s.NumTokens), 1, r.flops)
			run(1, 2)
		}
		t += tokens * r.otherBytes / r.read // which few rows' products take along
		run(1, 1)                           // the norm before attention
		if r.moe == nil {
			run(2, 2) // that behind it, activation
		}
	}
	if r.moe != nil {
		if s.NumTokens <= routedAtOnce {
			t += r.router.bytes / r.read
			run(1, 3)
		} else {
			t += r.multiply(r.router, rounded(s.NumTokens), 1, r.flops)
			run(3, 6) // norm, product, and grouping, which counts and sorts
		}
		for _, p := range r.expert {
			t += r.multiply(p, tokens*float64(r.moe.PerToken), r.moe.Touched(tokens), r.experts)
			run(1, 1)
		}
		run(1, 1) // the sum
	}
	// Decode attention has one query for each page it reads: it is bound by
	// memory. A chunk's attention reads once for all its queries.
	if s.NumDecode > 0 {
		t += r.rates.decode + decoded*r.kvBytes/r.readKV
		kernels, starts = kernels+1, starts+1
	}
	if prompts {
		t += max(context*r.kvBytes/r.readKV, pairs*r.attentionFLOPs/r.attention)
		kernels, starts = kernels+1, starts+1
	}
	t, kernels, starts = t*r.layers, kernels*r.layers, starts*r.layers

	// Beside the layers: what begins a step, embedding, plan.
	kernels, starts = kernels+3, starts+3
	if samples > 0 {
		n := float64(samples)
		if samples <= r.skinny {
			t += r.head.bytes / r.read
		} else {
			t += r.multiply(r.head, n, 1, r.flops)
		}
		t += n * r.logitBytes / r.read
		kernels, starts = kernels+3, starts+3+drawStarts // norm, head, draw
	}
	if scores > 0 { // no step of the fit has any
		n := float64(scores)
		t += r.multiply(r.head, n, 1, r.flops) + n*r.logitBytes/r.read
		run(3, 3) // norm, head, log-probabilities
	}
	if r.reduces > 0 {
		t += r.reduces*reduceStart + tokens*r.reduceBytes/r.link
	}
	t += starts * r.rates.kernel
	if prompts {
		t = max(t, kernels*r.rates.launch)
	} else { // a captured graph
		t += graphLaunch
	}
	return time.Duration(t * 1e9)
}

// drawStarts of kernels that draw tokens.
const drawStarts = 1

// Draw is how much of a step's time the drawing of so many tokens takes.
func (r *Roofline) Draw(samples int) time.Duration {
	return time.Duration((float64(samples)*r.logitBytes/r.read + drawStarts*r.rates.kernel) * 1e9)
}

// routedAtOnce is up to how many tokens one kernel chooses and groups experts.
const routedAtOnce = 32
