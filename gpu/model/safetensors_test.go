package model

import (
	"encoding/binary"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// file builds a safetensors file of a header and n bytes of data.
func file(header string, n int) []byte {
	data := binary.LittleEndian.AppendUint64(nil, uint64(len(header)))
	return append(append(data, header...), make([]byte, n)...)
}

func TestSafetensorsViews(t *testing.T) {
	data := file(`{"__metadata__": {"format": "pt", "shape": "a string", "dtype": ""},
		"b": {"dtype": "F32", "shape": [2, 1], "data_offsets": [4, 12]}, "a": {"dtype": "BF16", "shape": [2], "data_offsets": [0, 4]},
		"s": {"dtype": "I64", "shape": [], "data_offsets": [12, 20]}, "e": {"dtype": "F16", "shape": [0, 5], "data_offsets": [20, 20]},
		"packed": {"dtype": "F4", "shape": [4], "data_offsets": [20, 22]}}   `, 22)
	for i := range 22 {
		data[len(data)-22+i] = byte(i)
	}
	got, err := parseSafetensors(data, "f")
	if err != nil {
		t.Fatal(err)
	}
	if len(got) != 5 {
		t.Errorf("%d tensors, want 5", len(got))
	}
	b := got["b"]
	if b.dtype != "F32" || len(b.shape) != 2 || b.shape[0] != 2 || b.shape[1] != 1 || len(b.data) != 8 || b.data[0] != 4 || b.data[7] != 11 {
		t.Errorf("b is %+v", b)
	}
	if cap(b.data) != 8 {
		t.Error("a view reaches beyond its tensor")
	}
}

func TestSafetensorsFaults(t *testing.T) {
	entry := func(e string) []byte { return file(`{"w": {`+e+`}}`, 8) }
	for _, tc := range []struct {
		name string
		file []byte
		want string
	}{
		{"empty", nil, "truncated: 0 bytes, want at least the 8"},
		{"short length", []byte{1, 2, 3}, "truncated: 3 bytes"},
		{"header cut", file(`{"w": 1}`, 0)[:12], "truncated: the header is 8 bytes, 4 are there"},
		{"not safetensors", []byte("PK\x03\x04 a zip file, say"), "no safetensors file"},
		{"length overflows", binary.LittleEndian.AppendUint64(nil, 1<<64-1), "no safetensors file"},
		{"not JSON", file(`{"w": `, 0), "header: not JSON"},
		{"no object", file(`[]`, 0), "header: it is an array, want an object"},
		{"entry no object", file(`{"w": 3}`, 0), `tensor "w": it is a number, want an object`},
		{"no offsets", entry(`"dtype": "F32", "shape": [2]`), `tensor "w": data_offsets are [], want [begin, end]`},
		{"reversed", entry(`"dtype": "F32", "shape": [2], "data_offsets": [8, 0]`), "data_offsets are [8 0], want [begin, end]"},
		{"negative", entry(`"dtype": "F32", "shape": [2], "data_offsets": [-8, 0]`), `tensor "w": data_offsets`},
		{"too many bytes", entry(`"dtype": "F32", "shape": [1], "data_offsets": [0, 8]`), "F32 of shape [1] takes 4 bytes, data_offsets give it 8"},
		{"too few bytes", entry(`"dtype": "BF16", "shape": [2, 3], "data_offsets": [0, 8]`), "BF16 of shape [2 3] takes 12 bytes"},
		{"negative shape", entry(`"dtype": "F32", "shape": [-1, -2], "data_offsets": [0, 8]`), "shape [-1 -2] has a negative size"},
		{"shape overflows", entry(`"dtype": "F32", "shape": [4611686018427387904, 4], "data_offsets": [0, 8]`), "is beyond any file"},
		{"beyond the file", entry(`"dtype": "F32", "shape": [4], "data_offsets": [0, 16]`), "truncated: tensors take 16 bytes after the header, 8 are there"},
		{"far beyond", entry(`"dtype": "U8", "shape": [0], "data_offsets": [18446744073709551615, 18446744073709551615]`), "beyond any file"},
		{"overlap", file(`{"v": {"dtype": "U8", "shape": [5], "data_offsets": [3, 8]}, "w": {"dtype": "U8", "shape": [4], "data_offsets": [0, 4]}}`, 8), `tensors "w" and "v" overlap`},
		{"same bytes", file(`{"v": {"dtype": "U8", "shape": [4], "data_offsets": [0, 4]}, "w": {"dtype": "U8", "shape": [4], "data_offsets": [0, 4]}}`, 8), `tensors "v" and "w" overlap`},
	} {
		_, err := parseSafetensors(tc.file, "dir/x.safetensors")
		if err == nil {
			t.Errorf("%s: accepted", tc.name)
		} else if !strings.HasPrefix(err.Error(), "dir/x.safetensors: ") || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: error %q lacks %q", tc.name, err, tc.want)
		}
	}
}

// Whatever the header says, accepted views lie inside the file and apart.
func FuzzSafetensors(f *testing.F) {
	shard, err := os.ReadFile(filepath.Join("testdata", "qwen3-sharded", "model-00005-of-00005.safetensors"))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(shard[:min(len(shard), 4096)])
	f.Add(file(`{"a": {"dtype": "U8", "shape": [2, 2], "data_offsets": [0, 4]}, "b": {"dtype": "F4", "shape": [1], "data_offsets": [4, 8]}}`, 8))
	f.Add(file(`{"a": {"dtype": "F32", "shape": [4294967296, 4294967296], "data_offsets": [0, 0]}, "__metadata__": null}`, 0))
	f.Fuzz(func(t *testing.T, input []byte) {
		data := slices.Clone(input)
		tensors, err := parseSafetensors(data, "f")
		if err != nil {
			return
		}
		clear(data)
		for name, raw := range tensors {
			if size, ok := elementBytes[raw.dtype]; ok && int64(size)*Plain(Int8).Bytes(raw.shape) != int64(len(raw.data)) {
				t.Errorf("%s: %s %v in %d bytes", name, raw.dtype, raw.shape, len(raw.data))
			}
			for i := range raw.data {
				if raw.data[i]++; raw.data[i] > 1 {
					t.Fatalf("%s shares bytes with another tensor", name)
				}
			}
		}
	})
}
