package grammar

import (
	"errors"
	"flag"
	"fmt"
	"math/big"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// TestSchemas reads cases of testdata/schemas.txt: a schema, then texts it has
// to let through (+) and texts it must not (-).
func TestSchemas(t *testing.T) {
	b, err := os.ReadFile(filepath.Join("testdata", "schemas.txt"))
	if err != nil {
		t.Fatal(err)
	}
	var e *expr
	for i, line := range strings.Split(string(b), "\n") {
		kind, rest, _ := strings.Cut(line, " ")
		at := fmt.Sprintf("schemas.txt:%d", i+1)
		switch kind {
		case "", "#":
		case "schema":
			if e, err = parseSchema(nil, rest, "schema"); err != nil {
				t.Fatalf("%s: %v", at, err)
			}
		case "+", "-":
			if got := e.matches(nil, rest); got != (kind == "+") {
				t.Errorf("%s: %s: let through: %v", at, rest, got)
			}
		default:
			t.Fatalf("%s: a line begins with schema, +, - or #", at)
		}
	}
}

// TestRefusals holds what is refused, and the words for it, against a golden
// file.
func TestRefusals(t *testing.T) {
	v, _ := byteVocabulary()
	var got strings.Builder
	tell := func(what string, s *Spec) {
		_, err := Compile(t.Context(), s, v)
		var fault *Error
		if !errors.As(err, &fault) {
			t.Errorf("%s: got %v", what, err)
			return
		}
		fmt.Fprintf(&got, "%s\n    %v\n", what, fault)
	}
	for _, schema := range []string{
		``, `1`, `{`, `{} {}`, `{"type":"strin"}`, `{"type":["string",1]}`, `{"type":"object","type":"array"}`, `{"properties":[]}`, `{"properties":{"a":1}}`,
		`{"not":1}`, `{"dependentRequired":{"a":1}}`, `{"dependentRequired":{"a":[1]}}`, `{"dependentSchemas":{"a":["b"]}}`, `{"dependencies":[]}`, `{"$dynamicRef":"#x"}`,
		`{"not":{"format":"regex"}}`, `{"oneOf":[{"format":"uri-reference"},{"type":"string"}]}`, `{"if":{"uniqueItems":true},"then":{}}`, `{"not":{"$ref":"#/$defs/a","unevaluatedProperties":false},"$defs":{"a":{}}}`,
		`{"not":{"multipleOf":0.5},"type":"integer"}`, `{"if":1}`, `{"contains":1}`, `{"contains":{},"minItems":500}`, `{"minContains":"1"}`,
		`{"uniqueItems":1}`, `{"uniqueItems":true}`, `{"uniqueItems":true,"items":{"type":"integer"}}`, `{"uniqueItems":true,"items":{"type":"string","maxLength":5000}}`, `{"uniqueItems":true,"items":{"pattern":"^[ab]$"},"minItems":3}`, `{"uniqueItems":true,"prefixItems":[{"const":1}],"items":{"const":1}}`, `{"unevaluatedProperties":{"type":"string"}}`, `{"anyOf":[{"unevaluatedProperties":false,"$ref":"#/$defs/a"}],"$defs":{"a":{}}}`,
		`{"items":[1]}`, `{"items":1}`, `{"prefixItems":{}}`, `{"minItems":-1}`, `{"maxItems":1.5}`, `{"minLength":"1"}`, `{"maxLength":1e12}`,
		`{"required":"a"}`, `{"required":[1]}`, `{"enum":1}`, `{"enum":[]}`, `{"enum":[1e999]}`, `{"type":"null","enum":[1]}`,
		`{"pattern":1}`, `{"items":{"pattern":"("}}`, `{"prefixItems":[{}],"items":{"pattern":"("}}`, `{"contains":{"pattern":"("}}`, `{"additionalProperties":{"pattern":"("}}`, `{"pattern":"("}`, `{"pattern":"(?=a)"}`, `{"pattern":"^a(?!b)"}`, `{"pattern":"^(?!a)b|c"}`, `{"pattern":"^(?!a)(b|a)|c"}`, `{"pattern":"^(?!a"}`, `{"pattern":"\\bword"}`, `{"pattern":"a^"}`, `{"pattern":"(a)\\1"}`,
		`{"pattern":"^.*a.{500}$","maxLength":600}`, `{"pattern":"^a$","minLength":2}`,
		`{"minimum":"0"}`, `{"exclusiveMinimum":"0"}`, `{"minimum":1e99}`, `{"multipleOf":0}`, `{"multipleOf":1.001}`, `{"type":"integer","multipleOf":1001}`,
		`{"minimum":2,"maximum":1}`, `{"type":"integer","exclusiveMinimum":1,"exclusiveMaximum":2}`,
		`{"anyOf":[]}`, `{"allOf":{}}`,
		`{"$ref":"other.json"}`, `{"$ref":"#/$defs/a"}`, `{"$ref":"#anchor"}`, `{"$ref":"#"}`, `{"$ref":1}`,
		`{"type":"object","properties":{"next":{"$ref":"#"}},"required":["next"]}`, `false`,
		`{"patternProperties":{"(":{}}}`, `{"minProperties":2}`, `{"properties":{"a":{}},"additionalProperties":true,"minProperties":3}`,
		`{"allOf":[{"multipleOf":991},{"multipleOf":997}]}`,
		`{"allOf":[` + strings.TrimSuffix(strings.Repeat(`{"anyOf":[{"minimum":1},{"minimum":2},{"minimum":3}]},`, 6), ",") + `]}`,
		strings.Repeat(`{"items":`, 300) + `1` + strings.Repeat(`}`, 300),
	} {
		what := schema
		if len(what) > 120 {
			what = what[:120] + "…"
		}
		tell("schema "+what, Schema([]byte(schema)).At("field"))
	}
	tell("a long schema", Schema([]byte(`{"description":"`+strings.Repeat("a", maxSource)+`"}`)).At("field"))
	for _, expr := range []string{`(`, `a(?!a)`, `(?!a)a`, `a\b`, `(^a)*`, `a{1001}`, `\p{Nothing}`, `((((a{100}){100}){100}){100})`, `[^\x{0}-\x{10ffff}]`} {
		tell("regex "+expr, Regex(expr).At("field"))
	}
	for _, rules := range []string{
		``, `a ::= "x"`, `root ::= a`, "root ::= \"a\"\nroot ::= \"b\"", `root ::= "a`, `root ::= [a`, `root ::= [z-a]`, `root ::= ("a"`, `root ::= "a")`, `root ::= "\q"`, `root ::= "\ud800"`,
		`root ::= "a"{3,2}`, `root ::= "a"{x}`, `root ::= <|end|>`, "root ::= a \"x\"\na ::= b | \"y\"\nb ::= \"z\"? root", `root ::= root "a"`, `root ::= ` + strings.Repeat("(", 300) + `"a"` + strings.Repeat(")", 300),
		"root ::= \"a\n\"", "root ::= a\n  b", "root ::= $", `start: a`, `start "a"`, `start: "a"~2..1`, `start: "a".."bc"`, `start: /(/`, `start: /a`, `start: /a/q`, `start: [a`, "%import other.X\nstart: X", "%import common.X\nstart: X", "%declare X\nstart: X",
		`start{x}: x`, `start: a{"b"}`, `start: start2 "a"`, "%ignore X\nstart: \"a\"",
	} {
		what := rules
		if len(what) > 60 {
			what = what[:60] + "…"
		}
		tell(fmt.Sprintf("rules %q", what), Rules(rules).At("field"))
	}
	tell("until nothing", Until("").At("field"))
	tell("no choice", Choice())
	path := filepath.Join("testdata", "refusals.txt")
	if *update {
		if err := os.WriteFile(path, []byte(got.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got.String() != string(want) {
		t.Errorf("%s differs; rewrite it with -update:\n%s", path, got.String())
	}
}

// TestIntegerRanges tries every integer about random ranges.
func TestIntegerRanges(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for range 60 {
		a, b := rng.IntN(2400)-1200, rng.IntN(2400)-1200
		low, high := min(a, b), max(a, b)
		n := numbers{integer: true, low: &bound{at: big.NewRat(int64(low), 1)}, high: &bound{at: big.NewRat(int64(high), 1)}}
		if rng.IntN(3) == 0 {
			n.multiples = []*big.Rat{big.NewRat(int64(1+rng.IntN(20)), 1)}
		}
		if rng.IntN(3) == 0 {
			n.low.strict = true
		}
		e, err := n.expr(nil)
		if err != nil {
			t.Fatal(err)
		}
		measure(e)
		automaton := newAutomaton(e)
		for i := low - 20; i <= high+20; i++ {
			if got, want := automaton.takes(strconv.Itoa(i)), n.has(big.NewRat(int64(i), 1)); got != want {
				t.Fatalf("%d of %d to %d (%+v): let through: %v", i, low, high, n, got)
			}
		}
		for _, s := range []string{"", "-", "-0", "00", "01", "+1", "1.0", "1e0"} {
			if automaton.takes(s) {
				t.Errorf("%d to %d: %q is let through", low, high, s)
			}
		}
	}
}

// TestNumberRanges tries decimals about random ranges.
func TestNumberRanges(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	decimal := func() *big.Rat { return big.NewRat(int64(rng.IntN(4000)-2000), []int64{1, 8, 100, 1000}[rng.IntN(4)]) }
	for range 60 {
		low, high := decimal(), decimal()
		if low.Cmp(high) > 0 {
			low, high = high, low
		}
		n := numbers{low: &bound{low, rng.IntN(2) == 0}, high: &bound{high, rng.IntN(2) == 0}}
		e, err := n.expr(nil)
		if err != nil {
			t.Fatal(err)
		}
		measure(e)
		automaton := newAutomaton(e)
		for range 300 {
			x := decimal()
			switch rng.IntN(4) {
			case 0:
				x = new(big.Rat).Set(low)
			case 1:
				x.Add(high, big.NewRat(int64(rng.IntN(3)-1), 1000))
			}
			whole, rest := split(new(big.Rat).Abs(x))
			s := whole
			if x.Sign() < 0 {
				s = "-" + s
			}
			if rest != "" {
				s += "." + rest
			} else if rng.IntN(2) == 0 {
				s += ".0"
			}
			if got, want := automaton.takes(s), n.has(x); got != want {
				t.Fatalf("%s in %v to %v (%v, %v): let through: %v", s, low, high, n.low.strict, n.high.strict, got)
			}
		}
	}
}

// takes reports whether the automaton's language has s.
func (a *automaton) takes(s string) bool {
	at := a.start
	a.work = maskWork
	for i := range len(s) {
		at = a.step(at, s[i])
	}
	return a.states[at].accepts
}

// TestHostile gives what is made to take long or much.
func TestHostile(t *testing.T) {
	v, _ := byteVocabulary()
	wide := strings.Builder{}
	for i := range 5000 {
		fmt.Fprintf(&wide, `"p%d":{"$ref":"#"},`, i)
	}
	deep := `{"$ref":"#/$defs/d0","$defs":{`
	for i := range 3000 {
		deep += fmt.Sprintf(`"d%d":{"items":{"$ref":"#/$defs/d%d"}},`, i, i+1)
	}
	deep += `"d3000":{}}}`
	powers := `{"$ref":"#/$defs/d0","$defs":{`
	for i := range 40 {
		powers += fmt.Sprintf(`"d%d":{"properties":{"a":{"$ref":"#/$defs/d%d"},"b":{"allOf":[{"$ref":"#/$defs/d%d"},{"required":["x%d"]}]}}},`, i, i+1, i+1, i)
	}
	powers += `"d40":{}}}`
	for name, s := range map[string]*Spec{
		"ambiguous":    Regex(`((a?b?c?d?){1,500}){1,500}x`),
		"exponential":  Regex(`(.*a.{200}|.*b.{300}|.*c.{400})+`),
		"nested stars": Regex(`((a*)*)*b`),
		"wide":         Schema([]byte(`{"properties":{` + strings.TrimSuffix(wide.String(), ",") + `}}`)),
		"deep":         Schema([]byte(deep)),
		"powers":       Schema([]byte(powers)),
		"long string":  Schema([]byte(`{"type":"string","minLength":1000000000}`)),
		"long array":   Schema([]byte(`{"type":"array","minItems":1000000000,"items":{"type":"array","minItems":1000000000}}`)),
		"loop":         Schema([]byte(`{"anyOf":[{"$ref":"#"},{"allOf":[{"$ref":"#"},{"type":"string"}]},{"type":"null"}]}`)),
		"choices":      Repeat(Choice(Without("x"), Without("y"), Repeat(Without("z"), 0, 1000)), 0, 1000),
	} {
		t.Run(name, func(t *testing.T) {
			began := time.Now()
			defer func() { t.Logf("took %v", time.Since(began)) }()
			g, err := Compile(t.Context(), s, v)
			if err != nil {
				t.Logf("%s: %v", name, err)
				return
			}
			m := g.Matcher()
			rng := rand.New(rand.NewPCG(1, 2))
			var out []int32
			for range 300 {
				ids := tokens(m.Allow(out))
				if len(ids) == 0 {
					break
				}
				out = append(out, ids[rng.IntN(len(ids))])
			}
			t.Logf("%s: %d tokens, %v, %d kB", name, len(out), m.Err(), g.a.memory/1000)
			if g.a.memory > maxMemory*2 {
				t.Errorf("%s: %d bytes are kept", name, g.a.memory)
			}
		})
	}
}
