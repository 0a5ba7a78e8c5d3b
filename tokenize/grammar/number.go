package grammar

import (
	"fmt"
	"math/big"
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
	integer    bool
	low, high  *bound // nil: none
	multipleOf *big.Rat
}

// defaultDigits is how many digits a number has before its point, and at most
// after it, when no bound asks for more.
const (
	defaultDigits  = 18
	fractionDigits = 17
	// exactDigits is how many a float64 keeps.
	exactDigits = 15
)

// expr matches the numbers in the range, without exponents.
func (n *numbers) expr() (*expr, error) {
	step, places := big.NewInt(1), fractionDigits
	if m := n.multipleOf; m != nil {
		switch {
		case m.IsInt() && m.Num().IsInt64() && m.Num().Int64() <= 1000:
			step, places = m.Num(), 0
		case m.Num().Cmp(big.NewInt(1)) == 0 && isPowerOfTen(m.Denom()):
			places = len(m.Denom().String()) - 1
		default:
			return nil, fmt.Errorf("only integers up to 1000, and 0.1, 0.01 and so on are supported, got %s", m.FloatString(5))
		}
	}
	if n.integer {
		places = 0
	}
	if n.low == nil && n.high == nil && n.multipleOf == nil {
		if n.integer {
			return jsonInteger, nil
		}
		return jsonNumber, nil
	}
	d := &digits{step: int(step.Int64()), memo: map[digitsKey]*expr{}}
	zero := &bound{at: new(big.Rat)}
	d.fixed = n.multipleOf != nil
	positive := d.between(tighter(n.low, zero, 1), n.high, places)
	negative := never
	if n.low == nil || n.low.at.Sign() < 0 {
		// −x is in the range if x is in the range turned round.
		above := &bound{at: zero.at, strict: places == 0} // −0 is no integer to write
		negative = seq(text("-"), d.between(tighter(n.high.negated(), above, 1), n.low.negated(), places))
	}
	return alt(positive, negative), nil
}

func isPowerOfTen(n *big.Int) bool { return strings.TrimRight(n.String(), "0") == "1" }

func (b *bound) negated() *bound {
	if b == nil {
		return nil
	}
	return &bound{at: new(big.Rat).Neg(b.at), strict: b.strict}
}

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
	step  int  // integers are multiples of it
	fixed bool // bounds do not change how many places there may be
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
	if !t.mayEnd() || t.whole && remainder != 0 {
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

// has reports whether x is in the range.
func (n *numbers) has(x *big.Rat) bool {
	if n.low != nil && (x.Cmp(n.low.at) < 0 || x.Cmp(n.low.at) == 0 && n.low.strict) {
		return false
	}
	if n.high != nil && (x.Cmp(n.high.at) > 0 || x.Cmp(n.high.at) == 0 && n.high.strict) {
		return false
	}
	return n.multipleOf == nil || new(big.Rat).Quo(x, n.multipleOf).IsInt()
}
