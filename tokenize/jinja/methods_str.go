package jinja

import (
	"errors"
	"strings"
	"unicode"
)

// strMethods are the methods of str. Called on Markup, those that make a new
// string make it Markup.
var strMethods map[string]methodFunc

func init() { // format needs getattr, which needs this map
	strMethods = map[string]methodFunc{
		"upper":      recased("upper", upper),
		"lower":      recased("lower", lower),
		"capitalize": recased("capitalize", capitalize),
		"title":      recased("title", title),
		"swapcase":   recased("swapcase", swapcase),
		"casefold":   recased("casefold", func(s string) string { return strings.ReplaceAll(lower(s), "ß", "ss") }),

		"isspace":      asked("isspace", allOf(isSpace)),
		"isalpha":      asked("isalpha", allOf(unicode.IsLetter)),
		"isalnum":      asked("isalnum", allOf(func(r rune) bool { return unicode.IsLetter(r) || unicode.IsNumber(r) })),
		"isdigit":      asked("isdigit", allOf(isDigit)),
		"isdecimal":    asked("isdecimal", allOf(unicode.IsDigit)),
		"isnumeric":    asked("isnumeric", allOf(unicode.IsNumber)),
		"islower":      asked("islower", func(s string) bool { return allCased(s, unicode.IsLower) }),
		"isupper":      asked("isupper", func(s string) bool { return allCased(s, unicode.IsUpper) }),
		"istitle":      asked("istitle", isTitle),
		"isascii":      asked("isascii", isASCII),
		"isprintable":  asked("isprintable", func(s string) bool { return s == "" || all(s, isPrintable) }),
		"isidentifier": asked("isidentifier", isIdentifier),

		"strip":  stripped("strip", strip),
		"lstrip": stripped("lstrip", stripLeft),
		"rstrip": stripped("rstrip", stripRight),

		"split":      with(sig("split", "sep=", "maxsplit="), splitBy(split)),
		"rsplit":     with(sig("rsplit", "sep=", "maxsplit="), splitBy(rsplit)),
		"splitlines": with(sig("splitlines", "keepends="), linesOf),
		"partition":  with(sig("partition", "sep", "/"), partitionAt(strings.Index, 0)),
		"rpartition": with(sig("rpartition", "sep", "/"), partitionAt(strings.LastIndex, 2)),
		"join":       with(sig("join", "iterable", "/"), joinTexts),

		"startswith":   affixed("startswith", strings.HasPrefix),
		"endswith":     affixed("endswith", strings.HasSuffix),
		"removeprefix": removed("removeprefix", strings.TrimPrefix),
		"removesuffix": removed("removesuffix", strings.TrimSuffix),
		"find":         found("find", strings.Index),
		"rfind":        found("rfind", strings.LastIndex),
		"index":        found("index", strings.Index),
		"rindex":       found("rindex", strings.LastIndex),
		"count":        with(sig("count", "sub", "start=", "end=", "/"), countText),
		"replace":      with(sig("replace", "old", "new", "count=", "/"), replaceText),

		"ljust":      justified("ljust", func(int) int { return 0 }),
		"rjust":      justified("rjust", func(space int) int { return space }),
		"center":     justified("center", nil),
		"zfill":      with(sig("zfill", "width", "/"), zeroFill),
		"expandtabs": with(sig("expandtabs", "tabsize="), expandTabs),

		"format":     formatArgs,
		"format_map": with(sig("format_map", "mapping", "/"), formatMap),

		"encode":    unsupported("encode"),
		"translate": unsupported("translate"),
		"maketrans": unsupported("maketrans"),
	}
}

// boundFunc is a method whose arguments are in the order of its signature.
type boundFunc = func(st *state, recv Value, a []Value) (Value, error)

// recased makes a string of a string.
func recased(name string, fn func(string) string) methodFunc {
	return with(sig(name), func(st *state, recv Value, _ []Value) (Value, error) {
		s, _ := textOf(recv)
		if err := errors.Join(st.chew(s), st.alloc(len(s))); err != nil {
			return nil, err
		}
		return like(recv, fn(s)), nil
	})
}

// asked answers a question about a string.
func asked(name string, fn func(string) bool) methodFunc {
	return with(sig(name), func(st *state, recv Value, _ []Value) (Value, error) {
		s, _ := textOf(recv)
		if err := st.scan(len(s)); err != nil {
			return nil, err
		}
		return fn(s), nil
	})
}

func allOf(is func(rune) bool) func(string) bool {
	return func(s string) bool { return all(s, is) }
}

func stripped(name string, fn func(s, chars string, given bool) string) methodFunc {
	return with(sig(name, "chars=", "/"), func(st *state, recv Value, a []Value) (Value, error) {
		s, _ := textOf(recv)
		chars, given, err := optText(a[0])
		if err != nil {
			return nil, err
		}
		return st.strip(recv, s, chars, given, fn)
	})
}

func splitBy(fn func(s, sep string, given bool, limit int) []string) boundFunc {
	return func(st *state, recv Value, a []Value) (Value, error) { return st.splitText(recv, a, fn) }
}

func linesOf(st *state, recv Value, a []Value) (Value, error) {
	s, _ := textOf(recv)
	lines, err := st.lines(s, optBool(a[0], false))
	if err != nil {
		return nil, err
	}
	return st.texts(recv, len(s), lines)
}

// partitionAt cuts where fn finds the separator; whole is where a string without one goes.
func partitionAt(fn func(s, part string) int, whole int) boundFunc {
	return func(st *state, recv Value, a []Value) (Value, error) { return st.partition(recv, a[0], fn, whole) }
}

func joinTexts(st *state, recv Value, a []Value) (Value, error) {
	sep, _ := textOf(recv)
	return st.join(recv, sep, a[0], func(i int, x Value) (string, error) {
		s, ok := textOf(x)
		if !ok {
			return "", typeErr("sequence item %d: expected str instance, %s found", i, typeName(x))
		}
		if _, safe := x.(Markup); !safe {
			s = likeEscaped(recv, s)
		}
		return s, nil
	})
}

func affixed(name string, fn func(s, part string) bool) methodFunc {
	return with(sig(name, "affix", "start=", "end=", "/"), func(st *state, recv Value, a []Value) (Value, error) {
		return st.affix(name, recv, a, fn)
	})
}

func removed(name string, cut func(s, part string) string) methodFunc {
	return with(sig(name, "affix", "/"), func(st *state, recv Value, a []Value) (Value, error) {
		s, _ := textOf(recv)
		part, err := argText(a[0])
		return like(recv, cut(s, part)), errors.Join(err, st.weigh(min(len(s), len(part))))
	})
}

// found is where a substring is; what is called index fails where there is none.
func found(name string, fn func(s, part string) int) methodFunc {
	return with(sig(name, "sub", "start=", "end=", "/"), func(st *state, recv Value, a []Value) (Value, error) {
		i, err := st.find(recv, a, fn)
		if err == nil && i < 0 && strings.HasSuffix(name, "index") {
			return nil, valueErr("substring not found")
		}
		return i, err
	})
}

func countText(st *state, recv Value, a []Value) (Value, error) {
	n := 0
	_, err := st.find(recv, a, func(s, sub string) int {
		n = strings.Count(s, sub)
		return 0
	})
	return int64(n), err
}

func replaceText(st *state, recv Value, a []Value) (Value, error) {
	s, _ := textOf(recv)
	old, err := argText(a[0])
	if err != nil {
		return nil, err
	}
	repl, err := argText(a[1])
	if err != nil {
		return nil, err
	}
	n, err := optInt(a[2], -1)
	if err != nil {
		return nil, err
	}
	if _, safe := a[1].(Markup); !safe {
		repl = likeEscaped(recv, repl)
	}
	s, err = st.replace(s, old, repl, n)
	return like(recv, s), err
}

// justified pads; left is how much of the space goes before the text, nil half of it.
func justified(name string, left func(space int) int) methodFunc {
	return with(sig(name, "width", "fillchar=", "/"), func(st *state, recv Value, a []Value) (Value, error) {
		return st.justify(recv, a, left)
	})
}

func zeroFill(st *state, recv Value, a []Value) (Value, error) {
	s, _ := textOf(recv)
	width, err := optInt(a[0], 0)
	if err != nil {
		return nil, err
	}
	sign := ""
	if s != "" && (s[0] == '+' || s[0] == '-') {
		sign, s = s[:1], s[1:]
	}
	s, err = st.pad(s, width-int64(len(sign)), "0", func(space int) int { return space })
	return like(recv, sign+s), err
}

func expandTabs(st *state, recv Value, a []Value) (Value, error) {
	s, _ := textOf(recv)
	size, err := optInt(a[0], 8)
	if err != nil {
		return nil, err
	}
	s, err = st.expandTabs(s, size)
	return like(recv, s), err
}

func formatArgs(st *state, recv Value, args []Value, kwargs []kwarg) (Value, error) {
	d := NewDict(len(kwargs))
	for _, k := range kwargs {
		d.Set(k.name, k.val)
	}
	return st.format(recv, args, d)
}

func formatMap(st *state, recv Value, a []Value) (Value, error) {
	d, ok := a[0].(*Dict)
	if !ok {
		return nil, typeErr("format_map() takes a mapping, not %s", typeName(a[0]))
	}
	return st.format(recv, nil, d)
}

func unsupported(name string) methodFunc {
	return func(*state, Value, []Value, []kwarg) (Value, error) {
		return nil, typeErr("str.%s is not supported in a chat template", name)
	}
}
