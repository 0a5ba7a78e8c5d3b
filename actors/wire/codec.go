package wire

import (
	"errors"
	"fmt"
	"math"

	"google.golang.org/protobuf/encoding/protowire"
)

// The encoding is protobuf's, of the messages in wire.proto. Types generated from that file would do as
// well between hosts, and be slow within a process: an allocation for every token of a step. So the
// types are plain structs, and encoded with protobuf's own package of primitives: each has one
// function that goes over its fields, for both directions, and a test that holds it to wire.proto.

// codec goes over the fields of a message: it writes those that are not zero, or reads the one at hand.
type codec struct {
	out []byte // what was written; nil when reading

	reading bool
	num     protowire.Number // of the field at hand
	typ     protowire.Type
	value   uint64 // of a varint or a fixed one
	bytes   []byte // of one with a length
	depth   int    // of messages in messages
	err     error
}

// maxNested is how deep messages may lie in each other: grammars do.
const maxNested = 80

var errType = errors.New("wire: a field has another type than it must")

// encode is a message's bytes, in the room that there is.
func encode[T any](room []byte, m *T, fields func(*codec, *T)) []byte {
	c := codec{out: room}
	fields(&c, m)
	return c.out
}

// decode reads a message; fields that are not known are passed over.
func decode[T any](b []byte, m *T, fields func(*codec, *T), depth int) error {
	if depth > maxNested {
		return fmt.Errorf("wire: messages lie more than %d deep", maxNested)
	}
	c := codec{reading: true, depth: depth}
	for len(b) > 0 {
		num, typ, n := protowire.ConsumeTag(b)
		if n < 0 {
			return fmt.Errorf("wire: %w", protowire.ParseError(n))
		}
		b = b[n:]
		c.num, c.typ = num, typ
		switch typ {
		case protowire.VarintType:
			c.value, n = protowire.ConsumeVarint(b)
		case protowire.Fixed32Type:
			var v uint32
			v, n = protowire.ConsumeFixed32(b)
			c.value = uint64(v)
		case protowire.BytesType:
			c.bytes, n = protowire.ConsumeBytes(b)
		default:
			n = protowire.ConsumeFieldValue(num, typ, b)
		}
		if n < 0 {
			return fmt.Errorf("wire: field %d: %w", num, protowire.ParseError(n))
		}
		b = b[n:]
		if fields(&c, m); c.err != nil {
			return fmt.Errorf("%w (field %d)", c.err, num)
		}
	}
	return nil
}

// at reports whether the field at hand is this one, which must have this type.
func (c *codec) at(num protowire.Number, typ protowire.Type) bool {
	if c.num != num {
		return false
	}
	if c.typ != typ {
		c.err = errType
	}
	return c.err == nil
}

type whole interface {
	~int | ~int32 | ~int64 | ~uint8 | ~uint32 | ~uint64
}

// number is a whole number: int64 or uint64 in the file.
func number[T whole](c *codec, num protowire.Number, p *T) {
	if !c.reading {
		if *p != 0 {
			c.out = protowire.AppendVarint(protowire.AppendTag(c.out, num, protowire.VarintType), uint64(*p))
		}
		return
	}
	if c.at(num, protowire.VarintType) {
		*p = fit[T](c, c.value)
	}
}

// fit is a number as the type that it must fit.
func fit[T whole](c *codec, v uint64) T {
	t := T(v)
	if uint64(t) != v {
		c.err = fmt.Errorf("wire: %d is out of range", int64(v))
	}
	return t
}

func (c *codec) boolean(num protowire.Number, p *bool) {
	v := protowire.EncodeBool(*p)
	number(c, num, &v)
	*p = protowire.DecodeBool(v)
}

func (c *codec) float(num protowire.Number, p *float32) {
	if !c.reading {
		if bits := math.Float32bits(*p); bits != 0 {
			c.out = protowire.AppendFixed32(protowire.AppendTag(c.out, num, protowire.Fixed32Type), bits)
		}
		return
	}
	if c.at(num, protowire.Fixed32Type) {
		*p = math.Float32frombits(uint32(c.value))
	}
}

func (c *codec) text(num protowire.Number, p *string) {
	if !c.reading {
		if *p != "" {
			c.out = protowire.AppendString(protowire.AppendTag(c.out, num, protowire.BytesType), *p)
		}
		return
	}
	if c.at(num, protowire.BytesType) {
		*p = string(c.bytes)
	}
}

func (c *codec) texts(num protowire.Number, p *[]string) {
	if !c.reading {
		for _, s := range *p {
			c.out = protowire.AppendString(protowire.AppendTag(c.out, num, protowire.BytesType), s)
		}
		return
	}
	if c.at(num, protowire.BytesType) {
		*p = append(*p, string(c.bytes))
	}
}

// numbers are whole numbers one behind the other.
func numbers[T whole](c *codec, num protowire.Number, p *[]T) {
	if !c.reading {
		if len(*p) == 0 {
			return
		}
		size := 0
		for _, v := range *p {
			size += protowire.SizeVarint(uint64(v))
		}
		c.out = protowire.AppendVarint(protowire.AppendTag(c.out, num, protowire.BytesType), uint64(size))
		for _, v := range *p {
			c.out = protowire.AppendVarint(c.out, uint64(v))
		}
		return
	}
	if !c.at(num, protowire.BytesType) {
		return
	}
	for b := c.bytes; len(b) > 0 && c.err == nil; {
		v, n := protowire.ConsumeVarint(b)
		if n < 0 {
			c.err = fmt.Errorf("wire: %w", protowire.ParseError(n))
			return
		}
		*p, b = append(*p, fit[T](c, v)), b[n:]
	}
}

// floats are numbers of four bytes one behind the other.
func (c *codec) floats(num protowire.Number, p *[]float32) {
	if !c.reading {
		if len(*p) > 0 {
			c.out = protowire.AppendVarint(protowire.AppendTag(c.out, num, protowire.BytesType), uint64(4*len(*p)))
			for _, v := range *p {
				c.out = protowire.AppendFixed32(c.out, math.Float32bits(v))
			}
		}
		return
	}
	if !c.at(num, protowire.BytesType) {
		return
	}
	for b := c.bytes; len(b) > 0; b = b[4:] {
		v, n := protowire.ConsumeFixed32(b)
		if n < 0 {
			c.err = fmt.Errorf("wire: %w", protowire.ParseError(n))
			return
		}
		*p = append(*p, math.Float32frombits(v))
	}
}

// hashes are numbers of eight bytes one behind the other.
func (c *codec) hashes(num protowire.Number, p *[]uint64) {
	if !c.reading {
		if len(*p) > 0 {
			c.out = protowire.AppendVarint(protowire.AppendTag(c.out, num, protowire.BytesType), uint64(8*len(*p)))
			for _, v := range *p {
				c.out = protowire.AppendFixed64(c.out, v)
			}
		}
		return
	}
	if !c.at(num, protowire.BytesType) {
		return
	}
	for b := c.bytes; len(b) > 0; b = b[8:] {
		v, n := protowire.ConsumeFixed64(b)
		if n < 0 {
			c.err = fmt.Errorf("wire: %w", protowire.ParseError(n))
			return
		}
		*p = append(*p, v)
	}
}

// within writes a message in this one and returns how long it is, which is written
// before it and known after.
func within[T any](c *codec, num protowire.Number, p *T, fields func(*codec, *T)) int {
	c.out = protowire.AppendTag(c.out, num, protowire.BytesType)
	at := len(c.out)
	fields(c, p)
	n := len(c.out) - at
	c.out = protowire.AppendVarint(c.out, uint64(n)) // makes room
	size := len(c.out) - at - n
	copy(c.out[at+size:], c.out[at:at+n])
	protowire.AppendVarint(c.out[:at], uint64(n))
	return n
}

// message is one in this one; it is left out when all of it is zero.
func message[T any](c *codec, num protowire.Number, p *T, fields func(*codec, *T)) {
	if !c.reading {
		before := len(c.out)
		if within(c, num, p, fields) == 0 {
			c.out = c.out[:before]
		}
		return
	}
	if c.at(num, protowire.BytesType) {
		c.err = decode(c.bytes, p, fields, c.depth+1)
	}
}

// optional is a message that there may be none of.
func optional[T any](c *codec, num protowire.Number, p **T, fields func(*codec, *T)) {
	if !c.reading {
		if *p != nil {
			within(c, num, *p, fields)
		}
		return
	}
	if c.at(num, protowire.BytesType) {
		*p = new(T)
		c.err = decode(c.bytes, *p, fields, c.depth+1)
	}
}

// list is any number of messages.
func list[T any](c *codec, num protowire.Number, p *[]T, fields func(*codec, *T)) {
	if !c.reading {
		for i := range *p {
			within(c, num, &(*p)[i], fields)
		}
		return
	}
	if c.at(num, protowire.BytesType) {
		var m T
		c.err = decode(c.bytes, &m, fields, c.depth+1)
		*p = append(*p, m)
	}
}
