package model

import (
	"encoding/binary"
	"math"
	"strings"

	"github.com/troupe-llm/troupe/gpu/program"
)

// recurrent fills a part of a layer of Gated DeltaNet. llama.cpp has value heads take
// turns by their key head; here those of a key head lie together. So the rows of values,
// gates and steps are taken in that order, and of the output projection the columns.
func (s *ggufStore) recurrent(part program.Part, name string) []Source {
	keys, heads, width, ok := s.valueHeads()
	if !ok {
		return nil // a fault of the metadata's, which config.json is made of
	}
	_, what, _ := strings.Cut(part.Tensor, ".linear_attn.")
	switch what {
	case "in_proj_qkv.weight", "conv1d.weight":
		shape := []int{part.Shape[0], part.Shape[len(part.Shape)-1]}
		t := s.tensor(name, shape, part.Tensor)
		before := part.Rows - heads*width // queries and keys
		whole := Source{Part: program.Some(part.Tensor, shape, before, 0, before, before), Tensor: t}
		return append([]Source{whole}, s.tiled(t, before, keys, heads, width)...)
	case "in_proj_z.weight":
		return s.tiled(s.tensor(name, part.Shape, part.Tensor), 0, keys, heads, width)
	case "in_proj_a.weight", "in_proj_b.weight", "dt_bias":
		return s.tiled(s.tensor(name, part.Shape, part.Tensor), 0, keys, heads, 1)
	case "A_log":
		return s.tiled(s.decay(name, part), 0, keys, heads, 1)
	case "out_proj.weight":
		part.Step, part.Run = keys, width
	}
	return []Source{{Part: part, Tensor: s.tensor(name, part.Shape, part.Tensor)}}
}

// valueHeads are how many key heads there are, how many value heads and how wide these.
func (s *ggufStore) valueHeads() (keys, heads, width int, ok bool) {
	number := func(key string) int {
		n, _ := s.Metadata[s.Architecture()+".ssm."+key].Int()
		return int(n)
	}
	keys, heads = number("group_count"), number("time_step_rank")
	if keys < 1 || heads < keys || heads%keys != 0 {
		return 0, 0, 0, false
	}
	return keys, heads, number("inner_size") / heads, true
}

// tiled are rows of value heads from first on, so many of each.
func (s *ggufStore) tiled(t *Tensor, first, keys, heads, rows int) (list []Source) {
	if keys == 1 || keys == heads { // either order is the other
		return []Source{{Part: program.Some(t.Name, t.Shape, heads*rows, first, heads*rows, heads*rows), Tensor: t}}
	}
	for k := range keys {
		list = append(list, Source{Part: program.Some(t.Name, t.Shape, heads/keys*rows, first+k*rows, rows, keys*rows), Tensor: t})
	}
	return list
}

// decay is the logarithms that Hugging Face stores; the file has less their exponentials.
func (s *ggufStore) decay(name string, part program.Part) *Tensor {
	from := s.tensor(name, part.Shape, part.Tensor)
	t := &Tensor{Name: name, File: from.File, Encoding: Plain(Float32), Shape: part.Shape}
	if from.Data == nil {
		return t
	}
	if from.Encoding != Plain(Float32) {
		s.faults.Unsupportedf("tensor %q is %s, want F32", name, from.Encoding)
		return t
	}
	for i := range len(from.Data) / 4 {
		x := -math.Float32frombits(binary.LittleEndian.Uint32(from.Data[4*i:]))
		if !(x > 0) {
			s.faults.Addf("tensor %q has %v, want below 0", name, -x)
			return t
		}
		t.Data = binary.LittleEndian.AppendUint32(t.Data, math.Float32bits(float32(math.Log(float64(x)))))
	}
	return t
}
