package grammar

import (
	"encoding/json"
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"unicode/utf8"
)

// Whatever a description is, compiling it ends within its budget with a grammar or
// an *Error, and what a grammar lets through is of the language: JSON for a
// schema, a match for a regular expression, in any case UTF-8. Seeds are below, and
// the schemas and rules of the other tests.

// fuzzWalk draws some texts of a grammar, and gives those that came to their end.
func fuzzWalk(t *testing.T, g *Grammar, check func(text string)) {
	for seed := range uint64(2) {
		rng := rand.New(rand.NewPCG(seed, 1))
		m := g.Matcher()
		var out []int32
		var text []byte
		for len(out) < 200 {
			ids := tokens(m.Allow(out))
			if m.Err() != nil {
				if errors.Is(m.Err(), errAmbiguous) {
					return
				}
				t.Fatalf("after %q: %v", text, m.Err())
			}
			if len(ids) == 0 {
				t.Fatalf("after %q nothing is allowed", text)
			}
			id := ids[rng.IntN(len(ids))]
			if len(out) > 20 {
				id = calmest(g.vocab, ids, rng)
			}
			if g.a.states[m.at].accepts {
				if !utf8.Valid(text) {
					t.Fatalf("%q is no UTF-8", text)
				}
				check(string(text))
				if len(out) > 20 || g.vocab.text[id] == nil {
					break
				}
			}
			if g.vocab.text[id] == nil {
				break
			}
			out = append(out, id)
			text = append(text, g.vocab.text[id]...)
		}
	}
}

// fuzzCompile compiles with a small part of the budget, so that there is time for many
// descriptions.
func fuzzCompile(t *testing.T, s *Spec, v *Vocabulary) *Grammar {
	w := newBudget(t.Context())
	w.steps, w.memory = w.steps/32, w.memory/32
	root, err := s.parse(w)
	var fault *Error
	switch {
	case w.failed():
		if -w.steps > maxSteps/8 || -w.memory > maxCompileSize/8 {
			t.Fatalf("%d steps and %d bytes too many", -w.steps, -w.memory)
		}
		return nil
	case err != nil && !errors.As(err, &fault):
		t.Fatalf("%v is no *Error", err)
	case err != nil:
		return nil
	}
	g, err := compiledTo(root, s.path, v)
	if err != nil && !errors.As(err, &fault) {
		t.Fatalf("%v is no *Error", err)
	}
	return g
}

func FuzzSchema(f *testing.F) {
	data, err := os.ReadFile(filepath.Join("testdata", "schemas.txt"))
	if err != nil {
		f.Fatal(err)
	}
	for line := range strings.Lines(string(data)) {
		if schema, ok := strings.CutPrefix(line, "schema "); ok {
			f.Add(strings.TrimSpace(schema))
		}
	}
	for _, alternative := range explosive {
		f.Add(oneOfSchema(8, alternative))
	}
	v, _ := byteVocabulary()
	f.Fuzz(func(t *testing.T, schema string) {
		g := fuzzCompile(t, Schema([]byte(schema)), v)
		if g == nil {
			return
		}
		fuzzWalk(t, g, func(text string) {
			if !json.Valid([]byte(text)) {
				t.Fatalf("%s: %q is no JSON", schema, text)
			}
		})
	})
}

func FuzzRegex(f *testing.F) {
	for _, expr := range []string{`a(b|c)*`, `(?i)[^a-z]{2,3}$`, `^(?!ab)(?=a).*`, `\d+\.\d{2}|x?`, `(a{1,5}){1,5}`, `[\x{100}-\x{200}]+\s`, `((a?){3}b)+`, `\u0041(|b)`} {
		f.Add(expr)
	}
	v, _ := byteVocabulary()
	f.Fuzz(func(t *testing.T, expr string) {
		g := fuzzCompile(t, Regex(expr), v)
		if g == nil {
			return
		}
		whole, err := regexp.Compile(`^(?:` + unescaped(expr, asText) + `)$`)
		fuzzWalk(t, g, func(text string) {
			if err == nil && !whole.MatchString(text) { // Go has no looking ahead
				t.Fatalf("%q does not match %q", text, expr)
			}
		})
	})
}

func FuzzRules(f *testing.F) {
	files, err := filepath.Glob(filepath.Join("testdata", "rules", "*.txt"))
	if err != nil || len(files) == 0 {
		f.Fatal(files, err)
	}
	for _, name := range files {
		data, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		source, _, _ := strings.Cut(string(data), "\n---\n")
		f.Add(source)
	}
	for _, rules := range []string{"root ::= root root | \"a\"", "root ::= (root \",\")? [^\\n]{1,3}", "a: b\nb: a\nstart: a", "start: [\"a\"~2..3] /b+/i -> x", "root ::= x? y\nx ::= y*\ny ::= \"\" | x \"z\""} {
		f.Add(rules)
	}
	v, _ := byteVocabulary()
	f.Fuzz(func(t *testing.T, rules string) {
		if g := fuzzCompile(t, Rules(rules), v); g != nil {
			fuzzWalk(t, g, func(string) {})
		}
	})
}
