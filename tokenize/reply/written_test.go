package reply

import (
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/troupe-llm/troupe/tokenize/grammar"
)

// byteVocabulary has a token for each byte and 256, which ends a text.
var byteVocabulary = grammar.NewVocabulary(257, func(id int32) []byte {
	if id == 256 {
		return nil
	}
	return []byte{byte(id)}
}, []int32{256})

// draw draws a text that a grammar allows, byte by byte, ending it soon: now
// and then it goes on with one of the marks that end what could go on for ever.
func draw(t *testing.T, g *grammar.Grammar, rng *rand.Rand, marks []string) string {
	t.Helper()
	var ids []int32
	var out []byte
	m := g.Matcher()
	for range 5000 {
		mask := m.Allow(ids)
		allowed := func(c int32) bool { return mask[c/32]>>(c%32)&1 != 0 }
		var all, soon []int32
		for id := range int32(257) {
			if allowed(id) {
				if all = append(all, id); id == 256 || strings.ContainsRune("\"}])", id) {
					soon = append(soon, id)
				}
			}
		}
		if len(all) == 0 {
			t.Fatalf("nothing may follow %q: %v", out, m.Err())
		}
		mark := marks[len(out)/40%len(marks)]
		n := len(mark) - 1
		for n > 0 && !strings.HasSuffix(string(out), mark[:n]) {
			n--
		}
		next := all[rng.IntN(len(all))]
		switch {
		case len(out) > 60 && allowed(256):
			next = 256
		case len(out) > 20 && rng.IntN(12) > 0 && allowed(int32(mark[n])):
			next = int32(mark[n])
		case len(soon) > 0 && rng.IntN(3) > 0:
			next = soon[rng.IntN(len(soon))]
		}
		if next == 256 {
			return string(out)
		}
		ids, out = append(ids, next), append(out, byte(next))
	}
	t.Fatalf("no end: %q", out)
	return ""
}

const orderSchema = `{"type":"object","properties":{
	"city":{"type":"string"},"unit":{"enum":["C","F"]},"code":{"type":"string","pattern":"^[A-Z]{2}\\d$"},"note":{"type":"string","maxLength":4},
	"days":{"type":"integer","minimum":1,"maximum":9},"tags":{"type":"array","items":{"$ref":"#/$defs/tag"},"maxItems":2},"who":{"type":["string","null"]}
	},"required":["city","days"],"$defs":{"tag":{"enum":["a","b"]}}}`

// checkOrder reports what is wrong with arguments by that schema.
func checkOrder(args []byte) error {
	var a struct {
		City, Unit, Code, Note, Who *string
		Days                        *int
		Tags                        []string
	}
	d := json.NewDecoder(strings.NewReader(string(args)))
	d.DisallowUnknownFields()
	if err := d.Decode(&a); err != nil {
		return err
	}
	switch {
	case a.City == nil || a.Days == nil || *a.Days < 1 || *a.Days > 9:
		return errors.New("what is required is not there")
	case a.Unit != nil && *a.Unit != "C" && *a.Unit != "F":
		return errors.New("unit is none of the listed")
	case a.Code != nil && !regexp.MustCompile(`^[A-Z]{2}\d$`).MatchString(*a.Code):
		return errors.New("code is not like the pattern")
	case a.Note != nil && utf8.RuneCountInString(*a.Note) > 4:
		return errors.New("note is too long")
	case len(a.Tags) > 2 || slices.ContainsFunc(a.Tags, func(s string) bool { return s != "a" && s != "b" }):
		return errors.New("tags are others")
	}
	return nil
}

// TestWritten lets any calls come that a format's grammar allows, and reads
// them back.
func TestWritten(t *testing.T) {
	rng := rand.New(rand.NewPCG(7, 6))
	callables := []Callable{{Name: "order", Schema: []byte(orderSchema)}, {Name: "any"}, {Name: "none", Schema: []byte(`{"type":"object","additionalProperties":false}`)}}
	for i := range formats {
		f := &formats[i]
		o := Options{Format: f, Required: true, Tools: []Tool{{Name: "order", Types: ParameterTypes([]byte(orderSchema))}, {Name: "any"}, {Name: "none"}}}
		if f.Channels == nil {
			o.Reasoning = FindReasoning("think")
		}
		calls, err := f.Calls(callables, 3)
		if err != nil {
			t.Fatalf("%s: %v", f.Names[0], err)
		}
		marks := []string{"</think>", "<|end|>"}
		for k := range f.Forms {
			marks = append(marks, strings.TrimRight(f.Forms[k].Params.Close, "\n")+" ")
		}
		marks = append(marks, quoteMarks...)
		for _, tc := range []struct {
			spec  *grammar.Spec
			least int
		}{{calls, 1}, {o.Before(calls), 1}, {f.TextOr(calls), 0}} {
			g, err := grammar.Compile(t.Context(), tc.spec, byteVocabulary)
			if err != nil {
				t.Fatalf("%s: %v", f.Names[0], err)
			}
			for range 25 {
				text := draw(t, g, rng, marks)
				var m Message
				p := NewParser(o)
				m.Add(p.Finish([]byte(text)))
				if len(m.Calls) < tc.least || len(m.Calls) > 3 || tc.least > 0 && len(m.Text) > 0 {
					t.Errorf("%s: %q has %d calls and the text %q", f.Names[0], text, len(m.Calls), m.Text)
				}
				for _, c := range m.Calls {
					err := error(nil)
					switch {
					case c.Name == "order":
						err = checkOrder(c.Arguments)
					case c.Name == "any" && (!json.Valid(c.Arguments) || c.Arguments[0] != '{'):
						err = errors.New("no object")
					case c.Name == "none" && string(c.Arguments) != "{}":
						err = errors.New("there are arguments")
					}
					if err != nil || !slices.ContainsFunc(callables, func(one Callable) bool { return one.Name == c.Name }) {
						t.Errorf("%s: %q has %s(%s): %v", f.Names[0], text, c.Name, c.Arguments, err)
					}
				}
			}
		}
	}
}

// TestBefore says what of a reply that a grammar keeps may come first: after a
// prompt that has ended the reasoning, none begins again.
func TestBefore(t *testing.T) {
	think := Options{Reasoning: FindReasoning("think")}
	for prompt, want := range map[string]string{
		"<|im_start|>assistant\n":                        "<x",
		"<|im_start|>assistant\n<think>\n\n</think>\n\n": "x",
		"<\uff5cAssistant\uff5c></think>":                "x",
	} {
		firstBytes(t, think.After(prompt), prompt, want)
	}
	for text, want := range map[string]string{ // a reply that is gone on with
		"":                               "<x",
		"<think>\nhm</think>\n\n":        "x",
		"<think>\nhm</think>\n\nSo":      "x",
		"So":                             "<x",
		"<think>a</think>b<think>\nhm</": "", // anything: the reasoning goes on
	} {
		firstBytes(t, think.Continues(text).After("<|im_start|>assistant\n"+text), text, want)
	}
	firstBytes(t, think.Continues("").After("<|im_start|>assistant\n<think>\nhm\n</think>\n"), "a template's reasoning", "x")
}

// firstBytes checks what a reply may begin with; "": anything.
func firstBytes(t *testing.T, o Options, prompt, want string) {
	t.Helper()
	g, err := grammar.Compile(t.Context(), o.Before(grammar.Literal("x")), byteVocabulary)
	if err != nil {
		t.Fatal(err)
	}
	mask, got := g.Matcher().Allow(nil), ""
	for c := range int32(256) {
		if mask[c/32]>>(c%32)&1 != 0 {
			got += string(c)
		}
	}
	if got != want && (want != "" || len(got) < 100) {
		t.Errorf("after %q a reply begins with one of %q, not %q", prompt, got, want)
	}
}

// TestUnwritable says what a strict schema has that a family's arguments
// cannot be kept to, and leaves it out of others.
func TestUnwritable(t *testing.T) {
	for schema, want := range map[string]string{
		`{"type":"object","properties":{"a":{"type":"string","format":"date"}}}`:                                          ".properties.a: format",
		`{"type":"object","properties":{"a":{"type":"integer"}},"anyOf":[{"required":["a"]},{"properties":{"a":false}}]}`: "anyOf",
	} {
		for _, name := range []string{"qwen3_coder", "gemma4"} {
			f := FindFormat(name, "")
			var fault *ToolError
			if _, err := f.Calls([]Callable{{Name: "x"}, {Name: "f", Schema: []byte(schema)}}, 1); !errors.As(err, &fault) || !strings.HasPrefix(err.Error(), want) || fault.Tool != 1 {
				t.Errorf("%s: %s: %v", name, schema, err)
			}
			if _, err := f.Calls([]Callable{{Name: "f", Schema: []byte(schema), Loose: true}}, 1); err != nil {
				t.Errorf("%s: %s: %v", name, schema, err)
			}
		}
		if _, err := FindFormat("hermes", "").Calls([]Callable{{Name: "f", Schema: []byte(schema)}}, 1); err != nil {
			t.Errorf("hermes: %s: %v", schema, err)
		}
	}
}

// TestParameterTypes reads what schemas plainly say.
func TestParameterTypes(t *testing.T) {
	got := ParameterTypes([]byte(`{"properties":{"a":{"type":"string"},"b":{"type":["integer","null"]},"c":{"$ref":"#/$defs/c"},"d":{"anyOf":[{"type":"string"},{"type":"null"}]},
		"e":{"enum":["x",1]},"f":{"const":null},"g":{},"h":{"anyOf":[{"type":"string"},{}]},"i":true,"j":{"$ref":"#/$defs/none"}},"$defs":{"c":{"type":"boolean"}}}`))
	if want := "map[a:1 b:10 c:4 d:9 e:3 f:8]"; fmt.Sprint(got) != want {
		t.Errorf("got %v, want %s", got, want)
	}
	if ParameterTypes([]byte("[]")) != nil || ParameterTypes(nil) != nil {
		t.Error("there are types where there is no schema")
	}
}
