package jinja

import (
	"fmt"
	"maps"
	"math"
	"math/big"
	"slices"
)

// Dict is Python's dict: it keeps the order of insertion. Once it is a
// template's variable it must not change.
type Dict struct {
	entries []entry
	index   map[any]int // by hashKey, once there are many
}

type entry struct{ key, val Value }

const dictScan = 8 // up to so many entries, searching in order is faster

// NewDict returns an empty Dict with room for n entries.
func NewDict(n int) *Dict { return &Dict{entries: make([]entry, 0, n)} }

// Clone is a Dict of the same values.
func (d *Dict) Clone() *Dict {
	return &Dict{entries: slices.Clone(d.entries), index: maps.Clone(d.index)}
}

// Len is the number of entries.
func (d *Dict) Len() int { return len(d.entries) }

// At returns the i-th entry in order of insertion.
func (d *Dict) At(i int) (key, val Value) { return d.entries[i].key, d.entries[i].val }

// Get returns the value under a string key.
func (d *Dict) Get(key string) (Value, bool) {
	if i := d.findString(key); i >= 0 {
		return d.entries[i].val, true
	}
	return nil, false
}

// Set stores a value under a string key, in the place of an older one.
func (d *Dict) Set(key string, val Value) {
	if i := d.findString(key); i >= 0 {
		d.entries[i].val = val
		return
	}
	d.add(key, val, key)
}

func (d *Dict) add(key, val Value, hash any) {
	d.entries = append(d.entries, entry{key, val})
	switch {
	case d.index != nil:
		d.index[hash] = len(d.entries) - 1
	case len(d.entries) > dictScan:
		d.index = make(map[any]int, 2*len(d.entries))
		for i, e := range d.entries {
			h, _ := hashKey(e.key, 0)
			d.index[h] = i
		}
	}
}

func (d *Dict) findString(key string) int {
	if d.index != nil {
		if i, ok := d.index[key]; ok {
			return i
		}
		return -1
	}
	for i := range d.entries {
		if k, ok := d.entries[i].key.(string); ok && k == key {
			return i
		}
	}
	return -1
}

// place is Dict.find, charged. In a small dict every key that is a tuple is hashed
// to be compared with another.
func (st *state) place(d *Dict, key Value) (int, error) {
	work := 0
	switch k := key.(type) {
	case string:
		work = len(k)
	case Markup:
		work = len(k)
	case Tuple:
		work = maxHash
		if d.index == nil {
			work *= 1 + len(d.entries)
		}
	}
	if err := st.weigh(work); err != nil {
		return -1, err
	}
	return d.find(key)
}

// put is Dict.put, charged.
func (st *state) put(d *Dict, key, val Value) error {
	if _, err := st.place(d, key); err != nil {
		return err
	}
	return d.put(key, val)
}

// hash is hashKey, charged.
func (st *state) hash(v Value) (any, error) {
	h, err := hashKey(v, 0)
	if err != nil {
		return nil, err
	}
	switch h := h.(type) {
	case string:
		err = st.weigh(len(h))
	case hashTuple:
		err = st.weigh(maxHash)
	}
	return h, err
}

// find returns the entry under any key, or -1. A key that cannot be hashed is an error.
func (d *Dict) find(key Value) (int, error) {
	if s, ok := key.(string); ok {
		return d.findString(s), nil
	}
	h, err := hashKey(key, 0)
	if err != nil {
		return -1, err
	}
	if d.index != nil {
		if i, ok := d.index[h]; ok {
			return i, nil
		}
		return -1, nil
	}
	_, long := key.(Tuple)
	for i := range d.entries {
		if _, l := d.entries[i].key.(Tuple); l != long {
			continue
		}
		if k, _ := hashKey(d.entries[i].key, 0); k == h {
			return i, nil
		}
	}
	return -1, nil
}

func (d *Dict) put(key, val Value) error {
	i, err := d.find(key)
	if err != nil {
		return err
	}
	if i >= 0 {
		d.entries[i].val = val
		return nil
	}
	h, _ := hashKey(key, 0)
	d.add(key, val, h)
	return nil
}

type (
	hashNone  struct{}
	hashTuple string
	hashRange struct{ n, start, step int64 }
)

const (
	maxHashDepth = 64
	maxHash      = 1 << 16 // bytes that stand for a tuple
)

// hashKey maps keys that Python holds equal to one comparable Go value.
func hashKey(v Value, depth int) (any, error) {
	if depth > maxHashDepth {
		return nil, errf("RecursionError", "a key is nested too deep")
	}
	switch v := v.(type) {
	case nil:
		return hashNone{}, nil
	case string:
		return v, nil
	case Markup:
		return string(v), nil
	case bool:
		if v {
			return int64(1), nil
		}
		return int64(0), nil
	case int64:
		return v, nil
	case *big.Int:
		return hashBig(v), nil
	case float64:
		if v == math.Trunc(v) {
			if math.Abs(v) < 1<<62 {
				return int64(v), nil
			}
			if !math.IsInf(v, 0) {
				b, _ := big.NewFloat(v).Int(nil)
				return hashBig(b), nil
			}
		}
		return v, nil
	case Tuple:
		s, err := appendHash(make([]byte, 0, 32), v, depth)
		if err != nil {
			return nil, err
		}
		return hashTuple(s), nil
	case []any, *Dict, *view:
		return nil, typeErr("unhashable type: '%s'", typeName(v))
	case *Range:
		n := int64(v.len())
		switch n {
		case 0:
			return hashRange{}, nil
		case 1:
			return hashRange{1, v.start, 0}, nil
		}
		return hashRange{n, v.start, v.step}, nil
	case *Undefined:
		return Undefined{}, nil
	}
	return v, nil // by identity
}

func hashBig(b *big.Int) hashTuple {
	return hashTuple(append([]byte{'i', byte(b.Sign() + 1)}, b.Bytes()...))
}

// appendHash writes a tuple so that equal ones come out alike, and others do not:
// what has no fixed length is written after its length.
func appendHash(dst []byte, v Value, depth int) ([]byte, error) {
	if t, ok := v.(Tuple); ok {
		if depth > maxHashDepth {
			return nil, errf("RecursionError", "a key is nested too deep")
		}
		dst = append(dst, '(')
		for _, x := range t {
			var err error
			if dst, err = appendHash(dst, x, depth+1); err != nil {
				return nil, err
			}
		}
		return append(dst, ')'), nil
	}
	h, err := hashKey(v, depth)
	if err != nil {
		return nil, err
	}
	text, kind := "", byte('s')
	switch h := h.(type) {
	case string:
		text = h
	case hashTuple:
		text, kind = string(h), 'b'
	case int64, float64, hashNone, hashRange, Undefined:
		text, kind = fmt.Sprintf("%T%v", h, h), 'v'
	default:
		text, kind = fmt.Sprintf("%p", h), 'p'
	}
	if len(dst)+len(text) > maxHash {
		return nil, limitErr("a tuple used as a key is too long")
	}
	return append(fmt.Appendf(dst, "%c%d:", kind, len(text)), text...), nil
}
