package bench

import (
	"slices"
	"strings"
	"testing"
	"time"
)

func TestReadMooncake(t *testing.T) {
	const text = `{"timestamp": 0, "input_length": 600, "output_length": 5, "hash_ids": [0, 1]}

{"timestamp": 2500, "input_length": 1100, "output_length": 1, "hash_ids": [0, 1, 9]}
{"timestamp": 2500, "input_length": 513, "output_length": 1, "hash_ids": [7, 1]}
`
	trace, err := ReadMooncake(strings.NewReader(text), 0)
	if err != nil {
		t.Fatal(err)
	}
	if len(trace) != 3 || trace[1].At != 2500*time.Millisecond || trace[1].Input != 1100 || trace[0].Output != 5 {
		t.Fatalf("read %+v", trace)
	}
	a, b, c := trace[0].Tokens(1000), trace[1].Tokens(1000), trace[2].Tokens(1000)
	if len(a) != 600 || len(b) != 1100 || !slices.Equal(a, b[:600]) {
		t.Error("prompts with equal hashes differ")
	}
	if slices.Equal(a[:512], c[:512]) || a[512] != c[512] {
		t.Error("a block's tokens follow from its hash and nothing else")
	}
	if slices.Max(b) >= 1000 || slices.Min(b) < 0 {
		t.Error("tokens beyond the vocabulary")
	}
	if some, err := ReadMooncake(strings.NewReader(text), 2); err != nil || len(some) != 2 {
		t.Errorf("with a limit of 2: %d, %v", len(some), err)
	}

	var at []time.Duration
	for a := range Replay(trace, 2, 1000) {
		at = append(at, a.At)
	}
	if !slices.Equal(at, []time.Duration{0, 1250 * time.Millisecond, 1250 * time.Millisecond}) {
		t.Errorf("twice as fast, requests come at %v", at)
	}
}

func TestReadMooncakeSaysWhatIsWrong(t *testing.T) {
	for text, want := range map[string]string{
		`{"timestamp": 0`: "line 1: unexpected end",
		`{"input_length": 1, "output_length": 1, "hash_ids": [1]}`:                      "line 1: no timestamp",
		`{"timestamp": 0, "input_length": 0, "output_length": 1, "hash_ids": []}`:       "0 tokens in",
		`{"timestamp": 0, "input_length": 512, "output_length": 1, "hash_ids": [1, 2]}`: "2 hashes for 512 tokens",
		`{"timestamp": 5, "input_length": 1, "output_length": 1, "hash_ids": [1]}
{"timestamp": 4, "input_length": 1, "output_length": 1, "hash_ids": [1]}`: "line 2: its timestamp 4 is before",
	} {
		if _, err := ReadMooncake(strings.NewReader(text), 0); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: error %v, want %q", text, err, want)
		}
	}
}
