package grammar

import (
	"encoding/json"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestRules tries texts on the grammars of testdata/rules: after a line of --- are
// texts that are let through (+) or not (-), each as a Go string.
func TestRules(t *testing.T) {
	files, err := filepath.Glob(filepath.Join("testdata", "rules", "*.txt"))
	if err != nil || len(files) < 4 {
		t.Fatal(files, err)
	}
	v, _ := byteVocabulary()
	for _, name := range files {
		data, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		source, texts, _ := strings.Cut(string(data), "\n---\n")
		g, err := Compile(t.Context(), Rules(source), v)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		inJSON, err := Compile(t.Context(), QuotedRules(source), v)
		if err != nil {
			t.Errorf("%s, in a string of JSON: %v", name, err)
			continue
		}
		for line := range strings.Lines(texts) {
			kind, quoted, _ := strings.Cut(strings.TrimSpace(line), " ")
			var text string
			if err := json.Unmarshal([]byte(quoted), &text); err != nil {
				t.Fatalf("%s: %q: %v", name, line, err)
			}
			if g.takes(text) != (kind == "+") {
				t.Errorf("%s: %q: let through: %v", name, text, kind != "+")
			}
			value := &value{kind: isString, text: text}
			if inJSON.takes(value.literal()) != (kind == "+") || inJSON.takes(text) {
				t.Errorf("%s: %s in JSON: let through: %v", name, value.literal(), kind != "+")
			}
		}
		rng := rand.New(rand.NewPCG(1, 2))
		for range 10 { // whatever is drawn comes to an end
			walk(t, g, rng, 40)
		}
	}
}

// TestLongLists holds rules that go on by themselves: they are no nesting, and as
// long as one likes. Others are nested so deep and no deeper.
func TestLongLists(t *testing.T) {
	v, _ := byteVocabulary()
	long := strings.Repeat("a,", 500)
	for name, tc := range map[string]struct {
		rules, text string
		want        bool
	}{
		"right":         {`root ::= "a," root | "a,"`, long, true},
		"optional":      {`root ::= "a," root?`, long, true},
		"group":         {`root ::= "a" ("," root?)`, long, true},
		"left":          {`root ::= root "a," | "a,"`, long, true},
		"left option":   {`root ::= root? "a,"`, long, true},
		"both":          {`root ::= root root | "a,"`, long, true},
		"between":       {`root ::= root "," root | "a" | ""`, long, true},
		"by another":    {"root ::= \"a\" more\nmore ::= \",\" root | \",\"", long, true},
		"nested":        {`root ::= "(" root ")" | "x"`, strings.Repeat("(", 60) + "x" + strings.Repeat(")", 60), true},
		"nested deeper": {`root ::= "(" root ")" | "x"`, strings.Repeat("(", 70) + "x" + strings.Repeat(")", 70), false},
	} {
		g, err := Compile(t.Context(), Rules(tc.rules), v)
		if err != nil {
			t.Errorf("%s: %v", name, err)
		} else if g.takes(tc.text) != tc.want {
			t.Errorf("%s: let through: %v", name, !tc.want)
		}
	}
}

// TestRulesTwins holds rules against others of the same language without
// recursion, on all short texts.
func TestRulesTwins(t *testing.T) {
	v, _ := byteVocabulary()
	for rules, twin := range map[string]string{
		`root ::= root "a" | root "b" root | "c"`:                   `ca*(bca*)*`,
		`root ::= "a" root | root "b" | "c"`:                        `a*cb*`,
		`root ::= (root "a")? "b"`:                                  `b(ab)*`,
		`root ::= root root | "a" | "b"`:                            `[ab]+`,
		"root ::= x{2,3} \"c\"?\nx ::= \"a\" | \"bb\"":              `(a|bb){2,3}c?`,
		"root ::= \"a\" y\ny ::= \"b\" root | \"c\"":                `(ab)*ac`,
		"start: item (\",\" item)*\nitem: \"a\" | \"b\"i":           `(a|b|B)(,(a|b|B))*`,
		"start: X [Y] -> name\n | Y~2..3\nX: /a+/\nY: \"b\"..\"c\"": `a+[bc]?|[bc]{2,3}`,
	} {
		g := mustCompile(t, Rules(rules), v)
		h := mustCompile(t, Regex(twin), v)
		texts := []string{""}
		for i := 0; len(texts[i]) < 6; i++ {
			if a, b := g.takes(texts[i]), h.takes(texts[i]); a != b {
				t.Errorf("%s: %q: let through: %v, by %s: %v", rules, texts[i], a, twin, b)
			}
			for _, c := range "abcB," {
				texts = append(texts, texts[i]+string(c))
			}
			if len(texts) > 4000 {
				break
			}
		}
	}
}
