package actors

import (
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"testing"

	"github.com/rs/zerolog"

	"github.com/troupe-llm/troupe/gpu/batch"
	"github.com/troupe-llm/troupe/gpu/cpu"
	"github.com/troupe-llm/troupe/gpu/device"
	"github.com/troupe-llm/troupe/gpu/model"
	"github.com/troupe-llm/troupe/gpu/model/modeltest"
)

// recurrent is a small model of random weights with the layers of Qwen3.5: three
// keep a state, the last one keys and values.
func recurrent(t *testing.T) *model.Model {
	return modeltest.Random(rand.New(rand.NewPCG(5, 6)), modeltest.Config(t, map[string]any{
		"architectures": []string{"Qwen3_5ForCausalLM"}, "model_type": "qwen3_5_text", "hidden_act": "silu", "dtype": "bfloat16",
		"hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 4, "vocab_size": 320, "max_position_embeddings": 512,
		"num_attention_heads": 2, "num_key_value_heads": 1, "head_dim": 32, "partial_rotary_factor": 0.25, "rms_norm_eps": 1e-6,
		"layer_types":            []string{"linear_attention", "linear_attention", "linear_attention", "full_attention"},
		"linear_conv_kernel_dim": 4, "linear_key_head_dim": 16, "linear_num_key_heads": 2, "linear_num_value_heads": 4, "linear_value_head_dim": 16,
		"rope_parameters": map[string]any{"rope_type": "default", "rope_theta": 10000.0, "partial_rotary_factor": 0.25},
	}))
}

// talk runs requests together on the processor, all there at once, and returns
// what each brought and how things stand at the end.
func talk(t *testing.T, open func(*testing.T) *model.Model, cfg Config, requests []*Request) (all []said, st Stats) {
	t.Helper()
	cfg.Log = zerolog.Nop()
	cfg.fill()
	m := open(t)
	s, err := start(cfg, m, nil, func() (device.Device, error) {
		return cpu.Open(device.Spec{Model: m, Slots: cfg.MaxRunningRequests, NumPages: cfg.NumPages, PageSize: cfg.PageSize, MaxStepTokens: cfg.MaxPrefillLength})
	})
	if err != nil {
		t.Fatal(err)
	}
	defer closeSystem(t, s)
	var streams []*Stream
	for _, r := range requests {
		again := *r
		streams = append(streams, submit(t, s, &again))
	}
	for _, stream := range streams {
		all = append(all, read(t, stream))
	}
	return all, s.Stats()
}

// What a request draws, to the bit of its log-probabilities, is what it draws
// alone, also where its sequence carries states: whoever began like it and left a
// snapshot, in chunks of any size, under overlap, and when it is preempted.
func TestStatesAreOnesOwn(t *testing.T) {
	rnd := rand.New(rand.NewPCG(3, 4))
	var requests []*Request
	common := make([]int32, 37)
	for i := range common {
		common[i] = rnd.Int32N(300)
	}
	for i := range 12 { // of three alike, and all begin alike
		prompt := append(slices.Clone(common), int32(i/3), int32(i/6), 5)
		requests = append(requests, &Request{
			Tokens: prompt[:len(prompt)-i/3], MaxTokens: 24, IgnoreEOS: true,
			Sampling: &batch.Sampling{Temperature: 0.8, Seed: uint64(i / 3), Logprobs: 2},
		})
	}
	var want []said
	for _, r := range requests[:1:1] {
		got, _ := talk(t, recurrent, Config{NoOverlap: true}, []*Request{r})
		want = append(want, got...)
	}
	for i := 3; i < len(requests); i += 3 {
		got, _ := talk(t, recurrent, Config{NoOverlap: true}, requests[i:i+1])
		want = append(want, got...)
	}
	var preempted, restored uint64
	for _, cfg := range []Config{
		{},
		{PageSize: 4, MaxPrefillLength: 11, MaxRunningRequests: 5},
		{PageSize: 8, NumPages: 20, MaxRunningRequests: 6, MaxPrefillLength: 30}, // too few: some are preempted
		{PageSize: 4, NumPages: 38, MaxRunningRequests: 8, MaxPrefillLength: 19, Schedule: "prefill-first"},
		{PageSize: 1, MaxPrefillLength: 17, MaxRunningRequests: 8, Cache: "naive"},
	} {
		for _, cfg.NoOverlap = range []bool{false, true} {
			t.Run(fmt.Sprintf("page%d-pages%d-step%d-cache%s-overlap%v", cfg.PageSize, cfg.NumPages, cfg.MaxPrefillLength, cfg.Cache, !cfg.NoOverlap), func(t *testing.T) {
				got, st := talk(t, recurrent, cfg, requests)
				preempted += st.Preempted
				restored += st.Restored
				for i := range got {
					if w := want[i/3]; !slices.Equal(got[i].tokens, w.tokens) || !reflect.DeepEqual(got[i].logprobs, w.logprobs) {
						t.Errorf("request %d drew %v, %+v; alone %v", i, got[i].tokens, got[i].final, w.tokens)
					}
				}
			})
		}
	}
	if preempted == 0 || restored == 0 {
		t.Errorf("%d were preempted, %d went on from a snapshot", preempted, restored)
	}
}

// sliding is a small model of random weights no layer of which sees more than ten
// positions.
func sliding(t *testing.T) *model.Model {
	return modeltest.Random(rand.New(rand.NewPCG(7, 8)), modeltest.Config(t, map[string]any{
		"architectures": []string{"MistralForCausalLM"}, "model_type": "mistral", "hidden_act": "silu", "dtype": "bfloat16", "sliding_window": 10,
		"hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 2, "vocab_size": 320, "max_position_embeddings": 512,
		"num_attention_heads": 2, "num_key_value_heads": 1, "head_dim": 32, "rms_norm_eps": 1e-6, "rope_theta": 10000.0,
	}))
}

// Pages that are given back while their request runs were of no use to it: it
// draws what it does alone, whoever writes to them now.
func TestPagesBeyondTheWindow(t *testing.T) {
	if w := sliding(t).Config.Program.Window(); w != 10 {
		t.Fatalf("a window of %d, want 10", w)
	}
	var requests []*Request
	var want []said
	for i := range 8 {
		prompt := slices.Repeat([]int32{int32(i % 2), 3, 5, int32(i / 4)}, 3+i)
		requests = append(requests, &Request{Tokens: prompt, MaxTokens: 40, IgnoreEOS: true, Sampling: &batch.Sampling{Temperature: 0.8, Seed: uint64(i), Logprobs: 2}})
		got, _ := talk(t, sliding, Config{NoOverlap: true}, requests[i:])
		want = append(want, got...)
	}
	for _, cfg := range []Config{
		{PageSize: 4, NumPages: 30, MaxRunningRequests: 8, MaxPrefillLength: 20},
		{PageSize: 2, NumPages: 60, MaxRunningRequests: 8, MaxPrefillLength: 40, Cache: "naive"},
		{PageSize: 1, NumPages: 100, MaxRunningRequests: 6, MaxPrefillLength: 17, NoOverlap: true},
	} {
		got, _ := talk(t, sliding, cfg, requests)
		for i := range got {
			if !slices.Equal(got[i].tokens, want[i].tokens) || !reflect.DeepEqual(got[i].logprobs, want[i].logprobs) {
				t.Errorf("%+v: request %d drew %v, alone %v", cfg, i, got[i].tokens, want[i].tokens)
			}
		}
	}
}
