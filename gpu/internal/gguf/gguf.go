// Package gguf reads GGUF files, llama.cpp's: one file with a model's numbers in
// blocks of many types, and all else as metadata. What others read from config.json
// and tokenizer.json it makes of that metadata, so that they need not know where it
// came from.
//
// Read it in this order: gguf.go (a file's header), types.go (of which types tensors
// are), metadata.go (values and what may be asked of them), split.go (models in
// several files), files.go (the files of Hugging Face that it stands for): config.go
// and families.go make config.json, tokenizer.go, pieces.go and patterns.go
// tokenizer.json; names.go finds the tensors of a program.
//
// A header may be an attacker's: nothing is allocated that the file does not have
// bytes for, and nothing is believed before it has been held against the file's size.
package gguf

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"math/bits"
	"slices"
)

// A file is: the magic, its version, numbers of tensors and of metadata; metadata:
// key, type, value; tensors: name, sizes (the innermost first), type, offset; and from
// the next multiple of the alignment on the tensors' data. All is little endian.
// See docs/gguf.md of ggml.

const (
	magic            = "GGUF"
	defaultAlignment = 32
	alignmentKey     = "general.alignment"
)

// The most that is taken of anything: far more than published files have.
const (
	maxKeys      = 1 << 14
	maxTensors   = 1 << 17
	maxName      = 1 << 10   // bytes of a key or a tensor's name
	maxMetadata  = 256 << 20 // bytes of all of it
	maxAlignment = 1 << 20
	maxDims      = 4
)

// File is a file's header.
type File struct {
	Where    string // how errors call it
	Version  uint32
	Metadata Metadata
	Tensors  map[string]*Tensor
}

// Tensor is a view of one tensor, checked against the file.
type Tensor struct {
	Name  string
	Where string // the file that has it
	Type  Type
	Shape []int  // the outermost first
	Data  []byte // nil when the type is none that is known

	offset uint64 // in the data section
}

// Is tells GGUF files by their first bytes.
func Is(head []byte) bool { return bytes.HasPrefix(head, []byte(magic)) }

// Parse reads a file's header. Tensors are views of data; metadata is copied.
func Parse(data []byte, where string) (*File, error) {
	f := &File{Where: where, Metadata: Metadata{}, Tensors: map[string]*Tensor{}}
	if err := f.parse(&cursor{data: data}); err != nil {
		return nil, fmt.Errorf("%s: %w", where, err)
	}
	return f, nil
}

func (f *File) parse(c *cursor) error {
	if !Is(c.data) {
		return errors.New("no GGUF file: it does not begin with \"GGUF\"")
	}
	c.at = len(magic)
	f.Version = c.u32()
	switch v := f.Version; {
	case c.err == nil && bits.ReverseBytes32(v) <= 3 && v > 1<<16:
		return errors.New("a big-endian GGUF file is not supported")
	case c.err == nil && v != 2 && v != 3:
		return fmt.Errorf("GGUF version %d is not supported, only 2 and 3", v)
	}
	tensors, keys := c.u64(), c.u64()
	switch {
	case c.err != nil:
		return c.err
	case keys > maxKeys:
		return fmt.Errorf("%d keys of metadata, at most %d are taken", keys, maxKeys)
	case tensors > maxTensors:
		return fmt.Errorf("%d tensors, at most %d are taken", tensors, maxTensors)
	}
	if err := f.readMetadata(c, int(keys)); err != nil {
		return err
	}
	list, err := f.readTensors(c, int(tensors))
	if err != nil {
		return err
	}
	return f.place(c, list)
}

func (f *File) readMetadata(c *cursor, n int) error {
	c.end = c.at + maxMetadata
	for i := range n {
		key := string(c.text(maxName))
		v := c.value()
		switch {
		case c.err != nil && key == "":
			return fmt.Errorf("metadata: key %d: %w", i, c.err)
		case c.err != nil:
			return fmt.Errorf("metadata: %q: %w", key, c.err)
		}
		if _, twice := f.Metadata[key]; twice {
			return fmt.Errorf("metadata: %q is there twice", key)
		}
		v.data = bytes.Clone(v.data)
		f.Metadata[key] = v
	}
	return nil
}

func (f *File) readTensors(c *cursor, n int) ([]*Tensor, error) {
	c.end = 0
	var list []*Tensor
	for i := range n {
		t := &Tensor{Name: string(c.text(maxName)), Where: f.Where}
		dims := c.u32()
		if c.err == nil && dims > maxDims {
			return nil, fmt.Errorf("tensor %q has %d dimensions, at most %d are taken", t.Name, dims, maxDims)
		}
		sizes := make([]uint64, min(dims, maxDims))
		for j := range sizes {
			sizes[j] = c.u64()
		}
		t.Type, t.offset = Type(c.u32()), c.u64()
		if c.err != nil {
			return nil, fmt.Errorf("tensor %d of %d: %w", i, n, c.err)
		}
		for _, d := range slices.Backward(sizes) {
			if d > math.MaxInt32 { // sizes of tensors are products of these
				return nil, fmt.Errorf("tensor %q: sizes %d: beyond any file", t.Name, sizes)
			}
			t.Shape = append(t.Shape, int(d))
		}
		if _, twice := f.Tensors[t.Name]; twice {
			return nil, fmt.Errorf("tensor %q is there twice", t.Name)
		}
		f.Tensors[t.Name] = t
		list = append(list, t)
	}
	return list, nil
}

// place views the tensors' data. They may neither reach beyond the file nor share bytes.
func (f *File) place(c *cursor, list []*Tensor) error {
	alignment := uint64(defaultAlignment)
	if v, is := f.Metadata[alignmentKey]; is {
		n, ok := v.Int()
		if !ok || n < 1 || n > maxAlignment || n&(n-1) != 0 {
			return fmt.Errorf("metadata: %q is %s, want a power of two up to %d", alignmentKey, v, maxAlignment)
		}
		alignment = uint64(n)
	}
	begin := (uint64(c.at) + alignment - 1) / alignment * alignment
	data := c.data[min(begin, uint64(len(c.data))):]
	slices.SortFunc(list, func(a, b *Tensor) int { return cmp.Or(cmp.Compare(a.offset, b.offset), cmp.Compare(a.Name, b.Name)) })
	var end uint64
	var last *Tensor
	for _, t := range list {
		size, known, err := t.bytes()
		switch {
		case err != nil:
			return err
		case t.offset%alignment != 0:
			return fmt.Errorf("tensor %q begins at byte %d of the data, which is no multiple of the alignment, %d", t.Name, t.offset, alignment)
		case t.offset > uint64(len(data)) || size > uint64(len(data))-t.offset:
			return fmt.Errorf("truncated: tensor %q, %s of %v, takes bytes %d to %d of the data, %d are there", t.Name, t.Type, t.Shape, t.offset, t.offset+size, len(data))
		case t.offset < end:
			return fmt.Errorf("tensors %q and %q overlap: the first ends at byte %d of the data, the second begins at %d", last.Name, t.Name, end, t.offset)
		}
		if known {
			t.Data = data[t.offset : t.offset+size : t.offset+size]
		}
		if size > 0 {
			end, last = t.offset+size, t
		}
	}
	return nil
}

// bytes is what the tensor takes; known is false of types that nobody knows.
func (t *Tensor) bytes() (size uint64, known bool, err error) {
	l, known := layouts[t.Type]
	if !known {
		return 0, false, nil
	}
	row := 1
	if n := len(t.Shape); n > 0 {
		row = t.Shape[n-1]
	}
	if row%l.elements != 0 {
		return 0, true, fmt.Errorf("tensor %q: rows of %d are no whole blocks of %s, which have %d", t.Name, row, t.Type, l.elements)
	}
	size = uint64(row/l.elements) * uint64(l.bytes)
	for _, d := range t.Shape[:max(len(t.Shape)-1, 0)] {
		var over uint64
		if over, size = bits.Mul64(size, uint64(d)); over != 0 || size > math.MaxInt64 {
			return 0, true, fmt.Errorf("tensor %q: shape %v is beyond any file", t.Name, t.Shape)
		}
	}
	return size, true, nil
}

// cursor reads a header. The first fault is kept in err; after it all is zero.
type cursor struct {
	data []byte
	at   int
	end  int // where metadata may reach; 0: no such bound
	err  error
}

// take is the next n bytes.
func (c *cursor) take(n uint64) []byte {
	left := uint64(len(c.data) - c.at)
	switch {
	case c.err != nil:
	case n > left:
		c.err = fmt.Errorf("truncated: %d bytes at byte %d, %d are left", n, c.at, left)
	case c.end > 0 && n > uint64(max(c.end-c.at, 0)):
		c.err = fmt.Errorf("metadata has more than the %d bytes that are taken", maxMetadata)
	}
	if c.err != nil {
		return nil
	}
	b := c.data[c.at : c.at+int(n)]
	c.at += int(n)
	return b
}

func (c *cursor) u32() uint32 {
	if b := c.take(4); b != nil {
		return binary.LittleEndian.Uint32(b)
	}
	return 0
}

func (c *cursor) u64() uint64 {
	if b := c.take(8); b != nil {
		return binary.LittleEndian.Uint64(b)
	}
	return 0
}

// text is a string: its length, its bytes.
func (c *cursor) text(most uint64) []byte {
	n := c.u64()
	if c.err == nil && n > most {
		c.err = fmt.Errorf("a string of %d bytes at byte %d, at most %d are taken", n, c.at, most)
	}
	return c.take(n)
}
