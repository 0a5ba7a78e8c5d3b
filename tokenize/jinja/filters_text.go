package jinja

import (
	"errors"
	"math"
	"math/big"
	"strings"
	"unicode"
)

// softStr is str(v), for filters that keep Markup Markup.
func (st *state) softStr(v Value) (string, error) { return st.str(v) }

func filterString(st *state, v Value, _ []Value) (Value, error) {
	s, err := st.str(v)
	return like(v, s), err
}

func filterSafe(st *state, v Value, _ []Value) (Value, error) {
	s, err := st.str(v)
	return Markup(s), err
}

func filterTrim(st *state, v Value, a []Value) (Value, error) {
	s, err := st.str(v)
	if err != nil {
		return nil, err
	}
	chars, given, err := optText(a[0])
	if err != nil {
		return nil, err
	}
	return st.strip(v, s, chars, given, strip)
}

func filterDefault(_ *state, v Value, a []Value) (Value, error) {
	_, undefined := v.(*Undefined)
	if !undefined && (!optBool(a[1], false) || truth(v)) {
		return v, nil
	}
	if a[0] == missing {
		return "", nil
	}
	return a[0], nil
}

func filterLength(st *state, v Value, _ []Value) (Value, error) {
	n, err := st.length(v)
	return int64(n), err
}

func filterAbs(st *state, v Value, _ []Value) (Value, error) {
	if f, ok := v.(float64); ok {
		return math.Abs(f), nil
	}
	if !isInt(v) {
		return nil, typeErr("bad operand type for abs(): '%s'", typeName(v))
	}
	return normInt(new(big.Int).Abs(bigOf(v)))
}

func filterCenter(st *state, v Value, a []Value) (Value, error) {
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
}

func filterWordCount(st *state, v Value, _ []Value) (Value, error) {
	s, err := st.str(v)
	if err := errors.Join(err, st.scan(len(s)), st.alloc(len(s))); err != nil {
		return nil, err
	}
	words := strings.FieldsFunc(s, func(r rune) bool {
		return r != '_' && !unicode.IsLetter(r) && !unicode.IsNumber(r)
	})
	return int64(len(words)), nil
}

func filterAttr(st *state, v Value, a []Value) (Value, error) {
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
}

func filterFormat(st *state, v Value, args []Value, kwargs []kwarg) (Value, error) {
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
