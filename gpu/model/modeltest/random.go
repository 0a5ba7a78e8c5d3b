package modeltest

import (
	"encoding/binary"
	"math"
	"math/rand/v2"
	"strings"

	"github.com/troupe-llm/troupe/gpu/model"
)

// Random is a model of random bf16 weights, scaled so that activations and
// logits are around 1.
func Random(r *rand.Rand, c model.Config) *model.Model {
	w := c.Shapes()
	for t := range c.Tensors(w) {
		mean, deviation := 0.0, 1.5/math.Sqrt(float64(t.Shape[len(t.Shape)-1]))
		switch {
		case strings.HasSuffix(t.Name, "norm.weight"):
			mean, deviation = 1, 0.3
		case len(t.Shape) == 1:
			deviation = 0.3
		}
		t.DType, t.Data = model.BFloat16, make([]byte, 0, 2*t.Len())
		for range t.Len() {
			v := float32(mean + deviation*r.NormFloat64())
			t.Data = binary.LittleEndian.AppendUint16(t.Data, uint16(math.Float32bits(v)>>16))
		}
	}
	if c.TieEmbedding {
		w.Head = w.Embed
	}
	return &model.Model{Name: "random", Config: c, Weights: w}
}
