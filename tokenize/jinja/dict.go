package jinja

import (
	"math"
	"math/big"
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
	for i := range d.entries {
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

const maxHashDepth = 64

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
		return hashTuple("i" + v.String()), nil
	case float64:
		if v == math.Trunc(v) {
			if math.Abs(v) < 1<<62 {
				return int64(v), nil
			}
			if !math.IsInf(v, 0) {
				b, _ := big.NewFloat(v).Int(nil)
				return hashTuple("i" + b.String()), nil
			}
		}
		return v, nil
	case Tuple:
		s := make([]byte, 0, 32)
		for _, x := range v {
			h, err := hashKey(x, depth+1)
			if err != nil {
				return nil, err
			}
			if len(s) > 1<<16 {
				return nil, limitErr("a tuple used as a key is too long")
			}
			s = appendHash(s, h)
		}
		return hashTuple("t" + string(s)), nil
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
