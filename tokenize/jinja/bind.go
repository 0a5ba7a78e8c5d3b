package jinja

// signature lists the parameters of a library function, as Python names them; a
// name ending in = may be left out. Parameters after "*" exist by name only,
// those before "/" by position only.
type signature struct {
	fn       string
	names    []string
	optional []bool
	byPlace  int // how many can be given by position
	placed   int // how many can be given by position only
}

func sig(fn string, params ...string) signature {
	s := signature{fn: fn, byPlace: -1}
	for _, p := range params {
		switch {
		case p == "*":
			s.byPlace = len(s.names)
		case p == "/":
			s.placed = len(s.names)
		case p[len(p)-1] == '=':
			s.names, s.optional = append(s.names, p[:len(p)-1]), append(s.optional, true)
		default:
			s.names, s.optional = append(s.names, p), append(s.optional, false)
		}
	}
	if s.byPlace < 0 {
		s.byPlace = len(s.names)
	}
	return s
}

// bind puts arguments in the order of the parameters; missing for one left out.
func (s *signature) bind(args []Value, kwargs []kwarg) ([]Value, error) {
	if len(args) > s.byPlace {
		return nil, typeErr("%s() takes at most %d argument(s) (%d given)", s.fn, s.byPlace, len(args))
	}
	out := make([]Value, len(s.names))
	for i := range out {
		out[i] = missing
	}
	copy(out, args)
	for _, k := range kwargs {
		i := s.placed
		for i < len(s.names) && s.names[i] != k.name {
			i++
		}
		if i == len(s.names) {
			return nil, typeErr("%s() got an unexpected keyword argument '%s'", s.fn, k.name)
		}
		if out[i] != missing {
			return nil, typeErr("%s() got multiple values for argument '%s'", s.fn, k.name)
		}
		out[i] = k.val
	}
	for i, v := range out {
		if v == missing && !s.optional[i] {
			return nil, typeErr("%s() missing 1 required positional argument: '%s'", s.fn, s.names[i])
		}
	}
	return out, nil
}

// Readers of bound arguments.

func optBool(v Value, def bool) bool {
	if v == missing {
		return def
	}
	return truth(v)
}

// optInt reads an int that may be left out; one beyond 64 bits is clamped.
func optInt(v Value, def int64) (int64, error) {
	if v == missing {
		return def, nil
	}
	if n, ok := intOf(v); ok {
		return n, nil
	}
	if b, ok := v.(interface{ Sign() int }); ok {
		return int64(b.Sign()) << 62, nil
	}
	return 0, typeErr("'%s' object cannot be interpreted as an integer", typeName(v))
}

func argText(v Value) (string, error) {
	s, ok := textOf(v)
	if !ok {
		return "", typeErr("expected str, not %s", typeName(v))
	}
	return s, nil
}

// optText reads a str that may be left out or None.
func optText(v Value) (text string, given bool, err error) {
	if v == missing || v == nil {
		return "", false, nil
	}
	text, err = argText(v)
	return text, true, err
}
