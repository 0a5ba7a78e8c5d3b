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
