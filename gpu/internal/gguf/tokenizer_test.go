package gguf_test

import (
	"bufio"
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/troupe-llm/troupe/gpu/internal/gguf"
	"github.com/troupe-llm/troupe/gpu/model/modeltest"
	"github.com/troupe-llm/troupe/tokenize"
)

// Vocabularies that llama.cpp's converter wrote (--vocab-only) of tokenizers of ours give
// the ids that Hugging Face's library does: those of two checkpoints, and one that
// SentencePiece learnt from this project's documents, with tokens of spaces and line ends
// that a user defined. With that SentencePiece itself agrees.
func TestTokenizers(t *testing.T) {
	for _, c := range []struct{ name, vectors string }{
		{"qwen3", "../../model/testdata/qwen3/vectors.jsonl"},
		{"llama3", "../../model/testdata/llama3/vectors.jsonl"},
		{"spm", "testdata/spm.jsonl"},
	} {
		t.Run(c.name, func(t *testing.T) {
			tok := load(t, filepath.Join("testdata", c.name+".gguf"))
			for _, v := range vectors(t, c.vectors) {
				if got := tok.Encode(v.Text, false); !slices.Equal(got, v.IDs) {
					t.Errorf("%.60q: %v, want %v", v.Text, got, v.IDs)
				}
				if got := tok.Encode(v.Text, true); v.SpecialIDs != nil && !slices.Equal(got, v.SpecialIDs) {
					t.Errorf("%.60q with special tokens: %v, want %v", v.Text, got, v.SpecialIDs)
				}
				if got := tok.Decode(v.IDs, false); got != v.Decoded {
					t.Errorf("%v is %q, want %q", v.IDs, got, v.Decoded)
				}
			}
		})
	}
}

func load(t *testing.T, path string) *tokenize.Tokenizer {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	f, err := gguf.Parse(data, path)
	if err != nil {
		t.Fatal(err)
	}
	tok, err := tokenize.Load(f.Files())
	if err != nil {
		t.Fatal(err)
	}
	return tok
}

func vectors(t *testing.T, path string) (list []modeltest.Vector) {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(bytes.NewReader(data))
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var v modeltest.Vector
		if err := json.Unmarshal(lines.Bytes(), &v); err != nil {
			t.Fatal(err)
		}
		list = append(list, v)
	}
	if len(list) < 20 {
		t.Fatalf("%s has %d texts", path, len(list))
	}
	return list
}

// Templates render as those beside the checkpoint.
func TestChatTemplates(t *testing.T) {
	for _, name := range []string{"qwen3", "llama3"} {
		tok := load(t, filepath.Join("testdata", name+".gguf"))
		want, err := os.ReadFile(filepath.Join("..", "..", "model", "testdata", name, "chat_template.jinja"))
		if err != nil {
			t.Fatal(err)
		}
		if got := tok.ChatTemplate(false); strings.TrimSpace(got) != strings.TrimSpace(string(want)) {
			t.Errorf("%s: another template", name)
		}
	}
}

// Every way to split texts is one that tokenizers can run.
func TestSplitters(t *testing.T) {
	for _, pre := range gguf.Splitters() {
		if got := vocabulary(t, pre, nil).Encode("I'll pay 1234€ in São Paulo,  世界!\r\n\tOK", false); len(got) == 0 {
			t.Errorf("%s: nothing", pre)
		}
	}
	g := &modeltest.GGUF{}
	g.Set("tokenizer.ggml.model", "gpt2")
	g.Set("tokenizer.ggml.pre", "of-its-own")
	g.Set("tokenizer.ggml.tokens", []string{"a"})
	f, err := gguf.Parse(g.Bytes(), "x.gguf")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tokenize.Load(f.Files()); err == nil || !strings.Contains(err.Error(), `x.gguf: metadata: "tokenizer.ggml.pre" is "of-its-own"`) {
		t.Errorf("got %v", err)
	}
}

// vocabulary is a tokenizer of single bytes.
func vocabulary(t *testing.T, pre string, set func(*modeltest.GGUF)) *tokenize.Tokenizer {
	t.Helper()
	g := &modeltest.GGUF{}
	g.Set("tokenizer.ggml.model", "gpt2")
	g.Set("tokenizer.ggml.pre", pre)
	g.Set("tokenizer.ggml.tokens", append([]string{"<s>", "</s>"}, alphabet()...))
	g.Set("tokenizer.ggml.merges", []string{})
	types := make([]int32, 258)
	for i := range types {
		types[i] = 1
	}
	types[0], types[1] = 3, 3
	g.Set("tokenizer.ggml.token_type", types)
	g.Set("tokenizer.ggml.bos_token_id", uint32(0))
	g.Set("tokenizer.ggml.eos_token_id", uint32(1))
	if set != nil {
		set(g)
	}
	f, err := gguf.Parse(g.Bytes(), "x")
	if err != nil {
		t.Fatal(err)
	}
	tok, err := tokenize.Load(f.Files())
	if err != nil {
		t.Fatal(err)
	}
	return tok
}

// alphabet is how bytes are spelled: printable ones as they are, the others from U+0100
// on.
func alphabet() (list []string) {
	next := rune(0x100)
	for b := range rune(256) {
		if b >= '!' && b <= '~' || b >= 0xa1 && b <= 0xac || b >= 0xae {
			list = append(list, string(b))
			continue
		}
		list = append(list, string(next))
		next++
	}
	return list
}

// A vocabulary whose merges would take hours to find, or whose tokens no tokenizer has,
// is refused.
func TestVocabularyBounds(t *testing.T) {
	for want, tokens := range map[string][]string{
		"is 5000 bytes long": {strings.Repeat("a", 5000)},
		"is not UTF-8":       {"\xff"},
		"too much to look for merges in": func() (list []string) {
			for i := range 3000 {
				list = append(list, strings.Repeat("a", 2000)+strconv.Itoa(i))
			}
			return list
		}(),
	} {
		g := &modeltest.GGUF{}
		g.Set("tokenizer.ggml.model", "llama")
		g.Set("tokenizer.ggml.tokens", tokens)
		f, err := gguf.Parse(g.Bytes(), "x.gguf")
		if err != nil {
			t.Fatal(err)
		}
		if _, err := tokenize.Load(f.Files()); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %s", err, want)
		}
	}
}

// What stands around a text is what metadata says, or else what such files have.
func TestAround(t *testing.T) {
	for _, c := range []struct {
		pre  string
		set  func(*modeltest.GGUF)
		want []int32 // around one byte
	}{
		{"qwen2", nil, []int32{2}},
		{"llama-bpe", nil, []int32{0, 2}},
		{"llama-bpe", func(g *modeltest.GGUF) { g.Set("tokenizer.ggml.add_bos_token", false) }, []int32{2}},
		{"qwen2", func(g *modeltest.GGUF) {
			g.Set("tokenizer.ggml.add_bos_token", true)
			g.Set("tokenizer.ggml.add_eos_token", true)
		}, []int32{0, 2, 1}},
	} {
		tok := vocabulary(t, c.pre, c.set)
		got := tok.Encode("\x00", true)
		if !slices.Equal(got, c.want) {
			t.Errorf("%s: %v, want %v", c.pre, got, c.want)
		}
	}
}
