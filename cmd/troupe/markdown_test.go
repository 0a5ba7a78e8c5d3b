package main

import (
	"math/rand/v2"
	"reflect"
	"regexp"
	"strings"
	"testing"
)

// shown makes what a terminal is sent readable.
var shown = strings.NewReplacer("\x1b[0m", "[]", "\x1b[0;1m", "[b]", "\x1b[0;2m", "[f]", "\x1b[0;3m", "[i]", "\x1b[0;36m", "[c]", "\x1b[0;1;3m", "[bi]", "\x1b[0;1;36m", "[bc]")

func TestMarkdown(t *testing.T) {
	for in, want := range map[string]string{
		"plain text, 2 * 3 and snake_case_name": "plain text, 2 * 3 and snake_case_name",
		"# A *B*\ntext":                         "[b]A [bi]B[]\ntext",
		"###### six\n####### seven":             "[b]six[]\n####### seven",
		"#hash":                                 "#hash",
		"a **bold** b *it* _it_ c":              "a [b]bold[] b [i]it[] [i]it[] c",
		"***both*** __b__":                      "[bi]both[] [b]b[]",
		"use `x*y*` now":                        "use [c]x*y*[] now",
		"- one\n  * two\n+ three\n1. four":      "• one\n  • two\n+ three\n1. four",
		"> said\nnot":                           "[f]│ said[]\nnot",
		"a\n---\nb":                             "a\n[f]────────────────────────────────────────[]\nb",
		"```go\nx := *p // `y`\n\n```\nend":     "[f]go\n[c]x := *p // `y`[]\n\nend",
		"~~~\n```\n~~~":                         "[c]```[]\n",
		`\*no\* C:\dir`:                         "*no* C:\\dir",
		"open **bold\nnext":                     "open [b]bold[]\nnext",
		"**":                                    "**",
		"-":                                     "-",
		"- ":                                    "• ",
		"":                                      "",
		"é *ü*":                                 "é [i]ü[]",
	} {
		want = strings.Replace(want, "+ three", "• three", 1)
		var m markdown
		if got := shown.Replace(m.add(in) + m.end()); got != want {
			t.Errorf("%q:\ngot  %q\nwant %q", in, got, want)
		}
	}
}

// TestMarkdownStreams cuts texts anywhere: the same is shown, and no letter is
// lost.
func TestMarkdownStreams(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 6))
	bits := []string{"a", "word ", " ", "\n", "*", "**", "_", "`", "```", "#", "# ", "- ", "-", ">", "\\", "é", "~~~", "+"}
	codes := regexp.MustCompile("\x1b\\[[0-9;]*m")
	for range 20_000 {
		var text strings.Builder
		for range rng.IntN(20) {
			text.WriteString(bits[rng.IntN(len(bits))])
		}
		var at, by markdown
		if columns := rng.IntN(40); columns > 10 {
			at.wrap.width = func() int { return columns }
			by.wrap.width = at.wrap.width
		}
		want := at.add(text.String()) + at.end()
		got, rest := "", []rune(text.String())
		for len(rest) > 0 {
			n := 1 + rng.IntN(len(rest))
			got += by.add(string(rest[:n]))
			rest = rest[n:]
		}
		got += by.end()
		if got != want {
			t.Fatalf("%q:\nin pieces %q\nat once   %q", text.String(), got, want)
		}
		letters := func(s string) string {
			return strings.Join(strings.FieldsFunc(s, func(r rune) bool { return !wordy(r) }), "")
		}
		if letters(codes.ReplaceAllString(got, "")) != letters(text.String()) {
			t.Fatalf("%q is shown as %q", text.String(), got)
		}
		by.wrap.width = nil
		if !reflect.DeepEqual(by, markdown{}) {
			t.Fatalf("%q leaves %+v", text.String(), by)
		}
	}
}
