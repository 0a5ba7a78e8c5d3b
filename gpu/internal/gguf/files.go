package gguf

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"time"

	"github.com/troupe-llm/troupe/gpu/internal/jsonfile"
)

// The files of Hugging Face that metadata stands for.
const (
	ConfigFile     = "config.json"
	GenerationFile = "generation_config.json"
	TokenizerFile  = "tokenizer.json"
	TokenizerSetup = "tokenizer_config.json"
)

// Files are those files, made when they are opened. There is no tokenizer in a file
// without a vocabulary. They stay when the tensors' data is gone.
func (f *File) Files() fs.FS {
	config, err := f.config() // some of it is read from tensors
	return files{f, map[string]func(*File) ([]byte, error){
		ConfigFile:     func(*File) ([]byte, error) { return config, err },
		GenerationFile: (*File).generation,
		TokenizerFile:  (*File).tokenizer,
		TokenizerSetup: (*File).tokenizerSetup,
	}}
}

type files struct {
	f      *File
	makers map[string]func(*File) ([]byte, error)
}

func (s files) ReadFile(name string) ([]byte, error) {
	if _, err := s.Stat(name); err != nil {
		return nil, err
	}
	return s.makers[name](s.f)
}

func (s files) Open(name string) (fs.File, error) {
	data, err := s.ReadFile(name)
	if err != nil {
		return nil, err
	}
	return &file{made(name), int64(len(data)), bytes.NewReader(data)}, nil
}

func (s files) Stat(name string) (fs.FileInfo, error) {
	if s.makers[name] == nil || (name == TokenizerFile || name == TokenizerSetup) && !s.f.hasTokenizer() {
		return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
	}
	return made(name), nil
}

// file is one that has been made.
type file struct {
	made
	size int64
	*bytes.Reader
}

func (f *file) Stat() (fs.FileInfo, error) { return f, nil }
func (f *file) Size() int64                { return f.size }
func (f *file) Close() error               { return nil }

// made describes one; its size is known when it is open.
type made string

func (m made) Name() string     { return string(m) }
func (made) Size() int64        { return 0 }
func (made) Mode() fs.FileMode  { return 0o444 }
func (made) ModTime() time.Time { return time.Time{} }
func (made) IsDir() bool        { return false }
func (made) Sys() any           { return nil }

var _ io.ReaderAt = (*file)(nil)

// document is a JSON object that is made of metadata.
type document struct {
	f      *File
	faults *jsonfile.Faults
	fields map[string]any
}

func (f *File) document() *document {
	return &document{f, &jsonfile.Faults{Where: f.Where}, map[string]any{}}
}

// json writes it down, or says what is wrong with the metadata.
func (d *document) json() ([]byte, error) {
	if err := d.faults.Err(); err != nil {
		return nil, err
	}
	data, err := json.Marshal(d.fields)
	if err != nil { // no number of JSON: infinite
		d.faults.Addf("metadata: %v", errors.Unwrap(err))
		return nil, d.faults.Err()
	}
	return data, nil
}

// whole, number, truth and text are values by key; ok is false of those that are
// not there, and of others than those, which are faults.
func (d *document) whole(key string) (int, bool) {
	v, is := d.f.Metadata[key]
	if !is {
		return 0, false
	}
	n, ok := v.Int()
	if !ok && v.array { // one for each layer: where they are all alike, they are one
		n, ok = v.alike()
	}
	if !ok || int64(int(n)) != n {
		d.faults.Unsupportedf("metadata: %q is %s, want a whole number", key, v)
		return 0, false
	}
	return int(n), true
}

// alike is the number that all elements of an array are.
func (v Value) alike() (int64, bool) {
	all, ok := v.Ints()
	if !ok || len(all) == 0 {
		return 0, false
	}
	for _, n := range all {
		if n != all[0] {
			return 0, false
		}
	}
	return all[0], true
}

func (d *document) number(key string) (float64, bool) {
	v, is := d.f.Metadata[key]
	if !is {
		return 0, false
	}
	x, ok := v.Float()
	if !ok || x != x || x-x != 0 {
		d.faults.Addf("metadata: %q is %s, want a number", key, v)
		return 0, false
	}
	return x, true
}

func (d *document) truth(key string) (b, ok bool) {
	v, is := d.f.Metadata[key]
	if !is {
		return false, false
	}
	if b, ok = v.Bool(); !ok {
		d.faults.Addf("metadata: %q is %s, want true or false", key, v)
	}
	return b, ok
}

func (d *document) text(key string) (string, bool) {
	v, is := d.f.Metadata[key]
	if !is {
		return "", false
	}
	t, ok := v.Text()
	if !ok {
		d.faults.Addf("metadata: %q is %s, want a string", key, v)
	}
	return t, ok
}
