package gguf

import (
	"maps"
	"slices"
)

// splitter is how texts are split before bytes are merged. Files have its name alone,
// which llama.cpp's converter finds by what tokenizers make of a text.
type splitter struct {
	nfc    bool
	before []part // pre-tokenizers before that of bytes
	regex  bool   // GPT-2's pattern is that one's own
	whole  bool   // a piece that is a token is that token, however merges go
	begins bool   // texts begin with a token, unless metadata says otherwise
}

// isolated splits around what a pattern finds.
func isolated(regex string) part {
	return part{"type": "Split", "pattern": part{"Regex": regex}, "behavior": "Isolated", "invert": false}
}

// The patterns that families have published in their tokenizer.json.
const (
	contractions = `(?i:'s|'t|'re|'ve|'m|'ll|'d)`
	rest         = `| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+`
	qwen2        = contractions + `|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}` + rest
	qwen35       = contractions + `|[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+|\p{N}| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+`
	llama3       = contractions + `|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}` + rest

	upper = `[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+`
	lower = `[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*`
	slash = `| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+`

	gpt4o  = upper + contractions + `?|` + lower + contractions + `?|\p{N}{1,3}` + slash
	tekken = upper + `|` + lower + `|\p{N}` + slash

	deepseek3 = "[!\"#$%&'()*+,\\-./:;<=>?@\\[\\\\\\]^_`{|}~][A-Za-z]+" +
		`|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+`
	cjk = `[一-龥぀-ゟ゠-ヿ]+`
)

// digits splits off each digit.
var digits = part{"type": "Digits", "individual_digits": true}

// splitters by "tokenizer.ggml.pre".
var splitters = func() map[string]splitter {
	all := map[string]splitter{}
	for _, group := range []struct {
		names []string
		splitter
	}{
		{[]string{"qwen2", "deepseek-r1-qwen"}, splitter{nfc: true, before: []part{isolated(qwen2)}}},
		{[]string{"qwen35"}, splitter{nfc: true, before: []part{isolated(qwen35)}}},
		{[]string{"llama-bpe", "llama3", "llama-v3"}, splitter{before: []part{isolated(llama3)}, whole: true, begins: true}},
		{[]string{"smaug-bpe"}, splitter{before: []part{isolated(llama3)}, whole: true}},
		{[]string{"dbrx", "glm4", "chatglm-bpe"}, splitter{before: []part{isolated(llama3)}}},
		{[]string{"gpt-4o", "minimax-m2"}, splitter{before: []part{isolated(gpt4o)}}},
		{[]string{"tekken"}, splitter{before: []part{isolated(tekken)}, whole: true, begins: true}},
		{[]string{"deepseek-v3"}, splitter{before: []part{isolated(`\p{N}{1,3}`), isolated(cjk), isolated(deepseek3)}}},
		{[]string{"gpt-2", "phi-2"}, splitter{regex: true}},
		{[]string{"smollm", "starcoder", "refact"}, splitter{before: []part{digits}, regex: true}},
		{[]string{"command-r"}, splitter{nfc: true, before: []part{digits}, regex: true}},
	} {
		for _, name := range group.names {
			all[name] = group.splitter
		}
	}
	return all
}()

// Splitters lists the ways to split texts that are known, as "tokenizer.ggml.pre" has them.
func Splitters() []string { return slices.Sorted(maps.Keys(splitters)) }
