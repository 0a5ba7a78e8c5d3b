package grammar

import (
	"encoding/json"
	"math/rand/v2"
	"regexp"
	"slices"
	"testing"
)

// byteVocabulary has a token for each byte (its id), some longer ones, special
// tokens, and one that ends a text.
func byteVocabulary() (*Vocabulary, int32) {
	texts := make([][]byte, 256, 400)
	for i := range texts {
		texts[i] = []byte{byte(i)}
	}
	for _, s := range []string{
		`{"`, `":`, `": "`, `",`, `"}`, `"}}`, `}}`, `[]`, `{}`, `[[`, `]]`, `, "`, ` "`, "true", "false", "null", "0.", "12", "-1",
		"name", "the ", " the", " a", "é", "日本", "本", "\xe6\x97", "\xa5\x20", "\xf0\x9f", "\x98\x80", `\u00`, `\n`, `\"`, "\n  ", "\n", "\t\t", "e+",
		"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", "ab", "abc", "b", // the last one is twice there
	} {
		texts = append(texts, []byte(s))
	}
	texts = append(texts, nil, nil)
	eos := int32(len(texts))
	texts = append(texts, []byte("<end>"), nil)
	return NewVocabulary(len(texts), func(id int32) []byte { return texts[id] }, []int32{eos}), eos
}

func mustCompile(t testing.TB, s *Spec, v *Vocabulary) *Grammar {
	t.Helper()
	g, err := Compile(s, v)
	if err != nil {
		t.Fatal(err)
	}
	return g
}

func tokens(mask []uint32) (ids []int32) {
	for t := range int32(len(mask) * 32) {
		if mask[t/32]>>(t%32)&1 != 0 {
			ids = append(ids, t)
		}
	}
	return ids
}

// walk draws allowed tokens until one of them ends the text. After `calm`
// tokens it takes what ends soonest, as far as one can see.
func walk(t testing.TB, g *Grammar, rng *rand.Rand, calm int) string {
	t.Helper()
	m := g.Matcher()
	var out []int32
	var text []byte
	for len(out) < calm+20_000 {
		ids := tokens(m.Allow(out))
		if m.Err() != nil || len(ids) == 0 {
			t.Fatalf("after %q nothing is allowed: %v", text, m.Err())
		}
		id := ids[rng.IntN(len(ids))]
		if eos := g.vocab.eos[0]; slices.Contains(ids, eos) && (len(out) > calm || rng.IntN(4) == 0) {
			return string(text)
		}
		if len(out) > calm {
			id = calmest(g.vocab, ids, rng)
		}
		if g.vocab.text[id] == nil {
			return string(text)
		}
		out = append(out, id)
		text = append(text, g.vocab.text[id]...)
	}
	t.Fatalf("no end in sight: %.200q", text)
	return ""
}

// calmest picks a token that closes something, if there is one.
func calmest(v *Vocabulary, ids []int32, rng *rand.Rand) int32 {
	for _, want := range []string{`"`, `}`, `]`, `:`, `0`, `1`, `9`} {
		for _, id := range ids {
			if string(v.text[id]) == want && rng.IntN(8) > 0 {
				return id
			}
		}
	}
	return ids[rng.IntN(len(ids))]
}

func TestRegexWalks(t *testing.T) {
	v, _ := byteVocabulary()
	for _, expr := range []string{
		`abc`, `a*b+c?`, `[a-z]{3,5}`, `(foo|bar|baz)+`, `\d{4}-\d{2}`, `.{0,10}x`, `[^"]*"`, `(a?){3,5}b`, `((a|b)*c){2}`, `é+|日本.`, `[\x{100}-\x{10ffff}]{1,3}`,
		`(?i)hello`, `^anchored$`, `\u0041+`, `[^a]`, `(ab|abc|b)*`, `(?s).`, `a{0,300}b`, `(|a|b)`,
	} {
		g := mustCompile(t, Regex(expr), v)
		whole := regexp.MustCompile(`^(?:` + unescaped(expr) + `)$`)
		rng := rand.New(rand.NewPCG(1, 2))
		for range 50 {
			if s := walk(t, g, rng, 30); !whole.MatchString(s) {
				t.Errorf("%s: %q", expr, s)
			}
		}
	}
}

func TestJSONObjectWalks(t *testing.T) {
	v, _ := byteVocabulary()
	g := mustCompile(t, JSONObject(), v)
	rng := rand.New(rand.NewPCG(1, 2))
	for range 300 {
		s := walk(t, g, rng, rng.IntN(200))
		var x map[string]any
		if err := json.Unmarshal([]byte(s), &x); err != nil {
			t.Fatalf("%q: %v", s, err)
		}
	}
}
