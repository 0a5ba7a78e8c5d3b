package engine

import (
	"slices"
	"testing"
	"testing/fstest"

	"github.com/troupe-llm/troupe/gpu/model"
	"github.com/troupe-llm/troupe/tokenize"
)

// TestEnds: the tokenizer's own end-of-text token ends replies beside those that the
// configurations name.
func TestEnds(t *testing.T) {
	file := `{"model":{"type":"BPE","vocab":{"a":0,"b":1,"c":2},"merges":[]}}`
	codec, err := tokenize.Load(fstest.MapFS{
		"tokenizer.json":        {Data: []byte(file)},
		"tokenizer_config.json": {Data: []byte(`{"eos_token": "c"}`)},
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		config, generation []int32
		rows               int
		want               []int32
	}{
		{[]int32{0}, nil, 3, []int32{0, 2}},
		{[]int32{0}, []int32{1}, 3, []int32{1, 2}},
		{[]int32{2}, nil, 3, []int32{2}},
		{nil, nil, 3, []int32{2}},
		{[]int32{0}, nil, 2, []int32{0}}, // it has no row: it cannot be drawn
	} {
		m := &model.Model{Config: model.Config{Vocab: c.rows, EOS: c.config}, Generation: model.Generation{EOS: c.generation}}
		if got := Ends(m, codec); !slices.Equal(got, c.want) {
			t.Errorf("%v and %v: %v, want %v", c.config, c.generation, got, c.want)
		}
	}
}

// Another tensor, and another byte of one, is another model; the same files are the same.
func TestFingerprint(t *testing.T) {
	open := func() *model.Model {
		m, err := model.Open(model.Builtin, false)
		if err != nil {
			t.Fatal(err)
		}
		return m
	}
	a, b := open(), open()
	if fingerprint(a) != fingerprint(b) || TokenizerHash(a.Files) != TokenizerHash(b.Files) {
		t.Error("the same model has two fingerprints")
	}
	of := &b.Weights.Of(b.Config.Program.Weights[3]).Sources[0].Tensor.Data
	*of = slices.Clone(*of)
	(*of)[len(*of)-1] ^= 1
	if fingerprint(a) == fingerprint(b) {
		t.Error("another weight, and the same fingerprint")
	}
	random := &model.Model{Name: "x"}
	if fingerprint(random) == fingerprint(&model.Model{Name: "y"}) || TokenizerHash(nil) != "" {
		t.Error("random weights of two models have one fingerprint")
	}
	dummy, err := model.Open(model.Builtin, true)
	if err != nil {
		t.Fatal(err)
	}
	small, err := model.Open("qwen3-0.6b", true)
	if err != nil {
		t.Fatal(err)
	}
	larger, err := model.Open("qwen3-1.7b", true) // as many layers, and the same keys and values
	if err != nil {
		t.Fatal(err)
	}
	if Sizes(a) != Sizes(dummy) || Sizes(small) == Sizes(larger) || Sizes(random) != "" {
		t.Errorf("sizes %q without weights, %q with; %q, %q; %q of nothing", Sizes(dummy), Sizes(a), Sizes(small), Sizes(larger), Sizes(random))
	}
	if TokenizerHash(fstest.MapFS{"tokenizer.json": {Data: []byte("1")}}) == TokenizerHash(fstest.MapFS{"tokenizer.json": {Data: []byte("2")}}) {
		t.Error("two tokenizers have one hash")
	}
}
