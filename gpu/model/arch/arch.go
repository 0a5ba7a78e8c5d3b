// Package arch turns config.json into a program, one file a family: qwen.go,
// llama.go, …. What families have in common stands beside them: config.go (the
// file's fields), rope.go (positions), decoder.go (the pieces of a layer).
//
// A family is a row of families below and a function that writes a pass down as
// the paper draws it, with the names that tensors have in checkpoints. Devices
// know ops, not families.
package arch

import (
	"slices"
	"strings"

	"github.com/troupe-llm/troupe/gpu/model/internal/jsonfile"
	"github.com/troupe-llm/troupe/gpu/program"
)

// ErrUnsupported is wrapped by errors about configurations that are sound but
// that no device here runs.
var ErrUnsupported = jsonfile.ErrUnsupported

// family is an architecture as published.
type family struct {
	name      string // in config.json's "architectures"
	modelType string // its "model_type"
	// What config.json leaves unsaid, by transformers' configuration classes.
	headDim int // 0: hidden size / heads
	kvHeads int // 0: as many as query heads
	window  windowRule
	// read takes what the family has beyond the common fields; nil: nothing.
	read func(*Config)
	// build writes the pass of a sound configuration.
	build func(*Config, *decoder)
}

var families = []*family{&llama, &mistral, &qwen2, &qwen3, &qwen3MoE}

// Supported lists the architectures.
func Supported() []string {
	var names []string
	for _, f := range families {
		names = append(names, f.name)
	}
	slices.Sort(names)
	return names
}

// Read reads config.json into a configuration with its program. The error reports
// all faults at once; where names the file.
func Read(data []byte, where string) (*Config, error) {
	c := &Config{BOS: -1, faults: &jsonfile.Faults{Where: where}}
	c.json.defaults()
	if err := jsonfile.Decode(data, &c.json); err != nil {
		c.faults.Addf("%v", err)
		return nil, c.faults.Err()
	}
	f := c.json.family(c.faults)
	if f == nil {
		return nil, c.faults.Err()
	}
	c.Architecture = f.name
	c.read(f)
	if f.read != nil {
		f.read(c)
	}
	if err := c.faults.Err(); err != nil {
		return nil, err
	}
	d := &decoder{Builder: program.NewBuilder(), c: c}
	f.build(c, d)
	var err error
	if c.Program, err = d.Done(); err != nil {
		c.faults.Addf("%v", err)
	}
	return c, c.faults.Err()
}

// family finds the row of the table, by "architectures" or else by "model_type".
func (j *configJSON) family(f *jsonfile.Faults) *family {
	name := j.ModelType
	if len(j.Architectures) > 0 {
		name = j.Architectures[0]
	}
	for _, fam := range families {
		if fam.name == name || len(j.Architectures) == 0 && fam.modelType == name && name != "" {
			return fam
		}
	}
	supported := strings.Join(Supported(), ", ")
	if name == "" {
		f.Addf("architectures: missing; supported: %s", supported)
	} else {
		f.Unsupportedf("architecture %q is not supported; supported: %s", name, supported)
	}
	return nil
}
