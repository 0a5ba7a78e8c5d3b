package jinja

import (
	"math"
	"math/big"
	"strconv"
	"strings"
)

const maxIntBits = 1 << 15 // Python prints ints of up to 4300 digits, about 14,300 bits

// intOf reads an int or bool that fits 64 bits.
func intOf(v Value) (int64, bool) {
	switch v := v.(type) {
	case int64:
		return v, true
	case bool:
		if v {
			return 1, true
		}
		return 0, true
	}
	return 0, false
}

// intSize is the bytes of an int beyond 64 bits; 0 for anything else.
func intSize(v Value) int {
	if b, ok := v.(*big.Int); ok {
		return (b.BitLen() + 7) / 8
	}
	return 0
}

// digits charges writing a number out, whose work grows with the square of its length.
func (st *state) digits(v Value) error {
	words := intSize(v) / 8
	return st.step(words * words >> 8)
}

func bigOf(v Value) *big.Int {
	if b, ok := v.(*big.Int); ok {
		return b
	}
	n, _ := intOf(v)
	return big.NewInt(n)
}

func floatOf(v Value) float64 {
	switch v := v.(type) {
	case float64:
		return v
	case *big.Int:
		f, _ := new(big.Float).SetInt(v).Float64()
		return f
	}
	n, _ := intOf(v)
	return float64(n)
}

func isInt(v Value) bool {
	switch v.(type) {
	case int64, bool, *big.Int:
		return true
	}
	return false
}

func isNumber(v Value) bool {
	_, f := v.(float64)
	return f || isInt(v)
}

// normInt gives an int its one representation, and bounds it.
func normInt(b *big.Int) (Value, error) {
	if b.IsInt64() {
		return b.Int64(), nil
	}
	if b.BitLen() > maxIntBits {
		return nil, limitErr("an int of more than %d bits", maxIntBits)
	}
	return b, nil
}

func opError(op string, a, b Value) error {
	return typeErr("unsupported operand type(s) for %s: '%s' and '%s'", op, typeName(a), typeName(b))
}

// binary applies + - * / // % **.
func (st *state) binary(op string, a, b Value) (Value, error) {
	if x, ok := a.(int64); ok { // the common case
		if y, ok := b.(int64); ok {
			switch op {
			case "+":
				if s := x + y; (s > x) == (y > 0) {
					return s, nil
				}
			case "-":
				if s := x - y; (s < x) == (y > 0) {
					return s, nil
				}
			}
		}
	}
	if isNumber(a) && isNumber(b) {
		return st.arithmetic(op, a, b)
	}
	if s, ok := textOf(a); ok && op == "%" {
		return st.percent(a, s, b)
	}
	if u, ok := a.(*Undefined); ok {
		return nil, u.fail(st)
	}
	if u, ok := b.(*Undefined); ok {
		return nil, u.fail(st)
	}
	switch op {
	case "+":
		return st.concat(a, b)
	case "*":
		if n, ok := intOf(b); ok {
			return st.repeat(a, n, b)
		}
		if n, ok := intOf(a); ok {
			return st.repeat(b, n, a)
		}
	}
	return nil, opError(op, a, b)
}

func (st *state) concat(a, b Value) (Value, error) {
	switch x := a.(type) {
	case string:
		switch y := b.(type) {
		case string:
			if err := st.alloc(len(x) + len(y)); err != nil {
				return nil, err
			}
			return x + y, nil
		case Markup:
			return st.joinMarkup(escapeHTML(x), string(y))
		}
		return nil, typeErr(`can only concatenate str (not "%s") to str`, typeName(b))
	case Markup:
		switch y := b.(type) {
		case string:
			return st.joinMarkup(string(x), escapeHTML(y))
		case Markup:
			return st.joinMarkup(string(x), string(y))
		}
	case []any:
		if y, ok := b.([]any); ok {
			return st.concatLists(x, y)
		}
		return nil, typeErr(`can only concatenate list (not "%s") to list`, typeName(b))
	case Tuple:
		if y, ok := b.(Tuple); ok {
			l, err := st.concatLists(x, y)
			return Tuple(l), err
		}
		return nil, typeErr(`can only concatenate tuple (not "%s") to tuple`, typeName(b))
	}
	return nil, opError("+", a, b)
}

func (st *state) joinMarkup(a, b string) (Value, error) {
	if err := st.alloc(len(a) + len(b)); err != nil {
		return nil, err
	}
	return Markup(a + b), nil
}

func (st *state) concatLists(x, y []any) ([]any, error) {
	if err := st.allocList(len(x) + len(y)); err != nil {
		return nil, err
	}
	return append(append(make([]any, 0, len(x)+len(y)), x...), y...), nil
}

// repeat is seq * n.
func (st *state) repeat(seq Value, n int64, count Value) (Value, error) {
	n = max(n, 0)
	fits := func(size int) bool { return size == 0 || n <= int64(st.lim.Output/size) }
	switch s := seq.(type) {
	case string, Markup:
		text, _ := textOf(s)
		if !fits(len(text)) {
			return nil, st.alloc(-1)
		}
		if err := st.alloc(len(text) * int(n)); err != nil {
			return nil, err
		}
		return like(seq, strings.Repeat(text, int(n))), nil
	case []any:
		return st.repeatList(s, n, fits(len(s)*wordSize))
	case Tuple:
		l, err := st.repeatList(s, n, fits(len(s)*wordSize))
		return Tuple(l), err
	}
	return nil, opError("*", seq, count)
}

func (st *state) repeatList(s []any, n int64, fits bool) ([]any, error) {
	if !fits {
		return nil, st.alloc(-1)
	}
	if len(s) == 0 {
		return []any{}, nil
	}
	if err := st.allocList(len(s) * int(n)); err != nil {
		return nil, err
	}
	out := make([]any, 0, len(s)*int(n))
	for range n {
		out = append(out, s...)
	}
	return out, nil
}

func zeroDivision(what string) error { return errf("ZeroDivisionError", "%s", what) }

func (st *state) arithmetic(op string, a, b Value) (Value, error) {
	if x, y := intSize(a)/8, intSize(b)/8; x+y > 0 || op == "**" {
		work := x + y
		switch op {
		case "*", "//", "%":
			work = x * y
		case "/": // reduced to lowest terms first
			work = 4 * (x + y) * (x + y)
		case "**":
			work = powerWords(a, b) * powerWords(a, b)
		}
		if err := st.step(work >> 8); err != nil {
			return nil, err
		}
	}
	_, af := a.(float64)
	_, bf := b.(float64)
	if !af && !bf {
		return integers(op, a, b)
	}
	return floats(op, floatOf(a), floatOf(b))
}

func integers(op string, a, b Value) (Value, error) {
	x, y := bigOf(a), bigOf(b)
	switch op {
	case "+":
		return normInt(new(big.Int).Add(x, y))
	case "-":
		return normInt(new(big.Int).Sub(x, y))
	case "*":
		return normInt(new(big.Int).Mul(x, y))
	case "**":
		return power(x, y)
	}
	if y.Sign() == 0 {
		switch op {
		case "/":
			return nil, zeroDivision("division by zero")
		case "%":
			return nil, zeroDivision("integer modulo by zero")
		}
		return nil, zeroDivision("integer division or modulo by zero")
	}
	if op == "/" {
		f, _ := new(big.Rat).SetFrac(x, y).Float64()
		if math.IsInf(f, 0) {
			return nil, errf("OverflowError", "integer division result too large for a float")
		}
		return f, nil
	}
	// Euclid's remainder is never negative; Python's has the divisor's sign.
	q, m := new(big.Int).DivMod(x, y, new(big.Int))
	if y.Sign() < 0 && m.Sign() != 0 {
		m.Add(m, y)
		q.Sub(q, big.NewInt(1))
	}
	if op == "%" {
		return normInt(m)
	}
	return normInt(q)
}

// powerWords is how long a power gets, up to where it is refused.
func powerWords(x, y Value) int {
	n, ok := intOf(y)
	if !ok || n > maxIntBits {
		n = maxIntBits
	}
	return min(bigOf(x).BitLen()*int(max(n, 0)), maxIntBits) / 64
}

func power(x, y *big.Int) (Value, error) {
	if y.Sign() < 0 {
		return floats("**", floatOf(x), floatOf(y))
	}
	if x.BitLen() > 1 && (!y.IsInt64() || y.Int64() > maxIntBits/int64(x.BitLen()-1)) {
		return nil, limitErr("an int of more than %d bits", maxIntBits)
	}
	if x.BitLen() <= 1 { // -1, 0, 1: only whether the exponent is 0 or odd matters
		if y.Sign() != 0 {
			y = new(big.Int).Sub(big.NewInt(2), big.NewInt(int64(y.Bit(0))))
		}
	}
	return normInt(new(big.Int).Exp(x, y, nil))
}

func floats(op string, x, y float64) (Value, error) {
	switch op {
	case "+":
		return x + y, nil
	case "-":
		return x - y, nil
	case "*":
		return x * y, nil
	case "/":
		if y == 0 {
			return nil, zeroDivision("float division by zero")
		}
		return x / y, nil
	case "**":
		if x == 0 && y < 0 {
			return nil, zeroDivision("0.0 cannot be raised to a negative power")
		}
		if x < 0 && y != math.Trunc(y) {
			return nil, valueErr("the power %v ** %v is a complex number, which is not supported", x, y)
		}
		p := math.Pow(x, y)
		if math.IsInf(p, 0) && !math.IsInf(x, 0) && !math.IsInf(y, 0) {
			return nil, errf("OverflowError", "(34, 'Numerical result out of range')")
		}
		return p, nil
	}
	if y == 0 {
		if op == "%" {
			return nil, zeroDivision("float modulo")
		}
		return nil, zeroDivision("float floor division by zero")
	}
	m := math.Mod(x, y)
	if m != 0 && (m < 0) != (y < 0) {
		m += y
	} else if m == 0 {
		m = math.Copysign(0, y)
	}
	if op == "%" {
		return m, nil
	}
	q := (x - m) / y
	if q == 0 {
		return math.Copysign(0, x/y), nil
	}
	f := math.Floor(q)
	if q-f > 0.5 {
		f++
	}
	return f, nil
}

// unary applies - and +.
func (st *state) unary(op string, v Value) (Value, error) {
	switch x := v.(type) {
	case *Undefined:
		return nil, x.fail(st)
	case float64:
		if op == "-" {
			return -x, nil
		}
		return x, nil
	}
	if !isInt(v) {
		return nil, typeErr("bad operand type for unary %s: '%s'", op, typeName(v))
	}
	b := bigOf(v)
	if op == "-" {
		b = new(big.Int).Neg(b)
	}
	return normInt(b)
}

// floatRepr writes a float as Python's repr does: the shortest digits that read
// back the same, with an exponent below 1e-4 and from 1e16 on.
func floatRepr(f float64) string {
	switch {
	case math.IsNaN(f):
		return "nan"
	case math.IsInf(f, 1):
		return "inf"
	case math.IsInf(f, -1):
		return "-inf"
	}
	s := strconv.FormatFloat(f, 'e', -1, 64)
	i := strings.IndexByte(s, 'e')
	exp, _ := strconv.Atoi(s[i+1:])
	if f != 0 && (exp < -4 || exp >= 16) {
		return s // Go too writes at least two digits of exponent
	}
	s = strconv.FormatFloat(f, 'f', -1, 64)
	if !strings.Contains(s, ".") {
		s += ".0"
	}
	return s
}

// parseInt reads text as Python's int(text, base) does.
func parseInt(s string, base int) (Value, bool) {
	s = strings.TrimFunc(s, isSpace)
	if base != 0 && (base < 2 || base > 36) || len(s) > 4300 {
		return nil, false
	}
	neg := strings.HasPrefix(s, "-")
	s = strings.TrimPrefix(strings.TrimPrefix(s, "-"), "+")
	if neg && strings.HasPrefix(s, "+") || !neg && strings.HasPrefix(s, "-") {
		return nil, false
	}
	prefixed := false
	if len(s) > 2 && s[0] == '0' {
		if p := strings.IndexByte("bBoOxX", s[1]); p >= 0 {
			if b := []int{2, 8, 16}[p/2]; base == b || base == 0 {
				base, s, prefixed = b, s[2:], true
			}
		}
	}
	if base == 0 {
		if len(s) > 1 && s[0] == '0' && strings.Trim(s, "0_") != "" {
			return nil, false
		}
		base = 10
	}
	if prefixed {
		s = strings.TrimPrefix(s, "_")
	}
	if s == "" || s[0] == '_' || s[len(s)-1] == '_' || strings.Contains(s, "__") || s[0] == '+' || s[0] == '-' {
		return nil, false
	}
	b, ok := new(big.Int).SetString(strings.ReplaceAll(s, "_", ""), base)
	if !ok {
		return nil, false
	}
	if neg {
		b.Neg(b)
	}
	v, err := normInt(b)
	return v, err == nil
}

// parseFloat reads text as Python's float(text) does.
func parseFloat(s string) (float64, bool) {
	s = strings.TrimFunc(s, isSpace)
	if strings.ContainsAny(s, "xXpP") || s == "" {
		return 0, false
	}
	if strings.Contains(s, "_") {
		for i := range len(s) {
			digit := func(j int) bool { return j >= 0 && j < len(s) && s[j] >= '0' && s[j] <= '9' }
			if s[i] == '_' && !(digit(i-1) && digit(i+1)) {
				return 0, false
			}
		}
		s = strings.ReplaceAll(s, "_", "")
	}
	f, err := strconv.ParseFloat(s, 64)
	if err != nil && !math.IsInf(f, 0) {
		return 0, false
	}
	return f, true
}
