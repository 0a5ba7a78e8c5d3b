package sim

import (
	"testing"

	"github.com/troupe-llm/troupe/gpu/device"
)

// BenchmarkStep is what pricing a step costs.
func BenchmarkStep(b *testing.B) {
	o, err := parse("sim:h200")
	if err != nil {
		b.Fatal(err)
	}
	for _, name := range []string{"qwen3-0.6b", "qwen3-30b-a3b"} {
		c := &published(b, name).Config
		r := newRoofline(&o, c.Program, &device.Info{DType: c.DType}, measured)
		for what, m := range map[string]measurement{
			"1": {Decodes: 1, Context: 1000}, "256": {Decodes: 256, Context: 1000}, "256+4096": {Decodes: 256, Context: 1000, Prefill: 4096},
		} {
			s := m.step()
			b.Run(name+"/"+what, func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					r.Step(s)
				}
			})
		}
	}
}
