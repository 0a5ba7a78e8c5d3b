package model

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"path/filepath"
	"slices"
	"strings"

	"github.com/troupe-llm/troupe/gpu/internal/arch"
	"github.com/troupe-llm/troupe/gpu/internal/jsonfile"
	"github.com/troupe-llm/troupe/gpu/program"
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
	gguf *ggufStore // that has the weights; nil: they are in safetensors
}

// path is what errors call a file of the source.
func (s *source) path(file string) string {
	if s.gguf != nil { // there is one, of which the others are made
		return s.name
	}
	return filepath.Join(s.name, file)
}

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
	src *source
	// rename is what a tensor of the program is called in these files.
	rename func(string) string
	files  map[string]map[string]rawTensor // file → tensor name → view
	index  map[string]string               // tensor name → file; nil: everything is in singleFile
	unmaps
}

// unmaps end the views of files.
type unmaps []func() error

func (u *unmaps) close() error {
	var errs []error
	for _, unmap := range *u {
		errs = append(errs, unmap())
	}
	*u = nil
	return errors.Join(errs...)
}

// Weights are the tensors that fill a program's slots.
type Weights struct {
	slots  map[*program.Weight]*Slot // none of slots that are tied to another
	caches map[string]CacheScales    // by their names
}

// NewWeights are those of the slots, for tests that make their own.
func NewWeights(slots ...*Slot) *Weights {
	w := &Weights{slots: map[*program.Weight]*Slot{}}
	for _, s := range slots {
		w.add(s)
	}
	return w
}

func (w *Weights) add(s *Slot) {
	s.index()
	w.slots[s.Weight] = s
}

// Of is what fills a slot, or the slot that it is tied to.
func (w *Weights) Of(slot *program.Weight) *Slot {
	if s := w.slots[slot]; s != nil || slot.Tied == nil {
		return s
	}
	return w.slots[slot.Tied]
}

// dtype is that of the first quantised elements, else of the first slot's, the
// embedding's.
func (w *Weights) dtype(p *program.Program) DType {
	for _, slot := range p.Weights {
		if e := w.Of(slot).Sources[0].Tensor.Encoding; e.Quantized() {
			return e.Element
		}
	}
	return w.Of(p.Weights[0]).Sources[0].Tensor.Encoding.Element
}

// loadWeights opens the checkpoint's files and finds every tensor of the
// program in them, quantised by a scheme or not. release ends the views.
func loadWeights(src *source, p *program.Program, scheme arch.Scheme) (w *Weights, release func() error, err error) {
	if g := src.gguf; g != nil {
		w, err = g.load(p)
		return w, g.close, err
	}
	s := &store{src: src, files: map[string]map[string]rawTensor{}}
	if w, err = s.load(p, scheme); err != nil {
		return nil, nil, errors.Join(err, s.close())
	}
	return w, s.close, nil
}

func (s *store) load(p *program.Program, scheme arch.Scheme) (*Weights, error) {
	if err := s.open(); err != nil {
		return nil, err
	}
	s.rename = s.names()
	w := NewWeights()
	f := &jsonfile.Faults{Where: s.src.name}
	tensors := map[string]*Tensor{}
	for _, slot := range p.Weights {
		if slot.Tied != nil && !s.has(slot.Parts[0].Tensor) {
			continue
		}
		bound := &Slot{Weight: slot}
		for _, part := range slot.Parts {
			t := tensors[part.Tensor]
			if t == nil {
				t = s.bind(&part, scheme, f)
				tensors[part.Tensor] = t
			}
			bound.Sources = append(bound.Sources, Source{Part: part, Tensor: t})
		}
		w.add(bound)
	}
	w.caches = s.cacheScales(p, f)
	if err := f.Err(); err != nil {
		return nil, err
	}
	w.share(p)
	return w, nil
}

// names is how tensors are called here: of a model of text and images, whose text
// model is served, by longer names than the text model alone has.
func (s *store) names() func(string) string {
	const embed, inner, outer = "model.embed_tokens.weight", "model.language_model.", "language_model."
	switch {
	case s.present(embed):
	case s.present(inner + strings.TrimPrefix(embed, "model.")):
		return func(name string) string {
			if rest, found := strings.CutPrefix(name, "model."); found {
				return inner + rest
			}
			return name
		}
	case s.present(outer + embed):
		return func(name string) string { return outer + name }
	}
	return func(name string) string { return name }
}

// share forgets slots that have the very bytes of those they are tied to.
func (w *Weights) share(p *program.Program) {
	for _, slot := range p.Weights {
		if own, other := w.slots[slot], w.slots[slot.Tied]; slot.Tied != nil && own != nil &&
			own.Sources[0].Tensor.same(other.Sources[0].Tensor) {
			delete(w.slots, slot)
		}
	}
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
	f := &jsonfile.Faults{Where: s.src.path(indexFile)}
	var index struct {
		WeightMap map[string]string `json:"weight_map"`
	}
	if err := jsonfile.Decode(data, &index); err != nil {
		f.Addf("%v", err)
	} else if len(index.WeightMap) == 0 {
		f.Addf("weight_map is missing or empty")
	}
	s.index = index.WeightMap
	for _, name := range slices.Sorted(maps.Keys(s.index)) {
		file := s.index[name]
		if _, known := s.files[file]; known {
			continue
		}
		if !fs.ValidPath(file) || filepath.Base(file) != file || file == "." {
			f.Addf("tensor %q: %q is no file name", name, file)
		}
		s.files[file] = nil
	}
	return f.Err()
}

func (s *store) openFile(file string) error {
	data, unmap, err := s.src.view(file)
	if err != nil {
		return fmt.Errorf("%s: %w", s.src.path(file), bare(err))
	}
	s.unmaps = append(s.unmaps, unmap)
	s.files[file], err = parseSafetensors(data, s.src.path(file))
	return err
}

// has says whether there is a tensor of the program, in whatever form.
func (s *store) has(name string) bool {
	name = s.rename(name)
	return s.present(s.form(name).in(name))
}

func (s *store) present(name string) bool {
	if s.index != nil {
		return s.index[name] != ""
	}
	_, ok := s.files[singleFile][name]
	return ok
}

// noWeights says what is there instead of safetensors.
func (s *source) noWeights() error {
	for _, pattern := range []string{"*.bin", "*.pth", "*.pt", "*.safetensors"} {
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
