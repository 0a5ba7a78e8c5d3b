//go:build cuda

package cuda

import (
	"encoding/binary"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/troupe-llm/troupe/gpu/batch"
	"github.com/troupe-llm/troupe/gpu/cpu"
	"github.com/troupe-llm/troupe/gpu/device"
	"github.com/troupe-llm/troupe/gpu/model"
	"github.com/troupe-llm/troupe/gpu/model/modeltest"
	"github.com/troupe-llm/troupe/gpu/program"
)

// Models in 4 bits, as their checkpoints have them or rounded while they are loaded, give
// what the processor computes in float32 of the very numbers that these stand for: in
// steps of few tokens and of many, by Hopper's kernels and by portable ones, and with
// inputs in an order that is not their groups'.
func TestInt4Twin(t *testing.T) {
	require(t)
	for _, c := range append(modeltest.Own(t), modeltest.Families(t)...) {
		m, ref := c.Open(t), c.Reference(t)
		spec := device.Spec{Model: m, MaxStepTokens: 2048, NumPages: 4096, Slots: max(8, len(ref.Cases)+1)}
		if m.Config.DType == model.BFloat16 && !strings.Contains(c.Name, "families") {
			spec.DType = model.Int4
		}
		info, err := settle(&spec, hopper)
		if err != nil || mixed(&m.Config) || !strings.Contains(info.Formats(), "int4") {
			continue
		}
		for _, ordered := range []bool{true, false} {
			if !ordered && !strings.HasSuffix(c.Name, "gptq") {
				continue
			}
			own, twin := c.Open(t), c.Open(t)
			if !ordered {
				shuffle(own, rand.New(rand.NewPCG(1, 1)))
				shuffle(twin, rand.New(rand.NewPCG(1, 1)))
			}
			if spec.DType == model.Int4 {
				asInt4(twin, info.Weights())
			}
			t.Run(fmt.Sprintf("%s/%v", c.Name, ordered), func(t *testing.T) {
				var texts [][]int32
				for _, c := range ref.Cases {
					texts = append(texts, slices.Concat(c.PromptIDs, c.GreedyIDs))
				}
				host := spec
				host.Model, host.DType = twin, model.Float32
				d, err := cpu.Open(host)
				want, _ := openRig(t, d, err).score(texts, batch.Sampling{Logprobs: 1}, 2048, ref.Cases[0].PromptIDs)
				for _, attention := range []string{"auto", "portable"} {
					for _, chunk := range []int{3, 2048} {
						s := spec
						s.Model, s.Attention = own, attention
						got, _ := openCUDA(t, s).score(texts, batch.Sampling{Logprobs: 1}, chunk, ref.Cases[0].PromptIDs)
						far := distances{within: withinOf(c.Name).any, rms: 2 * meanWithin}
						for i := range got {
							for j := range got[i] {
								if !far.add(got[i][j].Token, want[i][j].Token) {
									t.Errorf("%s, chunks of %d: text %d, token %d: %v, want %v", attention, chunk, i, j, got[i][j].Token, want[i][j].Token)
								}
							}
						}
						far.report(t)
					}
				}
			})
		}
	}
}

// shuffle gives the inputs of each slot's quantised tensors groups in any order, the
// same ones.
func shuffle(m *model.Model, r *rand.Rand) {
	for _, w := range m.Config.Program.Weights {
		slot := m.Weights.Of(w)
		if slot == nil || len(slot.Sources) == 0 || slot.Sources[0].Tensor.Encoding.Element != model.GPTQ4 {
			continue
		}
		var groups []byte
		for _, i := range r.Perm(w.In()) {
			groups = binary.LittleEndian.AppendUint32(groups, uint32(i/slot.Sources[0].Tensor.Encoding.Columns))
		}
		for i := range slot.Sources {
			slot.Sources[i].Tensor.Groups = groups
		}
	}
}

// asInt4 replaces weights that are to be held in 4 bits by what these stand for.
func asInt4(m *model.Model, held model.Held) {
	for _, w := range m.Config.Program.Weights {
		if held.Codes(w) != program.CodesInGroups {
			continue
		}
		slot, group := m.Weights.Of(w), held.Of(w).Columns
		for i := range slot.Sources {
			s := &slot.Sources[i]
			row, codes := make([]float32, w.In()), make([]uint8, group)
			var data []byte
			for r := range s.Rows {
				s.Read(r, row)
				for at := 0; at < len(row); at += group {
					scale := model.QuantizeInt4(codes, row[at:at+group])
					for _, q := range codes {
						data = binary.LittleEndian.AppendUint32(data, math.Float32bits((float32(q)-8)*scale))
					}
				}
			}
			s.Part = program.Whole(s.Part.Tensor, s.Rows, w.In())
			s.Tensor = &model.Tensor{Name: s.Tensor.Name, Encoding: model.Plain(model.Float32), Shape: []int{s.Rows, w.In()}, Data: data}
		}
	}
}
