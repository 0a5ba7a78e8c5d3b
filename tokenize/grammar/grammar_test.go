package grammar

import (
	"context"
	"encoding/json"
	"errors"
	"math/rand/v2"
	"regexp"
	"slices"
	"strings"
	"sync"
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
	g, err := Compile(t.Context(), s, v)
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

// What is allowed ahead is what will be; a draft that may not be ends it; and the matcher goes
// on as if nothing had been drafted.
func TestAhead(t *testing.T) {
	v, eos := byteVocabulary()
	for name, s := range map[string]*Spec{
		"object": JSONObject(),
		"choice": Choice(Literal("name"), Literal("na"), Regex("é*x{3,9}")),
		"unique": Schema([]byte(`{"type":"array","items":{"pattern":"^[ab]{1,2}$"},"uniqueItems":true,"maxItems":4}`)),
	} {
		g := mustCompile(t, s, v)
		rng := rand.New(rand.NewPCG(3, 4))
		whole, cut := 0, 0
		for range 40 {
			m, plain := g.Matcher(), g.Matcher()
			for out := []int32(nil); len(out) < 60; {
				ids := tokens(m.Allow(out))
				all, bad := slices.Clone(out), -1
				for i := range rng.IntN(6) {
					next := tokens(g.Matcher().Allow(all))
					id := next[rng.IntN(len(next))]
					if rng.IntN(8) == 0 {
						id = int32(rng.IntN(len(v.text)))
					}
					if bad < 0 && (id == eos || !slices.Contains(next, id)) {
						bad = i
					}
					if all = append(all, id); bad >= 0 {
						break
					}
				}
				n := len(all) - len(out)
				masks := m.Ahead(all, n)
				want := n
				if bad >= 0 {
					want = bad
					cut++
				}
				if len(masks) != want {
					t.Fatalf("%s: %d masks for %d drafts, of which the first %d may be", name, len(masks), n, want)
				}
				whole += len(masks)
				for i, mask := range masks {
					if want := g.Matcher().Allow(all[:len(out)+i+1]); !slices.Equal(mask, want) {
						t.Fatalf("%s: the mask behind draft %d is another", name, i)
					}
				}
				id := ids[rng.IntN(len(ids))]
				if id == eos {
					break
				}
				out = append(out, id)
				if !slices.Equal(m.Allow(out), plain.Allow(out)) || m.Err() != nil {
					t.Fatalf("%s: after drafts it allows something else: %v", name, m.Err())
				}
			}
		}
		if whole < 50 || cut < 5 {
			t.Errorf("%s: %d drafts that may be, %d that may not: the test has lost its teeth", name, whole, cut)
		}
	}
}

func TestRegexWalks(t *testing.T) {
	v, _ := byteVocabulary()
	for _, expr := range []string{
		`abc`, `a*b+c?`, `[a-z]{3,5}`, `(foo|bar|baz)+`, `\d{4}-\d{2}`, `.{0,10}x`, `[^"]*"`, `(a?){3,5}b`, `((a|b)*c){2}`, `é+|日本.`, `[\x{100}-\x{10ffff}]{1,3}`,
		`(?i)hello`, `^anchored$`, `\u0041+`, `[^a]`, `(ab|abc|b)*`, `(?s).`, `a{0,300}b`, `(|a|b)`,
	} {
		g := mustCompile(t, Regex(expr), v)
		whole := regexp.MustCompile(`^(?:` + unescaped(expr, asText) + `)$`)
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

// TestMasks tries every token byte by byte, along random walks, and a second
// time on an automaton that has forgotten everything.
func TestMasks(t *testing.T) {
	v, eos := byteVocabulary()
	for name, s := range map[string]*Spec{
		"object":   JSONObject(),
		"person":   Schema([]byte(personSchema)),
		"counted":  Regex(`([a-c]{0,60}|.{30,90}x|(ab?){70,}y)`),
		"choice":   Choice(Literal("name"), Literal("na"), Literal("日本"), Regex("é*")),
		"marked":   Sequence(Until("abc"), Schema([]byte(`{"type":"string","minLength":3,"maxLength":40}`)), Without("e+")),
		"repeated": Repeat(Sequence(Literal("\n"), JSONObject()), 1, 3),
		"anything": AnyText(),
	} {
		g := mustCompile(t, s, v)
		rng := rand.New(rand.NewPCG(3, 4))
		for range 6 {
			m := g.Matcher()
			var out []int32
			for range 90 {
				if rng.IntN(20) == 0 {
					g.begin() // as when it keeps too much
				}
				mask := m.Allow(out)
				var want []int32
				for id := range int32(len(v.text)) {
					g.a.work = maskWork
					if v.text[id] != nil && g.a.read(m.at, v, id) != dead || id == eos && g.a.states[m.at].accepts {
						want = append(want, id)
					}
				}
				got := tokens(mask)
				if !slices.Equal(got, want) {
					t.Fatalf("%s, after %d tokens: %d are allowed, %d should be", name, len(out), len(got), len(want))
				}
				id := got[rng.IntN(len(got))]
				if id == eos {
					break
				}
				out = append(out, id)
			}
		}
	}
}

// TestTokensEnd lets no token through that is special or not there.
func TestTokensEnd(t *testing.T) {
	v, eos := byteVocabulary()
	g := mustCompile(t, AnyText(), v)
	m := g.Matcher()
	for _, id := range tokens(m.Allow(nil)) {
		if v.text[id] == nil && id != eos {
			t.Errorf("token %d is allowed", id)
		}
	}
	for _, out := range [][]int32{{eos}, {int32(len(v.text) - 1)}, {-1}, {9999}} {
		m := g.Matcher()
		if ids := tokens(m.Allow(out)); len(ids) != 0 || m.Err() == nil {
			t.Errorf("after %v %d tokens are allowed, and %v", out, len(ids), m.Err())
		}
	}
	// A vocabulary without single bytes may not have what is needed.
	poor := NewVocabulary(2, func(int32) []byte { return []byte("ab") }, []int32{1})
	if _, err := Compile(t.Context(), Literal("abc"), poor); err != nil {
		t.Fatal(err)
	}
	if m := mustCompile(t, Literal("abc"), poor).Matcher(); len(tokens(m.Allow([]int32{0}))) != 0 || !errors.Is(m.Err(), errStuck) {
		t.Errorf("got %v", m.Err())
	}
}

// TestTogether has many follow one grammar that keeps too much all the time.
func TestTogether(t *testing.T) {
	v, _ := byteVocabulary()
	cache := NewCache(func() *Vocabulary { return v })
	var all sync.WaitGroup
	for i := range 8 {
		all.Go(func() {
			rng := rand.New(rand.NewPCG(uint64(i), 1))
			for range 10 {
				g, err := cache.Get(t.Context(), JSONObject())
				if err != nil {
					t.Error(err)
					return
				}
				g.mu.Lock()
				g.a.memory += maxMemory
				g.mu.Unlock()
				if s := walk(t, g, rng, 60); !json.Valid([]byte(s)) {
					t.Errorf("%q", s)
				}
			}
		})
	}
	all.Wait()
}

// TestCache keeps what was used last, and no errors.
func TestCache(t *testing.T) {
	made := 0
	v, _ := byteVocabulary()
	c := NewCache(func() *Vocabulary { made++; return v })
	get := func(s *Spec) *Grammar {
		g, err := c.Get(t.Context(), s)
		if err != nil {
			t.Fatal(err)
		}
		return g
	}
	first := get(Literal("0"))
	for i := range maxCached - 1 {
		get(Regex(strings.Repeat("a", i+1)))
	}
	if get(Literal("0").At("elsewhere")) != first {
		t.Error("what was used is forgotten, or told apart by where it came from")
	}
	second := get(Regex("a"))
	get(Literal("1"))
	if get(Literal("0")) != first || get(Regex("a")) != second || made != 1 || c.grammars.order.Len() != maxCached || len(c.grammars.entries) != maxCached {
		t.Errorf("%d entries, %d vocabularies", c.grammars.order.Len(), made)
	}
	// A refusal is kept for the place it is about.
	for _, path := range []string{"one", "two"} {
		s := Regex("(").At(path)
		if _, known, _ := c.Find(s); known {
			t.Errorf("%s is known beforehand", path)
		}
		_, err := c.Get(t.Context(), s)
		if _, known, again := c.Find(s); err == nil || !strings.HasPrefix(err.Error(), path) || !known || again.Error() != err.Error() {
			t.Errorf("got %v, then %v", err, again)
		}
	}
	for i := range maxRefusals {
		if _, err := c.Get(t.Context(), Regex("("+strings.Repeat("a", i))); err == nil {
			t.Error("no error")
		}
	}
	if n := len(c.refusals.entries); n != maxRefusals || c.refusals.order.Len() != n || len(c.grammars.entries) != maxCached {
		t.Errorf("%d refusals, %d grammars", n, len(c.grammars.entries))
	}
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	for range 2 {
		if _, err := c.Get(gone, Literal("for nobody")); !errors.Is(err, context.Canceled) {
			t.Errorf("got %v", err)
		}
	}
	// What may look alike is not mixed up.
	keys := map[string]bool{}
	for _, s := range []*Spec{
		Literal("ab"), Sequence(Literal("a"), Literal("b")), Sequence(Literal("ab")), Choice(Literal("a"), Literal("b")),
		Regex("ab"), Until("ab"), Without("ab"), Repeat(Literal("a"), 1, 2), Repeat(Literal("a"), 12, 0), Sequence(Sequence(Literal("a")), Literal("b")),
		Sequence(Sequence(Literal("a"), Literal("b"))),
	} {
		keys[s.Key()] = true
	}
	if len(keys) != 11 {
		t.Errorf("%d keys", len(keys))
	}
}

// TestForget has automata over their limit begin anew, and accounts for what
// they keep.
func TestForget(t *testing.T) {
	v, _ := byteVocabulary()
	g := mustCompile(t, JSONObject(), v)
	m := g.Matcher()
	m.Allow(nil)
	if kept := v.kept.Load(); kept != int64(g.a.memory) || kept == 0 {
		t.Errorf("%d bytes are accounted for, %d are kept", kept, g.a.memory)
	}
	g.a.memory = maxMemory + 1
	era := g.era
	before := slices.Clone(m.Allow([]int32{'{', '"', 'a'}))
	if g.era != era+1 || v.kept.Load() != 0 {
		t.Errorf("it was not begun anew, %d bytes are accounted for", v.kept.Load())
	}
	if after := m.Allow([]int32{'{', '"', 'a'}); !slices.Equal(before, after) {
		t.Error("the mask differs")
	}
}

// TestPanic has a fault fail the text it happens in and no other.
func TestPanic(t *testing.T) {
	v, _ := byteVocabulary()
	g := mustCompile(t, JSONObject(), v)
	bad, good := g.Matcher(), g.Matcher()
	bad.Allow(nil)
	bad.at = 1 << 20 // no such state
	if ids := tokens(bad.Allow([]int32{'{'})); len(ids) != 0 || bad.Err() == nil {
		t.Errorf("%d tokens are allowed, and %v", len(ids), bad.Err())
	}
	if bad.Known([]int32{'{'}) || len(tokens(good.Allow([]int32{'{'}))) == 0 || !good.Known([]int32{'{'}) {
		t.Error("another text is hurt")
	}
}
