package sim

import (
	"time"

	"github.com/troupe-llm/troupe/gpu/batch"
	"github.com/troupe-llm/troupe/gpu/model"
)

// Roofline says how long a step takes: each part as long as its memory traffic
// or its arithmetic, whichever is more, and never less than launching it.
//
// With a mixture of experts a step reads, of every layer, those experts that
// one of its tokens was sent to: on average E·(1 − (1 − k/E)^T) of E, when T
// tokens take k each as if by lot (model.MoE.Touched). So a token alone is
// cheap, and a large step reads everything, which it shares.
type Roofline struct {
	layerBytes, headBytes   float64    // of weights, on each GPU; without experts
	expertBytes             float64    // of one expert in every layer, on each GPU
	moe                     *model.MoE // nil: none
	layerFLOPs, headFLOPs   float64    // a token, a sampled row
	kvBytes, attentionFLOPs float64    // a position; a token and position
	tokenBytes              float64    // activations written and read
	reduceBytes             float64    // a token, all layers
	kernels, reduces        float64
	read, flops, attention  float64 // a second
	link                    float64 // bytes a second
}

func newRoofline(o *options, c *model.Config, dtype model.DType) *Roofline {
	tp := float64(o.tp)
	width := float64(dtype.Size())
	head := float64(c.Vocab) * float64(c.Hidden) * width
	layers := float64(c.WeightBytes(dtype)) - head // what is left beside the head…
	if !c.TieEmbedding {
		layers -= head // …and an embedding, of which a step reads a few rows
	}
	inner := c.Intermediate // of a token, in a layer
	if c.MoE != nil {
		inner = c.MoE.PerToken * c.MoE.Intermediate
	}
	r := &Roofline{
		layerBytes: layers / tp, headBytes: head / tp,
		layerFLOPs: float64(c.FLOPsPerToken()) / tp, headFLOPs: float64(c.HeadFLOPs()) / tp,
		kvBytes: float64(c.KVBytesPerToken(dtype)) / tp, attentionFLOPs: float64(c.AttentionFLOPs(1)) / tp,
		read: o.hw.Read * readShare, flops: o.hw.FLOPs * flopsShare, attention: o.hw.FLOPs * flopsShare * attentionShare,
		kernels: float64(c.Layers*layerKernels + otherKernels),
	}
	// What kernels beside the products read and write: the residual stream in
	// two norms, heads in RoPE, the activation's inputs and output.
	r.tokenBytes = width * float64(c.Layers) * (8*float64(c.Hidden) +
		float64(2*(c.Heads+2*c.KVHeads)*c.HeadDim+3*inner)/tp)
	if m := c.MoE; m != nil {
		r.moe = m
		r.expertBytes = float64(c.ExpertParams()) * width / tp
		r.layerBytes -= float64(m.Experts) * r.expertBytes
		r.kernels += float64(c.Layers * routeKernels)
		// A copy of the token for each of its experts, and what they make of
		// it: written and read.
		r.tokenBytes += width * float64(c.Layers*m.PerToken) * 4 * float64(c.Hidden)
	}
	if o.tp > 1 {
		// A ring moves 2(n−1)/n of the data over each link, twice a layer.
		r.reduces = float64(2 * c.Layers)
		r.reduceBytes = r.reduces * float64(c.Hidden) * width * 2 * (tp - 1) / tp
		r.link = o.hw.Link * linkShare
	}
	return r
}

// Step is how long the step takes on the device.
func (r *Roofline) Step(s *batch.Step) time.Duration {
	var context, pairs, decoded, samples float64 // positions read; (token, position) pairs
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
	}
	tokens := float64(s.NumTokens)
	weights := r.layerBytes
	if r.moe != nil {
		weights += r.moe.Touched(tokens) * r.expertBytes
	}
	t := max(weights/r.read, tokens*r.layerFLOPs/r.flops)
	t += tokens * r.tokenBytes / r.read
	// Decode attention has one query for each page it reads: it is bound by
	// memory. A chunk's attention reads once for all its queries.
	t += decoded * r.kvBytes / r.read
	t += max(context*r.kvBytes/r.read, pairs*r.attentionFLOPs/r.attention)
	if samples > 0 {
		t += max(r.headBytes/r.read, samples*r.headFLOPs/r.flops)
	}
	if r.reduces > 0 {
		t += r.reduces*reduceStart + tokens*r.reduceBytes/r.link
	}
	if len(s.Rows) == s.NumDecode { // a captured graph
		t += graphLaunch + r.kernels*graphKernel
	} else {
		t = max(t+r.kernels*graphKernel, r.kernels*kernelLaunch)
	}
	return time.Duration(t * 1e9)
}
