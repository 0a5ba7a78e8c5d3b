package grammar

import (
	"fmt"
	"math/big"
	"strings"
)

// digits makes expressions for ranges, digit by digit.
type digits struct {
	budget *budget
	step   int    // integers are told by their remainders by it
	ends   []bool // remainders that they may have; nil: any
	fixed  bool   // bounds do not change how many places there may be
	point  int    // so many of an integer's digits are written after a point
	memo   map[digitsKey]*expr
	// points are memo's expressions with the point before them.
	points map[*expr]*expr
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
	}
	// The integers at which digits after the point are told one by one: those
	// that the bounds begin with, and the one below a bound that is an integer.
	one := big.NewInt(1)
	last := to
	if high.strict && high != limit && highRest == "" && to.Sign() > 0 {
		last = new(big.Int).Sub(to, one)
	}
	var parts []*expr
	next := from
	for _, at := range []*big.Int{from, last, to} {
		if at.Cmp(next) < 0 {
			continue
		}
		t := tail{left: places}
		parts = append(parts, seq(d.integers(next, new(big.Int).Sub(at, one)), d.fraction(t)))
		if at.Cmp(from) == 0 {
			t.low, t.tightLow, t.strictLow = lowRest, true, low.strict
			t.left = d.beside(low, at, lowRest, t.left)
		}
		if at.Cmp(to) == 0 {
			t.high, t.tightHigh, t.strictHigh = highRest, true, high.strict
		}
		if at.Cmp(last) >= 0 && high != limit {
			t.left = d.beside(high, at, highRest, t.left)
		}
		parts = append(parts, seq(text(at.String()), d.fraction(t)))
		next = new(big.Int).Add(at, one)
	}
	return alt(parts...)
}

// beside is how many of so many places there may be after an integer that is
// beside a bound, whose digits after the point are rest.
func (d *digits) beside(b *bound, whole *big.Int, rest string, places int) int {
	if d.fixed || !b.strict || b.at.Sign() == 0 {
		return places
	}
	return min(places, max(len(rest)+1, exactDigits-len(whole.String())))
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
	low, high := fmt.Sprintf("%0*d", d.point+1, a), fmt.Sprintf("%0*d", d.point+1, b)
	for n := len(low); n <= len(high); n++ {
		t := tail{left: n, whole: true}
		if n == len(low) {
			t.low, t.tightLow = low, true
		}
		if n == len(high) {
			t.high, t.tightHigh = high, true
		}
		parts = append(parts, d.rest(t, 0, n > d.point+1))
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
	d.budget.spend(16)
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
		if t.whole && u.left == d.point && d.point > 0 {
			e = d.pointed(e)
		}
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

// pointed is e after a point, the same each time.
func (d *digits) pointed(e *expr) *expr {
	if d.points[e] == nil {
		d.points[e] = seq(text("."), e)
	}
	return d.points[e]
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
	case places != nil && isPlaces(m):
		*places = min(*places, len(m.Denom().String())-1)
		return nil
	}
	return fmt.Errorf("its digits, without the point and zeros at the ends, must be at most %d, got %s", maxStep, m.RatString())
}
