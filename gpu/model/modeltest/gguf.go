package modeltest

import (
	"encoding/binary"
	"fmt"
	"math"
	"slices"

	"github.com/troupe-llm/troupe/gpu/internal/gguf"
)

// GGUF writes GGUF files, for tests.
type GGUF struct {
	Alignment int // 0: 32
	keys      []byte
	count     int
	tensors   []ggufTensor
}

type ggufTensor struct {
	name  string
	kind  gguf.Type
	shape []int
	data  []byte
}

// The numbers of types of metadata.
const (
	ggufText  = 8
	ggufArray = 9
)

// Set adds metadata. A list is an array of its elements' type.
func (g *GGUF) Set(key string, v any) {
	g.keys = ggufString(g.keys, key)
	g.count++
	kind, n, data := ggufValue(v)
	if n >= 0 {
		g.keys = ggufU32(g.keys, ggufArray)
		g.keys = ggufU32(g.keys, kind)
		g.keys = binary.LittleEndian.AppendUint64(g.keys, uint64(n))
	} else {
		g.keys = ggufU32(g.keys, kind)
	}
	g.keys = append(g.keys, data...)
}

// Tensor adds one; its shape has the outermost size first.
func (g *GGUF) Tensor(name string, kind gguf.Type, shape []int, data []byte) {
	g.tensors = append(g.tensors, ggufTensor{name, kind, shape, data})
}

// Replace has a tensor's data as several others instead, or under another shape.
func (g *GGUF) Replace(name string, by func(kind gguf.Type, shape []int, data []byte)) {
	i := slices.IndexFunc(g.tensors, func(t ggufTensor) bool { return t.name == name })
	t := g.tensors[i]
	g.tensors = slices.Delete(g.tensors, i, i+1)
	by(t.kind, t.shape, t.data)
}

// Bytes is the file.
func (g *GGUF) Bytes() []byte {
	alignment := g.Alignment
	if alignment == 0 {
		alignment = 32
	} else {
		g.Set("general.alignment", uint32(alignment))
	}
	out := ggufU32([]byte("GGUF"), 3)
	out = binary.LittleEndian.AppendUint64(out, uint64(len(g.tensors)))
	out = binary.LittleEndian.AppendUint64(out, uint64(g.count))
	out = append(out, g.keys...)
	offset := 0
	pad := func(n int) int { return (n + alignment - 1) / alignment * alignment }
	for _, t := range g.tensors {
		out = ggufU32(ggufString(out, t.name), uint32(len(t.shape)))
		for i := range t.shape {
			out = binary.LittleEndian.AppendUint64(out, uint64(t.shape[len(t.shape)-1-i]))
		}
		out = ggufU32(out, uint32(t.kind))
		out = binary.LittleEndian.AppendUint64(out, uint64(offset))
		offset = pad(offset + len(t.data))
	}
	for _, t := range g.tensors {
		out = append(out, make([]byte, pad(len(out))-len(out))...)
		out = append(out, t.data...)
	}
	return out
}

func ggufU32(out []byte, v uint32) []byte { return binary.LittleEndian.AppendUint32(out, v) }

func ggufString(out []byte, s string) []byte {
	return append(binary.LittleEndian.AppendUint64(out, uint64(len(s))), s...)
}

// ggufValue is a value's type and bytes; n is how many elements a list has, else -1.
func ggufValue(v any) (kind uint32, n int, data []byte) {
	switch v := v.(type) {
	case string:
		return ggufText, -1, ggufString(nil, v)
	case []string:
		for _, s := range v {
			data = ggufString(data, s)
		}
		return ggufText, len(v), data
	case uint16:
		return 2, -1, binary.LittleEndian.AppendUint16(nil, v)
	case uint32:
		return 4, -1, ggufU32(nil, v)
	case int32:
		return 5, -1, ggufU32(nil, uint32(v))
	case []int32:
		for _, x := range v {
			data = ggufU32(data, uint32(x))
		}
		return 5, len(v), data
	case float32:
		return 6, -1, ggufU32(nil, math.Float32bits(v))
	case []float32:
		for _, x := range v {
			data = ggufU32(data, math.Float32bits(x))
		}
		return 6, len(v), data
	case bool:
		return 7, -1, []byte{ggufBool(v)}
	case []bool:
		for _, x := range v {
			data = append(data, ggufBool(x))
		}
		return 7, len(v), data
	case uint64:
		return 10, -1, binary.LittleEndian.AppendUint64(nil, v)
	}
	panic(fmt.Sprintf("metadata of %T", v))
}

func ggufBool(b bool) byte {
	if b {
		return 1
	}
	return 0
}
