package jinja

import (
	"math"
	"math/big"
	"strconv"
	"strings"
)

// spec is how one value is written: of %-formatting, or the part of a
// replacement field after the colon.
type spec struct {
	fill      rune
	align     byte // < > ^ =, 0: as the type has it
	sign      byte // + - or space
	alt       bool // #
	zero      bool
	width     int
	comma     byte // , or _ between thousands
	precision int  // -1: not given
	verb      byte // 0: not given
}

// pad fills s up to the width; sign and prefix stay in front of zeros.
func (sp spec) pad(st *state, s string, number bool) (string, error) {
	if number { // digits are worked out, not copied
		if err := st.step(1 + len(s)>>4); err != nil {
			return "", err
		}
	}
	align, fill := sp.align, sp.fill
	if sp.zero && align == 0 && number {
		align, fill = '=', '0'
	}
	if align == 0 {
		align = '<'
		if number {
			align = '>'
		}
	}
	if fill == 0 {
		fill = ' '
		if sp.zero {
			fill = '0'
		}
	}
	head := ""
	if align == '=' {
		n := 0
		if s != "" && strings.IndexByte("+- ", s[0]) >= 0 {
			n = 1
		}
		if len(s) > n+1 && s[n] == '0' && strings.IndexByte("xXob", s[n+1]) >= 0 {
			n += 2
		}
		head, s = s[:n], s[n:]
	}
	s, err := st.pad(s, int64(sp.width-len(head)), string(fill), func(space int) int {
		switch align {
		case '<':
			return 0
		case '^':
			return space / 2
		}
		return space
	})
	return head + s, err
}

func (sp spec) signed(neg bool, digits string) string {
	switch {
	case neg:
		return "-" + digits
	case sp.sign == '+' || sp.sign == ' ':
		return string(sp.sign) + digits
	}
	return digits
}

// group puts separators between thousands of the whole part.
func group(digits string, sep byte) string {
	whole, rest := digits, ""
	if i := strings.IndexFunc(digits, func(r rune) bool { return r < '0' || r > '9' }); i >= 0 {
		whole, rest = digits[:i], digits[i:]
	}
	var b strings.Builder
	for i := range len(whole) {
		if i > 0 && (len(whole)-i)%3 == 0 {
			b.WriteByte(sep)
		}
		b.WriteByte(whole[i])
	}
	return b.String() + rest
}

// integer writes an int in the base its verb names.
func (sp spec) integer(b *big.Int) string {
	base, prefix := 10, ""
	switch sp.verb {
	case 'x', 'X':
		base, prefix = 16, "0x"
	case 'o':
		base, prefix = 8, "0o"
	case 'b':
		base, prefix = 2, "0b"
	}
	s := new(big.Int).Abs(b).Text(base)
	if sp.precision > len(s) {
		s = strings.Repeat("0", sp.precision-len(s)) + s
	}
	if sp.comma != 0 && base == 10 {
		s = group(s, sp.comma)
	}
	if sp.alt {
		s = prefix + s
	}
	if sp.verb == 'X' {
		s = strings.ToUpper(s)
	}
	return sp.signed(b.Sign() < 0, s)
}

// float writes a float with the verbs of C and Python's %.
func (sp spec) float(f float64) string {
	prec := sp.precision
	if prec < 0 {
		prec = 6
	}
	abs := math.Abs(f)
	var s string
	switch verb := sp.verb | 0x20; {
	case math.IsInf(f, 0):
		s = "inf"
	case math.IsNaN(f):
		s = "nan"
	case sp.verb == '%':
		s = strconv.FormatFloat(abs*100, 'f', prec, 64)
	case verb == 'e' || verb == 'f':
		s = strconv.FormatFloat(abs, verb, prec, 64)
	default:
		s = shortest(abs, max(prec, 1), sp.alt)
	}
	if sp.comma != 0 {
		s = group(s, sp.comma)
	}
	if sp.alt && !strings.ContainsAny(s, ".in") && sp.verb != 'g' && sp.verb != 'G' {
		s += "."
	}
	if sp.verb == '%' {
		s += "%"
	}
	if sp.verb >= 'A' && sp.verb <= 'Z' {
		s = strings.ToUpper(s)
	}
	return sp.signed(math.Signbit(f) && !math.IsNaN(f), s)
}

// shortest is the verb g: so many digits, without an exponent if it is small.
func shortest(f float64, digits int, keepZeros bool) string {
	s := strconv.FormatFloat(f, 'e', digits-1, 64)
	i := strings.IndexByte(s, 'e')
	exp, _ := strconv.Atoi(s[i+1:])
	mantissa, tail := s[:i], s[i:]
	if exp >= -4 && exp < digits {
		mantissa, tail = strconv.FormatFloat(f, 'f', digits-1-exp, 64), ""
	}
	if !keepZeros && strings.Contains(mantissa, ".") {
		mantissa = strings.TrimRight(strings.TrimRight(mantissa, "0"), ".")
	}
	return mantissa + tail
}
