package tokenize

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
	"unicode/utf8"
)

// TestCases holds random small tokenizers to what Hugging Face's library did:
// testdata/make.py makes the file; TROUPE_CASES names another.
func TestCases(t *testing.T) {
	path := os.Getenv("TROUPE_CASES")
	if path == "" {
		path = filepath.Join("testdata", "cases.jsonl")
	}
	type tokenizerCase struct {
		Tokenizer json.RawMessage
		Vectors   []struct {
			Text             string
			IDs, Mixed       []int32
			Decoded, Skipped string
		}
	}
	n, walked := 0, 0
	for i, c := range readLines[tokenizerCase](t, path) {
		line := i + 1
		tok, err := Load(fstest.MapFS{"tokenizer.json": {Data: c.Tokenizer}})
		if err != nil {
			t.Errorf("line %d: %v", line, err)
			continue
		}
		if tok.model.walker != nil {
			walked++
		}
		for _, v := range c.Vectors {
			n++
			if got := tok.Encode(v.Text, true); !slices.Equal(got, v.IDs) {
				t.Errorf("line %d: Encode(%+q)\n got %v\nwant %v", line, v.Text, got, v.IDs)
			}
			if got := byDefinition(tok).Encode(v.Text, true); !slices.Equal(got, v.IDs) {
				t.Errorf("line %d: by definition: Encode(%+q)\n got %v\nwant %v", line, v.Text, got, v.IDs)
			}
			checkStream(t, tok, v.Mixed, v.Decoded)
			if got := tok.Decode(v.Mixed, false); got != v.Decoded {
				t.Errorf("line %d: Decode(%v)\n got %+q\nwant %+q", line, v.Mixed, got, v.Decoded)
			}
			if got := tok.Decode(v.Mixed, true); got != v.Skipped {
				t.Errorf("line %d: Decode(%v, skip)\n got %+q\nwant %+q", line, v.Mixed, got, v.Skipped)
			}
		}
	}
	if n == 0 {
		t.Fatalf("%s has no vectors", path)
	}
	t.Logf("%d vectors; %d tokenizers by walking", n, walked)
}

// checkStream decodes id by id: what comes out is whole characters and, joined,
// the text.
func checkStream(t *testing.T, tok *Tokenizer, ids []int32, want string) {
	t.Helper()
	s := tok.Stream(false)
	var all []byte
	text, ends := tok.DecodeEnds(ids, false)
	if string(text) != want || len(ends) != len(ids) {
		t.Errorf("DecodeEnds(%v) = %q, %v; want %q", ids, text, ends, want)
	}
	for i, id := range ids {
		n := len(all)
		if all = s.Append(all, id); !utf8.Valid(all[n:]) {
			t.Errorf("Stream(%v): id %d gives %q: part of a character", ids, id, all[n:])
		}
		if i+1 < len(ids) && ends[i] != len(all) {
			t.Errorf("DecodeEnds(%v): id %d ends at %d, want %d", ids, i, ends[i], len(all))
		}
		if !strings.HasPrefix(want, string(all)) {
			t.Errorf("Stream(%v): %q is no prefix of %q", ids, all, want)
			return
		}
	}
	if all = s.Flush(all); string(all) != want {
		t.Errorf("Stream(%v)\n got %+q\nwant %+q", ids, all, want)
	}
}

func TestRefusals(t *testing.T) {
	const bpe = `"model":{"type":"BPE","vocab":{"a":0,"b":1,"ab":2},"merges":["a b"]}`
	for want, file := range map[string]string{
		"model Unigram: not supported":       `{"model":{"type":"Unigram","vocab":[["a",0.5]]}}`,
		"model WordPiece: not supported":     `{"model":{"type":"WordPiece","vocab":{"a":0}}}`,
		"model WordLevel: not supported":     `{"model":{"type":"WordLevel","vocab":{"a":0}}}`,
		"dropout: not supported":             `{"model":{"type":"BPE","dropout":0.1,"vocab":{},"merges":[]}}`,
		"subword_prefix: not supported":      `{"model":{"type":"BPE","continuing_subword_prefix":"##","vocab":{},"merges":[]}}`,
		"unk_token":                          `{"model":{"type":"BPE","unk_token":"<unk>","vocab":{},"merges":[]}}`,
		"normalizer BertNormalizer":          `{"normalizer":{"type":"Sequence","normalizers":[{"type":"NFC"},{"type":"BertNormalizer"}]},` + bpe + `}`,
		"pre_tokenizer CharDelimiterSplit":   `{"pre_tokenizer":{"type":"Sequence","pretokenizers":[{"type":"CharDelimiterSplit"}]},` + bpe + `}`,
		"Digits after ByteLevel":             `{"pre_tokenizer":{"type":"Sequence","pretokenizers":[{"type":"ByteLevel"},{"type":"Digits"}]},` + bpe + `}`,
		"decoder WordPiece":                  `{"decoder":{"type":"Sequence","decoders":[{"type":"WordPiece"}]},` + bpe + `}`,
		"the text is not in it":              `{"post_processor":{"type":"TemplateProcessing","single":[]},` + bpe + `}`,
		"normalizer Precompiled":             `{"normalizer":{"type":"Precompiled"},` + bpe + `}`,
		"pre_tokenizer UnicodeScripts":       `{"pre_tokenizer":{"type":"UnicodeScripts"},` + bpe + `}`,
		"decoder CTC":                        `{"decoder":{"type":"CTC"},` + bpe + `}`,
		"post_processor Odd":                 `{"post_processor":{"type":"Odd"},` + bpe + `}`,
		`\\b at byte 0: not supported`:       `{"pre_tokenizer":{"type":"Split","pattern":{"Regex":"\\b"},"behavior":"Isolated"},` + bpe + `}`,
		"behavior":                           `{"pre_tokenizer":{"type":"Split","pattern":{"Regex":"a"},"behavior":"Odd"},` + bpe + `}`,
		"end_of_word_suffix: not supported":  `{"model":{"type":"BPE","end_of_word_suffix":"x","vocab":{},"merges":[]}}`,
		"not all in the vocabulary":          `{"model":{"type":"BPE","vocab":{"a":0,"b":1},"merges":["a b"]}}`,
		"bound twice":                        `{"model":{"type":"BPE","vocab":{"a":0,"b":0},"merges":[]}}`,
		"does not agree with the vocabulary": `{"added_tokens":[{"id":7,"content":"a"}],` + bpe + `}`,
		"JSON at byte":                       `{"model":{"type":"BPE","vocab":{"a":`,
	} {
		_, err := Load(fstest.MapFS{"tokenizer.json": {Data: []byte(file)}})
		if err == nil || !strings.Contains(err.Error(), strings.ReplaceAll(want, `\\`, `\`)) {
			t.Errorf("%s\n got %v\nwant %s", file, err, want)
		}
	}
}
