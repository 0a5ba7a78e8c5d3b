package jinja

import (
	"fmt"
	"math"
	"math/big"
	"strconv"
	"strings"
	"unicode/utf8"
)

// jsonWriter is json.dumps with its options.
type jsonWriter struct {
	st       *state
	out      []byte
	ascii    bool
	sorted   bool
	indent   string // of one level
	pretty   bool
	itemSep  string
	colonSep string
}

// toJSON is the tojson filter: json.dumps(v, ensure_ascii, indent, separators, sort_keys).
func (st *state) toJSON(v Value, a []Value) (Value, error) {
	w := &jsonWriter{st: st, ascii: optBool(a[0], false), sorted: optBool(a[3], false), itemSep: ", ", colonSep: ": "}
	if a[1] != missing && a[1] != nil {
		w.pretty, w.itemSep = true, ","
		if s, ok := textOf(a[1]); ok {
			w.indent = s
		} else {
			n, err := optInt(a[1], 0)
			if err != nil {
				return nil, err
			}
			if n > 1000 {
				return nil, limitErr("tojson indents by at most 1000")
			}
			w.indent = strings.Repeat(" ", int(max(n, 0)))
		}
	}
	if a[2] != missing && a[2] != nil {
		seps, err := st.list(a[2])
		if err != nil {
			return nil, err
		}
		if len(seps) != 2 {
			return nil, valueErr("separators must be a pair (item, key), got %d values", len(seps))
		}
		if w.itemSep, err = argText(seps[0]); err != nil {
			return nil, err
		}
		if w.colonSep, err = argText(seps[1]); err != nil {
			return nil, err
		}
	}
	if err := w.value(v, 0); err != nil {
		return nil, err
	}
	return string(w.out), st.alloc(len(w.out))
}

func (w *jsonWriter) value(v Value, depth int) error {
	if depth > w.st.lim.Depth {
		return errf("RecursionError", "writing JSON nested more than %d deep", w.st.lim.Depth)
	}
	if len(w.out) > w.st.lim.Output {
		return w.st.alloc(-1)
	}
	if err := w.st.step(1); err != nil {
		return err
	}
	switch v := v.(type) {
	case nil:
		w.out = append(w.out, "null"...)
	case bool:
		w.out = strconv.AppendBool(w.out, v)
	case int64:
		w.out = strconv.AppendInt(w.out, v, 10)
	case *big.Int:
		w.out = v.Append(w.out, 10)
		return w.st.digits(v)
	case float64:
		w.out = append(w.out, jsonFloat(v)...)
	case string:
		return w.text(v)
	case Markup:
		return w.text(string(v))
	case []any:
		return w.list(v, depth)
	case Tuple:
		return w.list(v, depth)
	case *Dict:
		return w.dict(v, depth)
	default:
		return typeErr("Object of type %s is not JSON serializable", typeName(v))
	}
	return nil
}

func jsonFloat(f float64) string {
	switch {
	case math.IsNaN(f):
		return "NaN"
	case math.IsInf(f, 1):
		return "Infinity"
	case math.IsInf(f, -1):
		return "-Infinity"
	}
	return floatRepr(f)
}

func (w *jsonWriter) newline(depth int) {
	if !w.pretty {
		return
	}
	w.out = append(w.out, '\n')
	for range depth {
		w.out = append(w.out, w.indent...)
	}
}

// room checks, before an item is written, that what stands around it is not too long:
// separators and indents are as long as the template wants.
func (w *jsonWriter) room(depth int) error {
	around := len(w.itemSep) + len(w.colonSep)
	if len(w.indent) > 0 {
		if depth > w.st.lim.Output/len(w.indent) {
			return w.st.alloc(-1)
		}
		around += depth * len(w.indent)
	}
	if len(w.out)+around > w.st.lim.Output {
		return w.st.alloc(-1)
	}
	return w.st.weigh(around)
}

func (w *jsonWriter) list(l []any, depth int) error {
	if len(l) == 0 {
		w.out = append(w.out, "[]"...)
		return nil
	}
	w.out = append(w.out, '[')
	for i, x := range l {
		if err := w.room(depth + 1); err != nil {
			return err
		}
		if i > 0 {
			w.out = append(w.out, w.itemSep...)
		}
		w.newline(depth + 1)
		if err := w.value(x, depth+1); err != nil {
			return err
		}
	}
	w.newline(depth)
	w.out = append(w.out, ']')
	return nil
}

func (w *jsonWriter) dict(d *Dict, depth int) error {
	if d.Len() == 0 {
		w.out = append(w.out, "{}"...)
		return nil
	}
	entries := d.entries
	if w.sorted {
		pairs := make([]any, len(entries))
		if err := w.st.allocList(4 * len(pairs)); err != nil {
			return err
		}
		for i, e := range entries {
			pairs[i] = Tuple{e.key, e.val}
		}
		sorted, err := w.st.sortBy(pairs, false, func(x Value) (Value, error) { return x.(Tuple)[0], nil })
		if err != nil {
			return err
		}
		entries = make([]entry, len(pairs))
		for i, x := range sorted.([]any) {
			entries[i] = entry{x.(Tuple)[0], x.(Tuple)[1]}
		}
	}
	w.out = append(w.out, '{')
	for i, e := range entries {
		if err := w.room(depth + 1); err != nil {
			return err
		}
		if i > 0 {
			w.out = append(w.out, w.itemSep...)
		}
		w.newline(depth + 1)
		key, ok := textOf(e.key)
		if !ok {
			switch k := e.key.(type) {
			case nil:
				key = "null"
			case bool:
				key = strconv.FormatBool(k)
			case int64:
				key = strconv.FormatInt(k, 10)
			case *big.Int:
				if err := w.st.digits(k); err != nil {
					return err
				}
				key = k.String()
			case float64:
				key = jsonFloat(k)
			default:
				return typeErr("keys must be str, int, float, bool or None, not %s", typeName(k))
			}
		}
		if err := w.text(key); err != nil {
			return err
		}
		w.out = append(w.out, w.colonSep...)
		if err := w.value(e.val, depth+1); err != nil {
			return err
		}
	}
	w.newline(depth)
	w.out = append(w.out, '}')
	return nil
}

func (w *jsonWriter) text(s string) error {
	if len(w.out)+len(s) > w.st.lim.Output {
		return w.st.alloc(-1)
	}
	if err := w.st.chew(s); err != nil {
		return err
	}
	b := append(w.out, '"')
	from := 0
	for i := 0; i < len(s); {
		c := s[i]
		if c >= ' ' && c != '"' && c != '\\' && (c < 0x7f || !w.ascii) { // Python escapes U+007F, too
			i++
			continue
		}
		b = append(b, s[from:i]...)
		n := 1
		switch c {
		case '"', '\\':
			b = append(b, '\\', c)
		case '\n':
			b = append(b, `\n`...)
		case '\r':
			b = append(b, `\r`...)
		case '\t':
			b = append(b, `\t`...)
		case '\f':
			b = append(b, `\f`...)
		case '\b':
			b = append(b, `\b`...)
		default:
			var r rune
			r, n = utf8.DecodeRuneInString(s[i:])
			b = appendUTF16(b, r)
		}
		i += n
		from = i
	}
	b = append(b, s[from:]...)
	w.out = append(b, '"')
	return nil
}

// appendUTF16 writes \uXXXX, twice for what UTF-16 needs a pair for.
func appendUTF16(b []byte, r rune) []byte {
	if r > 0xffff {
		r -= 0x10000
		return fmt.Appendf(b, `\u%04x\u%04x`, 0xd800+r>>10, 0xdc00+r&0x3ff)
	}
	return fmt.Appendf(b, `\u%04x`, r)
}
