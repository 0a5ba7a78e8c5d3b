package jinja

import (
	"cmp"
	"math"
	"math/big"
	"strings"
)

// same is Python's `is`, as far as it can be told.
func same(a, b Value) bool {
	switch x := a.(type) {
	case []any:
		y, ok := b.([]any)
		return ok && len(x) == len(y) && (len(x) == 0 || &x[0] == &y[0])
	case Tuple:
		y, ok := b.(Tuple)
		return ok && len(x) == len(y) && (len(x) == 0 || &x[0] == &y[0])
	case *big.Int:
		y, ok := b.(*big.Int)
		return ok && x.Cmp(y) == 0
	}
	switch b.(type) {
	case []any, Tuple:
		return false
	}
	return a == b
}

func textOf(v Value) (string, bool) {
	switch v := v.(type) {
	case string:
		return v, true
	case Markup:
		return string(v), true
	}
	return "", false
}

// equal is Python's ==.
func (st *state) equal(a, b Value, depth int) (bool, error) {
	if err := st.step(1); err != nil {
		return false, err
	}
	if depth > st.lim.Depth {
		return false, errf("RecursionError", "comparing values nested more than %d deep", st.lim.Depth)
	}
	if x, ok := textOf(a); ok {
		y, ok := textOf(b)
		if !ok || len(x) != len(y) {
			return false, nil
		}
		return x == y, st.scan(len(x))
	}
	if isNumber(a) && isNumber(b) {
		c, ok := compareNumbers(a, b)
		return ok && c == 0, st.weigh(intSize(a) + intSize(b))
	}
	switch x := a.(type) {
	case []any:
		if y, ok := b.([]any); ok {
			return st.equalLists(x, y, depth)
		}
		return false, nil
	case Tuple:
		if y, ok := b.(Tuple); ok {
			return st.equalLists(x, y, depth)
		}
		return false, nil
	case *Dict:
		y, ok := b.(*Dict)
		if !ok || len(x.entries) != len(y.entries) {
			return false, nil
		}
		for _, e := range x.entries {
			i, err := st.place(y, e.key)
			if err != nil || i < 0 {
				return false, err
			}
			if eq, err := st.equal(e.val, y.entries[i].val, depth+1); !eq || err != nil {
				return false, err
			}
		}
		return true, nil
	case *Undefined:
		_, ok := b.(*Undefined)
		return ok, nil
	case *Range:
		y, ok := b.(*Range)
		if !ok {
			return false, nil
		}
		h, _ := hashKey(x, 0)
		k, _ := hashKey(y, 0)
		return h == k, nil
	case *view:
		y, ok := b.(*view)
		if !ok || x.kind != y.kind || x.kind == 'v' || len(x.d.entries) != len(y.d.entries) {
			return a == b, nil
		}
		for i := range x.d.entries {
			if in, err := st.contains(y, x.at(i)); !in || err != nil {
				return false, err
			}
		}
		return true, nil
	}
	return same(a, b), nil
}

func (st *state) equalLists(x, y []any, depth int) (bool, error) {
	if len(x) != len(y) {
		return false, nil
	}
	for i := range x {
		if eq, err := st.equal(x[i], y[i], depth+1); !eq || err != nil {
			return false, err
		}
	}
	return true, nil
}

// compareNumbers orders ints, bools and floats; false when one is NaN.
func compareNumbers(a, b Value) (int, bool) {
	x, xInt := intOf(a)
	y, yInt := intOf(b)
	switch {
	case xInt && yInt:
		switch {
		case x < y:
			return -1, true
		case x > y:
			return 1, true
		}
		return 0, true
	}
	_, xf := a.(float64)
	_, yf := b.(float64)
	if !xf && !yf {
		return bigOf(a).Cmp(bigOf(b)), true
	}
	fx, fy := floatOf(a), floatOf(b)
	if math.IsNaN(fx) || math.IsNaN(fy) {
		return 0, false
	}
	if math.IsInf(fx, 0) || math.IsInf(fy, 0) || xf && yf {
		switch {
		case fx < fy:
			return -1, true
		case fx > fy:
			return 1, true
		}
		return 0, true
	}
	return exact(a).Cmp(exact(b)), true // an int against a float, without rounding
}

func exact(v Value) *big.Float {
	if f, ok := v.(float64); ok {
		return big.NewFloat(f)
	}
	b := bigOf(v)
	return new(big.Float).SetPrec(uint(max(b.BitLen(), 64))).SetInt(b)
}

const unordered = 2

// order compares what Python can order: -1, 0 or 1, or unordered for NaN.
func (st *state) order(a, b Value, op string, depth int) (int, error) {
	if err := st.step(1); err != nil {
		return 0, err
	}
	if depth > st.lim.Depth {
		return 0, errf("RecursionError", "comparing values nested more than %d deep", st.lim.Depth)
	}
	if u, ok := a.(*Undefined); ok {
		return 0, u.fail(st)
	}
	if u, ok := b.(*Undefined); ok {
		return 0, u.fail(st)
	}
	if x, ok := textOf(a); ok {
		if y, ok := textOf(b); ok {
			return strings.Compare(x, y), st.scan(min(len(x), len(y)))
		}
	}
	if isNumber(a) && isNumber(b) {
		c, ok := compareNumbers(a, b)
		if !ok {
			c = unordered
		}
		return c, st.weigh(intSize(a) + intSize(b))
	}
	x, y, ok := bothLists(a, b)
	if !ok {
		return 0, typeErr("'%s' not supported between instances of '%s' and '%s'", op, typeName(a), typeName(b))
	}
	for i := 0; i < len(x) && i < len(y); i++ {
		eq, err := st.equal(x[i], y[i], depth+1)
		if err != nil {
			return 0, err
		}
		if !eq {
			return st.order(x[i], y[i], op, depth+1)
		}
	}
	return cmp.Compare(len(x), len(y)), nil
}

func bothLists(a, b Value) (x, y []any, ok bool) {
	switch p := a.(type) {
	case []any:
		q, ok := b.([]any)
		return p, q, ok
	case Tuple:
		q, ok := b.(Tuple)
		return p, q, ok
	}
	return nil, nil, false
}

// contains is Python's `item in seq`.
func (st *state) contains(seq, item Value) (bool, error) {
	switch s := seq.(type) {
	case string, Markup:
		text, _ := textOf(s)
		sub, ok := textOf(item)
		if !ok {
			return false, typeErr("'in <string>' requires string as left operand, not %s", typeName(item))
		}
		if err := st.scan(len(text)); err != nil {
			return false, err
		}
		return strings.Contains(text, sub), nil
	case *Dict:
		i, err := st.place(s, item)
		return i >= 0, err
	case *view:
		if s.kind == 'k' {
			i, err := st.place(s.d, item)
			return i >= 0, err
		}
	case *Range:
		if n, ok := intOf(item); ok {
			k := n - s.start
			return k%s.step == 0 && k/s.step >= 0 && k/s.step < int64(s.len()), nil
		}
	}
	it, err := st.iterate(seq)
	if err != nil {
		return false, typeErr("argument of type '%s' is not iterable", typeName(seq))
	}
	for {
		x, ok, err := it.pull(st)
		if !ok || err != nil {
			return false, err
		}
		eq, err := st.equal(x, item, 0)
		if eq || err != nil {
			return eq, err
		}
	}
}
