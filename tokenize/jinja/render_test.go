package jinja

import (
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"
)

func mustParse(t testing.TB, src string) *Template {
	t.Helper()
	tmpl, err := Parse("test", src)
	if err != nil {
		t.Fatal(err)
	}
	return tmpl
}

// bounds are all the ways we know of to take too much.
var bounds = []string{
	`{{ 'a' * 10**9 }}`,
	`{{ 'a' * 10**18 }}`,
	`{{ [0] * 10**9 }}`,
	`{{ (1, 2) * 10**12 }}`,
	`{{ range(10**9) }}`,
	`{{ 10 ** (10 ** 9) }}`,
	`{{ 1000000 ** 900000000000000000 }}`, // bits beyond 64-bit numbers
	`{{ 10 ** 9000000000000000000 }}`,
	`{% set ns = namespace(x=3) %}{% for i in range(100) %}{% set ns.x = ns.x * ns.x %}{% endfor %}`,
	`{{ '%1000000000d' % 1 }}`,
	`{{ '%*d' % (10**9, 1) }}`,
	`{{ '%.1000000000f' % 1 }}`,
	`{{ '{:1000000000}'.format(1) }}`,
	`{{ '{:.100000000f}'.format(1.5) }}`,
	`{{ 'a'.center(10**9) }}{{ 'a'.ljust(10**9) }}`,
	`{{ 'a'.zfill(10**12) }}`,
	`{{ 'a'|center(10**9) }}`,
	`{{ 'a\nb'|indent(10**9) }}`,
	`{{ '\t'.expandtabs(10**9) }}`,
	`{{ 'aaaa'|replace('', s)|replace('', s)|replace('', s)|replace('', s) }}`,
	`{{ [1]|tojson(indent=10**9) }}`,
	`{{ l|batch(10**9, 'x')|list }}`,
	`{{ [s] * 100000 | join(s) }}`,
	`{% set ns = namespace(s='ab') %}{% for i in range(100) %}{% set ns.s = ns.s + ns.s %}{% endfor %}`,
	`{% set ns = namespace(s='ab') %}{% for i in range(100) %}{% set ns.s = ns.s ~ ns.s %}{% endfor %}`,
	`{% set ns = namespace(l=[1]) %}{% for i in range(100) %}{% set ns.l = ns.l + ns.l %}{% endfor %}`,
	`{% set ns = namespace(l=[1]) %}{% for i in range(60) %}{% set ns.l = [ns.l, ns.l] %}{% endfor %}{{ ns.l }}`,
	`{% set ns = namespace(l=[1]) %}{% for i in range(60) %}{% set ns.l = [ns.l, ns.l] %}{% endfor %}{{ ns.l|tojson }}`,
	`{% set ns = namespace(l=[1]) %}{% set o = namespace(l=[1]) %}{% for i in range(60) %}{% set ns.l = [ns.l, ns.l] %}{% set o.l = [o.l, o.l] %}{% endfor %}{{ ns.l == o.l }}`,
	`{% set ns = namespace(l=[1]) %}{% for i in range(90000) %}{% set ns.l = [ns.l] %}{% endfor %}{{ ns.l }}`,
	`{% set ns = namespace(l=(1,)) %}{% for i in range(90000) %}{% set ns.l = (ns.l,) %}{% endfor %}{{ {ns.l: 1} }}`,
	`{% set ns = namespace() %}{% set ns.me = ns %}{{ ns }}`,
	`{% for i in range(100000) %}{% for j in range(100000) %}{% endfor %}{% endfor %}`,
	`{% for i in range(100000) %}{{ s }}{% endfor %}`,
	`{% for i in range(100000) %}{% set y = s ~ i %}{% endfor %}{% for i in range(100000) %}{% for i in range(100000) %}{% set y = s ~ i %}{% endfor %}{% endfor %}`,
	`{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}`,
	`{% macro f() %}{% call f() %}{% endcall %}{% endmacro %}{{ f() }}`,
	`{% macro f(n) %}{% if n %}{{ f(n-1) }}{{ f(n-1) }}{% endif %}{% endmacro %}{{ f(100) }}`,
	`{% for x in [l] recursive %}{{ loop([l]) }}{% endfor %}`,
	`{% for i in range(100000) %}{{ l|map('string')|list|map('string')|list }}{% endfor %}{% for i in range(100000) %}{{ s|list|length }}{% endfor %}`,
	`{{ range(99999)|slice(10**12)|list|length }}`,
	strings.Repeat("(", 5_000),
	`{{ ` + strings.Repeat("[", 5_000),
	`{{ ` + strings.Repeat("not ", 5_000) + `1 }}`,
	`{{ ` + strings.Repeat("-", 5_001) + `1 }}`,
	`{{ x` + strings.Repeat(".x", 5_000) + ` }}`,
	`{{ x` + strings.Repeat("|e", 5_000) + ` }}`,
	`{{ 1` + strings.Repeat("+1", 5_000) + ` }}`,
	strings.Repeat("{% if 1 %}", 5_000),
	strings.Repeat("x", maxSource+1),
	branches(2_000),
	`{% set a = s * 100 %}{{ ` + strings.Repeat("a ~ ", 500) + `a }}`,
	`{{ [[[[1]]]]|tojson(indent=s * 50) }}`,
	`{{ [1, 2, 3]|tojson(separators=(s * 50, s * 50)) }}`,
	`{% set n = 7 ** 10000 %}{% for i in range(100000) %}{% set x = n * n // n %}{% endfor %}`,
	`{% set n = 7 ** 5000 %}{% for i in range(100000) %}{% set x = n|string %}{% endfor %}`,
	`{% for i in range(100000) %}{% set x = s|trim %}{% endfor %}`,
	`{{ 1` + strings.Repeat("0", 5_000) + ` }}`,
}

// branches is a template of n variables, each set in an if of its own.
func branches(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "{%% if a%d %%}{%% set x%d = 1 %%}{%% endif %%}", i, i)
	}
	return b.String()
}

func TestBounds(t *testing.T) {
	vars := map[string]any{"s": strings.Repeat("ab", 1000), "l": []any{int64(1), int64(2)}}
	for _, src := range bounds {
		tmpl, err := Parse("test", src)
		var text string
		if err == nil {
			text, err = tmpl.Render(vars, Options{Limits: Limits{Output: 1 << 18, Alloc: 4 << 20, Steps: 1 << 17}})
		}
		if src[0] == '(' {
			continue // text: only must not harm
		}
		if err == nil {
			t.Errorf("%.120s: gave %d bytes, expected an error", src, len(text))
		}
	}
}

// TestErrors names the template and line, and lets the template speak for itself.
func TestErrors(t *testing.T) {
	for _, c := range []struct {
		src, kind, msg string
		line           int
	}{
		{"a\n{% if %}", "TemplateSyntaxError", "Expected an expression, got 'end of statement block'", 2},
		{"\n\n{{ x.y.z }}", "UndefinedError", "'x' is undefined", 3},
		{"{% set d = {} %}\n{{ d.a.b }}", "UndefinedError", "'dict object' has no attribute 'a'", 2},
		{"{% macro m() %}\n{{ 1 + 'a' }}\n{% endmacro %}\n\n{{ m() }}", "TypeError", "unsupported operand type(s) for +: 'int' and 'str'", 2},
		{"{% for i in [1] %}\n{{ nope(1) }}\n{% endfor %}", "UndefinedError", "'nope' is undefined", 2},
		{"\n{% include 'x' %}", "TemplateSyntaxError", "the tag 'include' is not supported in a chat template", 2},
		{"{% block x %}{% endblock %}", "TemplateSyntaxError", "the tag 'block' is not supported in a chat template", 1},
		{"\n{{ x|urlize }}", "TemplateAssertionError", "the filter 'urlize' is not supported in a chat template", 2},
		{"{{ 'a'.encode() }}", "TypeError", "str.encode is not supported in a chat template", 1},
	} {
		_, err := render(c.src, nil)
		var e *Error
		if !errors.As(err, &e) {
			t.Errorf("%s: %v", c.src, err)
			continue
		}
		want := Error{Template: "snippet", Line: c.line, Kind: c.kind, Msg: c.msg}
		if *e != want {
			t.Errorf("%s: got %+v, want %+v", c.src, *e, want)
		}
	}
	_, err := render("\n{{ raise_exception('Roles must ' ~ 'alternate') }}", nil)
	var r *RaisedError
	if !errors.As(err, &r) || *r != (RaisedError{"snippet", 2, "Roles must alternate"}) || r.Error() != "Roles must alternate" {
		t.Errorf("raise_exception: %#v", err)
	}
	if _, err := render("{{ x }}", map[string]any{"x": make(chan int)}); err == nil {
		t.Error("a channel is no value, yet it was taken")
	}
}

func TestGoValues(t *testing.T) {
	got, err := render("{{ a }} {{ b }} {{ c }} {{ d }} {{ e[0].k }}", map[string]any{
		"a": 3, "b": []string{"x"}, "c": map[string]any{"z": 1, "y": []any{int32(2)}}, "d": float32(0.5),
		"e": []map[string]any{{"k": nil}},
	})
	if want := "3 ['x'] {'y': [2], 'z': 1} 0.5 None"; err != nil || got != want {
		t.Errorf("got %q, %v; want %q", got, err, want)
	}
}

func TestDecodeJSON(t *testing.T) {
	v, err := DecodeJSON([]byte(`{"z": 1, "a": [1.0, 2, 1e2, -0, 12345678901234567890, true, null, "\u00e9"], "z": {"b": 0, "a": 0}}`))
	if err != nil {
		t.Fatal(err)
	}
	d := v.(*Dict)
	if k, _ := d.At(0); k != "z" || d.Len() != 2 {
		t.Errorf("first key %v of %d", k, d.Len())
	}
	text, err := mustParse(t, "{{ v }}|{{ v|tojson }}").Render(map[string]any{"v": v}, Options{})
	want := `{'z': {'b': 0, 'a': 0}, 'a': [1.0, 2, 100.0, 0, 12345678901234567890, True, None, 'é']}` +
		`|{"z": {"b": 0, "a": 0}, "a": [1.0, 2, 100.0, 0, 12345678901234567890, true, null, "é"]}`
	if err != nil || text != want {
		t.Errorf("got %s, %v\nwant %s", text, err, want)
	}
	for _, bad := range []string{"", "{", "[1", `{"a" 1}`, "1 2", "nope", strings.Repeat("[", 10_000), `"` + "\x01" + `"`} {
		if v, err := DecodeJSON([]byte(bad)); err == nil {
			t.Errorf("%.20q decoded to %v", bad, v)
		}
	}
	var o struct{ A *Dict }
	if err := json.Unmarshal([]byte(`{"A": {"y": 1, "x": 2}}`), &o); err != nil || !reflect.DeepEqual(o.A.entries, []entry{{"y", int64(1)}, {"x", int64(2)}}) {
		t.Errorf("as a field: %v, %v", o.A, err)
	}
}

// TestDict crosses the length where searching gives way to an index.
func TestDict(t *testing.T) {
	d := NewDict(0)
	keys := strings.Fields("q w e r t y u i o p a s d f g h j k l")
	for round := range 2 {
		for i, k := range keys {
			d.Set(k, int64(round*100+i))
			for j, other := range keys {
				v, ok := d.Get(other)
				there := round == 1 || j <= i
				want := int64(j)
				if round == 1 && j <= i {
					want += 100
				}
				if ok != there || ok && v != want {
					t.Fatalf("after %s: %s is %v, %v", k, other, v, ok)
				}
			}
		}
	}
	for i, k := range keys {
		if got, _ := d.At(i); got != k {
			t.Errorf("entry %d is %v, want %s", i, got, k)
		}
	}
}

func TestStrftime(t *testing.T) {
	now := time.Date(2026, 3, 7, 5, 9, 3, 42_000_000, time.UTC)
	got, err := mustParse(t, "{{ strftime_now(f) }}").Render(map[string]any{
		"f": "%Y-%m-%d %d %B %Y %b %e %-d %-m %H:%M:%S %I %p %j %y %a %A %U %W %V %u %w %% %f %D %F %T %Q %-H %^a %",
	}, Options{Now: func() time.Time { return now }})
	// What C's strftime gives for the same moment.
	want := "2026-03-07 07 March 2026 Mar  7 7 3 05:09:03 05 AM 066 26 Sat Saturday 09 09 10 6 6 % 042000 03/07/26 2026-03-07 05:09:03 %Q 5 SAT %"
	if err != nil || got != want {
		t.Errorf("got  %q, %v\nwant %q", got, err, want)
	}
}

// TestConcurrent renders one template from many goroutines, for the race
// detector to watch.
func TestConcurrent(t *testing.T) {
	tmpl := mustParse(t, "{% macro m(a, b=x) %}{{ a }}{{ b }}{% endmacro %}{% set ns = namespace(n=0) %}"+
		"{% for m2 in l %}{% set ns.n = ns.n + m2.k %}{{ m(m2.k) }}{{ loop.last }}{% endfor %}{{ ns.n }}{{ d|tojson }}")
	v, err := DecodeJSON([]byte(`{"l": [{"k": 1}, {"k": 2}], "d": {"a":1,"b":2,"c":3,"d":4,"e":5,"f":6,"g":7,"h":8,"i":9,"j":10}}`))
	if err != nil {
		t.Fatal(err)
	}
	l, _ := v.(*Dict).Get("l")
	d, _ := v.(*Dict).Get("d")
	vars := map[string]any{"l": l, "d": d, "x": "y"}
	want, err := tmpl.Render(vars, Options{})
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 50 {
				if got, err := tmpl.Render(vars, Options{}); err != nil || got != want {
					t.Errorf("got %q, %v; want %q", got, err, want)
				}
			}
		})
	}
	wg.Wait()
}

// FuzzRender: no source makes the parser or the evaluator panic or take more
// than it may.
func FuzzRender(f *testing.F) {
	vars, cases := readSnippets(f)
	for i := 0; i < len(cases); i += 7 {
		f.Add(cases[i].Src)
	}
	lim := Limits{Output: 1 << 16, Alloc: 1 << 20, Steps: 1 << 16, Depth: 50}
	f.Fuzz(func(t *testing.T, src string) {
		tmpl, err := Parse("fuzz", src)
		if err != nil {
			return
		}
		text, err := tmpl.Render(vars, Options{Limits: lim})
		if len(text) > lim.Output {
			t.Errorf("%d bytes of text", len(text))
		}
		if err != nil && kindOf(err) == "" {
			t.Errorf("an error of no known type: %v", err)
		}
	})
}
