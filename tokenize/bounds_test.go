package tokenize

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
)

// tiny is a tokenizer.json of eleven tokens, with more members or other ones.
func tiny(members string) string {
	return `{"normalizer": {"type": "Lowercase"}, "decoder": {"type": "Fuse"},
		"added_tokens": [{"id": 3, "content": "<s>", "special": true}],
		"model": {"type": "BPE", "vocab": {"a": 0, "b": 1, "ab": 2, "<s>": 3, "c": 5, "<e>": 6, "<": 7, "e": 8, ">": 9, "p": 10, "d": 4}, "merges": ["a b"]}` + members + `}`
}

func loadFiles(files map[string]string) (*Tokenizer, error) {
	fsys := fstest.MapFS{}
	for name, data := range files {
		fsys[name] = &fstest.MapFile{Data: []byte(data)}
	}
	return Load(fsys)
}

// TestTooMuch: a tokenizer that would take time or memory out of proportion is
// refused when it is loaded, with the reason.
func TestTooMuch(t *testing.T) {
	chain := func(n int, one string) string { return strings.Repeat(one+",", n-1) + one }
	deep := strings.Repeat(`{"type":"Sequence","normalizers":[`, 200_000)
	model := func(vocab string) string {
		return tiny(`, "model": {"type": "BPE", "merges": [], "vocab": ` + vocab + `}`)
	}
	for _, c := range []struct{ name, file, want string }{
		{"an id of two thousand million", model(`{"a": 2000000000}`), "2000000000"},
		{"an id beyond 32 bits", model(`{"a": 20000000000}`), "below 2^31"},
		{"an added id", tiny(`, "added_tokens": [{"id": 2000000000, "content": "x"}]`), "2000000000"},
		{"a token that is no text", model("{\"a\": 0, \"\xbb\": 1}"), "is not UTF-8"},
		{"a negative id", tiny(`, "added_tokens": [{"id": -1, "content": "x"}]`), "-1"},
		{"a long token", model(`{"` + strings.Repeat("a", 5000) + `": 0}`), "5000 bytes"},
		{"a long added token", tiny(`, "added_tokens": [{"id": 20, "content": "` + strings.Repeat("a", 5000) + `"}]`), "5000 bytes"},
		{"replacements that double", tiny(`, "normalizer": {"type": "Sequence", "normalizers": [` + chain(30, `{"type": "Replace", "pattern": {"String": "a"}, "content": "aa"}`) + `]}`), "times as long"},
		{"a replacement of nothing", tiny(`, "normalizer": {"type": "Replace", "pattern": {"Regex": "x*"}, "content": "` + strings.Repeat("a", 1000) + `"}`), "times as long"},
		{"prepending a novel", tiny(`, "normalizer": {"type": "Prepend", "prepend": "` + strings.Repeat("a", 10_000) + `"}`), "bytes longer"},
		{"prepending for ever", tiny(`, "normalizer": {"type": "Sequence", "normalizers": [` + chain(1000, `{"type": "Prepend", "prepend": "a"}`) + `]}`), "more than 64"},
		{"splitting for ever", tiny(`, "pre_tokenizer": {"type": "Sequence", "pretokenizers": [` + chain(1000, `{"type": "Digits"}`) + `]}`), "more than 64"},
		{"answers that double", tiny(`, "decoder": {"type": "Sequence", "decoders": [` + chain(30, `{"type": "Replace", "pattern": {"String": "a"}, "content": "aa"}`) + `]}`), "times as long"},
		{"stripping for ever", tiny(`, "decoder": {"type": "Strip", "content": "a", "start": 2000000000, "stop": 0}`), "2000000000"},
		{"a long mark", tiny(`, "pre_tokenizer": {"type": "Metaspace", "replacement": "aaaa"}`), "one character"},
		{"a post-processor's id", tiny(`, "post_processor": {"type": "TemplateProcessing", "single": [{"SpecialToken": {"id": "x"}}, {"Sequence": {"id": "A"}}], "special_tokens": {"x": {"ids": [77]}}}`), "id 77"},
		{"a normalizer deep in others", tiny(`, "normalizer": ` + deep), "JSON"},
		{"lists in lists", tiny(`, "normalizer": ` + strings.Repeat("[", 1_000_000) + strings.Repeat("]", 1_000_000)), "depth"},
		{"a pattern of many branches", tiny(`, "pre_tokenizer": {"type": "Split", "pattern": {"Regex": "(?:a?b?){900}"}, "behavior": "Isolated"}`), "branches"},
	} {
		if _, err := loadFiles(map[string]string{"tokenizer.json": c.file}); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %.300v; want an error with %q", c.name, err, c.want)
		} else if len(err.Error()) > 1000 {
			t.Errorf("%s: an error of %d bytes", c.name, len(err.Error()))
		}
	}
}

// TestStrippingTokens: tokens that swallow the white space beside them, and are
// white space, take linear time.
func TestStrippingTokens(t *testing.T) {
	const n = 1 << 18
	tok, err := loadFiles(map[string]string{"tokenizer.json": tiny(`, "added_tokens": [
		{"id": 20, "content": " ", "rstrip": true}, {"id": 21, "content": "\n", "lstrip": true}, {"id": 22, "content": "\t", "lstrip": true, "rstrip": true}]`)})
	if err != nil {
		t.Fatal(err)
	}
	for text, want := range map[string]int{
		strings.Repeat(" ", n): n, strings.Repeat("\n", n): n, strings.Repeat("\t", n): n, strings.Repeat("\n \t", n/4): n / 4 * 3, "a  b": 4,
	} {
		if got := len(tok.Encode(text, false)); got != want {
			t.Errorf("%d bytes starting %.4q are %d tokens, want %d", len(text), text, got, want)
		}
	}
}

// TestTokensBesideTheFile: tokens that only tokenizer_config.json, added_tokens.json
// or special_tokens_map.json know are cut out of a text, as transformers 5.17 does.
func TestTokensBesideTheFile(t *testing.T) {
	const texts = "<s>ab<p>|a<e>b<c>"
	for _, c := range []struct {
		name  string
		files map[string]string
		want  []int32
		skips []int32 // what decoding leaves out
	}{
		{"none", nil, []int32{3, 2, 7, 10, 9, 0, 7, 8, 9, 1, 7, 5, 9}, []int32{3}},
		{
			"listed",
			map[string]string{"tokenizer_config.json": `{"added_tokens_decoder": {
			"20": {"content": "<p>", "special": true, "normalized": false}, "12": {"content": "<c>"}, "6": {"content": "<e>", "special": true}}}`},
			[]int32{3, 2, 12, 0, 6, 1, 11},
			[]int32{3, 6, 12},
		},
		{
			"flags",
			map[string]string{"tokenizer_config.json": `{"added_tokens_decoder": {"3": {"content": "<s>", "special": false}}}`},
			[]int32{3, 2, 7, 10, 9, 0, 7, 8, 9, 1, 7, 5, 9},
			nil,
		},
		{"a file", map[string]string{"added_tokens.json": `{"<p>": 30, "<e>": 6}`}, []int32{3, 2, 11, 0, 6, 1, 7, 5, 9}, []int32{3}},
		{
			"a file of special ones",
			map[string]string{"added_tokens.json": `{"<p>": 30, "<e>": 6}`, "tokenizer_config.json": `{"pad_token": "<p>", "eos_token": "<e>"}`},
			[]int32{3, 2, 11, 0, 6, 1, 7, 5, 9},
			[]int32{3, 6, 11},
		},
		{
			"named",
			map[string]string{"tokenizer_config.json": `{"pad_token": "<p>", "eos_token": {"content": "<e>"}, "bos_token": "<s>"}`},
			[]int32{3, 2, 11, 0, 6, 1, 7, 5, 9},
			[]int32{3, 6, 11},
		},
		{
			"listed and a file",
			map[string]string{"tokenizer_config.json": `{"added_tokens_decoder": {"12": {"content": "<p>"}}}`, "added_tokens.json": `{"<c>": 30}`},
			[]int32{3, 2, 11, 0, 7, 8, 9, 1, 7, 5, 9},
			[]int32{3},
		},
		{"more special ones", map[string]string{"tokenizer_config.json": `{"additional_special_tokens": ["<e>", "<p>"]}`}, []int32{3, 2, 11, 0, 6, 1, 7, 5, 9}, []int32{3, 6, 11}},
		{
			"a map",
			map[string]string{"special_tokens_map.json": `{"eos_token": "<e>", "pad_token": {"content": "<p>", "lstrip": true}}`},
			[]int32{3, 2, 11, 0, 6, 1, 7, 5, 9},
			[]int32{3, 6, 11},
		},
		{
			"named by the model",
			map[string]string{"tokenizer_config.json": `{"extra_special_tokens": {"image_token": "<p>"}}`},
			[]int32{3, 2, 11, 0, 7, 8, 9, 1, 7, 5, 9},
			[]int32{3, 11},
		},
	} {
		files := map[string]string{"tokenizer.json": tiny("")}
		for name, data := range c.files {
			files[name] = data
		}
		tok, err := loadFiles(files)
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		var got []int32
		for text := range strings.SplitSeq(texts, "|") {
			got = append(got, tok.Encode(text, false)...)
		}
		var skips []int32
		for id := range int32(tok.Vocab()) {
			if tok.IsSpecial(id) {
				skips = append(skips, id)
			}
		}
		if !slices.Equal(got, c.want) || !slices.Equal(skips, c.skips) {
			t.Errorf("%s: %v, skipping %v; want %v, skipping %v", c.name, got, skips, c.want, c.skips)
		}
	}
}

// FuzzLoad: whatever tokenizer.json says, loading ends, and what loads encodes and
// decodes within bounds.
func FuzzLoad(f *testing.F) {
	f.Add([]byte(tiny("")), "ab <s>")
	for _, part := range []string{
		`"normalizer": {"type": "Sequence", "normalizers": [{"type": "NFKC"}, {"type": "Replace", "pattern": {"Regex": " {2,}"}, "content": "▁"}, {"type": "Strip", "strip_left": true}]}`,
		`"pre_tokenizer": {"type": "Sequence", "pretokenizers": [{"type": "Split", "pattern": {"Regex": "(?i:'s)|(a+)+b|\\s+(?!\\S)"}, "behavior": "MergedWithNext"}, {"type": "ByteLevel", "add_prefix_space": true}]}`,
		`"pre_tokenizer": {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "always"}`,
		`"decoder": {"type": "Sequence", "decoders": [{"type": "ByteFallback"}, {"type": "Fuse"}, {"type": "Strip", "content": " ", "start": 1}]}`,
		`"post_processor": {"type": "TemplateProcessing", "single": [{"Sequence": {"id": "A"}}]}`,
		`"added_tokens": [{"id": 11, "content": " ", "lstrip": true, "single_word": true}]`,
	} {
		f.Add([]byte(tiny(", "+part)), "a  b's\nab")
	}
	f.Fuzz(func(t *testing.T, file []byte, text string) {
		tok, err := parse(file, config{})
		if err != nil {
			return
		}
		text = text[:min(len(text), 1000)]
		ids := tok.Encode(text, true)
		if most := (len(text)+len(tok.post.before)+len(tok.post.after)+1)*(2*maxGrowth) + maxAround; len(ids) > most {
			t.Errorf("%d tokens of %d bytes", len(ids), len(text))
		}
		for _, id := range ids {
			if tok.vocab.bytes(id) == nil {
				t.Errorf("token %d is none", id)
			}
		}
		_ = fmt.Sprint(tok.Decode(ids, false))
	})
}
