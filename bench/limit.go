package bench

import (
	"cmp"
	"slices"
	"strings"

	"github.com/troupe-llm/troupe/gpu/device"
	"github.com/troupe-llm/troupe/gpu/model"
	"github.com/troupe-llm/troupe/gpu/program"
)

// Limit is how long requests that come at once must take: in steps that are
// computed one after the other, each op as long as moving weights, keys and
// values takes or computing, whichever is longer, and nothing else
// (program.Program.Limit). Prompts come first, packed into steps of the most
// tokens; then steps of one token for each request that is left. Of devices that
// share a model it is one's, which waits for nobody.
type Limit struct {
	Read  float64 `json:"read_bytes_per_s"`
	FLOPs float64 `json:"flops"`               // a second, of matrix products
	Codes float64 `json:"fp8_flops,omitempty"` // of those with weights in FP8, if there are any
	// PromptsS is what the steps of prompts take, KVS attention in the others,
	// with the storing of keys and values, WeightsS all else in these.
	PromptsS         float64 `json:"prompts_s"`
	KVS              float64 `json:"kv_s"`
	WeightsS         float64 `json:"weights_s"`
	OutputThroughput float64 `json:"output_throughput"`
}

// peak is what hardware was measured to do at most.
type peak struct {
	name        string  // a part of the hardware's
	read, flops float64 // a second: bytes of memory; of products of large matrices
	codes       float64 // of those of FP8
}

var peaks = []peak{{"H200", 4.43e12, 790e12, 1500e12}}

// limitOf is the limit of requests by their tokens in and out; nil where the
// hardware's rates are not known.
func limitOf(c *model.Config, dev device.Info, in, out []int) *Limit {
	at := slices.IndexFunc(peaks, func(p peak) bool { return strings.Contains(dev.Hardware, p.name) })
	changed := strings.Contains(dev.Name, "speed=") || strings.Contains(dev.Name, "tp=")
	if at < 0 || len(in) == 0 || len(in) > dev.Slots || changed {
		return nil
	}
	ops := c.Program
	if dev.Ranks > 1 {
		share, err := ops.Share(0, dev.Ranks, 0)
		if err != nil {
			return nil
		}
		ops = share.Program
	}
	l := &Limit{Read: peaks[at].read, FLOPs: peaks[at].flops}
	held := dev.Weights()
	sizes := held.Sizes(cmp.Or(dev.KVDType, dev.DType))
	if dev.Held != nil {
		l.Codes = peaks[at].codes
		sizes.Speed = func(w *program.Weight) float64 {
			if !held.Codes(w).FP8() || w.Experts() > 1 { // those of experts are multiplied in bfloat16
				return 1
			}
			return l.Codes / l.FLOPs
		}
	}
	pass := func(p *program.Pass) (cached, others float64) { return ops.Limit(p, &sizes, l.Read, l.FLOPs) }
	for _, p := range promptPasses(in, dev.MaxStepTokens) {
		cached, others := pass(p)
		l.PromptsS += cached + others
	}
	tokens := 0
	for _, n := range out {
		tokens += n
	}
	for j := range slices.Max(out) - 1 { // the first came from the prompt
		cached, others := pass(decodePass(in, out, j))
		l.KVS += cached
		l.WeightsS += others
	}
	l.OutputThroughput = float64(tokens) / (l.PromptsS + l.KVS + l.WeightsS)
	return l
}

// promptPasses are prompts of so many tokens one after the other, in steps of
// most tokens. The last token of each is looked at.
func promptPasses(in []int, most int) (all []*program.Pass) {
	var spans []program.Span
	room, ended := most, 0
	end := func() {
		all = append(all, program.NewPass(spans, ended))
		spans, room, ended = nil, most, 0
	}
	for _, n := range in {
		for start := 0; start < n; {
			now := min(n-start, room)
			spans = append(spans, program.Span{Start: start, Tokens: now})
			if start, room = start+now, room-now; start == n {
				ended++
			}
			if room == 0 {
				end()
			}
		}
	}
	if len(spans) > 0 {
		end()
	}
	return all
}

// decodePass is the step behind j others of a token for each request that is
// left.
func decodePass(in, out []int, j int) *program.Pass {
	var spans []program.Span
	for i, n := range in {
		if out[i] > j+1 {
			spans = append(spans, program.Span{Start: n + j, Tokens: 1})
		}
	}
	return program.NewPass(spans, len(spans))
}
