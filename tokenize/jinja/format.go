package jinja

import (
	"math"
	"math/big"
	"strconv"
	"strings"
	"unicode/utf8"
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

const maxPrecision = 500

// percent is Python's format % values.
func (st *state) percent(orig Value, format string, values Value) (Value, error) {
	args, isTuple := values.(Tuple)
	if !isTuple {
		args = Tuple{values}
	}
	d, isDict := values.(*Dict)
	used, byName := 0, false
	next := func() (Value, error) {
		if used == len(args) {
			return nil, typeErr("not enough arguments for format string")
		}
		used++
		return args[used-1], nil
	}
	var b strings.Builder
	for i := 0; i < len(format); i++ {
		if format[i] != '%' {
			b.WriteByte(format[i])
			continue
		}
		i++
		sp := spec{precision: -1}
		var v Value = missing
		var err error
		if i < len(format) && format[i] == '(' {
			end := strings.IndexByte(format[i:], ')')
			if end < 0 {
				return nil, valueErr("incomplete format key")
			}
			if !isDict {
				return nil, typeErr("format requires a mapping")
			}
			var ok bool
			if v, ok = d.Get(format[i+1 : i+end]); !ok {
				return nil, errf("KeyError", "%s", shortRepr(format[i+1:i+end]))
			}
			i, byName = i+end+1, true
		}
		for ; i < len(format) && strings.IndexByte("-+ #0", format[i]) >= 0; i++ {
			switch format[i] {
			case '-':
				sp.align = '<'
			case '+':
				sp.sign = '+'
			case ' ':
				if sp.sign == 0 {
					sp.sign = ' '
				}
			case '#':
				sp.alt = true
			case '0':
				sp.zero = true
			}
		}
		count := func() (int, error) {
			if i < len(format) && format[i] == '*' {
				i++
				x, err := next()
				if err != nil {
					return 0, err
				}
				n, ok := intOf(x)
				if !ok {
					return 0, typeErr("* wants int")
				}
				if n > int64(st.lim.Output) {
					return 0, st.alloc(-1)
				}
				return int(n), nil
			}
			n := 0
			for ; i < len(format) && format[i] >= '0' && format[i] <= '9'; i++ {
				if n = n*10 + int(format[i]-'0'); n > st.lim.Output {
					return 0, st.alloc(-1)
				}
			}
			return n, nil
		}
		if sp.width, err = count(); err != nil {
			return nil, err
		}
		if sp.width < 0 {
			sp.align, sp.width = '<', -sp.width
		}
		if i < len(format) && format[i] == '.' {
			i++
			if sp.precision, err = count(); err != nil {
				return nil, err
			}
		}
		for i < len(format) && strings.IndexByte("hlL", format[i]) >= 0 {
			i++
		}
		if i == len(format) {
			return nil, valueErr("incomplete format")
		}
		if sp.verb = format[i]; sp.verb == '%' {
			b.WriteByte('%')
			continue
		}
		if v == missing {
			if v, err = next(); err != nil {
				return nil, err
			}
		}
		s, err := st.percentOne(sp, orig, v)
		if err != nil {
			return nil, err
		}
		if err := st.alloc(b.Len() + len(s)); err != nil {
			return nil, err
		}
		b.WriteString(s)
	}
	_, isList := values.([]any)
	if !byName && used < len(args) && !isDict && !(isList && used > 0) {
		if _, undefined := values.(*Undefined); !undefined && !isList {
			return nil, typeErr("not all arguments converted during string formatting")
		}
	}
	return like(orig, b.String()), st.alloc(b.Len())
}

func (st *state) percentOne(sp spec, orig, v Value) (string, error) {
	switch sp.verb {
	case 's', 'r', 'a':
		text := st.str
		if sp.verb != 's' {
			text = st.repr
		}
		s, err := text(v)
		if err != nil {
			return "", err
		}
		if sp.verb == 'a' {
			var b []byte
			for _, r := range s {
				if r < utf8.RuneSelf {
					b = append(b, byte(r))
				} else {
					b = appendEscape(b, r)
				}
			}
			s = string(b)
		}
		if sp.precision >= 0 {
			s = s[:byteOffset(s, sp.precision)]
		}
		if _, safe := v.(Markup); !safe {
			s = likeEscaped(orig, s)
		}
		sp.zero = false
		if sp.align == 0 {
			sp.align = '>'
		}
		return sp.pad(st, s, false)
	case 'c':
		if s, ok := textOf(v); ok && runeLen(s) == 1 {
			return sp.pad(st, s, true)
		}
		if n, ok := intOf(v); ok && n >= 0 && n <= utf8.MaxRune {
			return sp.pad(st, string(rune(n)), true)
		}
		return "", typeErr("%%c requires int or char")
	}
	if u, ok := v.(*Undefined); ok {
		return "", u.fail(st)
	}
	if sp.precision > maxPrecision {
		return "", limitErr("a precision of more than %d", maxPrecision)
	}
	switch sp.verb {
	case 'd', 'i', 'u', 'x', 'X', 'o':
		if f, ok := v.(float64); ok && strings.IndexByte("diu", sp.verb) >= 0 {
			n, err := truncFloat(f, missing)
			if err != nil || n == missing {
				return "", valueErr("cannot convert float %s to integer", floatRepr(f))
			}
			v = n
		}
		if !isInt(v) {
			return "", typeErr("%%%c format: a number is required, not %s", sp.verb, typeName(v))
		}
		return sp.pad(st, sp.integer(bigOf(v)), true)
	case 'e', 'E', 'f', 'F', 'g', 'G':
		if !isNumber(v) {
			return "", typeErr("must be real number, not %s", typeName(v))
		}
		return sp.pad(st, sp.float(floatOf(v)), true)
	}
	return "", valueErr("unsupported format character '%c'", sp.verb)
}

// format is str.format.
func (st *state) format(orig Value, args []Value, kwargs *Dict) (Value, error) {
	text, _ := textOf(orig)
	auto := 0
	s, err := st.formatText(orig, text, args, kwargs, &auto, 2)
	return like(orig, s), err
}

func (st *state) formatText(orig Value, text string, args []Value, kwargs *Dict, auto *int, depth int) (string, error) {
	if depth == 0 {
		return "", valueErr("Max string recursion exceeded")
	}
	var b strings.Builder
	for i := 0; i < len(text); i++ {
		c := text[i]
		if (c == '{' || c == '}') && i+1 < len(text) && text[i+1] == c {
			b.WriteByte(c)
			i++
			continue
		}
		if c == '}' {
			return "", valueErr("Single '}' encountered in format string")
		}
		if c != '{' {
			b.WriteByte(c)
			continue
		}
		end, open := i+1, 1
		for ; end < len(text); end++ {
			if text[end] == '{' {
				open++
			} else if text[end] == '}' {
				if open--; open == 0 {
					break
				}
			}
		}
		if open != 0 {
			return "", valueErr("expected '}' before end of string")
		}
		s, err := st.field(orig, text[i+1:end], args, kwargs, auto, depth)
		if err != nil {
			return "", err
		}
		if err := st.alloc(b.Len() + len(s)); err != nil {
			return "", err
		}
		b.WriteString(s)
		i = end
	}
	return b.String(), st.alloc(b.Len())
}

// field is what stands for {name!conversion:spec}.
func (st *state) field(orig Value, field string, args []Value, kwargs *Dict, auto *int, depth int) (string, error) {
	end := len(field)
	bracket := false
	for i := range len(field) {
		if field[i] == '[' {
			bracket = true
		} else if field[i] == ']' {
			bracket = false
		}
		if !bracket && (field[i] == '!' || field[i] == ':') {
			end = i
			break
		}
	}
	v, err := st.fieldValue(field[:end], args, kwargs, auto)
	if err != nil {
		return "", err
	}
	rest := field[end:]
	if strings.HasPrefix(rest, "!") {
		if len(rest) < 2 || len(rest) > 2 && rest[2] != ':' {
			return "", valueErr("expected ':' after conversion specifier")
		}
		switch rest[1] {
		case 's':
			v, err = st.str(v)
		case 'r', 'a':
			v, err = st.repr(v)
		default:
			return "", valueErr("Unknown conversion specifier %c", rest[1])
		}
		if err != nil {
			return "", err
		}
		rest = rest[2:]
	}
	how, err := st.formatText("", strings.TrimPrefix(rest, ":"), args, kwargs, auto, depth-1)
	if depth == 1 {
		how, err = strings.TrimPrefix(rest, ":"), nil
	}
	if err != nil {
		return "", err
	}
	s, err := st.formatValue(v, how)
	if _, safe := v.(Markup); !safe && err == nil {
		s = likeEscaped(orig, s)
	}
	return s, err
}

// fieldValue finds what a field's name means: position or keyword, then
// attributes and elements.
func (st *state) fieldValue(name string, args []Value, kwargs *Dict, auto *int) (Value, error) {
	i := strings.IndexAny(name, ".[")
	if i < 0 {
		i = len(name)
	}
	first, path := name[:i], name[i:]
	if first == "" {
		if *auto < 0 {
			return nil, valueErr("cannot switch from manual field specification to automatic field numbering")
		}
		first = strconv.Itoa(*auto)
		*auto++
	} else if all(first, isDigit) {
		if *auto > 0 {
			return nil, valueErr("cannot switch from automatic field numbering to manual field specification")
		}
		*auto = -1
	}
	var v Value
	if n, err := strconv.Atoi(first); err == nil {
		if n >= len(args) {
			return nil, errf("IndexError", "Replacement index %d out of range for positional args tuple", n)
		}
		v = args[n]
	} else {
		var ok bool
		if v, ok = kwargs.Get(first); !ok {
			return nil, errf("KeyError", "%s", shortRepr(first))
		}
	}
	for path != "" {
		var err error
		if path[0] == '.' {
			end := strings.IndexAny(path[1:], ".[") + 1
			if end == 0 {
				end = len(path)
			}
			v, err = st.getattr(v, path[1:end])
			path = path[end:]
		} else {
			end := strings.IndexByte(path, ']')
			if end < 0 || path[0] != '[' {
				return nil, valueErr("Missing ']' in format string")
			}
			var key Value = path[1:end]
			if n, err := strconv.ParseInt(path[1:end], 10, 64); err == nil && all(path[1:end], isDigit) {
				key = n
			}
			v, err = st.getitem(v, key)
			path = path[end+1:]
		}
		if err != nil {
			return nil, err
		}
	}
	return v, nil
}

func parseSpec(st *state, s string) (spec, error) {
	sp := spec{precision: -1}
	if r, n := utf8.DecodeRuneInString(s); n < len(s) && strings.IndexByte("<>=^", s[n]) >= 0 {
		sp.fill, sp.align, s = r, s[n], s[n+1:]
	} else if s != "" && strings.IndexByte("<>=^", s[0]) >= 0 {
		sp.align, s = s[0], s[1:]
	}
	take := func(set string) byte {
		if s == "" || strings.IndexByte(set, s[0]) < 0 {
			return 0
		}
		c := s[0]
		s = s[1:]
		return c
	}
	number := func() (int, bool, error) {
		n, some := 0, false
		for s != "" && s[0] >= '0' && s[0] <= '9' {
			if n = n*10 + int(s[0]-'0'); n > st.lim.Output {
				return 0, true, st.alloc(-1)
			}
			s, some = s[1:], true
		}
		return n, some, nil
	}
	sp.sign = take("+- ")
	sp.alt = take("#") != 0
	sp.zero = take("0") != 0
	var err error
	if sp.width, _, err = number(); err != nil {
		return sp, err
	}
	sp.comma = take(",_")
	if take(".") != 0 {
		n, some, err := number()
		if err != nil {
			return sp, err
		}
		if !some {
			return sp, valueErr("Format specifier missing precision")
		}
		sp.precision = n
	}
	sp.verb = take("bcdeEfFgGnosxX%")
	if s != "" {
		return sp, valueErr("Invalid format specifier")
	}
	return sp, nil
}

// formatValue is Python's format(v, how).
func (st *state) formatValue(v Value, how string) (string, error) {
	if how == "" {
		return st.str(v)
	}
	sp, err := parseSpec(st, how)
	if err != nil {
		return "", err
	}
	unknown := func() error {
		return valueErr("Unknown format code '%c' for object of type '%s'", sp.verb, typeName(v))
	}
	if s, ok := textOf(v); ok {
		if sp.verb != 0 && sp.verb != 's' {
			return "", unknown()
		}
		if sp.sign != 0 || sp.alt || sp.align == '=' || sp.comma != 0 {
			return "", valueErr("format specifier '%s' not allowed for a string", how)
		}
		if sp.precision >= 0 {
			s = s[:byteOffset(s, sp.precision)]
		}
		return sp.pad(st, s, false)
	}
	if !isNumber(v) {
		return "", typeErr("unsupported format string passed to %s.__format__", typeName(v))
	}
	if sp.precision > maxPrecision {
		return "", limitErr("a precision of more than %d", maxPrecision)
	}
	f, isFloat := v.(float64)
	if !isFloat {
		switch sp.verb {
		case 0, 'd', 'n', 'x', 'X', 'o', 'b', 'c':
			if sp.precision >= 0 {
				return "", valueErr("Precision not allowed in integer format specifier")
			}
			if sp.verb == 'c' {
				return sp.pad(st, string(rune(bigOf(v).Int64())), false)
			}
			return sp.pad(st, sp.integer(bigOf(v)), true)
		}
	}
	switch sp.verb {
	case 0:
		s := ""
		if sp.precision < 0 {
			s = floatRepr(math.Abs(f))
		} else if s = shortest(math.Abs(f), max(sp.precision, 1), sp.alt); !strings.ContainsAny(s, ".ein") {
			s += ".0"
		}
		if sp.comma != 0 {
			s = group(s, sp.comma)
		}
		return sp.pad(st, sp.signed(math.Signbit(f), s), true)
	case 'e', 'E', 'f', 'F', 'g', 'G', 'n', '%':
		return sp.pad(st, sp.float(floatOf(v)), true)
	}
	return "", unknown()
}
