package model

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/troupe-llm/troupe/gpu/internal/gguf"
	"github.com/troupe-llm/troupe/gpu/internal/jsonfile"
	"github.com/troupe-llm/troupe/gpu/program"
)

// blockTypesOf are the elements of GGUF's types that devices read.
var blockTypesOf = map[gguf.Type]DType{
	gguf.F32: Float32, gguf.F16: Float16, gguf.BF16: BFloat16,
	gguf.Q4_0: Q4_0, gguf.Q4_1: Q4_1, gguf.Q5_0: Q5_0, gguf.Q5_1: Q5_1, gguf.Q8_0: Q8_0,
	gguf.Q2_K: Q2_K, gguf.Q3_K: Q3_K, gguf.Q4_K: Q4_K, gguf.Q5_K: Q5_K, gguf.Q6_K: Q6_K,
	gguf.IQ4_NL: IQ4_NL, gguf.IQ4_XS: IQ4_XS, gguf.MXFP4: BlockMXFP4,
}

// ggufStore is a GGUF file, or the several that a model is split into.
type ggufStore struct {
	*gguf.File
	faults *jsonfile.Faults
	bound  map[string]*Tensor
	unmaps
}

// openGGUF opens a GGUF file, or any of the several of a model.
func openGGUF(path string, dummy bool) (*Model, error) {
	s, err := mapGGUF(path)
	if err != nil {
		return nil, err
	}
	m, err := open(&source{name: path, fsys: s.Files(), gguf: s}, ggufName(path), dummy)
	if err != nil || dummy {
		err = errors.Join(err, s.close())
	}
	return m, err
}

// ggufIn is the GGUF file of a directory without a config.json, "" when there is none.
// Of several models one has to be named.
func ggufIn(dir string) (string, error) {
	if _, err := os.Lstat(filepath.Join(dir, "config.json")); err == nil {
		return "", nil
	}
	found, err := filepath.Glob(filepath.Join(dir, "*.gguf"))
	if err != nil {
		return "", err
	}
	found = slices.DeleteFunc(found, func(path string) bool {
		_, number, _, split := gguf.SplitName(filepath.Base(path))
		return split && number > 1 || strings.HasPrefix(filepath.Base(path), "mmproj") // of images
	})
	if len(found) > 1 {
		for i := range found {
			found[i] = filepath.Base(found[i])
		}
		return "", fmt.Errorf("%s has %d models as GGUF files: name one of them, %s", dir, len(found), strings.Join(found[:min(len(found), 8)], ", "))
	}
	return strings.Join(found, ""), nil
}

// ggufName is what a model of that file is called: in Hugging Face's cache
// OWNER/NAME:QUANTISATION.
func ggufName(path string) string {
	file := filepath.Base(path)
	if abs, err := filepath.Abs(path); err == nil && gguf.Quantisation(file) != "" {
		for dir := filepath.Dir(abs); dir != filepath.Dir(dir); dir = filepath.Dir(dir) {
			if name := nameOf(dir); name != filepath.Base(dir) {
				return name + ":" + gguf.Quantisation(file)
			}
		}
	}
	if base, _, _, is := gguf.SplitName(file); is {
		return base
	}
	return strings.TrimSuffix(file, ".gguf")
}

// mapGGUF maps the files of a model and reads their headers.
func mapGGUF(path string) (*ggufStore, error) {
	names, err := gguf.Splits(filepath.Base(path))
	if err != nil {
		return nil, err
	}
	s := &ggufStore{faults: &jsonfile.Faults{Where: path}, bound: map[string]*Tensor{}}
	var files []*gguf.File
	for _, name := range names {
		file := filepath.Join(filepath.Dir(path), name)
		data, unmap, err := readMapped(file)
		if err != nil {
			return nil, errors.Join(fmt.Errorf("%s: %w", file, bare(err)), s.close())
		}
		s.unmaps = append(s.unmaps, unmap)
		one, err := gguf.Parse(data, file)
		if err != nil {
			return nil, errors.Join(err, s.close())
		}
		files = append(files, one)
	}
	if s.File, err = gguf.Join(files); err != nil {
		return nil, errors.Join(err, s.close())
	}
	return s, nil
}

// load finds every tensor of the program, whose slots then have the parts that this file
// has, and norms' weights as they multiply: so they are stored, whatever the family.
func (s *ggufStore) load(p *program.Program) (*Weights, error) {
	w := NewWeights()
	for _, slot := range p.Weights {
		if name, _ := s.Name(slot.Parts[0].Tensor); slot.Tied != nil && s.Tensors[name] == nil {
			continue
		}
		bound := &Slot{Weight: slot}
		for _, part := range slot.Parts {
			bound.Sources = append(bound.Sources, s.sources(part)...)
		}
		slot.Plus, slot.Parts = 0, nil
		for i := range bound.Sources {
			slot.Parts = append(slot.Parts, bound.Sources[i].Part)
		}
		w.add(bound)
	}
	if err := s.faults.Err(); err != nil {
		return nil, err
	}
	w.share(p)
	return w, nil
}

// sources fill what a part of Hugging Face's tensor would: mostly a tensor of another
// name. What lies otherwise here has a case of its own.
func (s *ggufStore) sources(part program.Part) []Source {
	name, expert := s.Name(part.Tensor)
	switch {
	case expert != "":
		return s.expert(part, name, expert)
	case strings.HasSuffix(part.Tensor, ".mlp.experts.gate_up_proj"):
		return s.gateOrUp(part)
	case strings.HasSuffix(part.Tensor, ".mlp.experts.gate_up_proj_bias"):
		return s.gateUpBias(part)
	case strings.HasSuffix(part.Tensor, ".mlp.experts.down_proj"):
		return s.slab(part, s.layer(part.Tensor)+"ffn_down_exps.weight", part.Slab, part.Rows)
	case strings.HasSuffix(part.Tensor, ".self_attn.kv_b_proj.weight") && s.Tensors[name] == nil:
		return s.expanding(part)
	case s.Tiled() && strings.Contains(part.Tensor, ".linear_attn."):
		return s.recurrent(part, name)
	case s.Turned() && (strings.Contains(part.Tensor, ".q_proj.") || strings.Contains(part.Tensor, ".k_proj.")):
		return s.turned(part, name)
	}
	return []Source{{Part: part, Tensor: s.tensor(name, part.Shape, part.Tensor)}}
}

// expert is a matrix of the tensor that has all experts'. Files of before March 2024
// have one for each: "blk.0.ffn_gate.7.weight" for "blk.0.ffn_gate_exps.weight".
func (s *ggufStore) expert(part program.Part, name, expert string) []Source {
	if own := strings.Replace(name, "_exps", "."+expert, 1); s.Tensors[name] == nil && s.Tensors[own] != nil {
		return []Source{{Part: part, Tensor: s.tensor(own, part.Shape, part.Tensor)}}
	}
	n, _ := strconv.Atoi(expert)
	return s.slab(part, name, n, part.Shape[0])
}

// slab is the rows of a matrix of a tensor of three dimensions, [experts, rows, in].
func (s *ggufStore) slab(part program.Part, name string, n, rows int) []Source {
	in := part.Shape[len(part.Shape)-1]
	if part.Transposed { // it is not, here
		in = part.Shape[len(part.Shape)-2]
	}
	experts := n + 1 // at least
	if t := s.Tensors[name]; t != nil && len(t.Shape) == 3 {
		experts = max(experts, t.Shape[0])
	}
	whole := program.Whole(part.Tensor, rows, in)
	whole.Shape, whole.Slab = []int{experts, rows, in}, n
	return []Source{{Part: whole, Tensor: s.tensor(name, whole.Shape, part.Tensor)}}
}

// gateOrUp is an expert's gates or ups, which take turns in Hugging Face's tensor.
func (s *ggufStore) gateOrUp(part program.Part) []Source {
	what := [...]string{"ffn_gate_exps", "ffn_up_exps"}[part.First%2]
	return s.slab(part, s.layer(part.Tensor)+what+".weight", part.Slab, part.Rows)
}

// gateUpBias are both biases of each expert in one row, gates first: a tensor that is
// made, for the file has two.
func (s *ggufStore) gateUpBias(part program.Part) []Source {
	experts, both := part.Shape[0], part.Shape[1]
	var from [2]*Tensor
	for i, what := range []string{"ffn_gate_exps", "ffn_up_exps"} {
		from[i] = s.tensor(s.layer(part.Tensor)+what+".bias", []int{experts, both / 2}, part.Tensor)
		if from[i].Data != nil && from[i].Encoding != Plain(Float32) {
			s.faults.Unsupportedf("tensor %q is %s, want F32", from[i].Name, from[i].Encoding)
		}
	}
	t := &Tensor{Name: part.Tensor, File: s.Where, Encoding: Plain(Float32), Shape: part.Shape}
	if s.faults.Some() {
		return []Source{{Part: part, Tensor: t}}
	}
	half := 4 * both / 2
	for x := range experts {
		for i := range from {
			t.Data = append(t.Data, from[i].Data[x*half:][:half]...)
		}
	}
	part.Step, part.Column = 1, 0
	return []Source{{Part: part, Tensor: t}}
}

// expanding is a head's matrix of latent attention, of one of the two tensors that
// newer files have: [heads, rank, nope] for queries, [heads, value, rank].
func (s *ggufStore) expanding(part program.Part) []Source {
	keys, values := s.layer(part.Tensor)+"attn_k_b.weight", s.layer(part.Tensor)+"attn_v_b.weight"
	rank, heads := part.Shape[1], 0
	var nope, value int
	if t := s.Tensors[keys]; t != nil && len(t.Shape) == 3 {
		heads, nope = t.Shape[0], t.Shape[2]
	}
	if t := s.Tensors[values]; t != nil && len(t.Shape) == 3 {
		value = t.Shape[1]
	}
	if nope+value == 0 || part.Shape[0] != heads*(nope+value) {
		s.faults.Addf("tensors %q and %q are missing or of other shapes than %v in all", keys, values, part.Shape)
		return nil
	}
	name, shape, head := values, []int{heads, value, rank}, part.First/(nope+value)
	if part.Transposed {
		name, shape, head = keys, []int{heads, rank, nope}, part.Column/(nope+value)
	}
	whole := program.Whole(part.Tensor, shape[1:]...)
	whole.Shape, whole.Slab = shape, head
	return []Source{{Part: whole, Tensor: s.tensor(name, shape, part.Tensor)}}
}

// turned are queries or keys whose rows lie in pairs: of each head the first half are
// the even rows, then the odd ones.
func (s *ggufStore) turned(part program.Part, name string) []Source {
	t := s.tensor(name, part.Shape, part.Tensor)
	heads := "attention.head_count"
	if strings.Contains(part.Tensor, ".k_proj.") {
		heads = "attention.head_count_kv"
	}
	v, ok := s.Metadata[s.Architecture()+"."+heads].Ints()
	if !ok && heads == "attention.head_count_kv" {
		v, ok = s.Metadata[s.Architecture()+".attention.head_count"].Ints()
	}
	if !ok || len(v) == 0 || v[0] < 1 || part.Rows%int(v[0]) != 0 || part.Rows/int(v[0])%2 != 0 {
		s.faults.Addf("tensor %q: %d rows are no heads of %v", name, part.Rows, v)
		return nil
	}
	head := part.Rows / int(v[0])
	var list []Source
	for first := 0; first < part.Rows; first += head {
		for odd := range 2 {
			half := program.Some(part.Tensor, part.Shape, head/2, first+odd, 1, 2)
			list = append(list, Source{Part: half, Tensor: t})
		}
	}
	return list
}

// trimmed is a shape without what GGUF files may leave out: sizes of 1 at the front.
func trimmed(shape []int) []int {
	for len(shape) > 1 && shape[0] == 1 {
		shape = shape[1:]
	}
	return shape
}

// layer is what names of a tensor's layer begin with.
func (s *ggufStore) layer(tensor string) string {
	n, _, _ := strings.Cut(strings.TrimPrefix(tensor, "model.layers."), ".")
	return "blk." + n + "."
}

// tensor views one of the file's. What is missing, of another shape or of a type that
// is not read is a fault.
func (s *ggufStore) tensor(name string, shape []int, of string) *Tensor {
	if t := s.bound[name]; t != nil && slices.Equal(t.Shape, shape) {
		return t
	}
	t := &Tensor{Name: name, File: s.Where, Shape: shape, mapped: true}
	from, is := s.Tensors[name]
	switch {
	case name == "":
		s.faults.Unsupportedf("weights %q are not known of GGUF files", of)
		return t
	case !is:
		s.faults.Addf("tensor %q is missing, want shape %v", name, shape)
		return t
	case !slices.Equal(trimmed(from.Shape), trimmed(shape)):
		s.faults.Addf("tensor %q has shape %v, want %v", name, from.Shape, shape)
		return t
	}
	e, known := blockTypesOf[from.Type]
	if !known {
		s.faults.Unsupportedf("tensor %q is %s, which is not supported", name, from.Type)
	}
	block, _ := e.Block()
	if _, columns := t.matrix(); block > 0 && columns%block != 0 {
		s.faults.Unsupportedf("tensor %q of shape %v is %s, whose blocks are %d elements of a row", name, shape, from.Type, block)
		return t
	}
	t.File, t.Encoding, t.Data = from.Where, Plain(e), from.Data
	s.bound[name] = t
	return t
}
