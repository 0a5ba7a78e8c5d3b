package tokenize

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"testing"
)

// vector is one line of a vectors file: what Hugging Face's tokenizers does.
type vector struct {
	Text    string  `json:"text"`
	IDs     []int32 `json:"ids"`
	Decoded string  `json:"decoded"`
}

func fixtures(t testing.TB) string {
	dir := os.Getenv("TROUPE_FIXTURES")
	if dir == "" {
		dir = filepath.Join("..", "..", "shared", "fixtures")
	}
	if _, err := os.Stat(dir); err != nil {
		t.Skip("no fixtures: set TROUPE_FIXTURES")
	}
	return dir
}

func load(t testing.TB, dir string) *Tokenizer {
	t.Helper()
	tok, err := Load(os.DirFS(dir))
	if err != nil {
		t.Fatal(err)
	}
	return tok
}

// readLines reads a file with a JSON value a line.
func readLines[T any](t testing.TB, path string) (all []T) {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for line := range bytes.Lines(data) {
		var v T
		if err := json.Unmarshal(line, &v); err != nil {
			t.Fatalf("%s:%d: %v", path, len(all)+1, err)
		}
		all = append(all, v)
	}
	if len(all) == 0 {
		t.Fatalf("%s is empty", path)
	}
	return all
}

func checkVectors(t *testing.T, tok *Tokenizer, all []vector) {
	t.Helper()
	for _, v := range all {
		if got := tok.Encode(v.Text, false); !slices.Equal(got, v.IDs) {
			t.Errorf("Encode(%q)\n got %v\nwant %v", v.Text, got, v.IDs)
		}
		if got := tok.Decode(v.IDs, false); got != v.Decoded {
			t.Errorf("Decode(%v)\n got %q\nwant %q", v.IDs, got, v.Decoded)
		}
	}
}

func TestFixtureVectors(t *testing.T) {
	dir := fixtures(t)
	paths, err := filepath.Glob(filepath.Join(dir, "*", "*", "vectors.jsonl"))
	if err != nil || len(paths) == 0 {
		t.Fatalf("no vectors under %s: %v", dir, err)
	}
	for _, p := range paths {
		t.Run(filepath.Base(filepath.Dir(p)), func(t *testing.T) {
			all := readLines[vector](t, p)
			checkVectors(t, load(t, filepath.Dir(p)), all)
			t.Logf("%d vectors", len(all))
		})
	}
}
