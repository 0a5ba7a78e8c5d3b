package model

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/troupe-llm/troupe/gpu/internal/arch"
	"github.com/troupe-llm/troupe/gpu/internal/jsonfile"
)

// ErrUnsupported is wrapped by errors about checkpoints that are sound but that
// no device here runs: an architecture, RoPE type or format not (yet) known.
var ErrUnsupported = arch.ErrUnsupported

// Builtin is the spec of the model that is embedded in the program.
const Builtin = "builtin"

// Open opens a model: a directory with a Hugging Face checkpoint, a GGUF file (of
// several into which it is split any) or a directory with one, "builtin", or the name of a published configuration (see Published), in this order but
// that "builtin" never means a directory of that name ("./builtin" does).
//
// With dummy, no weights are opened (Weights is nil and a device makes its
// own): a directory needs to hold no more than config.json. Published names
// come only this way.
//
// Errors name the file, the tensor, what was expected and what was found;
// they wrap ErrUnsupported when the checkpoint is sound but nothing here runs
// it, and fs.ErrNotExist when there is no such thing.
func Open(spec string, dummy bool) (*Model, error) {
	if spec == Builtin {
		files, err := builtinFiles()
		if err != nil {
			return nil, err
		}
		return open(&source{name: Builtin, fsys: files}, Builtin, dummy)
	}
	info, err := os.Stat(spec)
	switch {
	case err == nil && info.IsDir():
		return openDir(spec, dummy)
	case err == nil && strings.HasSuffix(spec, ".gguf"):
		return openGGUF(spec, dummy)
	case err == nil:
		return nil, fmt.Errorf("%s is a file; a model is the directory that holds its config.json, or a file whose name ends in .gguf", spec)
	case strings.HasSuffix(spec, ".gguf"):
		return nil, fmt.Errorf("model %s: %w", spec, bare(err))
	case looksLikePath(spec):
		return nil, fmt.Errorf("model directory %s: %w", spec, bare(err))
	}
	return openPublished(spec, dummy)
}

// looksLikePath tells "./x", "/x", "~x" and the like from names, among them
// "org/name".
func looksLikePath(spec string) bool {
	return spec == "" || strings.ContainsAny(spec[:1], "./~") || filepath.IsAbs(spec) || strings.ContainsRune(spec, '\\') || strings.Count(spec, "/") > 1
}

func openDir(dir string, dummy bool) (*Model, error) {
	if file, err := ggufIn(dir); err != nil || file != "" {
		if err != nil {
			return nil, err
		}
		return openGGUF(file, dummy)
	}
	name := filepath.Base(dir)
	if abs, err := filepath.Abs(dir); err == nil { // "." has a name too
		name = nameOf(abs)
	}
	return open(&source{name: dir, fsys: directory{dir}, dir: dir}, name, dummy)
}

// nameOf is a directory's last element; of a snapshot in Hugging Face's cache,
// models--OWNER--NAME/snapshots/COMMIT, it is OWNER/NAME.
func nameOf(dir string) string {
	snapshots, commit := filepath.Split(dir)
	repo, is := strings.CutPrefix(filepath.Base(filepath.Dir(filepath.Clean(snapshots))), "models--")
	if is && filepath.Base(snapshots) == "snapshots" {
		return strings.Replace(repo, "--", "/", 1)
	}
	return commit
}

// open reads a checkpoint's files.
func open(src *source, name string, dummy bool) (*Model, error) {
	m := &Model{Name: name}
	data, err := fs.ReadFile(src.fsys, "config.json")
	switch {
	case err != nil && src.gguf != nil: // it says where
		return nil, err
	case err != nil:
		return nil, fmt.Errorf("%s: %w", src.path("config.json"), bare(err))
	}
	if data, err = src.withQuantization(data); err != nil {
		return nil, err
	}
	if m.Config, err = ParseConfig(data, src.path("config.json")); err != nil {
		return nil, err
	}
	data, err = fs.ReadFile(src.fsys, "generation_config.json")
	if err == nil {
		m.Generation, err = parseGeneration(data, src.path("generation_config.json"), &m.Config)
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) { // it is optional
		return nil, err
	}
	if _, err := fs.Stat(src.fsys, "tokenizer.json"); err == nil {
		m.Files = src.fsys
	}
	if !dummy {
		if m.Weights, m.release, err = loadWeights(src, m.Config.Program, m.Config.Scheme); err != nil {
			return nil, err
		}
		m.Config.DType = m.Weights.dtype(m.Config.Program) // what is there, whatever config.json says
	}
	if m.Config.DType == "" {
		m.Config.DType = BFloat16
	}
	return m, nil
}

// withQuantization completes a config.json that does not say how weights are
// quantised by what hf_quant_config.json beside it says: NVIDIA's optimiser writes
// one.
func (s *source) withQuantization(config []byte) ([]byte, error) {
	const file = "hf_quant_config.json"
	data, err := fs.ReadFile(s.fsys, file)
	if err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			err = nil
		}
		return config, err
	}
	var fields map[string]json.RawMessage
	if !json.Valid(config) || json.Unmarshal(config, &fields) != nil || fields["quantization_config"] != nil {
		return config, err // what is wrong with it is said where it is read
	}
	var given struct {
		Quantization map[string]any `json:"quantization"`
	}
	if err := jsonfile.Decode(data, &given); err != nil {
		return nil, fmt.Errorf("%s: %w", s.path(file), err)
	}
	if given.Quantization == nil {
		return nil, fmt.Errorf("%s: quantization is missing", s.path(file))
	}
	given.Quantization["quant_method"] = "modelopt"
	if fields["quantization_config"], err = json.Marshal(given.Quantization); err != nil {
		return nil, err
	}
	return json.Marshal(fields)
}

// ParseConfig reads config.json; where is what errors call it.
func ParseConfig(data []byte, where string) (Config, error) {
	c, err := arch.Read(data, where)
	if err != nil {
		return Config{}, err
	}
	return Config{
		Architecture: c.Architecture, Program: c.Program, Vocab: c.Vocab, MaxPositions: c.MaxPositions,
		DType: DType(c.DType), BOS: c.BOS, EOS: c.EOS, Notes: c.Notes, Scheme: c.Scheme,
	}, nil
}
