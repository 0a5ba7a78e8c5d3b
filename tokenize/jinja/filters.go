package jinja

import (
	"math"
	"math/big"
	"net/url"
	"strconv"
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
		return like(v, fn(s)), st.alloc(len(s))
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
		return like(v, strip(s, chars, given)), err
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
		words := strings.FieldsFunc(s, func(r rune) bool {
			return r != '_' && !unicode.IsLetter(r) && !unicode.IsNumber(r)
		})
		return int64(len(words)), err
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

func filterInt(st *state, v Value, a []Value) (Value, error) {
	def := Value(int64(0))
	if a[0] != missing {
		def = a[0]
	}
	base, err := optInt(a[1], 10)
	if err != nil {
		return nil, err
	}
	switch x := v.(type) {
	case float64:
		if math.IsInf(x, 0) {
			return nil, errf("OverflowError", "cannot convert float infinity to integer")
		}
		return truncFloat(x, def)
	case *Undefined:
		return nil, x.fail(st)
	}
	if isInt(v) {
		return normInt(bigOf(v))
	}
	s, ok := textOf(v)
	if !ok {
		return def, nil
	}
	if n, ok := parseInt(s, int(base)); ok {
		return n, nil
	}
	if f, ok := parseFloat(s); ok {
		return truncFloat(f, def)
	}
	return def, nil
}

func truncFloat(f float64, def Value) (Value, error) {
	if math.IsNaN(f) || math.IsInf(f, 0) {
		return def, nil
	}
	b, _ := big.NewFloat(f).Int(nil)
	return normInt(b)
}

func filterFloat(st *state, v Value, a []Value) (Value, error) {
	if u, ok := v.(*Undefined); ok {
		return nil, u.fail(st)
	}
	if isNumber(v) {
		return floatOf(v), nil
	}
	if s, ok := textOf(v); ok {
		if f, ok := parseFloat(s); ok {
			return f, nil
		}
	}
	if a[0] == missing {
		return float64(0), nil
	}
	return a[0], nil
}

func filterRound(st *state, v Value, a []Value) (Value, error) {
	precision, err := optInt(a[0], 0)
	if err != nil {
		return nil, err
	}
	method := "common"
	if a[1] != missing {
		method, _ = textOf(a[1])
	}
	if u, ok := v.(*Undefined); ok && method != "common" {
		return nil, u.fail(st)
	}
	if !isNumber(v) {
		return nil, typeErr("type %s doesn't define __round__ method", typeName(v))
	}
	if precision < -400 || precision > 400 {
		return nil, limitErr("round takes at most 400 digits")
	}
	switch method {
	case "common":
		return roundHalfEven(v, int(precision))
	case "ceil", "floor":
		scale, err := integers("**", int64(10), precision)
		if err != nil {
			return nil, err
		}
		x, err := arithmetic("*", v, scale)
		if err != nil {
			return nil, err
		}
		if f, ok := x.(float64); ok {
			if method == "ceil" {
				f = math.Ceil(f)
			} else {
				f = math.Floor(f)
			}
			if math.IsNaN(f) || math.IsInf(f, 0) {
				return nil, valueErr("cannot convert float %s to integer", floatRepr(f))
			}
			if x, err = truncFloat(f, nil); err != nil {
				return nil, err
			}
		}
		return arithmetic("/", x, scale)
	}
	return nil, errf("FilterArgumentError", "method must be common, ceil or floor")
}

// roundHalfEven is Python's round(v, n).
func roundHalfEven(v Value, n int) (Value, error) {
	if f, ok := v.(float64); ok {
		if n >= 0 {
			r, _ := strconv.ParseFloat(strconv.FormatFloat(f, 'f', n, 64), 64)
			return r, nil
		}
		if math.IsNaN(f) || math.IsInf(f, 0) {
			return f, nil
		}
		scale := new(big.Rat).SetInt(new(big.Int).Exp(big.NewInt(10), big.NewInt(int64(-n)), nil))
		q := new(big.Rat).Quo(new(big.Rat).SetFloat64(f), scale)
		r, _ := new(big.Rat).Mul(new(big.Rat).SetInt(nearest(q)), scale).Float64()
		return r, nil
	}
	if n >= 0 {
		return normInt(bigOf(v))
	}
	scale := new(big.Int).Exp(big.NewInt(10), big.NewInt(int64(-n)), nil)
	return normInt(new(big.Int).Mul(nearest(new(big.Rat).SetFrac(bigOf(v), scale)), scale))
}

// nearest rounds to an integer, halves to the even one.
func nearest(q *big.Rat) *big.Int {
	twice := new(big.Int).Add(new(big.Int).Lsh(q.Num(), 1), q.Denom())
	n, rest := new(big.Int).DivMod(twice, new(big.Int).Lsh(q.Denom(), 1), new(big.Int))
	if rest.Sign() == 0 && n.Bit(0) == 1 {
		n.Sub(n, big.NewInt(1))
	}
	return n
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
	lines := splitLines(s+"\n", false)
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

func filterFileSize(st *state, v Value, a []Value) (Value, error) {
	n := Value(nil)
	if isNumber(v) {
		n = floatOf(v)
	} else if s, ok := textOf(v); ok {
		if f, ok := parseFloat(s); ok {
			n = f
		}
	}
	size, ok := n.(float64)
	if !ok {
		return nil, typeErr("could not convert %s to a size", shortRepr(v))
	}
	base, infix := 1000.0, ""
	if optBool(a[0], false) {
		base, infix = 1024, "i"
	}
	switch {
	case size == 1:
		return "1 Byte", nil
	case size < base:
		return strconv.FormatInt(int64(size), 10) + " Bytes", nil
	}
	unit := base
	for i, p := range "kMGTPEZY" {
		unit *= base
		if size < unit || i == 7 {
			if infix != "" {
				p = unicode.ToUpper(p)
			}
			return strconv.FormatFloat(base*size/unit, 'f', 1, 64) + " " + string(p) + infix + "B", nil
		}
	}
	return nil, nil
}

// quoteURL escapes as urllib.parse.quote does with "/" safe; in a query, spaces
// become + and slashes are escaped.
func quoteURL(s string, query bool) string {
	s = url.QueryEscape(s)
	if query {
		return strings.ReplaceAll(s, "%7E", "~")
	}
	return strings.NewReplacer("+", "%20", "%2F", "/", "%7E", "~").Replace(s)
}

func filterURLEncode(st *state, v Value, _ []Value) (Value, error) {
	d, isDict := v.(*Dict)
	it, err := st.iterate(v)
	if _, isText := textOf(v); isText || err != nil {
		s, err := st.str(v)
		if err != nil {
			return nil, err
		}
		if err := st.alloc(3 * len(s)); err != nil {
			return nil, err
		}
		return quoteURL(s, false), nil
	}
	if isDict {
		it = indexed(d.Len(), (&view{d, 'i'}).at)
	}
	return st.join("", "&", it, func(_ int, x Value) (string, error) {
		pair, err := st.list(x)
		if err != nil {
			return "", err
		}
		if len(pair) != 2 {
			return "", valueErr("expected a pair, got %d values", len(pair))
		}
		k, err := st.str(pair[0])
		if err != nil {
			return "", err
		}
		val, err := st.str(pair[1])
		return quoteURL(k, true) + "=" + quoteURL(val, true), err
	})
}

// filterStripTags drops comments and tags and makes any whitespace one space.
func filterStripTags(st *state, v Value, _ []Value) (Value, error) {
	s, err := st.str(v)
	if err != nil {
		return nil, err
	}
	if err := st.alloc(len(s)); err != nil {
		return nil, err
	}
	for _, tag := range [][2]string{{"<!--", "-->"}, {"<", ">"}} {
		var b strings.Builder
		for {
			before, rest, found := strings.Cut(s, tag[0])
			_, after, closed := strings.Cut(rest, tag[1])
			if !found || !closed {
				b.WriteString(s)
				break
			}
			b.WriteString(before)
			s = after
		}
		s = b.String()
	}
	s = strings.Join(strings.FieldsFunc(s, isSpace), " ")
	return htmlUnescaper.Replace(s), nil
}

var htmlUnescaper = strings.NewReplacer("&lt;", "<", "&gt;", ">", "&amp;", "&", "&#39;", "'", "&#34;", `"`, "&quot;", `"`)

func filterXMLAttr(st *state, v Value, a []Value) (Value, error) {
	d, ok := v.(*Dict)
	if !ok {
		return nil, typeErr("xmlattr takes a mapping, not %s", typeName(v))
	}
	out := ""
	for _, e := range d.entries {
		if _, undefined := e.val.(*Undefined); undefined || e.val == nil {
			continue
		}
		k, err := argText(e.key)
		if err != nil {
			return nil, err
		}
		if strings.ContainsAny(k, " \t\n\r\f\v/>=") {
			return nil, valueErr("Invalid character in attribute name: %s", shortRepr(k))
		}
		val, err := st.escape(e.val, false)
		if err != nil {
			return nil, err
		}
		text, _ := textOf(val)
		if err := st.alloc(len(out) + len(k) + len(text) + 4); err != nil {
			return nil, err
		}
		out += " " + escapeHTML(k) + `="` + text + `"`
	}
	if !optBool(a[0], true) {
		out = strings.TrimPrefix(out, " ")
	}
	return out, nil
}
