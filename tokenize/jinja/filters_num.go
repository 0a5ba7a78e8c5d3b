package jinja

import (
	"math"
	"math/big"
	"strconv"
)

func filterInt(st *state, v Value, a []Value) (Value, error) {
	def := Value(int64(0))
	if a[0] != missing {
		def = a[0]
	}
	base, err := optInt(a[1], 10)
	if err != nil {
		return nil, err
	}
	switch x := v.(type) {
	case float64:
		if math.IsInf(x, 0) {
			return nil, errf("OverflowError", "cannot convert float infinity to integer")
		}
		return truncFloat(x, def)
	case *Undefined:
		return nil, x.fail(st)
	}
	if isInt(v) {
		return normInt(bigOf(v))
	}
	s, ok := textOf(v)
	if !ok {
		return def, nil
	}
	if err := st.step(1 + len(s)>>4); err != nil {
		return nil, err
	}
	if n, ok := parseInt(s, int(base)); ok {
		return n, nil
	}
	if f, ok := parseFloat(s); ok {
		return truncFloat(f, def)
	}
	return def, nil
}

func truncFloat(f float64, def Value) (Value, error) {
	if math.IsNaN(f) || math.IsInf(f, 0) {
		return def, nil
	}
	b, _ := big.NewFloat(f).Int(nil)
	return normInt(b)
}

func filterFloat(st *state, v Value, a []Value) (Value, error) {
	if u, ok := v.(*Undefined); ok {
		return nil, u.fail(st)
	}
	if isNumber(v) {
		return floatOf(v), nil
	}
	if s, ok := textOf(v); ok {
		if err := st.step(1 + len(s)>>4); err != nil {
			return nil, err
		}
		if f, ok := parseFloat(s); ok {
			return f, nil
		}
	}
	if a[0] == missing {
		return float64(0), nil
	}
	return a[0], nil
}

func filterRound(st *state, v Value, a []Value) (Value, error) {
	precision, err := optInt(a[0], 0)
	if err != nil {
		return nil, err
	}
	method := "common"
	if a[1] != missing {
		method, _ = textOf(a[1])
	}
	if u, ok := v.(*Undefined); ok && method != "common" {
		return nil, u.fail(st)
	}
	if !isNumber(v) {
		return nil, typeErr("type %s doesn't define __round__ method", typeName(v))
	}
	if precision < -400 || precision > 400 {
		return nil, limitErr("round takes at most 400 digits")
	}
	words := 8 + intSize(v)/8
	if err := st.step(words * words >> 3); err != nil {
		return nil, err
	}
	switch method {
	case "common":
		return roundHalfEven(v, int(precision))
	case "ceil", "floor":
		scale, err := st.arithmetic("**", int64(10), precision)
		if err != nil {
			return nil, err
		}
		x, err := st.arithmetic("*", v, scale)
		if err != nil {
			return nil, err
		}
		if f, ok := x.(float64); ok {
			if method == "ceil" {
				f = math.Ceil(f)
			} else {
				f = math.Floor(f)
			}
			if math.IsNaN(f) || math.IsInf(f, 0) {
				return nil, valueErr("cannot convert float %s to integer", floatRepr(f))
			}
			if x, err = truncFloat(f, nil); err != nil {
				return nil, err
			}
		}
		return st.arithmetic("/", x, scale)
	}
	return nil, errf("FilterArgumentError", "method must be common, ceil or floor")
}

// roundHalfEven is Python's round(v, n).
func roundHalfEven(v Value, n int) (Value, error) {
	if f, ok := v.(float64); ok {
		if n >= 0 {
			r, _ := strconv.ParseFloat(strconv.FormatFloat(f, 'f', n, 64), 64)
			return r, nil
		}
		if math.IsNaN(f) || math.IsInf(f, 0) {
			return f, nil
		}
		scale := new(big.Rat).SetInt(new(big.Int).Exp(big.NewInt(10), big.NewInt(int64(-n)), nil))
		q := new(big.Rat).Quo(new(big.Rat).SetFloat64(f), scale)
		r, _ := new(big.Rat).Mul(new(big.Rat).SetInt(nearest(q)), scale).Float64()
		return r, nil
	}
	if n >= 0 {
		return normInt(bigOf(v))
	}
	scale := new(big.Int).Exp(big.NewInt(10), big.NewInt(int64(-n)), nil)
	return normInt(new(big.Int).Mul(nearest(new(big.Rat).SetFrac(bigOf(v), scale)), scale))
}

// nearest rounds to an integer, halves to the even one.
func nearest(q *big.Rat) *big.Int {
	twice := new(big.Int).Add(new(big.Int).Lsh(q.Num(), 1), q.Denom())
	n, rest := new(big.Int).DivMod(twice, new(big.Int).Lsh(q.Denom(), 1), new(big.Int))
	if rest.Sign() == 0 && n.Bit(0) == 1 {
		n.Sub(n, big.NewInt(1))
	}
	return n
}
