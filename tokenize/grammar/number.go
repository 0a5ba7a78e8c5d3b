package grammar

import (
	"errors"
	"fmt"
	"math/big"
	"slices"
	"strconv"
	"strings"
)

// bound is one end of a range of numbers.
type bound struct {
	at     *big.Rat
	strict bool // at itself is outside
}

// parseDecimal reads a JSON number exactly, if it has not too many digits.
func parseDecimal(s string) (*big.Rat, error) {
	if i := strings.IndexAny(s, "eE"); i >= 0 {
		if exp, err := strconv.Atoi(s[i+1:]); err != nil || exp > maxDigits || exp < -maxDigits {
			return nil, fmt.Errorf("%s is out of range", s)
		}
	}
	x, ok := new(big.Rat).SetString(s)
	if !ok || len(s) > 2*maxDigits {
		return nil, fmt.Errorf("%s is out of range", s)
	}
	return x, nil
}

// numbers is what a schema says of a number.
type numbers struct {
	integer   bool
	fraction  bool   // it is no integer
	low, high *bound // nil: none
	// multiples are what it is a multiple of, notMultiples what it is not.
	multiples, notMultiples []*big.Rat
}

// defaultDigits is how many digits a number has before its point, and at most
// after it, when no bound asks for more.
const (
	defaultDigits  = 18
	fractionDigits = 17
	// exactDigits is how many a float64 keeps. A number with more of them beside
	// a bound that it must not reach could be read as the bound.
	exactDigits = 15
	// maxStep bounds what numbers have to be multiples of.
	maxStep = 1000
)

// expr matches the numbers in the range, without exponents.
func (n *numbers) expr(w *budget) (*expr, error) {
	switch {
	case n.fraction:
		return n.fractions(w)
	case len(n.notMultiples) > 0 && !n.integer:
		integers := *n
		integers.integer = true
		a, err := integers.expr(w)
		if err != nil {
			return nil, err
		}
		b, err := n.fractions(w)
		if err != nil {
			return nil, err
		}
		return alt(a, b), nil
	case n.low == nil && n.high == nil && len(n.multiples)+len(n.notMultiples) == 0:
		if n.integer {
			return jsonInteger, nil
		}
		return jsonNumber, nil
	}
	fraction := func(m *big.Rat) bool { return !m.IsInt() }
	if slices.ContainsFunc(n.notMultiples, fraction) || slices.ContainsFunc(n.multiples, func(m *big.Rat) bool { return fraction(m) && !isPlaces(m) }) {
		return n.decimals(w)
	}
	return n.ranged(w, 0)
}

// decimals matches multiples of what is no integer: for each number of digits
// after the point, the integers that are so many times ten as high.
func (n *numbers) decimals(w *budget) (*expr, error) {
	places := 0
	for _, m := range n.multiples {
		_, rest := split(m)
		places = max(places, len(rest))
	}
	if n.integer {
		places = 0
	}
	if places > fractionDigits {
		return nil, fmt.Errorf("at most %d digits after the point are supported", fractionDigits)
	}
	var parts []*expr
	scale := big.NewRat(1, 1)
	for point := range places + 1 {
		// An integer is a multiple of a fraction where it is one of its numerator.
		whole := func(of []*big.Rat) (out []*big.Rat) {
			for _, m := range of {
				out = append(out, new(big.Rat).SetInt(new(big.Rat).Mul(m, scale).Num()))
			}
			return out
		}
		scaled := numbers{integer: true, low: n.low.times(scale), high: n.high.times(scale), multiples: whole(n.multiples), notMultiples: whole(n.notMultiples)}
		e, err := scaled.ranged(w, point)
		if err != nil {
			return nil, err
		}
		parts = append(parts, e)
		scale = new(big.Rat).Mul(scale, big.NewRat(10, 1))
	}
	return alt(parts...), nil
}

// ranged matches the numbers in the range; of integers it writes the last
// `point` digits after a point.
func (n *numbers) ranged(w *budget, point int) (*expr, error) {
	d := &digits{budget: w, step: 1, point: point, memo: map[digitsKey]*expr{}, points: map[*expr]*expr{}}
	places := fractionDigits
	for _, m := range n.multiples {
		if err := d.divide(m, &places); err != nil {
			return nil, err
		}
		d.fixed = true
	}
	for _, m := range n.notMultiples {
		if err := d.divide(m, nil); err != nil {
			return nil, err
		}
	}
	if n.integer {
		places = 0
	}
	if len(n.multiples)+len(n.notMultiples) > 0 {
		whole := func(m *big.Rat, r int) bool { return !m.IsInt() || r%int(m.Num().Int64()) == 0 }
		for r := range d.step {
			ends := true
			for _, m := range n.multiples {
				ends = ends && whole(m, r)
			}
			for _, m := range n.notMultiples {
				ends = ends && !whole(m, r)
			}
			d.ends = append(d.ends, ends)
		}
	}
	zero := &bound{at: new(big.Rat)}
	positive := d.between(tighter(n.low, zero, 1), n.high, places)
	negative := never
	if n.low == nil || n.low.at.Sign() < 0 {
		// −x is in the range if x is in the range turned round.
		above := &bound{at: zero.at, strict: places == 0} // −0 is no integer to write
		negative = seq(text("-"), d.between(tighter(n.high.negated(), above, 1), n.low.negated(), places))
	}
	return alt(positive, negative), nil
}

// fractions matches the numbers in the range that are no integers, not those
// so long that a float64 would make them one.
func (n *numbers) fractions(w *budget) (*expr, error) {
	for _, m := range slices.Concat(n.multiples, n.notMultiples) {
		if !m.IsInt() {
			return nil, fmt.Errorf("among numbers that are no integers only integers are supported, got %s", m.FloatString(5))
		}
	}
	if len(n.multiples) > 0 {
		return never, nil
	}
	limit := &bound{at: new(big.Rat).SetInt64(1e9), strict: true}
	ranged := numbers{low: tighter(n.low, limit.negated(), 1), high: tighter(n.high, limit, -1)}
	e, err := ranged.expr(w)
	if err != nil {
		return nil, err
	}
	e, ok := common(w, e, seq(optional(text("-")), repeat(digit, 1, 9), text("."), repeat(digit, 0, 5), nonzero))
	if !ok {
		return nil, errors.New("its bounds are too long for numbers that are no integers")
	}
	return e, nil
}

// without are the same numbers but for these, as ranges beside them.
func (n numbers) without(values []*big.Rat) []numbers {
	slices.SortFunc(values, (*big.Rat).Cmp)
	var ranges []numbers
	for _, x := range values {
		below := n
		below.high = tighter(n.high, &bound{at: x, strict: true}, -1)
		ranges = append(ranges, below)
		n.low = tighter(n.low, &bound{at: x, strict: true}, 1)
	}
	return append(ranges, n)
}

// isPlaces reports whether m is 0.1, 0.01 or so: what bounds the digits after
// the point and no more.
func isPlaces(m *big.Rat) bool {
	return m.Num().IsInt64() && m.Num().Int64() == 1 && strings.TrimRight(m.Denom().String(), "0") == "1"
}

func (b *bound) negated() *bound {
	if b == nil {
		return nil
	}
	return &bound{at: new(big.Rat).Neg(b.at), strict: b.strict}
}

// times is the bound of numbers so many times as high.
func (b *bound) times(x *big.Rat) *bound {
	if b == nil {
		return nil
	}
	return &bound{at: new(big.Rat).Mul(b.at, x), strict: b.strict}
}

// opposite is the other end of the range of what is outside.
func (b *bound) opposite() *bound { return &bound{at: b.at, strict: !b.strict} }

// tighter is the bound that leaves less: the higher one when sign is 1, the
// lower one when it is -1. Nil is no bound.
func tighter(a, b *bound, sign int) *bound {
	switch {
	case a == nil:
		return b
	case b == nil:
		return a
	case a.at.Cmp(b.at)*sign > 0, a.at.Cmp(b.at) == 0 && a.strict:
		return a
	}
	return b
}
