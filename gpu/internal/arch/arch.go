// Package arch turns config.json into a program, one file a family: qwen.go,
// llama.go, …. What families have in common stands beside them: config.go (the
// file's fields), rope.go (positions), decoder.go (the pieces of a layer).
//
// A family is a row of families below and a function that writes a pass down as
// the paper draws it, with the names that tensors have in checkpoints. Devices
// know ops, not families.
package arch

import (
	"cmp"
	"encoding/json"
	"slices"
	"strings"

	"github.com/troupe-llm/troupe/gpu/internal/jsonfile"
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
	unsaid  string // JSON that config.json overrides
	// What it may have: biases, and layers beside those of attention.
	bias   bool
	layers []string
	// wrapper is what a model of text and images is called whose text model this
	// is; images are left alone.
	wrapper string
	// read takes what the family has beyond the common fields; nil: nothing.
	read func(*Config)
	// build writes the pass of a sound configuration.
	build func(*Config, *decoder)
}

var families = []*family{
	&llama, &mistral, &mixtral, &ministral3, &qwen2, &qwen3, &qwen3MoE, &qwen35, &qwen35MoE, &gemma3, &gptOSS, &glm4MoE, &deepseekV3, &miniMaxM2, &phi3, &granite,
	&olmo3, &smolLM3, &glm4,
}

// Supported lists the architectures.
func Supported() []string {
	var names []string
	for _, f := range families {
		names = append(names, f.name)
		if f.wrapper != "" {
			names = append(names, f.wrapper)
		}
	}
	slices.Sort(names)
	return names
}

// Read reads config.json into a configuration with its program. The error reports
// all faults at once; where names the file.
func Read(data []byte, where string) (*Config, error) {
	c := &Config{BOS: -1, faults: &jsonfile.Faults{Where: where}}
	f, err := c.decode(data)
	if err != nil {
		c.faults.Addf("%v", err)
	}
	if f == nil || err != nil {
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
	if c.Program, err = d.Done(); err != nil {
		c.faults.Addf("%v", err)
	}
	return c, c.faults.Err()
}

// decode reads the file over what its family leaves unsaid. What a model of text
// and images says of its text model comes first.
func (c *Config) decode(data []byte) (*family, error) {
	var outer struct {
		Architectures []string         `json:"architectures"`
		ModelType     string           `json:"model_type"`
		Text          *json.RawMessage `json:"text_config"`
	}
	if err := jsonfile.Decode(data, &outer); err != nil {
		return nil, err
	}
	f := find(outer.Architectures, outer.ModelType, c.faults)
	if f == nil {
		return nil, nil
	}
	c.json.defaults()
	var err error
	layers := [][]byte{[]byte(cmp.Or(f.unsaid, "{}")), data}
	if outer.Text != nil {
		if f, err = f.within(*outer.Text); err != nil {
			return nil, err
		}
		layers = [][]byte{[]byte(cmp.Or(f.unsaid, "{}")), *outer.Text, data}
	}
	for _, layer := range layers {
		if err := jsonfile.Decode(layer, &c.json); err != nil {
			return nil, err
		}
	}
	return f, nil
}

// within is the family of the text model that a wrapper has: by its own
// "model_type" where that is known, for Mistral 3's wrapper holds two kinds.
func (f *family) within(text []byte) (*family, error) {
	var inner struct {
		ModelType string `json:"model_type"`
	}
	if err := jsonfile.Decode(text, &inner); err != nil {
		return nil, err
	}
	for _, fam := range families {
		if fam.modelType == inner.ModelType {
			return fam, nil
		}
	}
	return f, nil
}

// find finds the row of the table, by "architectures" or else by "model_type".
func find(architectures []string, modelType string, f *jsonfile.Faults) *family {
	name := modelType
	if len(architectures) > 0 {
		name = architectures[0]
	}
	for _, fam := range families {
		if fam.name == name || fam.wrapper == name && name != "" || len(architectures) == 0 && fam.modelType == name && name != "" {
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
