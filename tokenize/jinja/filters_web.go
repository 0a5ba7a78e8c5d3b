package jinja

import (
	"errors"
	"net/url"
	"strconv"
	"strings"
	"unicode"
)

func filterFileSize(st *state, v Value, a []Value) (Value, error) {
	n := Value(nil)
	if isNumber(v) {
		n = floatOf(v)
	} else if s, ok := textOf(v); ok {
		if err := st.step(1 + len(s)>>4); err != nil {
			return nil, err
		}
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
		if err := errors.Join(err, st.alloc(3*(len(k)+len(val)))); err != nil {
			return "", err
		}
		return quoteURL(k, true) + "=" + quoteURL(val, true), nil
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
