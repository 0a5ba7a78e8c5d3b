package model

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/troupe-llm/troupe/gpu/program"
)

func TestGeneration(t *testing.T) {
	c := Config{Vocab: 10, EOS: []int32{1}}
	g, err := parseGeneration([]byte(`{"eos_token_id": [2, 3, 11], "temperature": 0.6, "top_k": 20, "top_p": 0.95, "min_p": 0.1, "repetition_penalty": 1.05}`), "g", &c)
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(g.EOS, []int32{2, 3}) || !slices.Equal(c.EOS, g.EOS) || len(c.Notes) != 1 {
		t.Errorf("ends %v in the generation, %v in the configuration, notes %q; want [2 3] in both and a note on 11", g.EOS, c.EOS, c.Notes)
	}
	if *g.Temperature != 0.6 || *g.TopK != 20 || *g.TopP != 0.95 || *g.MinP != 0.1 || *g.Repetition != 1.05 {
		t.Errorf("got %+v", g)
	}

	c = Config{Vocab: 10, EOS: []int32{1}}
	g, err = parseGeneration([]byte(`{"do_sample": false, "temperature": 0.6}`), "g", &c)
	if err != nil || g.Temperature != nil || !slices.Equal(c.EOS, []int32{1}) {
		t.Errorf("without sampling: %+v, ends %v, %v; want no temperature and ends kept", g, c.EOS, err)
	}

	_, err = parseGeneration([]byte(`{"temperature": -1, "top_p": 2, "top_k": -3}`), "g.json", &c)
	if err == nil || !strings.Contains(err.Error(), "g.json: 3 faults") {
		t.Errorf("faults: %v", err)
	}
}

// TestPythonsNumbers: Infinity and NaN, which Python's json writes, are read; where a
// number of theirs matters it is out of bounds, or absent.
func TestPythonsNumbers(t *testing.T) {
	c, err := ParseConfig([]byte(with(`"time_step_limit": [0.0, Infinity], "x": -Infinity, "NaN": "\"NaN Infinity", "rms_norm_eps": NaN, "hidden_act": "swish"`)), "config.json")
	if eps := epsOf(&c); err != nil || eps != 1e-6 {
		t.Errorf("%v, eps %v; want transformers' default", err, eps)
	}
	if _, err := ParseConfig([]byte(with(`"rms_norm_eps": Infinity`)), "config.json"); err == nil || !strings.Contains(err.Error(), "rms_norm_eps: 1.79") {
		t.Errorf("an infinite eps: %v", err)
	}
	g, err := parseGeneration([]byte(`{"top_k": -1, "top_p": NaN, "length_penalty": Infinity}`), "g.json", &c)
	if err != nil || g.TopK == nil || *g.TopK != 0 || g.TopP != nil {
		t.Errorf("%+v, %v; want a top_k of 0, all", g, err)
	}
}

func TestDeepConfig(t *testing.T) {
	deep := strings.Repeat("[", 1_000_000)
	for _, text := range []string{deep, `{"x": ` + deep + strings.Repeat("]", 1_000_000) + `}`} {
		if _, err := ParseConfig([]byte(text), "config.json"); err == nil || len(err.Error()) > 500 {
			t.Errorf("%.200v", err)
		}
	}
}

// FuzzConfig: whatever config.json and generation_config.json say, the sizes that come
// of them are within bounds.
func FuzzConfig(f *testing.F) {
	for _, dir := range []string{"qwen3", "qwen3moe", "llama3", "mistral"} {
		config, err := os.ReadFile(filepath.Join("testdata", dir, "config.json"))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(config, []byte(`{"eos_token_id": [2, 3], "top_k": -1, "temperature": Infinity}`))
	}
	f.Fuzz(func(t *testing.T, config, generation []byte) {
		c, err := ParseConfig(config, "config.json")
		if err != nil {
			return
		}
		if err := c.Program.Check(); err != nil || c.Vocab < 1 || c.Vocab > 1<<24 || c.MaxPositions < 1 {
			t.Errorf("%v: %+v", err, c)
		}
		g, err := parseGeneration(generation, "generation_config.json", &c)
		if err != nil {
			return
		}
		for _, id := range g.EOS {
			if id < 0 || int(id) >= c.Vocab {
				t.Errorf("end %d of %d", id, c.Vocab)
			}
		}
	})
}

// with returns base with fields (`"name": value, …`) overriding its own.
func with(fields string) string { return strings.TrimSuffix(base, "}") + ", " + fields + "}" }

// epsOf is what norms add to mean squares.
func epsOf(c *Config) float32 {
	for _, op := range c.Program.Ops {
		if n, is := op.(*program.Norm); is {
			return n.Eps
		}
	}
	return 0
}
