package jinja

import (
	"errors"
	"math"
	"math/big"
	"strings"
	"unicode"
)

// filter is a function applied with a bar: v|name(args).
type filter struct {
	sig signature // of the arguments after the value; unused by raw filters
	fn  func(st *state, v Value, a []Value) (Value, error)
	raw func(st *state, v Value, args []Value, kwargs []kwarg) (Value, error)
}

func (f *filter) run(st *state, v Value, args []Value, kwargs []kwarg) (Value, error) {
	if f.raw != nil {
		return f.raw(st, v, args, kwargs)
	}
	a, err := f.sig.bind(args, kwargs)
	if err != nil {
		return nil, err
	}
	return f.fn(st, v, a)
}

// refused are jinja2's filters that chat templates do without.
var refused = map[string]bool{"pprint": true, "random": true, "urlize": true, "wordwrap": true}

var filters = map[string]*filter{}

func def(names string, fn func(st *state, v Value, a []Value) (Value, error), params ...string) {
	for _, name := range strings.Fields(names) {
		filters[name] = &filter{sig: sig(name, params...), fn: fn}
	}
}

// defText defines a filter that makes a string of a string.
func defText(names string, fn func(string) string) {
	def(names, func(st *state, v Value, _ []Value) (Value, error) {
		s, err := st.softStr(v)
		if err != nil {
			return nil, err
		}
		if err := errors.Join(st.chew(s), st.alloc(len(s))); err != nil {
			return nil, err
		}
		return like(v, fn(s)), nil
	})
}

// softStr is str(v), for filters that keep Markup Markup.
func (st *state) softStr(v Value) (string, error) { return st.str(v) }

func init() { // filters call one another through the map
	defText("upper", upper)
	defText("lower", lower)
	defText("capitalize", capitalize)
	defText("title", titleWords)
	def("string", func(st *state, v Value, _ []Value) (Value, error) {
		s, err := st.str(v)
		return like(v, s), err
	})
	def("safe", func(st *state, v Value, _ []Value) (Value, error) {
		s, err := st.str(v)
		return Markup(s), err
	})
	def("escape e", func(st *state, v Value, _ []Value) (Value, error) { return st.escape(v, false) })
	def("forceescape", func(st *state, v Value, _ []Value) (Value, error) { return st.escape(v, true) })
	def("trim", func(st *state, v Value, a []Value) (Value, error) {
		s, err := st.str(v)
		if err != nil {
			return nil, err
		}
		chars, given, err := optText(a[0])
		if err != nil {
			return nil, err
		}
		return st.strip(v, s, chars, given, strip)
	}, "chars=")
	def("replace", filterReplace, "old", "new", "count=")
	def("default d", func(_ *state, v Value, a []Value) (Value, error) {
		_, undefined := v.(*Undefined)
		if !undefined && (!optBool(a[1], false) || truth(v)) {
			return v, nil
		}
		if a[0] == missing {
			return "", nil
		}
		return a[0], nil
	}, "default_value=", "boolean=")
	def("length count", func(st *state, v Value, _ []Value) (Value, error) {
		n, err := st.length(v)
		return int64(n), err
	})
	def("abs", func(st *state, v Value, _ []Value) (Value, error) {
		if f, ok := v.(float64); ok {
			return math.Abs(f), nil
		}
		if !isInt(v) {
			return nil, typeErr("bad operand type for abs(): '%s'", typeName(v))
		}
		return normInt(new(big.Int).Abs(bigOf(v)))
	})
	def("int", filterInt, "default=", "base=")
	def("float", filterFloat, "default=")
	def("round", filterRound, "precision=", "method=")
	def("indent", filterIndent, "width=", "first=", "blank=")
	def("truncate", filterTruncate, "length=", "killwords=", "end=", "leeway=")
	def("center", func(st *state, v Value, a []Value) (Value, error) {
		s, err := st.str(v)
		if err != nil {
			return nil, err
		}
		width, err := optInt(a[0], 80)
		if err != nil {
			return nil, err
		}
		s, err = st.pad(s, width, " ", centered(width))
		return like(v, s), err
	}, "width=")
	def("wordcount", func(st *state, v Value, _ []Value) (Value, error) {
		s, err := st.str(v)
		if err := errors.Join(err, st.scan(len(s)), st.alloc(len(s))); err != nil {
			return nil, err
		}
		words := strings.FieldsFunc(s, func(r rune) bool {
			return r != '_' && !unicode.IsLetter(r) && !unicode.IsNumber(r)
		})
		return int64(len(words)), nil
	})
	def("filesizeformat", filterFileSize, "binary=")
	def("urlencode", filterURLEncode)
	def("striptags", filterStripTags)
	def("xmlattr", filterXMLAttr, "autospace=")
	def("attr", func(st *state, v Value, a []Value) (Value, error) {
		name, err := argText(a[0])
		if err != nil {
			return nil, err
		}
		if u, ok := v.(*Undefined); ok {
			return nil, u.fail(st)
		}
		if _, ok, err := st.attr(v, name); err != nil || !ok {
			return &Undefined{name: name, obj: v}, err
		}
		return st.getattr(v, name)
	}, "name")
	def("tojson", func(st *state, v Value, a []Value) (Value, error) { return st.toJSON(v, a) },
		"ensure_ascii=", "indent=", "separators=", "sort_keys=")
	filters["format"] = &filter{raw: func(st *state, v Value, args []Value, kwargs []kwarg) (Value, error) {
		if len(args) > 0 && len(kwargs) > 0 {
			return nil, errf("FilterArgumentError", "can't handle positional and keyword arguments at the same time")
		}
		s, err := st.str(v)
		if err != nil {
			return nil, err
		}
		if len(kwargs) == 0 {
			return st.percent(v, s, Tuple(args))
		}
		d := NewDict(len(kwargs))
		for _, k := range kwargs {
			d.Set(k.name, k.val)
		}
		return st.percent(v, s, d)
	}}
	initSequenceFilters()
}

func (st *state) escape(v Value, force bool) (Value, error) {
	if m, ok := v.(Markup); ok && !force {
		return m, nil
	}
	s, err := st.str(v)
	if err != nil {
		return nil, err
	}
	if err := st.scan(len(s)); err != nil {
		return nil, err
	}
	s = escapeHTML(s)
	return Markup(s), st.alloc(len(s))
}

// titleWords capitalizes what follows a space, dash or opening bracket.
func titleWords(s string) string {
	var b strings.Builder
	start := true
	for _, r := range s {
		switch {
		case isSpace(r) || strings.ContainsRune("-({[<", r):
			start = true
			b.WriteRune(r)
		case start:
			start = false
			b.WriteString(upper(string(r)))
		default:
			b.WriteString(lower(string(r)))
		}
	}
	return b.String()
}

func filterReplace(st *state, v Value, a []Value) (Value, error) {
	s, err := st.str(v)
	if err != nil {
		return nil, err
	}
	old, err := st.str(a[0])
	if err != nil {
		return nil, err
	}
	repl, err := st.str(a[1])
	if err != nil {
		return nil, err
	}
	if a[2] == nil {
		a[2] = missing
	}
	n, err := optInt(a[2], -1)
	if err != nil {
		return nil, err
	}
	return st.replace(s, old, repl, n)
}

func filterIndent(st *state, v Value, a []Value) (Value, error) {
	if u, ok := v.(*Undefined); ok {
		return nil, u.fail(st)
	}
	s, ok := textOf(v)
	if _, isList := v.([]any); isList {
		return nil, errf("AttributeError", "'list' object has no attribute 'splitlines'")
	}
	if !ok {
		return nil, typeErr("indent takes a str, not %s", typeName(v))
	}
	pad, isText := textOf(a[0])
	if !isText {
		width, err := optInt(a[0], 4)
		if err != nil {
			return nil, err
		}
		if width > int64(st.lim.Output) {
			return nil, st.alloc(-1)
		}
		if err := st.alloc(int(max(width, 0))); err != nil {
			return nil, err
		}
		pad = strings.Repeat(" ", int(max(width, 0)))
	}
	first, blank := optBool(a[1], false), optBool(a[2], false)
	lines, err := st.lines(s+"\n", false)
	if err != nil {
		return nil, err
	}
	if len(pad) > 0 && len(lines) > st.lim.Output/len(pad) {
		return nil, st.alloc(-1)
	}
	if err := st.alloc(len(s) + len(lines)*(len(pad)+wordSize)); err != nil {
		return nil, err
	}
	var b strings.Builder
	for i, line := range lines {
		if i > 0 {
			b.WriteByte('\n')
		}
		if i == 0 && first || i > 0 && (line != "" || blank) {
			b.WriteString(pad)
		}
		b.WriteString(line)
	}
	return like(v, b.String()), nil
}

func filterTruncate(st *state, v Value, a []Value) (Value, error) {
	length, err := optInt(a[0], 255)
	if err != nil {
		return nil, err
	}
	end := "..."
	if a[2] != missing {
		if end, err = argText(a[2]); err != nil {
			return nil, err
		}
	}
	if a[3] == nil {
		a[3] = missing
	}
	leeway, err := optInt(a[3], 5)
	if err != nil {
		return nil, err
	}
	room := length - int64(runeLen(end))
	if room < 0 || leeway < 0 {
		return nil, errf("AssertionError", "expected length >= %d and leeway >= 0, got %d and %d", runeLen(end), length, leeway)
	}
	n, err := st.length(v)
	if err != nil {
		return nil, err
	}
	if int64(n)-leeway <= length {
		return v, nil
	}
	s, ok := textOf(v)
	if !ok {
		return nil, typeErr("truncate takes a str, not %s", typeName(v))
	}
	s = s[:byteOffset(s, int(room))]
	if !optBool(a[1], false) {
		if i := strings.LastIndexByte(s, ' '); i >= 0 {
			s = s[:i]
		}
	}
	return like(v, s+end), st.alloc(len(s) + len(end))
}
