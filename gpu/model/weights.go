package model

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"path/filepath"
	"slices"
)

const (
	singleFile = "model.safetensors"
	indexFile  = "model.safetensors.index.json"
)

// source is where a checkpoint's files are: dir when they are on disk and can
// be mapped, else only fsys.
type source struct {
	name string // how errors call it
	fsys fs.FS
	dir  string
}

// path is what errors call a file of the source.
func (s *source) path(file string) string { return filepath.Join(s.name, file) }

// view returns a whole file, mapped where possible. The data is valid until
// unmap.
func (s *source) view(file string) (data []byte, unmap func() error, err error) {
	if s.dir != "" {
		return readMapped(filepath.Join(s.dir, file))
	}
	data, err = fs.ReadFile(s.fsys, file)
	return data, func() error { return nil }, err
}

// store is a checkpoint's opened safetensors files.
type store struct {
	src   *source
	files map[string]map[string]rawTensor // file → tensor name → view
	index map[string]string               // tensor name → file; nil: everything is in singleFile
	unmap []func() error
}

func (s *store) close() error {
	var errs []error
	for _, unmap := range s.unmap {
		errs = append(errs, unmap())
	}
	s.unmap = nil
	return errors.Join(errs...)
}

// loadWeights opens the checkpoint's files and finds every tensor of the
// configuration in them. release ends the views.
func loadWeights(src *source, c *Config) (w *Weights, release func() error, err error) {
	s := &store{src: src, files: map[string]map[string]rawTensor{}}
	if w, err = s.load(c); err != nil {
		return nil, nil, errors.Join(err, s.close())
	}
	return w, s.close, nil
}

func (s *store) load(c *Config) (*Weights, error) {
	if err := s.open(); err != nil {
		return nil, err
	}
	w := c.blank()
	f := &faults{where: s.src.name}
	for _, p := range c.places(w) {
		*p.tensor = s.bind(p, f)
	}
	if err := f.err(); err != nil {
		return nil, err
	}
	if c.TieEmbedding {
		w.Head = w.Embed
	}
	return w, nil
}

// open opens model.safetensors, or else every file that the index names.
func (s *store) open() error {
	if _, err := fs.Stat(s.src.fsys, singleFile); err == nil {
		return s.openFile(singleFile)
	}
	data, err := fs.ReadFile(s.src.fsys, indexFile)
	if errors.Is(err, fs.ErrNotExist) {
		return s.src.noWeights()
	}
	if err != nil {
		return err
	}
	if err := s.readIndex(data); err != nil {
		return err
	}
	for _, file := range slices.Sorted(maps.Keys(s.files)) {
		if err := s.openFile(file); err != nil {
			return fmt.Errorf("%w (named by %s)", err, s.src.path(indexFile))
		}
	}
	return nil
}

// readIndex fills in index and the keys of files.
func (s *store) readIndex(data []byte) error {
	f := &faults{where: s.src.path(indexFile)}
	var index struct {
		WeightMap map[string]string `json:"weight_map"`
	}
	if err := decodeJSON(data, &index); err != nil {
		f.addf("%v", err)
	} else if len(index.WeightMap) == 0 {
		f.addf("weight_map is missing or empty")
	}
	s.index = index.WeightMap
	for _, name := range slices.Sorted(maps.Keys(s.index)) {
		file := s.index[name]
		if _, known := s.files[file]; known {
			continue
		}
		if !fs.ValidPath(file) || filepath.Base(file) != file || file == "." {
			f.addf("tensor %q: %q is no file name", name, file)
		}
		s.files[file] = nil
	}
	return f.err()
}

func (s *store) openFile(file string) error {
	data, unmap, err := s.src.view(file)
	if err != nil {
		return fmt.Errorf("%s: %w", s.src.path(file), bare(err))
	}
	s.unmap = append(s.unmap, unmap)
	s.files[file], err = parseSafetensors(data, s.src.path(file))
	return err
}

// bind finds one tensor and checks it.
func (s *store) bind(p place, f *faults) Tensor {
	file := singleFile
	if s.index != nil {
		var ok bool
		if file, ok = s.index[p.name]; !ok {
			f.addf("%s: tensor %q is missing, want shape %v", indexFile, p.name, p.shape)
			return Tensor{}
		}
	}
	raw, ok := s.files[file][p.name]
	if !ok {
		f.addf("%s: tensor %q is missing, want shape %v", file, p.name, p.shape)
		return Tensor{}
	}
	if !slices.Equal(raw.shape, p.shape) {
		f.addf("%s: tensor %q has shape %v, want %v", file, p.name, raw.shape, p.shape)
	}
	dtype, ok := dtypes[raw.dtype]
	if !ok {
		f.unsupportedf("%s: tensor %q is %s, want BF16, F16 or F32", file, p.name, raw.dtype)
	}
	return Tensor{Name: p.name, File: s.src.path(file), DType: dtype, Shape: p.shape, Data: raw.data}
}

// noWeights says what is there instead of safetensors.
func (s *source) noWeights() error {
	for _, pattern := range []string{"*.gguf", "*.bin", "*.pth", "*.pt", "*.safetensors"} {
		if found, _ := fs.Glob(s.fsys, pattern); len(found) > 0 {
			return fmt.Errorf("%s: neither %s nor %s; %s is not read", s.name, singleFile, indexFile, found[0])
		}
	}
	return fmt.Errorf("%s: no weights: neither %s nor %s", s.name, singleFile, indexFile)
}

// bare strips the path from an error whose path is said already.
func bare(err error) error {
	var p *fs.PathError
	if errors.As(err, &p) {
		return p.Err
	}
	return err
}
