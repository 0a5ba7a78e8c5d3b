package gguf

import (
	"encoding/binary"
	"fmt"
	"iter"
	"math"
	"strconv"
)

// Metadata is a file's, by key.
type Metadata map[string]Value

// kind is the type of a value.
type kind uint32

const (
	kindU8 kind = iota
	kindI8
	kindU16
	kindI16
	kindU32
	kindI32
	kindF32
	kindBool
	kindText
	kindArray
	kindU64
	kindI64
	kindF64
)

var kindNames = [...]string{"uint8", "int8", "uint16", "int16", "uint32", "int32", "float32", "bool", "string", "array", "uint64", "int64", "float64"}

func (k kind) String() string {
	if int(k) < len(kindNames) {
		return kindNames[k]
	}
	return fmt.Sprintf("type %d", uint32(k))
}

// kindBytes are the sizes of those that have one.
var kindBytes = map[kind]int{
	kindU8: 1, kindI8: 1, kindU16: 2, kindI16: 2, kindU32: 4, kindI32: 4, kindF32: 4, kindBool: 1, kindU64: 8, kindI64: 8, kindF64: 8,
}

// Value is a value of metadata: a number, a string, or an array of either.
type Value struct { // zero: there is none
	kind  kind // of an array's elements, where it is one
	array bool
	n     int    // elements; of no array 1
	data  []byte // them as they lie in the file
}

// value reads one. Arrays of arrays say nothing of a model, and are not taken.
func (c *cursor) value() Value {
	v := Value{kind: kind(c.u32()), n: 1}
	if v.kind == kindArray {
		v.array, v.kind = true, kind(c.u32())
		n := c.u64()
		if c.err == nil && n > uint64(len(c.data)) { // the least that any element takes is a byte
			c.err = fmt.Errorf("an array of %d elements, the file has %d bytes", n, len(c.data))
		}
		v.n = int(n)
	}
	size, sized := kindBytes[v.kind]
	switch {
	case c.err != nil:
	case sized:
		v.data = c.take(uint64(v.n) * uint64(size))
	case v.kind == kindText:
		begin := c.at
		for range v.n {
			if c.text(math.MaxInt64); c.err != nil {
				return Value{}
			}
		}
		v.data = c.data[begin:c.at]
	case v.kind == kindArray:
		c.err = fmt.Errorf("arrays of arrays are not supported")
	default:
		c.err = fmt.Errorf("%s is no type of metadata", v.kind)
	}
	return v
}

func (v Value) String() string {
	switch {
	case v.data == nil:
		return "missing"
	case v.array:
		return fmt.Sprintf("%d of %s", v.n, v.kind)
	case v.kind == kindText:
		t, _ := v.Text()
		return fmt.Sprintf("%.40q", t)
	case v.kind == kindBool:
		b, _ := v.Bool()
		return fmt.Sprint(b)
	}
	x, _ := v.Float()
	return fmt.Sprint(x)
}

// Len is how many elements it has.
func (v Value) Len() int { return v.n }

// Text is a string.
func (v Value) Text() (string, bool) {
	if v.kind != kindText || v.array {
		return "", false
	}
	return string(v.data[8:]), true
}

// Bool is a truth value.
func (v Value) Bool() (bool, bool) {
	if v.kind != kindBool || v.array {
		return false, false
	}
	return v.data[0] != 0, true
}

// Int is a whole number of any type.
func (v Value) Int() (int64, bool) {
	if v.array {
		return 0, false
	}
	return v.intAt(0)
}

// Float is a number of any type.
func (v Value) Float() (float64, bool) {
	if v.array {
		return 0, false
	}
	return v.floatAt(0)
}

// Ints are whole numbers or truth values, which count as 1 and 0: an array's, or the
// one that there is.
func (v Value) Ints() ([]int64, bool) {
	out := make([]int64, 0, v.n)
	for i := range v.n {
		x, ok := v.intAt(i)
		if v.kind == kindBool {
			x, ok = int64(min(v.data[i], 1)), true
		}
		if !ok {
			return nil, false
		}
		out = append(out, x)
	}
	return out, true
}

// Floats are an array's numbers.
func (v Value) Floats() ([]float64, bool) {
	out := make([]float64, 0, v.n)
	for i := range v.n {
		x, ok := v.floatAt(i)
		if !ok {
			return nil, false
		}
		out = append(out, x)
	}
	return out, true
}

// Texts are an array's strings, which are valid as long as the metadata.
func (v Value) Texts() (iter.Seq2[int, []byte], bool) {
	return func(yield func(int, []byte) bool) {
		for i, rest := 0, v.data; i < v.n; i++ {
			n := binary.LittleEndian.Uint64(rest)
			if !yield(i, rest[8:8+n]) {
				return
			}
			rest = rest[8+n:]
		}
	}, v.array && v.kind == kindText
}

// widen takes a number for the decimal that it was: 1e-6, not 9.999999974752427e-07.
func widen(f float32) float64 {
	x, _ := strconv.ParseFloat(strconv.FormatFloat(float64(f), 'g', -1, 32), 64)
	return x
}

func (v Value) intAt(i int) (int64, bool) {
	if v.data == nil {
		return 0, false
	}
	switch v.kind {
	case kindU8:
		return int64(v.data[i]), true
	case kindI8:
		return int64(int8(v.data[i])), true
	case kindU16:
		return int64(binary.LittleEndian.Uint16(v.data[2*i:])), true
	case kindI16:
		return int64(int16(binary.LittleEndian.Uint16(v.data[2*i:]))), true
	case kindU32:
		return int64(binary.LittleEndian.Uint32(v.data[4*i:])), true
	case kindI32:
		return int64(int32(binary.LittleEndian.Uint32(v.data[4*i:]))), true
	case kindU64, kindI64:
		u := binary.LittleEndian.Uint64(v.data[8*i:])
		return int64(u), v.kind == kindI64 || u <= math.MaxInt64
	}
	return 0, false
}

func (v Value) floatAt(i int) (float64, bool) {
	switch v.kind {
	case kindF32:
		return widen(math.Float32frombits(binary.LittleEndian.Uint32(v.data[4*i:]))), true
	case kindF64:
		return math.Float64frombits(binary.LittleEndian.Uint64(v.data[8*i:])), true
	}
	n, ok := v.intAt(i)
	return float64(n), ok
}
