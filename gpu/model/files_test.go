//go:build unix

package model

import (
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// TestFilesThatAreNone: whatever file of a model is a pipe, a device, a link in a
// circle or to nowhere, a directory, absurdly large or a Git LFS pointer, is named with
// the reason, and nothing waits for it or reads it for ever.
func TestFilesThatAreNone(t *testing.T) {
	link := func(to string) func(string) error {
		return func(path string) error { return os.Symlink(to, path) }
	}
	write := func(text string) func(string) error {
		return func(path string) error { return os.WriteFile(path, []byte(text), 0o644) }
	}
	for _, c := range []struct {
		name string
		make func(path string) error
		want string
	}{
		{"a pipe", func(path string) error { return unix.Mkfifo(path, 0o644) }, "it is a pipe"},
		{"a device", link("/dev/zero"), "it is a device"},
		{"a circle", func(path string) error { return os.Symlink(filepath.Base(path), path) }, "too many levels of symbolic links"},
		{"a link to nowhere", link("not/there"), "it is a link to not/there, which is not there"},
		{"a directory", func(path string) error { return os.Mkdir(path, 0o755) }, "it is a directory"},
		{"a sparse file", func(path string) error {
			if err := os.WriteFile(path, nil, 0o644); err != nil {
				return err
			}
			return os.Truncate(path, 1<<40)
		}, "bytes"},
		{"a pointer", write("version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 9\n"), "it is a Git LFS pointer"},
	} {
		for _, file := range []string{
			"config.json", "generation_config.json", "model.safetensors", "model.safetensors.index.json",
			"tokenizer.json", "tokenizer_config.json", "chat_template.jinja", "special_tokens_map.json", "added_tokens.json",
		} {
			t.Run(c.name+" "+file, func(t *testing.T) {
				dir := checkpoint(t, "qwen3")
				path := filepath.Join(dir, file)
				if err := os.Remove(path); err != nil && !os.IsNotExist(err) {
					t.Fatal(err)
				}
				if file == "model.safetensors.index.json" {
					if err := os.Remove(filepath.Join(dir, "model.safetensors")); err != nil {
						t.Fatal(err)
					}
				}
				if err := c.make(path); err != nil {
					t.Skip(err)
				}
				m, err := Open(dir, false)
				if err == nil {
					defer m.Close()
					if m.Files == nil {
						t.Fatal("there is no tokenizer, it seems")
					}
					_, err = fs.ReadFile(m.Files, file) // as a tokenizer does
				}
				want := c.want
				if strings.HasPrefix(c.name, "a sparse") && file == "model.safetensors" { // its size is no fault
					want = "header"
				}
				if err == nil || !strings.Contains(err.Error(), path) || !strings.Contains(err.Error(), want) {
					t.Errorf("%v; want the path and %q", err, want)
				}
			})
		}
	}
}

func TestFilesThatAre(t *testing.T) {
	dir := checkpoint(t, "qwen3")
	blob := filepath.Join(t.TempDir(), "blob")
	path := filepath.Join(dir, "tokenizer.json")
	if err := os.Rename(path, blob); err != nil { // as caches of downloads have them
		t.Fatal(err)
	}
	if err := os.Symlink(blob, path); err != nil {
		t.Fatal(err)
	}
	m := mustOpen(t, dir)
	if data, err := fs.ReadFile(m.Files, "tokenizer.json"); err != nil || len(data) == 0 {
		t.Errorf("%d bytes, %v", len(data), err)
	}
	if found, err := fs.Glob(m.Files, "*.jinja"); err != nil || len(found) != 1 {
		t.Errorf("found %v, %v", found, err)
	}
	if _, err := fs.ReadFile(m.Files, "../x"); err == nil {
		t.Error("a file outside of the directory was read")
	}
}
