package jinja

import (
	"strings"
	"unicode/utf8"
)

const maxPrecision = 500

// percent is Python's format % values.
func (st *state) percent(orig Value, format string, values Value) (Value, error) {
	if err := st.scan(len(format)); err != nil {
		return nil, err
	}
	p := percentFormat{st: st, rest: format}
	var isTuple bool
	if p.args, isTuple = values.(Tuple); !isTuple {
		p.args = Tuple{values}
	}
	p.dict, _ = values.(*Dict)
	var b strings.Builder
	for {
		text, after, found := strings.Cut(p.rest, "%")
		b.WriteString(text)
		if !found {
			break
		}
		p.rest = after
		sp, v, err := p.directive()
		if err != nil {
			return nil, err
		}
		if sp.verb == '%' {
			b.WriteByte('%')
			continue
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
	if err := p.leftOver(values); err != nil {
		return nil, err
	}
	return like(orig, b.String()), st.alloc(b.Len())
}

// percentFormat is a format that is being read, beside the values for it.
type percentFormat struct {
	st   *state
	rest string // of the format
	args Tuple
	dict *Dict // the values, when they have names

	used   int  // of args
	byName bool // a value was asked for by its name
}

// directive reads what follows a percent sign, and the value that it is for: (key), flags, width, .precision,
// a length that says nothing, and a letter. A second percent sign has no value.
func (p *percentFormat) directive() (sp spec, v Value, err error) {
	sp.precision = -1
	v = missing
	if strings.HasPrefix(p.rest, "(") {
		if v, err = p.named(); err != nil {
			return sp, nil, err
		}
	}
	p.flags(&sp)
	if sp.width, err = p.count(); err != nil {
		return sp, nil, err
	}
	if sp.width < 0 {
		sp.align, sp.width = '<', -sp.width
	}
	if strings.HasPrefix(p.rest, ".") {
		p.rest = p.rest[1:]
		if sp.precision, err = p.count(); err != nil {
			return sp, nil, err
		}
	}
	p.rest = strings.TrimLeft(p.rest, "hlL")
	if p.rest == "" {
		return sp, nil, valueErr("incomplete format")
	}
	sp.verb, p.rest = p.rest[0], p.rest[1:]
	if sp.verb != '%' && v == missing {
		v, err = p.next()
	}
	return sp, v, err
}

// named is the value of the key in parentheses.
func (p *percentFormat) named() (Value, error) {
	key, rest, closed := strings.Cut(p.rest[1:], ")")
	switch {
	case !closed:
		return nil, valueErr("incomplete format key")
	case p.dict == nil:
		return nil, typeErr("format requires a mapping")
	}
	v, ok := p.dict.Get(key)
	if !ok {
		return nil, errf("KeyError", "%s", shortRepr(key))
	}
	p.rest, p.byName = rest, true
	return v, nil
}

// next is the next value without a name.
func (p *percentFormat) next() (Value, error) {
	if p.used == len(p.args) {
		return nil, typeErr("not enough arguments for format string")
	}
	p.used++
	return p.args[p.used-1], nil
}

func (p *percentFormat) flags(sp *spec) {
	for ; p.rest != ""; p.rest = p.rest[1:] {
		switch p.rest[0] {
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
		default:
			return
		}
	}
}

// count reads a width or a precision: digits, none being 0, or a star for the next value.
func (p *percentFormat) count() (int, error) {
	most := p.st.lim.Output
	if strings.HasPrefix(p.rest, "*") {
		p.rest = p.rest[1:]
		x, err := p.next()
		if err != nil {
			return 0, err
		}
		n, ok := intOf(x)
		switch {
		case !ok:
			return 0, typeErr("* wants int")
		case n > int64(most):
			return 0, p.st.alloc(-1)
		}
		return int(n), nil
	}
	n := 0
	for ; p.rest != "" && p.rest[0] >= '0' && p.rest[0] <= '9'; p.rest = p.rest[1:] {
		if n = n*10 + int(p.rest[0]-'0'); n > most {
			return 0, p.st.alloc(-1)
		}
	}
	return n, nil
}

// leftOver refuses values that the format had no use for, as Python does: not names, and not a list.
func (p *percentFormat) leftOver(values Value) error {
	if p.byName || p.used == len(p.args) {
		return nil
	}
	switch values.(type) {
	case *Dict, []any, *Undefined:
		return nil
	}
	return typeErr("not all arguments converted during string formatting")
}

// percentOne writes one value.
func (st *state) percentOne(sp spec, orig, v Value) (string, error) {
	switch sp.verb {
	case 's', 'r', 'a':
		return st.percentText(sp, orig, v)
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
		return st.percentInteger(sp, v)
	case 'e', 'E', 'f', 'F', 'g', 'G':
		if !isNumber(v) {
			return "", typeErr("must be real number, not %s", typeName(v))
		}
		return sp.pad(st, sp.float(floatOf(v)), true)
	}
	return "", valueErr("unsupported format character '%c'", sp.verb)
}

// percentText is str (s), repr (r) or ascii (a).
func (st *state) percentText(sp spec, orig, v Value) (string, error) {
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
}

func (st *state) percentInteger(sp spec, v Value) (string, error) {
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
}
