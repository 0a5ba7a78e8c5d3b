package builtin

import (
	"encoding/binary"
	"encoding/json"
	"io/fs"
	"strings"
	"testing"
)

// The repository and the binary carry the checkpoint, so it must stay small.
const maxBytes = 12 << 20

func TestFiles(t *testing.T) {
	total := 0
	for _, name := range []string{
		"config.json", "generation_config.json", "model.safetensors",
		"tokenizer.json", "tokenizer_config.json", "chat_template.jinja",
	} {
		data, err := fs.ReadFile(FS(), name)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		total += len(data)
		if strings.HasSuffix(name, ".json") && !json.Valid(data) {
			t.Errorf("%s is not JSON", name)
		}
	}
	if total > maxBytes {
		t.Errorf("the checkpoint has %d bytes, more than %d", total, maxBytes)
	}
}

// The files must agree with each other: every tensor of the configured shape,
// none missing, none left over, and the bytes exactly those of the header.
func TestWeightsFitConfig(t *testing.T) {
	var c struct {
		VocabSize    int `json:"vocab_size"`
		Hidden       int `json:"hidden_size"`
		Layers       int `json:"num_hidden_layers"`
		Intermediate int `json:"intermediate_size"`
		Heads        int `json:"num_attention_heads"`
		KVHeads      int `json:"num_key_value_heads"`
		HeadDim      int `json:"head_dim"`
	}
	readJSON(t, "config.json", &c)
	data, err := fs.ReadFile(FS(), "model.safetensors")
	if err != nil {
		t.Fatal(err)
	}
	n := binary.LittleEndian.Uint64(data)
	var header map[string]struct {
		DType string `json:"dtype"`
		Shape []int  `json:"shape"`
	}
	var raw map[string]json.RawMessage
	if err := json.Unmarshal(data[8:8+n], &raw); err != nil {
		t.Fatal(err)
	}
	delete(raw, "__metadata__")
	rest, _ := json.Marshal(raw)
	if err := json.Unmarshal(rest, &header); err != nil {
		t.Fatal(err)
	}
	params := 0
	for name, x := range header {
		if x.DType != "BF16" {
			t.Errorf("%s is %s, want BF16", name, x.DType)
		}
		size := 1
		for _, d := range x.Shape {
			size *= d
		}
		params += size
	}
	q, kv := c.Heads*c.HeadDim, c.KVHeads*c.HeadDim
	layer := 2*c.Hidden + 2*c.HeadDim + c.Hidden*(2*q+2*kv) + 3*c.Hidden*c.Intermediate
	if want := c.VocabSize*c.Hidden + c.Hidden + c.Layers*layer; params != want {
		t.Errorf("%d parameters, config.json describes %d", params, want)
	}
	if want := c.Layers*11 + 2; len(header) != want {
		t.Errorf("%d tensors, want %d", len(header), want)
	}
	if got := len(data) - 8 - int(n); got != 2*params {
		t.Errorf("%d bytes of weights, want %d", got, 2*params)
	}
}

func TestStopTokens(t *testing.T) {
	var tok struct {
		Added []struct {
			ID      int
			Content string
		} `json:"added_tokens"`
	}
	readJSON(t, "tokenizer.json", &tok)
	var gen struct {
		EOS []int `json:"eos_token_id"`
	}
	readJSON(t, "generation_config.json", &gen)
	names := map[int]string{}
	for _, a := range tok.Added {
		names[a.ID] = a.Content
	}
	if len(gen.EOS) != 2 || names[gen.EOS[0]] != "<|im_end|>" || names[gen.EOS[1]] != "<|endoftext|>" {
		t.Errorf("stop tokens %v, added tokens %v", gen.EOS, names)
	}
}

func readJSON(t *testing.T, name string, into any) {
	t.Helper()
	data, err := fs.ReadFile(FS(), name)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(data, into); err != nil {
		t.Fatalf("%s: %v", name, err)
	}
}
