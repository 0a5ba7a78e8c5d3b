package gguf

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// The types of tokens.
const (
	tokenUnknown = 2
	tokenControl = 3
	tokenUser    = 4
	tokenUnused  = 5
	tokenByte    = 6
)

// The most tokens, of so many bytes, that are taken, and how many bytes are looked at
// to find merges: for each cut of a token both parts. Published ones have up to 262,208
// tokens of 256 bytes and take some 20 million.
const (
	maxTokens     = 1 << 22
	maxTokenBytes = 1 << 11
	maxCuts       = 1 << 31
)

// hasTokenizer says that there is a vocabulary.
func (f *File) hasTokenizer() bool {
	model, _ := f.Metadata["tokenizer.ggml.model"].Text()
	return model != "" && model != "none" && model != "no_vocab"
}

// vocabulary is the tokens of a file, by id.
type vocabulary struct {
	*document
	tokens [][]byte
	types  []int64 // nil: all are normal
	scores []float64
	merges Value
}

// vocabulary reads the lists, which are of one length.
func (f *File) vocabulary() (*vocabulary, error) {
	v := &vocabulary{document: f.document()}
	list := f.Metadata["tokenizer.ggml.tokens"]
	all, ok := list.Texts()
	if !ok || list.Len() == 0 || list.Len() > maxTokens {
		v.faults.Addf("metadata: \"tokenizer.ggml.tokens\" is %s, want 1 to %d strings", list, maxTokens)
		return nil, v.faults.Err()
	}
	for i, t := range all {
		switch {
		case !utf8.Valid(t):
			v.faults.Addf("metadata: \"tokenizer.ggml.tokens\": token %d, %.40q, is not UTF-8", i, t)
			return nil, v.faults.Err()
		case len(t) > maxTokenBytes:
			v.faults.Addf("metadata: \"tokenizer.ggml.tokens\": token %d, %.40q…, is %d bytes long, at most %d are taken", i, t, len(t), maxTokenBytes)
			return nil, v.faults.Err()
		}
		v.tokens = append(v.tokens, t)
	}
	if types, is := f.Metadata["tokenizer.ggml.token_type"]; is {
		if v.types, ok = types.Ints(); !ok || len(v.types) != len(v.tokens) {
			v.faults.Addf("metadata: \"tokenizer.ggml.token_type\" is %s, want a number for each of %d tokens", types, len(v.tokens))
		}
	}
	if scores, is := f.Metadata["tokenizer.ggml.scores"]; is {
		if v.scores, ok = scores.Floats(); !ok || len(v.scores) != len(v.tokens) {
			v.faults.Addf("metadata: \"tokenizer.ggml.scores\" is %s, want a number for each of %d tokens", scores, len(v.tokens))
		}
	}
	if v.merges = f.Metadata["tokenizer.ggml.merges"]; v.merges.data != nil {
		if _, ok := v.merges.Texts(); !ok {
			v.faults.Addf("metadata: \"tokenizer.ggml.merges\" is %s, want strings", v.merges)
		}
	}
	return v, v.faults.Err()
}

func (v *vocabulary) kind(id int) int64 {
	if v.types == nil {
		return 0
	}
	return v.types[id]
}

// filler says that a token stands for an id that nothing has.
func (v *vocabulary) filler(id int) bool {
	t := v.tokens[id]
	return v.kind(id) == tokenUnused && bytes.HasPrefix(t, []byte("[PAD")) && bytes.HasSuffix(t, []byte("]"))
}

// tokenizer makes tokenizer.json.
func (f *File) tokenizer() ([]byte, error) {
	v, err := f.vocabulary()
	if err != nil {
		return nil, err
	}
	switch model, _ := v.text("tokenizer.ggml.model"); model {
	case "gpt2":
		return v.byteLevel()
	case "llama":
		return v.sentencePiece()
	default:
		v.faults.Unsupportedf("metadata: tokenizers of \"tokenizer.ggml.model\" %q are not supported, only \"gpt2\" and \"llama\"", model)
		return nil, v.faults.Err()
	}
}

// part is any normalizer, pre-tokenizer, post-processor or decoder of tokenizer.json.
type part = map[string]any

func sequence(of, parts string, list ...part) part {
	if len(list) == 0 {
		return nil
	}
	return part{"type": of, parts: list}
}

// byteLevel is a tokenizer whose tokens are spelled byte by byte.
func (v *vocabulary) byteLevel() ([]byte, error) {
	name, _ := v.text("tokenizer.ggml.pre")
	p, known := splitters[name]
	if !known {
		v.faults.Unsupportedf("metadata: \"tokenizer.ggml.pre\" is %q: how texts are split so is not known, or not from this name", name)
		return nil, v.faults.Err()
	}
	if v.merges.data == nil {
		v.faults.Addf("metadata: \"tokenizer.ggml.merges\" is missing")
		return nil, v.faults.Err()
	}
	var normalizer part
	if p.nfc {
		normalizer = part{"type": "NFC"}
	}
	level := part{"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": p.regex}
	post := v.around(p.begins)
	return v.assemble(normalizer, sequence("Sequence", "pretokenizers", append(slices.Clone(p.before), level)...), post, part{"type": "ByteLevel"},
		part{"type": "BPE", "ignore_merges": p.whole}, v.tokens, v.mergesAsStored())
}

// mergesAsStored are "a b" each.
func (v *vocabulary) mergesAsStored() func(yield func(left, right []byte) bool) {
	all, _ := v.merges.Texts()
	return func(yield func(left, right []byte) bool) {
		for _, m := range all {
			left, right, _ := bytes.Cut(m, []byte{' '})
			if !yield(left, right) {
				return
			}
		}
	}
}

// around is what stands before and behind a text: what metadata says, or else what
// tokenizers of that kind do.
func (v *vocabulary) around(begins bool) part {
	single, tokens := []any{}, map[string]any{}
	add := func(key, token string, otherwise bool) {
		if want, ok := v.truth("tokenizer.ggml.add_" + key + "_token"); ok && !want || !ok && !otherwise {
			return
		}
		id, ok := v.whole("tokenizer.ggml." + token + "_token_id")
		if !ok || id < 0 || id >= len(v.tokens) {
			return
		}
		text := string(v.tokens[id])
		single = append(single, part{"SpecialToken": part{"id": text, "type_id": 0}})
		tokens[text] = part{"id": text, "ids": []int{id}, "tokens": []string{text}}
	}
	add("bos", "bos", begins)
	single = append(single, part{"Sequence": part{"id": "A", "type_id": 0}})
	add("eos", "eos", false)
	return part{"type": "TemplateProcessing", "single": single, "special_tokens": tokens}
}

// assemble writes tokenizer.json. Vocabulary and merges are too large to go through a
// tree of values.
func (v *vocabulary) assemble(normalizer, pre, post, decoder, model part, tokens [][]byte, merges func(yield func(left, right []byte) bool)) ([]byte, error) {
	if err := v.faults.Err(); err != nil {
		return nil, err
	}
	out := []byte(`{"version":"1.0"`)
	for _, p := range []struct {
		name string
		part part
	}{{"normalizer", normalizer}, {"pre_tokenizer", pre}, {"post_processor", post}, {"decoder", decoder}} {
		data, err := json.Marshal(p.part)
		if err != nil {
			return nil, err
		}
		out = append(fmt.Appendf(out, ",%q:", p.name), data...)
	}
	out = v.appendAdded(append(out, `,"added_tokens":[`...), tokens)
	data, err := json.Marshal(model)
	if err != nil {
		return nil, err
	}
	out = append(append(out, `],"model":`...), data[:len(data)-1]...)
	out = append(out, `,"vocab":{`...)
	for id, t := range tokens {
		if !v.filler(id) {
			out = strconv.AppendInt(append(appendString(out, t), ':'), int64(id), 10)
			out = append(out, ',')
		}
	}
	out = append(bytes.TrimSuffix(out, []byte{','}), `},"merges":[`...)
	for left, right := range merges {
		out = append(appendString(append(out, '['), left), ',')
		out = append(appendString(out, right), "],"...)
	}
	return append(bytes.TrimSuffix(out, []byte{','}), `]}}`...), nil
}

// appendAdded writes the tokens that are cut out of a text before all else. Which of
// them are written as spaces and line ends eat those around is not stored but for one
// family, whose are known.
func (v *vocabulary) appendAdded(out []byte, tokens [][]byte) []byte {
	model, _ := v.text("tokenizer.ggml.model")
	eats := v.f.Architecture() == "phi3" && model == "llama"
	for id, t := range tokens {
		special := v.kind(id) == tokenControl || v.kind(id) == tokenUnknown
		if !special && v.kind(id) != tokenUser {
			continue
		}
		rstrip := eats && special && !slices.Contains([]string{"<unk>", "<s>", "<|endoftext|>"}, string(t))
		out = appendString(fmt.Appendf(out, `{"id":%d,"content":`, id), t)
		out = fmt.Appendf(out, `,"single_word":false,"lstrip":false,"rstrip":%t,"normalized":false,"special":%t},`, rstrip, special)
	}
	return bytes.TrimSuffix(out, []byte{','})
}

// appendString writes a JSON string.
func appendString(out, s []byte) []byte {
	out = append(out, '"')
	for _, b := range s {
		switch {
		case b == '"' || b == '\\':
			out = append(out, '\\', b)
		case b < ' ':
			out = fmt.Appendf(out, `\u%04x`, b)
		default:
			out = append(out, b)
		}
	}
	return append(out, '"')
}

// named are the tokens that have a name, with its key.
var named = map[string]string{
	"bos_token": "bos", "eos_token": "eos", "unk_token": "unknown", "pad_token": "padding", "sep_token": "seperator", "cls_token": "cls", "mask_token": "mask", //nolint:misspell // llama.cpp has it so
}

// tokenizerSetup makes tokenizer_config.json.
func (f *File) tokenizerSetup() ([]byte, error) {
	v, err := f.vocabulary()
	if err != nil {
		return nil, err
	}
	for field, key := range named {
		if id, ok := v.whole("tokenizer.ggml." + key + "_token_id"); ok && id >= 0 && id < len(v.tokens) && !v.filler(id) {
			v.fields[field] = string(v.tokens[id])
		}
	}
	templates := []part{}
	for key := range f.Metadata {
		name, is := strings.CutPrefix(key, "tokenizer.chat_template.")
		if key == "tokenizer.chat_template" {
			name, is = "default", true
		}
		if !is {
			continue
		}
		if text, ok := v.text(key); ok {
			templates = append(templates, part{"name": name, "template": text})
		}
	}
	slices.SortFunc(templates, func(a, b part) int { return strings.Compare(a["name"].(string), b["name"].(string)) })
	switch {
	case len(templates) == 1 && templates[0]["name"] == "default":
		v.fields["chat_template"] = templates[0]["template"]
	case len(templates) > 0:
		v.fields["chat_template"] = templates
	}
	return v.json()
}

// ending are tokens that end a reply, whatever else metadata says.
var ending = []string{
	"<|im_end|>", "<|endoftext|>", "<|eot_id|>", "<|eom_id|>", "<|end_of_text|>", "<end_of_turn>", "<|return|>", "<|call|>", "<｜end▁of▁sentence｜>", "<|end|>",
}

// ends are the tokens that end a reply.
func (f *File) ends() []int {
	d, ids := f.document(), []int{}
	add := func(id int) {
		if !slices.Contains(ids, id) {
			ids = append(ids, id)
		}
	}
	for _, key := range []string{"eos", "eot", "eom"} {
		if id, ok := d.whole("tokenizer.ggml." + key + "_token_id"); ok && id >= 0 {
			add(id)
		}
	}
	v, err := f.vocabulary()
	if err != nil {
		return ids // whoever reads the tokenizer is told
	}
	byText := map[string]int{}
	for id, t := range v.tokens {
		if v.kind(id) == tokenControl && slices.Contains(ending, string(t)) {
			byText[string(t)] = id
		}
	}
	if _, parts := byText["<|return|>"]; parts {
		delete(byText, "<|end|>") // which ends a part of a reply then
	}
	for _, text := range ending {
		if id, is := byText[text]; is {
			add(id)
		}
	}
	return ids
}
