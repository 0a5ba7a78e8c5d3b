package bench

import (
	"slices"
	"strings"

	"github.com/troupe-llm/troupe/gpu/device"
	"github.com/troupe-llm/troupe/gpu/model"
)

// Limit is what the hardware allows requests that come at once: every prompt
// computed, all keys and values read for each token, all weights read for each
// step, one after the other and nothing else.
type Limit struct {
	Read             float64 `json:"read_bytes_per_s"`
	FLOPs            float64 `json:"flops"` // a second, of matrix products
	PromptsS         float64 `json:"prompts_s"`
	KVS              float64 `json:"kv_s"`
	WeightsS         float64 `json:"weights_s"`
	OutputThroughput float64 `json:"output_throughput"`
}

// peak is what hardware was measured to do at most.
type peak struct {
	name        string  // a part of the hardware's
	read, flops float64 // a second: bytes of memory; of products of large matrices
}

var peaks = []peak{{"H200", 4.43e12, 790e12}}

// limitOf is the limit of requests by their tokens in and out; nil where the
// hardware's rates are not known.
//
// A step holds as many requests as are left, the longest first; there are as
// many as the longest has tokens, and those that prompts fill. Of experts a step
// reads what as many tokens are expected to meet.
func limitOf(c *model.Config, dev device.Info, in, out []int) *Limit {
	at := slices.IndexFunc(peaks, func(p peak) bool { return strings.Contains(dev.Hardware, p.name) })
	if at < 0 || len(in) == 0 || len(in) > dev.Slots || strings.Contains(dev.Name, "speed=") {
		return nil
	}
	l := &Limit{Read: peaks[at].read, FLOPs: peaks[at].flops}
	size := float64(dev.DType.Size())
	var prompts, all, positions float64
	for i, n := range in {
		prompts += float64(n)
		all += float64(out[i])
		// A token of a prompt attends over those before it and itself.
		l.PromptsS += (float64(c.FLOPsPerToken())*float64(n) + float64(c.AttentionFLOPs(n*(n+1)/2)) + float64(c.HeadFLOPs())) / l.FLOPs
		decodes := out[i] - 1 // the first came from the prompt
		positions += float64(decodes)*float64(n) + float64(decodes)*float64(decodes+1)/2
	}
	l.KVS = positions * float64(c.KVBytesPerToken(dev.DType)) / l.Read
	// Of experts' weights those of one token are in FLOPsPerToken.
	dense := float64(c.FLOPsPerToken()+c.HeadFLOPs()) / 2
	var experts float64
	if m := c.MoE; m != nil {
		experts = float64(c.ExpertParams())
		dense -= experts * float64(m.PerToken)
	}
	pass := func(tokens int) float64 {
		weights := dense
		if c.MoE != nil {
			weights += experts * c.MoE.Touched(float64(tokens))
		}
		return weights * size / l.Read
	}
	for left := int(prompts); left > 0; left -= dev.MaxStepTokens {
		l.WeightsS += pass(min(left, dev.MaxStepTokens))
	}
	longest := slices.Sorted(slices.Values(out))
	for j, done := 1, 0; j < longest[len(longest)-1]; j++ {
		for done < len(longest) && longest[done] <= j {
			done++
		}
		l.WeightsS += pass(len(longest) - done)
	}
	l.OutputThroughput = all / (l.PromptsS + l.KVS + l.WeightsS)
	return l
}
