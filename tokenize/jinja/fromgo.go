package jinja

import (
	"math/big"
	"sort"
)

// FromGo turns what Go programs hold into what templates work on: any integer
// into an int, maps with string keys into Dicts (keys sorted, as a Go map has no
// order), slices into lists. Values that already are a template's come back as
// they are. The second result is false for a type with no counterpart.
func FromGo(v any) (Value, bool) { return fromGo(v, 0) }

func fromGo(v any, depth int) (Value, bool) {
	if depth > maxJSONDepth {
		return nil, false
	}
	switch v := v.(type) {
	case nil, bool, int64, *big.Int, float64, string, Markup, *Range:
		return v, true
	case int:
		return int64(v), true
	case int32:
		return int64(v), true
	case uint32:
		return int64(v), true
	case float32:
		return float64(v), true
	case []any:
		return fromSlice(v, depth)
	case Tuple:
		s, ok := fromSlice(v, depth)
		if l, isList := s.([]any); isList {
			return Tuple(l), ok
		}
		return nil, false
	case *Dict:
		return fromDict(v, depth)
	case []string:
		l := make([]any, len(v))
		for i, s := range v {
			l[i] = s
		}
		return l, true
	case []map[string]any:
		l := make([]any, len(v))
		for i, m := range v {
			l[i] = m
		}
		return fromSlice(l, depth)
	case map[string]any:
		keys := make([]string, 0, len(v))
		for k := range v {
			keys = append(keys, k)
		}
		sort.Strings(keys)
		d := NewDict(len(v))
		for _, k := range keys {
			x, ok := fromGo(v[k], depth+1)
			if !ok {
				return nil, false
			}
			d.Set(k, x)
		}
		return d, true
	}
	return nil, false
}

// scalar holds the types fromGo passes through untouched.
func scalar(v any) bool {
	switch v.(type) {
	case nil, bool, int64, *big.Int, float64, string, Markup, *Range:
		return true
	}
	return false
}

func fromSlice(s []any, depth int) (Value, bool) {
	out, copied := s, false
	for i, x := range s {
		if scalar(x) {
			continue
		}
		y, ok := fromGo(x, depth+1)
		if !ok {
			return nil, false
		}
		if same(x, y) {
			continue
		}
		if !copied {
			out, copied = append([]any(nil), s...), true
		}
		out[i] = y
	}
	return out, true
}

func fromDict(d *Dict, depth int) (Value, bool) {
	out := d
	for i, e := range d.entries {
		if scalar(e.val) {
			continue
		}
		y, ok := fromGo(e.val, depth+1)
		if !ok {
			return nil, false
		}
		if same(e.val, y) {
			continue
		}
		if out == d {
			out = &Dict{entries: append([]entry(nil), d.entries...), index: d.index}
		}
		out.entries[i].val = y
	}
	return out, true
}
