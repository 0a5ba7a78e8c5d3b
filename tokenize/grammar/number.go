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
	// exactDigits is how many a float64 keeps.
	exactDigits = 15
	// maxStep bounds what numbers have to be multiples of.
	maxStep = 1000
)

// expr matches the numbers in the range, without exponents.
func (n *numbers) expr() (*expr, error) {
	switch {
	case n.fraction:
		return n.fractions()
	case len(n.notMultiples) > 0 && !n.integer:
		integers := *n
		integers.integer = true
		a, err := integers.expr()
		if err != nil {
			return nil, err
		}
		b, err := n.fractions()
		return alt(a, b), err
	case n.low == nil && n.high == nil && len(n.multiples)+len(n.notMultiples) == 0:
		if n.integer {
			return jsonInteger, nil
		}
		return jsonNumber, nil
	}
	d := &digits{step: 1, memo: map[digitsKey]*expr{}}
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

// divide has what is told of remainders tell multiples of m. places is how many
// digits after the point are left to write, nil if none are.
func (d *digits) divide(m *big.Rat, places *int) error {
	switch {
	case m.IsInt() && m.Num().IsInt64() && m.Num().Int64() <= maxStep:
		step := big.NewInt(int64(d.step))
		step.Mul(step, new(big.Int).Div(m.Num(), new(big.Int).GCD(nil, nil, step, m.Num())))
		if step.Cmp(big.NewInt(maxStep)) > 0 {
			return fmt.Errorf("together with the others its multiples are above %d, which is not supported", maxStep)
		}
		d.step = int(step.Int64())
		if places != nil {
			*places = 0
		}
		return nil
	case places != nil && m.Num().Cmp(big.NewInt(1)) == 0 && isPowerOfTen(m.Denom()):
		*places = min(*places, len(m.Denom().String())-1)
		return nil
	}
	return fmt.Errorf("only integers up to %d, and 0.1, 0.01 and so on are supported, got %s", maxStep, m.FloatString(5))
}

// fractions matches the numbers in the range that are no integers, not those
// so long that a float64 would make them one.
func (n *numbers) fractions() (*expr, error) {
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
	e, err := ranged.expr()
	if err != nil {
		return nil, err
	}
	e, ok := common(e, seq(optional(text("-")), repeat(digit, 1, 9), text("."), repeat(digit, 0, 5), nonzero))
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

func isPowerOfTen(n *big.Int) bool { return strings.TrimRight(n.String(), "0") == "1" }

func (b *bound) negated() *bound {
	if b == nil {
		return nil
	}
	return &bound{at: new(big.Rat).Neg(b.at), strict: b.strict}
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

// digits makes expressions for ranges, digit by digit.
type digits struct {
	step  int    // integers are told by their remainders by it
	ends  []bool // remainders that they may have; nil: any
	fixed bool   // bounds do not change how many places there may be
	memo  map[digitsKey]*expr
}

// between matches the numbers from low, which is not negative, to high, with
// at most so many places after the point.
func (d *digits) between(low, high *bound, places int) *expr {
	count := defaultDigits
	if d.step > 1 {
		count = exactDigits
	}
	lowInt, lowRest := split(low.at)
	count = max(count, len(lowInt))
	limit := &bound{at: new(big.Rat).SetInt(new(big.Int).Exp(big.NewInt(10), big.NewInt(int64(count)), nil)), strict: true}
	if high == nil {
		high = limit
	}
	if c := high.at.Cmp(low.at); c < 0 || c == 0 && (low.strict || high.strict) {
		return never
	}
	highInt, highRest := split(high.at)
	from, _ := new(big.Int).SetString(lowInt, 10)
	to, _ := new(big.Int).SetString(highInt, 10)
	if places == 0 {
		if lowRest != "" || low.strict {
			from.Add(from, big.NewInt(1))
		}
		if highRest == "" && high.strict {
			to.Sub(to, big.NewInt(1))
		}
		return d.integers(from, to)
	}
	if !d.fixed {
		places = max(places, len(lowRest), len(highRest))
		if low.strict || high.strict && high != limit {
			// A number that is read into a float64 must not become the bound.
			places = max(len(lowRest)+1, len(highRest)+1, exactDigits-max(len(lowInt), len(highInt)))
		}
	}
	if from.Cmp(to) == 0 {
		return seq(text(lowInt), d.fraction(tail{left: places, low: lowRest, tightLow: true, strictLow: low.strict, high: highRest, tightHigh: true, strictHigh: high.strict}))
	}
	first := seq(text(lowInt), d.fraction(tail{left: places, low: lowRest, tightLow: true, strictLow: low.strict}))
	last := seq(text(highInt), d.fraction(tail{left: places, high: highRest, tightHigh: true, strictHigh: high.strict}))
	one := big.NewInt(1)
	middle := seq(d.integers(from.Add(from, one), to.Sub(to, one)), d.fraction(tail{left: places}))
	return alt(first, middle, last)
}

// split is a number's digits before the point and those after it, as many as
// it has, without zeros at the end.
func split(x *big.Rat) (whole, rest string) {
	whole, rest, _ = strings.Cut(x.FloatString(2*maxDigits), ".")
	return whole, strings.TrimRight(rest, "0")
}

// integers matches the multiples of step from a to b, neither negative.
func (d *digits) integers(a, b *big.Int) *expr {
	if a.Cmp(b) > 0 {
		return never
	}
	var parts []*expr
	low, high := a.String(), b.String()
	for n := len(low); n <= len(high); n++ {
		t := tail{left: n, whole: true}
		if n == len(low) {
			t.low, t.tightLow = low, true
		}
		if n == len(high) {
			t.high, t.tightHigh = high, true
		}
		parts = append(parts, d.rest(t, 0, n > 1))
	}
	return alt(parts...)
}

// fraction matches the point and what follows it, or nothing where that is
// within the bounds.
func (d *digits) fraction(t tail) *expr {
	e := seq(text("."), d.digit(t, 0, false))
	if t.mayEnd() {
		e = optional(e)
	}
	return e
}

// tail is what is left of a number to write: at most `left` digits, exactly so
// many of a whole number. While tight, the digits so far are those of the
// bound, and low and high are the bound's next ones; past its end they are 0.
type tail struct {
	left                  int
	whole                 bool
	low, high             string
	tightLow, tightHigh   bool
	strictLow, strictHigh bool
}

// mayEnd reports whether the number may end here. Bounds have no zeros at the
// end, so a bound with digits left is higher than what was written.
func (t *tail) mayEnd() bool {
	if t.whole {
		return t.left == 0
	}
	return !(t.tightLow && (t.low != "" || t.strictLow)) && !(t.tightHigh && t.high == "" && t.strictHigh)
}

type digitsKey struct {
	tail
	remainder int
	first     bool // not 0
	mayEnd    bool
}

// rest matches zero or more digits; remainder is that of the number so far by
// step.
func (d *digits) rest(t tail, remainder int, first bool) *expr {
	e := never
	if t.left > 0 {
		e = d.digit(t, remainder, first)
	}
	if !t.mayEnd() || t.whole && d.ends != nil && !d.ends[remainder] {
		return e
	}
	key := digitsKey{t, remainder, first, true}
	if d.memo[key] == nil {
		d.memo[key] = optional(e)
	}
	return d.memo[key]
}

// digit matches one or more digits, the first one not 0 if so asked.
func (d *digits) digit(t tail, remainder int, nonzero bool) *expr {
	key := digitsKey{t, remainder, nonzero, false}
	if e := d.memo[key]; e != nil {
		return e
	}
	// Digits that lead to the same are told together.
	var parts []*expr
	var runs []*expr
	var last *expr
	lowest, highest := byte('0'), byte('9')
	if t.tightLow {
		lowest = next(t.low)
	}
	if t.tightHigh {
		highest = next(t.high)
	}
	if nonzero {
		lowest = max(lowest, '1')
	}
	for c := int(lowest); c <= int(highest); c++ {
		u := t
		u.left--
		u.advance(byte(c))
		r := remainder
		if t.whole {
			r = (remainder*10 + c - '0') % d.step
		}
		e := d.rest(u, r, false)
		if e.op == opNever {
			last = nil
			continue
		}
		if e == last {
			runs[len(runs)-1].set.add(byte(c), byte(c))
			continue
		}
		run := span(byte(c), byte(c))
		runs, last = append(runs, run), e
		parts = append(parts, seq(run, e))
	}
	e := alt(parts...)
	d.memo[key] = e
	return e
}

func next(digits string) byte {
	if digits == "" {
		return '0'
	}
	return digits[0]
}

// advance goes on by one digit, which is within the bounds.
func (t *tail) advance(c byte) {
	if t.tightLow {
		t.tightLow = c == next(t.low)
		t.low = t.low[min(1, len(t.low)):]
	}
	if !t.tightLow {
		t.low, t.strictLow = "", false
	}
	if t.tightHigh {
		t.tightHigh = c == next(t.high)
		t.high = t.high[min(1, len(t.high)):]
	}
	if !t.tightHigh {
		t.high, t.strictHigh = "", false
	}
}
