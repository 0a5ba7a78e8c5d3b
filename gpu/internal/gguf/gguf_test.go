package gguf_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"testing"

	"github.com/troupe-llm/troupe/gpu/internal/gguf"
	"github.com/troupe-llm/troupe/gpu/model/modeltest"
)

// small is a sound file of two tensors.
func small() *modeltest.GGUF {
	g := &modeltest.GGUF{}
	g.Set("general.architecture", "llama")
	g.Set("list", []string{"a", "b"})
	g.Set("number", uint32(7))
	g.Tensor("token_embd.weight", gguf.F32, []int{3, 2}, make([]byte, 24))
	g.Tensor("blk.0.q", gguf.Q4_0, []int{2, 32}, make([]byte, 36))
	return g
}

func TestParse(t *testing.T) {
	f, err := gguf.Parse(small().Bytes(), "x")
	if err != nil {
		t.Fatal(err)
	}
	if f.Architecture() != "llama" || len(f.Tensors) != 2 {
		t.Errorf("%q with %d tensors", f.Architecture(), len(f.Tensors))
	}
	q := f.Tensors["blk.0.q"]
	if !slices.Equal(q.Shape, []int{2, 32}) || q.Type.String() != "Q4_0" || len(q.Data) != 36 {
		t.Errorf("%s of %v, %d bytes", q.Type, q.Shape, len(q.Data))
	}
	if all, ok := f.Metadata["list"].Texts(); !ok {
		t.Error("no list")
	} else {
		for i, s := range all {
			if string(s) != string("ab"[i]) {
				t.Errorf("element %d is %q", i, s)
			}
		}
	}
}

// at overwrites bytes behind the first place where some are.
func at(data []byte, mark string, skip int, with ...byte) []byte {
	data = bytes.Clone(data)
	copy(data[bytes.Index(data, []byte(mark))+len(mark)+skip:], with)
	return data
}

func u64(v uint64) []byte { return binary.LittleEndian.AppendUint64(nil, v) }
func u32(v uint32) []byte { return binary.LittleEndian.AppendUint32(nil, v) }

// What an attacker or a broken download has: each is refused with its reason, and
// nothing is allocated for it.
func TestParseRefuses(t *testing.T) {
	sound := small().Bytes()
	tensor := func(name string, kind gguf.Type, shape []int, n int) []byte {
		g := small()
		g.Tensor(name, kind, shape, make([]byte, n))
		return g.Bytes()
	}
	odd := small()
	odd.Set("general.alignment", uint32(24))
	twice := small()
	twice.Set("number", uint32(7))
	const offset = 4 + 16 + 4 // behind dimensions, sizes and type
	for _, c := range []struct {
		name string
		data []byte
		want string
	}{
		{"nothing", nil, "does not begin with"},
		{"no file of this kind", []byte("PK\x03\x04....."), "does not begin with"},
		{"cut in the header", sound[:20], "truncated"},
		{"cut in metadata", sound[:60], "truncated"},
		{"cut in tensors", sound[:len(sound)-70], "truncated"},
		{"cut in the data", sound[:len(sound)-1], `truncated: tensor "blk.0.q", Q4_0 of [2 32]`},
		{"version 1", at(sound, "GGUF", 0, u32(1)...), "version 1 is not supported"},
		{"big-endian", at(sound, "GGUF", 0, 0, 0, 0, 3), "big-endian"},
		{"2^63 tensors", at(sound, "GGUF", 4, u64(1<<63)...), "9223372036854775808 tensors, at most"},
		{"2^63 keys", at(sound, "GGUF", 12, u64(1<<63)...), "9223372036854775808 keys of metadata, at most"},
		{"more keys than there are", at(sound, "GGUF", 12, u64(5)...), "metadata"},
		{"a key beyond the file", at(sound, "GGUF", 20, u64(1<<62)...), "a string of 4611686018427387904 bytes"},
		{"a string beyond the file", at(sound, "general.architecture", 4, u64(1<<40)...), `"general.architecture": truncated: 1099511627776 bytes`},
		{"2^63 elements", at(sound, "list", 8, u64(1<<63)...), `"list": an array of 9223372036854775808 elements`},
		{"more elements than there are", at(sound, "list", 8, u64(200)...), `"list"`},
		{"an array of arrays", at(sound, "list", 4, u32(9)...), "arrays of arrays"},
		{"a value of no type", at(sound, "number", 0, u32(77)...), `"number": type 77 is no type`},
		{"a key twice", twice.Bytes(), `"number" is there twice`},
		{"five dimensions", at(sound, "token_embd.weight", 0, u32(5)...), "has 5 dimensions"},
		{"a size of 2^63", at(sound, "token_embd.weight", 4, u64(1<<63)...), "beyond any file"},
		{"sizes whose product is too large", at(at(sound, "token_embd.weight", 4, u64(1<<31-1)...), "token_embd.weight", 12, u64(1<<31-1)...), "beyond any file"},
		{"no whole blocks", tensor("x", gguf.Q8_0, []int{48}, 34), "no whole blocks of Q8_0"},
		{"a tensor twice", tensor("blk.0.q", gguf.F32, []int{1}, 4), `"blk.0.q" is there twice`},
		{"an offset beyond the file", at(sound, "token_embd.weight", offset, u64(1<<63)...), "truncated"},
		{"misaligned", at(sound, "token_embd.weight", offset, u64(8)...), "no multiple of the alignment, 32"},
		{"overlapping", at(sound, "blk.0.q", offset, u64(0)...), "overlap"},
		{"an alignment of 24", odd.Bytes(), "want a power of two"},
	} {
		t.Run(c.name, func(t *testing.T) {
			allocated := testing.AllocsPerRun(1, func() { _, _ = gguf.Parse(c.data, "x.gguf") })
			_, err := gguf.Parse(c.data, "x.gguf")
			if err == nil || !strings.Contains(err.Error(), c.want) || !strings.HasPrefix(err.Error(), "x.gguf: ") {
				t.Errorf("got %v, want x.gguf: … %s", err, c.want)
			}
			if allocated > 200 {
				t.Errorf("%v allocations", allocated)
			}
		})
	}
}

// Whatever a file says, reading it ends, and what comes out can be read.
func FuzzParse(f *testing.F) {
	f.Add(small().Bytes())
	tokens := small()
	tokens.Alignment = 64
	tokens.Set("tokenizer.ggml.model", "gpt2")
	tokens.Set("tokenizer.ggml.pre", "qwen2")
	tokens.Set("tokenizer.ggml.tokens", []string{"a", "b", "ab", "<|im_end|>"})
	tokens.Set("tokenizer.ggml.token_type", []int32{1, 1, 1, 3})
	tokens.Set("tokenizer.ggml.merges", []string{"a b"})
	tokens.Set("tokenizer.ggml.eos_token_id", uint32(3))
	f.Add(tokens.Bytes())
	pieces := small()
	pieces.Set("tokenizer.ggml.model", "llama")
	pieces.Set("tokenizer.ggml.tokens", []string{"<unk>", "▁", "a", "▁a"})
	pieces.Set("tokenizer.ggml.scores", []float32{0, -1, -2, -3})
	pieces.Set("llama.rope.scaling.type", "yarn")
	pieces.Tensor("rope_freqs.weight", gguf.F32, []int{1}, []byte{0, 0, 128, 63})
	f.Add(pieces.Bytes())
	f.Fuzz(func(t *testing.T, data []byte) {
		one, err := gguf.Parse(data, "x")
		if err != nil {
			return
		}
		for _, tensor := range one.Tensors {
			n := 0
			for _, b := range tensor.Data { // they are of the file
				n += int(b)
			}
		}
		if _, err := gguf.Join([]*gguf.File{one}); err != nil {
			return
		}
		files := one.Files()
		for _, name := range []string{gguf.ConfigFile, gguf.GenerationFile, gguf.TokenizerFile, gguf.TokenizerSetup} {
			if out, err := fs.ReadFile(files, name); err == nil && len(out) > 64*(len(data)+1024) {
				t.Errorf("%s of %d bytes from %d", name, len(out), len(data))
			}
		}
	})
}

// split are n parts of a model.
func split(n int, set func(i int, g *modeltest.GGUF)) (parts []*gguf.File, err error) {
	for i := range n {
		g := &modeltest.GGUF{}
		if i == 0 {
			g.Set("general.architecture", "llama")
		}
		set(i, g)
		g.Tensor(fmt.Sprintf("blk.%d.x", i), gguf.F32, []int{2}, make([]byte, 8))
		f, err := gguf.Parse(g.Bytes(), fmt.Sprintf("m-%d", i))
		if err != nil {
			return nil, err
		}
		parts = append(parts, f)
	}
	return parts, nil
}

func TestSplits(t *testing.T) {
	sound := func(i int, g *modeltest.GGUF) {
		g.Set("split.no", uint16(i))
		g.Set("split.count", uint16(3))
		g.Set("split.tensors.count", int32(3))
	}
	for _, c := range []struct {
		name string
		n    int
		set  func(i int, g *modeltest.GGUF)
		want string
	}{
		{"sound", 3, sound, ""},
		{"the same file three times", 3, func(_ int, g *modeltest.GGUF) { sound(0, g) }, `"split.no" is 0, want 1`},
		{"of another number", 2, sound, `"split.count" is 3, want 2`},
		{"alone", 1, sound, "have to be named NAME-00001-of-0000N.gguf"},
		{"without keys", 2, func(int, *modeltest.GGUF) {}, "is missing"},
		{"a tensor in two", 3, func(i int, g *modeltest.GGUF) {
			sound(i, g)
			g.Tensor("same", gguf.F32, []int{2}, make([]byte, 8))
		}, `tensor "same" is in m-0, too`},
		{"a tensor too many", 3, func(i int, g *modeltest.GGUF) {
			sound(i, g)
			g.Tensor(fmt.Sprint("more", i), gguf.F32, []int{2}, make([]byte, 8))
		}, `"split.tensors.count" is 3, but its 3 files have 6 tensors`},
		{"put together again", 1, func(_ int, g *modeltest.GGUF) { g.Set("split.count", uint16(0)) }, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			parts, err := split(c.n, c.set)
			if err != nil {
				t.Fatal(err)
			}
			whole, err := gguf.Join(parts)
			switch {
			case c.want == "" && err != nil, c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)):
				t.Errorf("got %v, want %q", err, c.want)
			case err == nil && len(whole.Tensors) != c.n:
				t.Errorf("%d tensors, want %d", len(whole.Tensors), c.n)
			}
		})
	}
}

func TestSplitNames(t *testing.T) {
	for name, want := range map[string][]string{
		"m.gguf":                {"m.gguf"},
		"m-00002-of-00002.gguf": {"m-00001-of-00002.gguf", "m-00002-of-00002.gguf"},
		"m-00003-of-00002.gguf": {"m-00003-of-00002.gguf"}, // none of two
		"m-00000-of-00002.gguf": {"m-00000-of-00002.gguf"},
		"m-1-of-2.gguf":         {"m-1-of-2.gguf"},
	} {
		if got, err := gguf.Splits(name); err != nil || !slices.Equal(got, want) {
			t.Errorf("%s: %v, %v, want %v", name, got, err, want)
		}
	}
	if _, err := gguf.Splits("m-00001-of-99999.gguf"); err == nil {
		t.Error("99,999 files were taken")
	}
}

func TestQuantisation(t *testing.T) {
	for name, want := range map[string]string{
		"Qwen3-0.6B-Q8_0.gguf": "Q8_0", "tiny.Q4_K_M.gguf": "Q4_K_M", "Qwen3-30B-A3B-UD-Q4_K_XL-00001-of-00002.gguf": "UD-Q4_K_XL",
		"gpt-oss-20b-mxfp4.gguf": "mxfp4", "m-IQ4_XS.gguf": "IQ4_XS", "m-BF16.gguf": "BF16", "Q8-model.gguf": "", "model.gguf": "",
	} {
		if got := gguf.Quantisation(name); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
}

// Files are a file system: whole, or opened, and others are not there.
func TestFiles(t *testing.T) {
	f, err := gguf.Parse(small().Bytes(), "x")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"tokenizer.json", "tokenizer_config.json", "other", "../config.json"} {
		if _, err := fs.Stat(f.Files(), name); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s: %v", name, err)
		}
	}
	opened, err := f.Files().Open("generation_config.json")
	if err != nil {
		t.Fatal(err)
	}
	if info, err := opened.Stat(); err != nil || info.Size() != 2 || info.Name() != "generation_config.json" {
		t.Errorf("%v, %v", info, err)
	}
}
