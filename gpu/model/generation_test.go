package model

import (
	"slices"
	"strings"
	"testing"
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
