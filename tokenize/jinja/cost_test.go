package jinja

import (
	"maps"
	"runtime/metrics"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// work is what one use of a builtin is charged for: an expression over s, a text of
// n bytes; u, one that is not ASCII; l, a list of n/64 texts; o, one of as many
// objects; d, a dict of as many entries; or big, a number of n/512 digits.
// "" is for what does the same work whatever it is given.
var work = map[string]map[string]string{
	"filter": {
		"upper": `u|upper`, "lower": `u|lower`, "capitalize": `u|capitalize`, "title": `u|title`,
		"string": `l|string`, "safe": `l|safe`, "escape": `s|escape`, "e": `s|e`, "forceescape": `s|forceescape`,
		"trim": `s|trim`, "replace": `s|replace('zz', 'y')`, "default": "", "d": "", "length": `s|length`, "count": `s|count`,
		"abs": "", "int": `digits|int`, "float": `digits|float`, "round": "", "indent": `s|indent`,
		"truncate": `s|truncate(9)`, "center": `s|center(9)`, "wordcount": `s|wordcount`, "filesizeformat": `digits|filesizeformat`,
		"urlencode": `s|urlencode`, "striptags": `s|striptags`, "xmlattr": `{'a': s}|xmlattr`, "attr": `d|attr(s)`,
		"tojson": `s|tojson`, "format": `s|format()`, "list": `l|list`, "items": `d|items|list`, "first": "", "last": `s|last`,
		"reverse": `s|reverse`, "join": `l|join(',')`, "sum": `nums|sum`, "min": `l|min`, "max": `l|max`, "sort": `l|sort`,
		"dictsort": `d|dictsort`, "unique": `l|unique|list`, "groupby": `o|groupby('k')`, "batch": `l|batch(3)|list`,
		"slice": `l|slice(3)|list`, "map": `l|map('upper')|list`, "select": `l|select|list`, "reject": `l|reject|list`,
		"selectattr": `o|selectattr('k')|list`, "rejectattr": `o|rejectattr('k')|list`,
	},
	"test": {
		"defined": "", "undefined": "", "none": "", "true": "", "false": "", "boolean": "", "integer": "", "float": "", "number": "",
		"string": "", "mapping": "", "sequence": "", "iterable": "", "callable": "", "escaped": "", "odd": "", "even": "",
		"lower": `s is lower`, "upper": `s is upper`, "divisibleby": `big is divisibleby(big)`, "sameas": `s is sameas(s)`,
		"in": `'zz' is in(s)`, "filter": `s is filter`, "test": `s is test`,
		"==": "", "eq": `s is eq(s ~ '')`, "equalto": `s is equalto(s)`, "!=": "", "ne": `s is ne(s)`, "<": "", "lt": `s is lt(s)`,
		"lessthan": `s is lessthan(s)`, "<=": "", "le": `s is le(s)`, ">": "", "gt": `s is gt(s)`, "greaterthan": `s is greaterthan(s)`,
		">=": "", "ge": `s is ge(s)`,
	},
	"str": {
		"upper": `u.upper()`, "lower": `u.lower()`, "capitalize": `u.capitalize()`, "title": `u.title()`, "swapcase": `u.swapcase()`,
		"casefold": `u.casefold()`, "isspace": `s.isspace()`, "isalpha": `s.isalpha()`, "isalnum": `s.isalnum()`, "isdigit": `s.isdigit()`,
		"isdecimal": `s.isdecimal()`, "isnumeric": `s.isnumeric()`, "islower": `s.islower()`, "isupper": `s.isupper()`, "istitle": `s.istitle()`,
		"isascii": `s.isascii()`, "isprintable": `s.isprintable()`, "isidentifier": `s.isidentifier()`,
		"strip": `s.strip()`, "lstrip": `s.lstrip('ab')`, "rstrip": `s.rstrip('ab ')`, "split": `s.split()`, "rsplit": `s.rsplit('a')`,
		"startswith": `s.startswith(s)`, "endswith": `s.endswith('a', 5)`, "find": `s.find('zz')`, "rfind": `s.rfind('zz')`,
		"index": `s.index('a')`, "rindex": `s.rindex('a')`, "removeprefix": `s.removeprefix(s)`, "removesuffix": `s.removesuffix(s)`,
		"ljust": `s.ljust(9)`, "rjust": `s.rjust(9)`, "center": `s.center(9)`, "partition": `s.partition('zz')`, "rpartition": `s.rpartition('zz')`,
		"splitlines": `s.splitlines()`, "join": `s.join(['a', 'b'])`, "replace": `s.replace('zz', 'y')`, "count": `s.count('zz')`,
		"zfill": `s.zfill(9)`, "expandtabs": `s.expandtabs()`, "format": `s.format()`, "format_map": `s.format_map({})`,
		"encode": "", "translate": "", "maketrans": "",
	},
	"dict": {
		"get": `d.get(s)`, "items": `d.items()|list`, "keys": `d.keys()|list`, "values": `d.values()|list`, "copy": "",
		"fromkeys": `d.fromkeys(l)`,
	},
	"list":  {"copy": "", "count": `l.count('x')`, "index": `nums.index(nums[-1])`},
	"int":   {"bit_length": "", "bit_count": "", "conjugate": "", "as_integer_ratio": ""},
	"float": {"is_integer": "", "conjugate": "", "as_integer_ratio": ""},
	"loop":  {"cycle": "", "changed": ""},
	"global": {
		"range": "", "dict": `dict(d)`, "namespace": `namespace(d)`, "cycler": "", "joiner": "", "lipsum": "",
		"raise_exception": "", "strftime_now": `strftime_now(s)`,
	},
	"operator": {
		"+": `s + s`, "~": `s ~ s`, "*": `'a' * s|length`, "list +": `l + l`, "list *": `[0] * l|length`, "==": `s == s ~ ''`, "<": `s < s ~ ''`,
		"in": `'zz' in s`, "in list": `'zz' in l`, "%": `s % ()`, "index": `s[-1]`, "slice": `s[::2]`, "slice of u": `u[1:]`, "list slice": `l[::2]`,
		"key": `d[s]`, "int *": `big * big`, "int //": `(big * big) // big`, "int /": `big / (big + 1)`,
		"int **": `7 ** (big|string|length)`, "int to text": `big|string`, "int format": `'%x' % big`, "int to JSON": `big|tojson`,
		"keywords": `dict(**d)`, "int ==": `big == big + 0`,
	},
}

// costVars are the variables of work at a size of n.
func costVars(n int) map[string]any {
	items, objects, nums, d := []any{}, []any{}, []any{}, NewDict(0)
	for i := range n / 64 {
		text := strings.Repeat("x", i%40) + string(rune('a'+i%26))
		items, nums = append(items, text), append(nums, int64(i))
		o := NewDict(1)
		o.Set("k", text)
		objects = append(objects, o)
		d.Set("k"+strconv.Itoa(i), int64(i))
	}
	s := strings.Repeat("ab ", n/3)
	big, _ := number(strings.Repeat("7", n/512))
	return map[string]any{
		"s": s, "u": strings.Repeat("é ", n/3), "l": items, "o": objects, "nums": nums, "d": d, "big": big, "digits": strings.Repeat("7", n),
	}
}

// cost is how many steps an expression is charged.
func cost(t *testing.T, src string, vars map[string]any) int {
	st := &state{lim: Limits{}.withDefaults(), vars: vars, now: time.Now}
	tmpl := mustParse(t, `{% set x = `+src+` %}`)
	f := newFrame(tmpl.slots, nil)
	if err := st.open(f, tmpl.scope); err != nil {
		t.Fatal(err)
	}
	if _, err := st.run(tmpl.body, f); err != nil && !strings.Contains(err.Error(), "substring not found") {
		t.Errorf("%s: %v", src, err)
	}
	return st.steps
}

// TestWorkIsCharged: sixteen times the input is charged sixteen times the steps, of
// everything that a template can use.
func TestWorkIsCharged(t *testing.T) {
	keys := func(m any) []string {
		switch m := m.(type) {
		case map[string]*filter:
			return slices.Sorted(maps.Keys(m))
		case map[string]*test:
			return slices.Sorted(maps.Keys(m))
		case map[string]methodFunc:
			return slices.Sorted(maps.Keys(m))
		}
		return slices.Sorted(maps.Keys(m.(map[string]Value)))
	}
	for kind, m := range map[string]any{
		"filter": filters, "test": tests, "str": strMethods, "dict": dictMethods, "list": listMethods, "int": intMethods,
		"float": floatMethods, "loop": loopMethods, "global": globals,
	} {
		for _, name := range keys(m) {
			if _, ok := work[kind][name]; !ok {
				t.Errorf("what does the work of %s %s grow with?", kind, name)
			}
		}
	}
	const n = 1 << 16
	small, large := costVars(n), costVars(16*n)
	for kind, all := range work {
		for name, src := range all {
			if src == "" {
				continue
			}
			want := 10
			if strings.Contains(src, "big") { // short numbers cost no more than others
				want = 2
			}
			if a, b := cost(t, src, small), cost(t, src, large); b < want*a || want > 2 && b < 16*n/4096 {
				t.Errorf("%s %s: %s takes %d steps, and %d of 16 times as much", kind, name, src, a, b)
			}
		}
	}
}

// TestTupleKeys: tuples are one key when Python holds them equal, however they are
// nested, and a key costs no more than it is long.
func TestTupleKeys(t *testing.T) {
	for src, want := range map[string]string{
		`{{ {(1, 'a'): 'x'}[(1.0, 'a')] }}`:               "x",
		`{{ {((1,), 2): 'x'}[((True,), 2)] }}`:            "x",
		`{{ ((1,), 2) in {(1, (2,)): 'x'} }}`:             "False",
		`{{ ('a,', 'b') in {('a', ',b'): 'x'} }}`:         "False",
		`{{ ('1:s',) in {('1', 's'): 'x'} }}`:             "False",
		`{{ {(10**40,): 'x'}[(10**40,)] }}`:               "x",
		`{{ (-(10**40),) in {(10**40,): 'x'} }}`:          "False",
		`{{ {(none, range(3)): 'x'}[(none, range(3))] }}`: "x",
		`{% set ns = namespace(k=('"\\\\',)) %}{% for i in range(60) %}{% set ns.k = (ns.k,) %}{% endfor %}{{ {ns.k: 'deep'}[ns.k] }}`: "deep",
	} {
		if got, err := render(src, nil); err != nil || got != want {
			t.Errorf("%s: %q, %v; want %q", src, got, err, want)
		}
	}
}

func TestJSONEscapes(t *testing.T) {
	// As Python's json.dumps of each.
	vars := map[string]any{"s": "~\x7f\u0080é\u2028\x1f"}
	for src, want := range map[string]string{
		`{{ s|tojson(ensure_ascii=true) }}`: `"~\u007f\u0080\u00e9\u2028\u001f"`,
		`{{ s|tojson }}`:                    "\"~\x7f\u0080é\u2028\\u001f\"",
	} {
		if got, err := render(src, vars); err != nil || got != want {
			t.Errorf("%s: %q, %v; want %q", src, got, err, want)
		}
	}
}

// TestMessagesStayShort: an error quotes the beginning of what is long.
func TestMessagesStayShort(t *testing.T) {
	long := map[string]any{"s": strings.Repeat("é", 1<<20), "d": NewDict(0)}
	for _, src := range []string{`{{ '%(' ~ s ~ ')s' }}`, `{{ ('%(' ~ s ~ ')s') % {} }}`, `{{ d[s].x }}`, `{{ d['__' ~ s ~ '__'].x }}`, `{{ [].index(s) }}`} {
		if text, err := render(src, long); err != nil && len(err.Error()) > 2000 {
			t.Errorf("%s: an error of %d bytes", src, len(err.Error()))
		} else if err == nil && !strings.Contains(text, "é") {
			t.Errorf("%s: no error", src)
		}
	}
}

// FuzzCost: what a template allocates is in proportion to its budget, whatever the
// template, and so it ends.
func FuzzCost(f *testing.F) {
	for _, all := range work {
		for _, src := range all {
			f.Add("{{ " + src + " }}")
		}
	}
	for _, src := range bounds {
		if len(src) < 1000 {
			f.Add(src)
		}
	}
	lim := Limits{Output: 1 << 18, Alloc: 1 << 20, Steps: 1 << 14, Depth: 50}
	vars := costVars(1 << 12)
	allocated := []metrics.Sample{{Name: "/gc/heap/allocs:bytes"}}
	f.Fuzz(func(t *testing.T, src string) {
		tmpl, err := Parse("fuzz", src)
		if err != nil {
			return
		}
		metrics.Read(allocated)
		before := allocated[0].Value.Uint64()
		_, err = tmpl.Render(vars, Options{Limits: lim})
		metrics.Read(allocated)
		most := uint64(16*(lim.Alloc+lim.Output) + 1024*lim.Steps)
		if n := allocated[0].Value.Uint64() - before; n > most {
			t.Errorf("allocates %d bytes, more than %d: %v", n, most, err)
		}
	})
}
