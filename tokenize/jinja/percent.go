package jinja

import (
	"strings"
	"unicode/utf8"
)

const maxPrecision = 500

// percent is Python's format % values.
func (st *state) percent(orig Value, format string, values Value) (Value, error) {
	args, isTuple := values.(Tuple)
	if !isTuple {
		args = Tuple{values}
	}
	d, isDict := values.(*Dict)
	if err := st.scan(len(format)); err != nil {
		return nil, err
	}
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
		if err := st.scan(len(s)); err != nil {
			return "", err
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
		if err := st.digits(v); err != nil {
			return "", err
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
