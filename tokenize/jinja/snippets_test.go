package jinja

import (
	"bufio"
	"encoding/json"
	"errors"
	"flag"
	"os"
	"strings"
	"testing"
)

var snippets = flag.String("snippets", "testdata/snippets.jsonl", "templates and what jinja2 makes of them, as testdata/snippets.py writes them")

type snippet struct {
	Src string
	Out *string
	Err string
}

// readSnippets returns the variables of all templates, and the templates.
func readSnippets(t testing.TB) (map[string]any, []snippet) {
	f, err := os.Open(*snippets)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	lines := bufio.NewScanner(f)
	lines.Buffer(nil, 1<<24)
	lines.Scan()
	v, err := DecodeJSON(lines.Bytes())
	if err != nil {
		t.Fatal(err)
	}
	d := v.(*Dict)
	vars := map[string]any{}
	for i := range d.Len() {
		k, v := d.At(i)
		vars[k.(string)] = v
	}
	var cases []snippet
	for lines.Scan() {
		var c snippet
		if err := json.Unmarshal(lines.Bytes(), &c); err != nil {
			t.Fatal(err)
		}
		cases = append(cases, c)
	}
	return vars, cases
}

// kindOf is the class of the exception jinja2 would have raised.
func kindOf(err error) string {
	var e *Error
	var r *RaisedError
	switch {
	case errors.As(err, &e) && e.Kind == "TemplateSyntaxError":
		return "SyntaxError" // the one Python finds in what jinja2 compiles, too
	case errors.As(err, &e):
		return e.Kind
	case errors.As(err, &r):
		return "TemplateError"
	}
	return ""
}

// TestSnippets renders what jinja2 rendered, and fails where it failed, in the
// same way.
func TestSnippets(t *testing.T) {
	vars, cases := readSnippets(t)
	if len(cases) < 1000 {
		t.Fatalf("only %d snippets", len(cases))
	}
	for _, c := range cases {
		got, err := render(c.Src, vars)
		switch {
		case c.Out == nil && err == nil:
			t.Errorf("%s\n  rendered %q, expected %s", c.Src, got, c.Err)
		case c.Out == nil:
			if kind := kindOf(err); kind != strings.TrimPrefix(c.Err, "Template") && kind != c.Err {
				t.Errorf("%s\n  failed with %v, expected %s", c.Src, err, c.Err)
			}
		case err != nil:
			t.Errorf("%s\n  failed with %v, expected %q", c.Src, err, *c.Out)
		case got != *c.Out:
			t.Errorf("%s\n  rendered %q, expected %q", c.Src, got, *c.Out)
		}
	}
}

func render(src string, vars map[string]any) (string, error) {
	tmpl, err := Parse("snippet", src)
	if err != nil {
		return "", err
	}
	return tmpl.Render(vars, Options{})
}
