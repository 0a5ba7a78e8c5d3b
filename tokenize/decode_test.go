package tokenize

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"testing/fstest"
)

// TestCleanUp holds clean_up_tokenization_spaces to its definition in
// transformers, a list of replacements in the whole text, however the text
// comes in. For byte-pair models transformers asks for a second flag.
func TestCleanUp(t *testing.T) {
	const marks = " .?!,'ntmsvrea"
	var vocab []string
	for i, c := range marks {
		vocab = append(vocab, fmt.Sprintf(`"%c":%d`, c, i))
	}
	file := `{"model":{"type":"BPE","vocab":{` + strings.Join(vocab, ",") + `},"merges":[]},"decoder":{"type":"Fuse"}}`
	load := func(config string) *Tokenizer {
		tok, err := Load(fstest.MapFS{"tokenizer.json": {Data: []byte(file)}, "tokenizer_config.json": {Data: []byte(config)}})
		if err != nil {
			t.Fatal(err)
		}
		return tok
	}
	clean := load(`{"clean_up_tokenization_spaces": true, "clean_up_tokenization_spaces_for_bpe_even_though_it_will_corrupt_output": true}`)
	plain := load(`{"clean_up_tokenization_spaces": true}`)
	r := random(t)
	changed := 0
	for range rounds(t, 5000) {
		text := cleanable(r)
		want := text
		for _, x := range [][2]string{
			{" .", "."},
			{" ?", "?"},
			{" !", "!"},
			{" ,", ","},
			{" ' ", "'"},
			{" n't", "n't"},
			{" 'm", "'m"},
			{" 's", "'s"},
			{" 've", "'ve"},
			{" 're", "'re"},
		} {
			want = strings.ReplaceAll(want, x[0], x[1])
		}
		if want != text {
			changed++
		}
		ids := clean.Encode(text, false)
		if got := clean.Decode(ids, false); got != want {
			t.Fatalf("%q\n got %q\nwant %q", text, got, want)
		}
		checkStream(t, clean, ids, want)
		if got := plain.Decode(ids, false); got != text {
			t.Fatalf("with one flag: %q became %q", text, got)
		}
	}
	if changed == 0 {
		t.Error("no text had anything to clean up")
	}
}

// cleanable is a text in which there is much to clean up, and much that almost
// is.
func cleanable(r *rand.Rand) string {
	var b strings.Builder
	for range r.IntN(12) {
		b.WriteString([]string{" ", " .", "?", " !", " ,", " ' ", " '", " n't", " n'", "'m", " 's", " 've", " 'v", " 're", "e", "a"}[r.IntN(16)])
	}
	return b.String()
}
