package jinja

import (
	"fmt"
	"math/big"
	"strconv"
	"strings"
	"unicode/utf8"
)

// str is Python's str(v).
func (st *state) str(v Value) (string, error) {
	switch v := v.(type) {
	case string:
		return v, nil
	case Markup:
		return string(v), nil
	case *Undefined:
		return "", nil
	case int64:
		return strconv.FormatInt(v, 10), nil
	case bool:
		if v {
			return "True", nil
		}
		return "False", nil
	case nil:
		return "None", nil
	}
	return st.repr(v)
}

// repr is Python's repr(v).
func (st *state) repr(v Value) (string, error) {
	b, err := st.appendRepr(nil, v, 0)
	if err != nil {
		return "", err
	}
	return string(b), st.alloc(len(b))
}

// shortRepr is for messages.
func shortRepr(v Value) string {
	if s, ok := textOf(v); ok {
		v = like(v, clip(s))
	}
	st := &state{lim: Limits{Output: 200, Alloc: 1000, Steps: 100, Depth: 5}}
	b, err := st.appendRepr(nil, v, 0)
	if err != nil {
		return "…"
	}
	return string(b)
}

func (st *state) appendRepr(b []byte, v Value, depth int) ([]byte, error) {
	if depth > st.lim.Depth {
		return nil, errf("RecursionError", "printing a value nested more than %d deep", st.lim.Depth)
	}
	if len(b) > st.lim.Output {
		return nil, st.alloc(-1)
	}
	if err := st.step(1); err != nil {
		return nil, err
	}
	switch v := v.(type) {
	case nil:
		return append(b, "None"...), nil
	case bool:
		if v {
			return append(b, "True"...), nil
		}
		return append(b, "False"...), nil
	case int64:
		return strconv.AppendInt(b, v, 10), nil
	case *big.Int:
		if v.BitLen() > 14284 {
			return nil, valueErr("Exceeds the limit (4300 digits) for integer string conversion")
		}
		return v.Append(b, 10), st.digits(v)
	case float64:
		return append(b, floatRepr(v)...), nil
	case string:
		if err := st.chew(v); err != nil {
			return nil, err
		}
		return appendQuoted(b, v), nil
	case Markup:
		return append(appendQuoted(append(b, "Markup("...), string(v)), ')'), st.scan(len(v))
	case []any:
		return st.appendItems(b, '[', ']', v, depth)
	case Tuple:
		if len(v) == 1 {
			b, err := st.appendRepr(append(b, '('), v[0], depth+1)
			return append(b, ",)"...), err
		}
		return st.appendItems(b, '(', ')', v, depth)
	case *Dict:
		return st.appendDict(b, v, depth)
	case *Undefined:
		return append(b, "Undefined"...), nil
	case *Range:
		return appendRange(b, v), nil
	case *view:
		return st.appendView(b, v, depth)
	case *namespace:
		b, err := st.appendDict(append(b, "<Namespace "...), v.attrs, depth+1)
		return append(b, '>'), err
	case *macro:
		if v.def.name == "" {
			return append(b, "<Macro anonymous>"...), nil
		}
		return append(appendQuoted(append(b, "<Macro "...), v.def.name), '>'), nil
	case *loop:
		n, err := v.length(st)
		return fmt.Appendf(b, "<LoopContext %d/%d>", v.index+1, n), err
	}
	return fmt.Appendf(b, "<%s object>", typeName(v)), nil
}

func appendRange(b []byte, r *Range) []byte {
	b = fmt.Appendf(b, "range(%d, %d", r.start, r.stop)
	if r.step != 1 {
		b = fmt.Appendf(b, ", %d", r.step)
	}
	return append(b, ')')
}

func (st *state) appendView(b []byte, v *view, depth int) ([]byte, error) {
	items := make([]any, len(v.d.entries))
	if err := st.allocList(len(items)); err != nil {
		return nil, err
	}
	for i := range items {
		items[i] = v.at(i)
	}
	b = append(append(b, typeName(v)...), '(')
	b, err := st.appendItems(b, '[', ']', items, depth)
	return append(b, ')'), err
}

func (st *state) appendItems(b []byte, open, end byte, items []any, depth int) ([]byte, error) {
	b = append(b, open)
	var err error
	for i, x := range items {
		if i > 0 {
			b = append(b, ", "...)
		}
		if b, err = st.appendRepr(b, x, depth+1); err != nil {
			return nil, err
		}
	}
	return append(b, end), nil
}

func (st *state) appendDict(b []byte, d *Dict, depth int) ([]byte, error) {
	b = append(b, '{')
	var err error
	for i, e := range d.entries {
		if i > 0 {
			b = append(b, ", "...)
		}
		if b, err = st.appendRepr(b, e.key, depth+1); err != nil {
			return nil, err
		}
		if b, err = st.appendRepr(append(b, ": "...), e.val, depth+1); err != nil {
			return nil, err
		}
	}
	return append(b, '}'), nil
}

// appendQuoted writes a string as repr does: in double quotes only when it has
// single ones and no double ones, what cannot be seen as escapes.
func appendQuoted(b []byte, s string) []byte {
	quote := byte('\'')
	if strings.Contains(s, "'") && !strings.Contains(s, `"`) {
		quote = '"'
	}
	b = append(b, quote)
	for _, r := range s {
		switch {
		case r == rune(quote) || r == '\\':
			b = append(b, '\\', byte(r))
		case r == '\n':
			b = append(b, `\n`...)
		case r == '\r':
			b = append(b, `\r`...)
		case r == '\t':
			b = append(b, `\t`...)
		case isPrintable(r):
			b = utf8.AppendRune(b, r)
		default:
			b = appendEscape(b, r)
		}
	}
	return append(b, quote)
}

// appendEscape writes a character as Python's shortest escape of its number.
func appendEscape(b []byte, r rune) []byte {
	switch {
	case r <= 0xff:
		return fmt.Appendf(b, `\x%02x`, r)
	case r <= 0xffff:
		return fmt.Appendf(b, `\u%04x`, r)
	}
	return fmt.Appendf(b, `\U%08x`, r)
}
