package jinja

import (
	"math"
	"strconv"
	"strings"
	"unicode/utf8"
)

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
	if err := st.scan(len(text)); err != nil {
		return "", err
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
		err := st.step(1)
		if err != nil {
			return nil, err
		}
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
	if s, ok := textOf(v); ok {
		return st.formatString(v, s, how, sp)
	}
	if !isNumber(v) {
		return "", typeErr("unsupported format string passed to %s.__format__", typeName(v))
	}
	if sp.precision > maxPrecision {
		return "", limitErr("a precision of more than %d", maxPrecision)
	}
	if _, isFloat := v.(float64); !isFloat && (sp.verb == 0 || strings.ContainsRune("dnxXobc", rune(sp.verb))) {
		return st.formatInt(v, sp)
	}
	return st.formatFloat(v, sp)
}

func unknownFormat(v Value, sp spec) error {
	return valueErr("Unknown format code '%c' for object of type '%s'", sp.verb, typeName(v))
}

func (st *state) formatString(v Value, s, how string, sp spec) (string, error) {
	if sp.verb != 0 && sp.verb != 's' {
		return "", unknownFormat(v, sp)
	}
	if sp.sign != 0 || sp.alt || sp.align == '=' || sp.comma != 0 {
		return "", valueErr("format specifier '%s' not allowed for a string", how)
	}
	if sp.precision >= 0 {
		s = s[:byteOffset(s, sp.precision)]
	}
	return sp.pad(st, s, false)
}

func (st *state) formatInt(v Value, sp spec) (string, error) {
	if sp.precision >= 0 {
		return "", valueErr("Precision not allowed in integer format specifier")
	}
	if sp.verb == 'c' {
		return sp.pad(st, string(rune(bigOf(v).Int64())), false)
	}
	if err := st.digits(v); err != nil {
		return "", err
	}
	return sp.pad(st, sp.integer(bigOf(v)), true)
}

// formatFloat formats floats, and whole numbers as such.
func (st *state) formatFloat(v Value, sp spec) (string, error) {
	switch sp.verb {
	case 0:
		f := v.(float64) // else it would be a whole number's format
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
	return "", unknownFormat(v, sp)
}
