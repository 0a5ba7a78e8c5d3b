//go:build cuda

package cuda

import (
	"fmt"
	"strings"
	"testing"

	"github.com/troupe-llm/troupe/gpu/device"
	"github.com/troupe-llm/troupe/gpu/gang"
	"github.com/troupe-llm/troupe/gpu/model"
	"github.com/troupe-llm/troupe/gpu/model/modeltest"
)

// openRanks opens so many ranks, all on the first GPU: streams of one context, whose
// kernels wait for each other. Slow, but all that several GPUs do, one has to.
func openRanks(t testing.TB, spec device.Spec, ranks int) *rig {
	t.Helper()
	require(t)
	names := make([]string, ranks)
	for i := range names {
		names[i] = "cuda:0"
	}
	g, err := gang.Open(spec, names, func(spec device.Spec) (device.Device, error) { return Open(spec) })
	if err != nil {
		return openRig(t, nil, err)
	}
	return openRig(t, g, nil)
}

// compiles says whether every rank's share has kernels.
func compiles(m *model.Model, ranks int) error {
	for rank := range ranks {
		s, err := m.Share(rank, ranks)
		if err != nil {
			return err
		}
		p := s.Config.Program
		if _, err := compile(p, &machine{shape: shapeOf(p), meetings: unmet(&device.Rank{Index: rank, Ranks: ranks})}); err != nil {
			return err
		}
	}
	return nil
}

// Checkpoints shared by two ranks on one GPU: as near to transformers as by
// themselves, with graphs and without, one step at a time and two.
func TestRanksOnOneGPU(t *testing.T) {
	require(t)
	for _, c := range append(modeltest.All(t), modeltest.Families(t)...) {
		m, ref := c.Open(t), c.Reference(t)
		c.Adjust(m, &ref)
		if err := compiles(m, 2); err != nil {
			t.Logf("%s: %v", c.Name, err)
			continue
		}
		for _, graphs := range []bool{true, false} {
			t.Run(fmt.Sprintf("%s/graphs=%v", c.Name, graphs), func(t *testing.T) {
				spec := device.Spec{Model: m, Slots: max(8, len(ref.Cases)), MaxStepTokens: 1024, NumPages: 1024, PageSize: 16}
				if !graphs {
					spec.GraphRows = -1
				}
				r := openRanks(t, spec, 2)
				d := distances{within: tolerance, margins: map[string][]float64{}}
				if mixed(&m.Config) || c.Name == "qwen2" {
					d.within = widest
				}
				if strings.Contains(c.Name, "families/") {
					d.within = quantized
				}
				d.allow(c, m)
				d.rerouting = mixed(&m.Config)
				how := (*rig).inTurn
				if graphs {
					how = (*rig).ahead
				}
				compare(t, r, ref.Cases, 64, how, &d)
				d.report(t)
			})
		}
	}
}
