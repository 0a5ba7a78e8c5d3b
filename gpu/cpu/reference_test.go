package cpu

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/troupe-llm/troupe/gpu/batch"
	"github.com/troupe-llm/troupe/gpu/device"
	"github.com/troupe-llm/troupe/gpu/model"
	"github.com/troupe-llm/troupe/gpu/model/modeltest"
)

// What transformers says in float32 and how close to it is close enough.
const (
	tolerance = 2e-3
	// tie is the margin below which a greedy difference proves nothing.
	tie = 2 * tolerance
)

// Every checkpoint in float32, alone and batched, with every instruction set: logits,
// log-probabilities and greedy ids. Quantised ones are exact, too.
func TestReferences(t *testing.T) {
	for _, c := range append(modeltest.All(t), modeltest.Families(t)...) {
		if raceDetector && c.Name != "qwen3" && c.Name != "llama3" {
			continue
		}
		m, ref := c.Open(t), c.Reference(t)
		c.Adjust(m, &ref)
		for _, k := range variants() {
			if k == &portable && len(variants()) > 1 && (c.Name != "qwen3" || raceDetector) {
				continue // slow, and the same bits as the others
			}
			if strings.Contains(c.Name, "families/") && k.name != choose().name {
				continue // the same bits, as the models before show
			}
			t.Run(fmt.Sprintf("%s/%s", c.Name, k.name), func(t *testing.T) {
				r := newRig(t, device.Spec{Model: m, DType: model.Float32, Slots: len(ref.Cases), MaxStepTokens: 1024}, k, 2)
				worst := 0.0
				// Alone, then all in one step.
				for i := range ref.Cases {
					worst = max(worst, generate(t, r, ref.Cases[i:i+1]))
				}
				worst = max(worst, generate(t, r, ref.Cases))
				t.Logf("largest difference %.1e", worst)
			})
		}
	}
}

// Below the original length LongRoPE's other frequencies count.
func TestShortLongRoPE(t *testing.T) {
	for _, c := range modeltest.Families(t) {
		if !strings.HasSuffix(c.Name, "families/phi3") {
			continue
		}
		m, ref := c.Open(t), c.Reference(t)
		ref.Cases = slices.DeleteFunc(ref.Cases, func(c modeltest.Case) bool { return len(c.PromptIDs)+len(c.GreedyIDs) > 64 })
		generate(t, newRig(t, device.Spec{Model: m, DType: model.Float32, Slots: len(ref.Cases), MaxSeqLen: 64}, choose(), 2), ref.Cases)
	}
}

// generate prefills all cases in one step, decodes them together two steps
// ahead, and returns the largest difference from the references.
func generate(t *testing.T, r *rig, cases []modeltest.Case) float64 {
	t.Helper()
	worst := 0.0
	differ := func(got, want float32, what string, at ...any) {
		t.Helper()
		d := math.Abs(float64(got) - float64(want))
		if worst = max(worst, d); d > tolerance || math.IsNaN(d) {
			t.Fatalf(what+": got %v, want %v", append(at, got, want)...)
		}
	}
	step := &batch.Step{}
	for i, c := range cases {
		r.give(step, int32(i), batch.Sampling{Logprobs: 1}, nil)
		r.row(step, int32(i), 0, c.PromptIDs, true)
	}
	res := r.run(step)
	for i, c := range cases {
		for j, want := range c.LastLogits {
			differ(r.logits[int32(i)][j], want, "case %d, logit %d", i, j)
		}
	}
	next := func(n int) *batch.Step {
		s := &batch.Step{}
		for i, c := range cases {
			r.row(s, int32(i), int32(len(c.PromptIDs)+n-1), nil, true)
		}
		return s
	}
	n := len(cases[0].GreedyIDs)
	r.launch(next(1))
	for at := range n {
		for i, c := range cases {
			if at < c.Certain(tie) {
				if res.Tokens[i] != c.GreedyIDs[at] {
					t.Fatalf("case %d: token %d is %d, want %d ", i, at, res.Tokens[i], c.GreedyIDs[at])
				}
				differ(res.Logprobs[i].Token, c.GreedyLogprobs[at], "case %d, log-probability of token %d", i, at)
			}
		}
		if at+2 < n {
			r.launch(next(at + 2))
		}
		if at+1 < n {
			res = r.wait()
		}
	}
	for i := range cases {
		r.free = append(r.free, r.pages[int32(i)]...)
	}
	return worst
}

// Quantised weights as they are held by default (whole numbers as they are, by
// activations of 8 bits), as bfloat16 and as int8, against transformers with the
// values that the files stand for. MXFP4's values are bfloat16's, too.
func TestQuantizedReferences(t *testing.T) {
	for _, c := range modeltest.Families(t) {
		m := c.Open(t)
		if !slices.Contains(model.Quantized, m.Config.DType) || raceDetector {
			continue
		}
		for _, dtype := range []model.DType{"", model.BFloat16, model.Int8} {
			t.Run(c.Name+"/"+string(dtype), func(t *testing.T) {
				ref := c.Reference(t)
				differ(t, device.Spec{Model: m, DType: dtype}, &ref)
			})
		}
	}
}
