package bench

import (
	"errors"
	"slices"
	"testing"
	"time"
)

// What CPython 3.11 prints after random.seed(s).
func TestPythonRandom(t *testing.T) {
	words := func(seed uint64) []uint32 {
		r := NewPythonRandom(seed)
		return []uint32{r.Uint32(), r.Uint32(), r.Uint32()}
	}
	for seed, want := range map[uint64][]uint32{
		0:                    {3626764237, 1654615998, 3255389356},
		1:                    {577090037, 2444712010, 3639700191},
		42:                   {2746317213, 478163327, 107420369},
		4294967301:           {675479763, 2085189291, 1213270837},
		18446744073709551615: {93740670, 1068495656, 1452108352},
	} {
		if got := words(seed); !slices.Equal(got, want) {
			t.Errorf("seed %d: %d, want %d", seed, got, want)
		}
	}
	r := NewPythonRandom(7)
	for range 1000 {
		r.Uint32()
	}
	if got, want := r.Float64(), 0.7432172573572905; got != want {
		t.Errorf("random() after 1000 words of seed 7 = %v, want %v", got, want)
	}
}

// The work of the reference configuration, as Python draws it.
func TestRandomPromptsAreThoseOfPython(t *testing.T) {
	prompts := RandomPrompts(0, 256, Range{100, 1024}, Range{100, 1024}, 151936)
	var in, out int
	for _, p := range prompts {
		in += len(p.Tokens)
		out += p.MaxTokens
	}
	if in != 142827 || out != 133966 {
		t.Errorf("%d tokens in, %d out; want 142827 and 133966", in, out)
	}
	if a, b := len(prompts[0].Tokens), len(prompts[1].Tokens); a != 964 || b != 724 {
		t.Errorf("first prompts have %d and %d tokens, want 964 and 724", a, b)
	}
	if got, want := prompts[0].Tokens[:5], []int32{6311, 6890, 663, 4242, 8376}; !slices.Equal(got, want) {
		t.Errorf("first prompt begins %d, want %d", got, want)
	}
	for i, want := range []int{845, 312, 607, 843} {
		if got := prompts[i].MaxTokens; got != want {
			t.Errorf("output %d has %d tokens, want %d", i, got, want)
		}
	}
}

func TestDrawnFit(t *testing.T) {
	in, out := Range{1, 8192}, Range{16, 1024}
	for _, c := range []struct {
		name    string
		d       Drawn
		limit   int
		in, out Range
		fails   bool
	}{
		{"no limit", Drawn{Input: in, Output: out}, 0, in, out, false},
		{"just enough", Drawn{Input: in, Output: out}, 9216, in, out, false},
		{"in proportion", Drawn{Input: in, Output: out}, 2048, Range{1, 1820}, Range{16, 228}, false},
		{"lower ends too", Drawn{Input: Range{100, 1024}, Output: Range{100, 1024}}, 150, Range{75, 75}, Range{75, 75}, false},
		{"prompts are fixed", Drawn{Input: in, Output: out, InputFixed: true}, 8200, in, Range{8, 8}, false},
		{"replies are fixed", Drawn{Input: in, Output: out, OutputFixed: true}, 2048, Range{1, 1024}, out, false},
		{"both are fixed", Drawn{Input: in, Output: out, InputFixed: true, OutputFixed: true}, 9215, in, out, true},
		{"no room beside what is fixed", Drawn{Input: in, Output: out, InputFixed: true}, 8192, in, out, true},
		{"no room at all", Drawn{Input: in, Output: out}, 1, in, out, true},
	} {
		note, err := c.d.Fit(c.limit)
		if c.d.Input != c.in || c.d.Output != c.out || (err != nil) != c.fails {
			t.Errorf("%s: %v and %v, %v; want %v and %v", c.name, c.d.Input, c.d.Output, err, c.in, c.out)
		}
		if changed := c.d.Input != in || c.d.Output != out; changed != (note != "") && c.name != "lower ends too" {
			t.Errorf("%s: noted %q", c.name, note)
		}
	}
}

func TestMostAtOnce(t *testing.T) {
	began := time.Now()
	at := func(sent, last time.Duration) timing { return timing{sent: began.Add(sent), last: last} }
	failed := at(0, 100)
	failed.err = errors.New("no")
	timings := []timing{at(0, 10), at(5, 10), failed, at(10, 5), at(14, 1), at(20, 3)}
	if n := mostAtOnce(timings, func(t *timing) time.Duration { return t.last }); n != 3 {
		t.Errorf("%d at once, want 3: one that ends as another begins does not overlap it", n)
	}
	for i := range timings {
		timings[i].first = timings[i].last
	}
	if n := behind(timings, began.Add(14)); n != 3 {
		t.Errorf("%d behind, want the three that were sent and had no token", n)
	}
}

func TestRandomPromptsFitASmallVocabulary(t *testing.T) {
	large := RandomPrompts(3, 4, Range{1, 50}, Range{5, 5}, 151936)
	small := RandomPrompts(3, 4, Range{1, 50}, Range{5, 5}, 640)
	for i := range large {
		if len(large[i].Tokens) != len(small[i].Tokens) {
			t.Fatalf("prompt %d has %d tokens of the small vocabulary, %d of the large", i, len(small[i].Tokens), len(large[i].Tokens))
		}
		for j, id := range small[i].Tokens {
			if id != large[i].Tokens[j]%640 {
				t.Fatalf("prompt %d, token %d: %d, want %d mod 640", i, j, id, large[i].Tokens[j])
			}
		}
	}
}

// The work of bench simple: what Python's random gives with seed 42.
func TestSimpleLengths(t *testing.T) {
	in, out := 0, 0
	prompts := RandomPrompts(42, 64, Range{1, 8192}, Range{16, 1024}, 1<<30)
	for _, p := range prompts {
		in, out = in+len(p.Tokens), out+p.MaxTokens
	}
	if in != 221_861 || out != 31_715 || len(prompts[0].Tokens) != 1825 || prompts[1].MaxTokens != 79 {
		t.Errorf("%d tokens in, %d out, the first prompt has %d, the second reply %d", in, out, len(prompts[0].Tokens), prompts[1].MaxTokens)
	}
}

func TestRangeFlag(t *testing.T) {
	for text, want := range map[string]Range{"100:1024": {100, 1024}, "7": {7, 7}, "3:3": {3, 3}} {
		var r Range
		if err := r.Set(text); err != nil || r != want {
			t.Errorf("Set(%q) = %v, %v; want %v", text, r, err, want)
		}
	}
	for _, text := range []string{"", "5:", ":5", "9:3", "0:4", "-1", "a:b", "1:2:3", "1:99999999999"} {
		r := Range{1, 2}
		if err := r.Set(text); err == nil || r != (Range{1, 2}) {
			t.Errorf("Set(%q) = %v, %v; want an error and no change", text, r, err)
		}
	}
}
