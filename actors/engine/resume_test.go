package engine

import (
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/troupe-llm/troupe/actors/plan"
	"github.com/troupe-llm/troupe/actors/wire"
	"github.com/troupe-llm/troupe/gpu"
	"github.com/troupe-llm/troupe/gpu/batch"
	"github.com/troupe-llm/troupe/gpu/device"
	"github.com/troupe-llm/troupe/gpu/model"
	"github.com/troupe-llm/troupe/tokenize"
	"github.com/troupe-llm/troupe/tokenize/grammar"
)

// on is an engine of the model inside the program on a device by its name.
func on(t *testing.T, name string, cfg Config, sizes device.Spec) *tested {
	t.Helper()
	m, err := model.Open(model.Builtin, false)
	if err != nil {
		t.Fatal(err)
	}
	codec, err := tokenize.Load(m.Files)
	if err != nil {
		t.Fatal(err)
	}
	sizes.Device, sizes.Model = name, m
	cfg.Model, cfg.Codec, cfg.Compilers = m, codec, 2
	cfg.Open = func() (device.Device, error) { return gpu.Open(sizes) }
	return open(t, cfg)
}

// varied is a request with something of everything that resuming could get wrong.
func varied(rnd *rand.Rand, codec *tokenize.Tokenizer) *wire.Request {
	text := []string{"Once upon a time", "Hello", "A fox said that", "Thank you. The fox"}[rnd.IntN(4)]
	r := &wire.Request{Prompt: codec.Encode(text, true), MaxTokens: 8 + rnd.IntN(22)}
	s := &r.Sampling
	s.Seed, s.Logprobs = rnd.Uint64(), rnd.Int32N(3)
	if s.Temperature = float32(rnd.IntN(4)) / 2; s.Temperature > 0 {
		s.TopK, s.TopP, s.MinP = rnd.Int32N(40), []float32{0, 0.9}[rnd.IntN(2)], []float32{0, 0.02}[rnd.IntN(2)]
	}
	if rnd.IntN(2) == 0 {
		s.Presence, s.Frequency, s.Repetition = 0.4, 0.3, 1.2
	}
	if rnd.IntN(4) == 0 {
		s.Bias = []batch.TokenBias{{Token: 40, Bias: 3}, {Token: 41, Bias: -4}}
	}
	switch rnd.IntN(5) {
	case 0:
		r.MinTokens = rnd.IntN(r.MaxTokens)
		r.StopTokens = codec.Encode("the fox and a. was to he", false)
	case 1:
		r.IgnoreEOS = true
	case 2, 3:
		r.Grammar = []*grammar.Spec{
			grammar.Regex(`[a-z]{2,5} \d{1,3}é`), grammar.JSONObject(), grammar.Regex(`(ab|ba|c){1,9}`),
			grammar.Schema([]byte(`{"type": "array", "items": {"enum": ["a", "b", "ab", "ba", "abc"]}, "uniqueItems": true, "maxItems": 3}`)),
		}[rnd.IntN(4)]
	}
	return r
}

// Wherever a request is cut, what is left of it is computed elsewhere as it would have been
// computed here: the same tokens, log-probabilities and reason to end. Seeds, penalties, least and
// most lengths, stop tokens and grammars go on from the tokens given. The other engine has other
// pages, other steps and many requests at a time, and preempts some.
func TestResumedAtEveryToken(t *testing.T) {
	for name, runs := range map[string]uint64{"cpu": 13, "sim:h200,speed=inf,eos=40": 60} {
		t.Run(name, func(t *testing.T) {
			here := on(t, name, Config{}, device.Spec{})
			for _, cfg := range []struct {
				Config
				device.Spec
			}{
				{Config{}, device.Spec{Slots: 24, PageSize: 8, NumPages: 90, MaxStepTokens: 60}},
				{Config{NoOverlap: true, Cache: plan.Naive}, device.Spec{}},
			} {
				elsewhere := on(t, name, cfg.Config, cfg.Spec)
				cuts, ends := 0, map[wire.Reason]int{}
				for seed := range runs {
					request := func() *wire.Request { return varied(rand.New(rand.NewPCG(seed, 1)), here.cfg.Codec) }
					whole := here.submit(request())
					want := whole.end()
					ends[want.Reason]++
					var parts []*answered
					for cut := range len(whole.tokens) {
						r := request()
						r.Given = slices.Clone(whole.tokens[:cut])
						parts = append(parts, elsewhere.submit(r))
						cuts++
					}
					for cut, part := range parts {
						got := part.end()
						if !slices.Equal(part.tokens, whole.tokens[cut:]) || got.Reason != want.Reason {
							t.Errorf("seed %d, cut at %d of %d: %v (%v %v), want %v (%v)", seed, cut, len(whole.tokens), part.tokens, got.Reason, got.Fault, whole.tokens[cut:], want.Reason)
						} else if request().Sampling.Logprobs > 0 && !reflect.DeepEqual(part.logprobs, whole.logprobs[cut:]) {
							t.Errorf("seed %d, cut at %d: the log-probabilities are others", seed, cut)
						}
					}
				}
				if cuts < 150 || ends[wire.Stop] < 3 || ends[wire.Length] < 3 {
					t.Errorf("%d cuts, ended %v: the test has lost its teeth", cuts, ends)
				}
			}
		})
	}
}

// What is given is not taken on trust.
func TestGivenRefused(t *testing.T) {
	e := on(t, "sim:h200,speed=inf", Config{}, device.Spec{})
	for want, r := range map[string]*wire.Request{
		"nothing is left to draw":      {Prompt: []int32{1}, Given: []int32{1, 2}, MaxTokens: 2},
		"token 1 of those given is -7": {Prompt: []int32{1}, Given: []int32{1, -7}, MaxTokens: 9},
	} {
		if o := e.submit(r).end(); o.Fault == nil || o.Fault.Kind != wire.Refused || !strings.Contains(o.Fault.Msg, want) {
			t.Errorf("%s: %+v", want, o)
		}
	}
	// Tokens that the grammar never allowed lead nowhere, and end the request alone.
	r := &wire.Request{Prompt: []int32{1}, Given: e.cfg.Codec.Encode("zzz", false), Grammar: grammar.Regex("a+")}
	if o := e.submit(r).end(); o.Fault == nil || o.Fault.Kind != wire.Broken {
		t.Errorf("%+v", o)
	}
}
