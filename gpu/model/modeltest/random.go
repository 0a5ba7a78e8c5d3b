package modeltest

import (
	"encoding/binary"
	"encoding/json"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/troupe-llm/troupe/gpu/model"
	"github.com/troupe-llm/troupe/gpu/program"
)

// Config is the configuration that config.json with these fields gives.
func Config(t testing.TB, fields map[string]any) model.Config {
	t.Helper()
	data, err := json.Marshal(fields)
	if err != nil {
		t.Fatal(err)
	}
	c, err := model.ParseConfig(data, "config.json")
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// Random is a model of random bf16 weights, scaled so that activations and
// logits are around 1.
func Random(r *rand.Rand, c model.Config) *model.Model {
	var slots []*model.Slot
	for _, w := range c.Program.Weights {
		if w.Tied != nil {
			continue
		}
		s := &model.Slot{Weight: w}
		for _, p := range w.Parts {
			s.Sources = append(s.Sources, model.Source{Part: p, Tensor: random(r, w, &p)})
		}
		slots = append(slots, s)
	}
	return &model.Model{Name: "random", Config: c, Weights: model.NewWeights(slots...)}
}

// random is a tensor for a part. Parts of one tensor get one each: what others
// have of it is never looked at.
func random(r *rand.Rand, w *program.Weight, p *program.Part) *model.Tensor {
	mean, deviation := 0.0, 1.5/math.Sqrt(float64(w.In()))
	switch w.Init {
	case program.Ones:
		mean, deviation = 1-float64(w.Plus), 0.3
	case program.Zeros:
		deviation = 0.3
	}
	n := 1
	for _, d := range p.Shape {
		n *= d
	}
	t := &model.Tensor{Name: p.Tensor, Encoding: model.Plain(model.BFloat16), Shape: p.Shape, Data: make([]byte, 0, 2*n)}
	for range n {
		v := float32(mean + deviation*r.NormFloat64())
		t.Data = binary.LittleEndian.AppendUint16(t.Data, uint16(math.Float32bits(v)>>16))
	}
	return t
}
