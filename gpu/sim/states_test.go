package sim

import (
	"slices"
	"strings"
	"testing"

	"github.com/troupe-llm/troupe/gpu/batch"
	"github.com/troupe-llm/troupe/gpu/device"
	"github.com/troupe-llm/troupe/gpu/model"
	"github.com/troupe-llm/troupe/gpu/model/modeltest"
)

// A state goes where it is copied to: whoever starts from that of another history
// is refused, whoever starts from its own draws the same; and copies take time.
func TestStatesAreCopied(t *testing.T) {
	c := modeltest.Config(t, map[string]any{
		"architectures": []string{"Qwen3_5ForCausalLM"}, "model_type": "qwen3_5_text", "hidden_act": "silu", "dtype": "bfloat16",
		"hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 2, "vocab_size": 320, "max_position_embeddings": 64,
		"num_attention_heads": 2, "num_key_value_heads": 1, "head_dim": 32, "rms_norm_eps": 1e-6, "layer_types": []string{"linear_attention", "full_attention"},
		"linear_conv_kernel_dim": 4, "linear_key_head_dim": 16, "linear_num_key_heads": 2, "linear_num_value_heads": 4, "linear_value_head_dim": 16,
		"rope_parameters": map[string]any{"rope_type": "default", "rope_theta": 10000.0, "partial_rotary_factor": 0.25},
	})
	e, err := New(device.Spec{Device: "sim:h200", Model: &model.Model{Config: c}, Slots: 4, PageSize: 4, NumPages: 256, MaxSeqLen: 64, MaxStepTokens: 32})
	if err != nil {
		t.Fatal(err)
	}
	if e.info.Snapshots < 2 || e.info.StateBytes != 4*c.Program.StateElements() {
		t.Fatalf("%+v: want snapshots", e.info)
	}
	prompt := []int32{5, 6, 7, 8, 9, 10}
	first := prefill(1, 0, 0, []int32{0, 1}, prompt[:4])
	first.Saves = []batch.StateCopy{{Slot: 0, Snapshot: 1}}
	rest := prefill(2, 0, 4, nil, prompt[4:])
	rest.Slots = nil
	want := mustRun(t, e, first, rest, decode(3, 0, 6))[1:]

	again := prefill(4, 1, 4, []int32{0, 2}, prompt[4:])
	again.Restores = []batch.StateCopy{{Slot: 1, Snapshot: 1}}
	other := prefill(6, 2, 0, []int32{7}, []int32{1, 2, 3, 4})
	other.Saves = []batch.StateCopy{{Slot: 2, Snapshot: 0}}
	if got := mustRun(t, e, again, decode(5, 1, 6), other); !slices.Equal(got[:2], want) {
		t.Errorf("from a snapshot: %v, want %v", got[:2], want)
	}
	plain := *again
	plain.Restores = nil
	if with, without := e.roof.Step(again), e.roof.Step(&plain); with <= without {
		t.Errorf("a step with a copy takes %v, without %v", with, without)
	}
	again.Seq, again.Restores[0].Snapshot = 7, 0
	if _, err := e.Run(again, new(batch.Result)); err == nil || !strings.Contains(err.Error(), "not what the slot's history left there") {
		t.Errorf("from another's state: %v", err)
	}
}
