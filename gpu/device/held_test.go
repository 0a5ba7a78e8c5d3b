package device

import (
	"maps"
	"testing"

	"github.com/troupe-llm/troupe/gpu/model"
	"github.com/troupe-llm/troupe/gpu/model/modeltest"
)

// Of 320 inputs one of two ranks has 128, which can be in FP8, and the other 192, which
// cannot: so neither has them in FP8.
func TestHeldByAll(t *testing.T) {
	m := &model.Model{Config: modeltest.Config(t, map[string]any{
		"architectures": []string{"Qwen3ForCausalLM"}, "hidden_size": 128, "intermediate_size": 320, "num_hidden_layers": 2, "num_attention_heads": 4,
		"num_key_value_heads": 2, "head_dim": 64, "vocab_size": 640, "rms_norm_eps": 1e-6, "rope_theta": 1e6, "max_position_embeddings": 4096,
	})}
	var held []model.Held
	for rank := range 2 {
		share, err := m.Share(rank, 2)
		if err != nil {
			t.Fatal(err)
		}
		h, err := HeldOnGPU(share, "", model.FP8, Hopper)
		if err != nil {
			t.Fatal(err)
		}
		held = append(held, h)
	}
	if !maps.Equal(held[0].Own, held[1].Own) {
		t.Errorf("rank 0 holds %v otherwise, rank 1 %v", held[0].Own, held[1].Own)
	}
	if fp8 := model.ByOutput(model.Float8); held[0].Own["layers.0.o"] != fp8 || held[0].Own["layers.0.qkv"] != fp8 {
		t.Errorf("held otherwise: %v", held[0].Own)
	}
}
