package grammar

import (
	"encoding/json"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

// stringVocabulary has all bytes and tokens of several strings.
func stringVocabulary() *Vocabulary {
	texts := make([][]byte, 256)
	for i := range texts {
		texts[i] = []byte{byte(i)}
	}
	for _, s := range []string{
		`["`, `","`, `"a"`, `"]`, `["a","a"`, `["a","b"`, `a","a`, `b"`, `,"a"`, `,"ab`, `b","b"]`, `""`, `"",""`, `","","`, `ab`, `ba`, `a"]`, `]}`, `{"x":["a`, `aa"`, `\n`, `","a","`, `b",`,
	} {
		texts = append(texts, []byte(s))
	}
	eos := int32(len(texts))
	return NewVocabulary(len(texts)+1, func(id int32) []byte {
		if id == eos {
			return nil
		}
		return texts[id]
	}, []int32{eos})
}

// TestTrack holds masks against all arrays there are: a token may follow exactly
// where one of them goes on with it.
func TestTrack(t *testing.T) {
	v := stringVocabulary()
	for _, tc := range []struct {
		schema string
		texts  []string // of the items
		low    int
		high   int
	}{
		{`{"type":"array","items":{"pattern":"^[ab]{1,2}$"},"uniqueItems":true,"maxItems":2}`, textsOf("ab", 1, 2), 0, 2},
		{`{"type":"array","items":{"pattern":"^[ab]{0,1}$"},"uniqueItems":true,"minItems":2}`, textsOf("ab", 0, 1), 2, 3},
		{`{"type":"array","items":{"type":"string","pattern":"^(a|bb)$"},"uniqueItems":true}`, []string{"a", "bb"}, 0, 2},
		{`{"type":"array","items":{"type":"string","pattern":"^(a|b|ab)$"},"uniqueItems":true,"minItems":3}`, []string{"a", "b", "ab"}, 3, 3},
		{`{"type":"array","items":{"type":"string","maxLength":2,"pattern":"^[ab]*$","minLength":1},"uniqueItems":true,"minItems":1,"maxItems":3}`, textsOf("ab", 1, 2), 1, 3},
	} {
		g := mustCompile(t, Schema([]byte(tc.schema)), v)
		arrays := arraysOf(tc.texts, tc.low, tc.high)
		rng := rand.New(rand.NewPCG(1, 2))
		for range 60 {
			m := g.Matcher()
			var out []int32
			text := ""
			for {
				mask := m.Allow(out)
				var next []int32
				for id := range int32(len(v.text)) {
					ends := slices.Contains(v.eos, id)
					if !ends && strings.ContainsAny(string(v.text[id]), " \n\t") {
						continue // the twin writes none
					}
					want := slices.ContainsFunc(arrays, func(a string) bool {
						return ends && a == text || !ends && strings.HasPrefix(a, text+string(v.text[id]))
					})
					if got := mask[id/32]>>(id%32)&1 != 0; got != want {
						t.Fatalf("%s, after %s: %q is allowed: %v", tc.schema, text, v.text[id], got)
					}
					if want {
						next = append(next, id)
					}
				}
				if !m.Known(out) {
					t.Errorf("after %s its own mask is not known", text)
				}
				id := next[rng.IntN(len(next))]
				if slices.Contains(v.eos, id) {
					break
				}
				out = append(out, id)
				text += string(v.text[id])
			}
		}
	}
}

// textsOf are all texts of these characters and lengths.
func textsOf(of string, low, high int) (all []string) {
	level := []string{""}
	for n := 0; n <= high; n++ {
		if n >= low {
			all = append(all, level...)
		}
		var next []string
		for _, s := range level {
			for _, c := range of {
				next = append(next, s+string(c))
			}
		}
		level = next
	}
	return all
}

// arraysOf are all arrays of so many of these, each once.
func arraysOf(items []string, low, high int) (all []string) {
	var add func(head []string)
	add = func(head []string) {
		if len(head) >= low {
			text, _ := json.Marshal(append([]string{}, head...))
			all = append(all, string(text))
		}
		if len(head) == high {
			return
		}
		for _, s := range items {
			if !slices.Contains(head, s) {
				add(append(head[:len(head):len(head)], s))
			}
		}
	}
	add(nil)
	return all
}

// TestUniqueWalks draws arrays whose strings differ, on their own and within
// objects, of free strings and of few; another's strings are no concern of theirs,
// also after the automaton has forgotten everything.
func TestUniqueWalks(t *testing.T) {
	v := stringVocabulary()
	for _, schema := range []string{
		`{"type":"array","items":{"type":"string"},"uniqueItems":true,"minItems":2}`,
		`{"type":"array","items":{"type":"string","maxLength":1},"uniqueItems":true,"minItems":2,"maxItems":9}`,
		`{"properties":{"x":{"type":"array","items":{"pattern":"^[a-b]{1,3}$"},"uniqueItems":true,"minItems":10},"y":{"type":"array","items":{"type":"string","format":"hostname","maxLength":4},"uniqueItems":true},"z":{"type":"array","items":{"pattern":"^a?$"}}},"required":["x","y"]}`,
		`{"type":"array","items":{"type":"array","items":{"type":"string","pattern":"^(x[ab]|y.*)$"},"uniqueItems":true}}`,
		`{"anyOf":[{"type":"array","items":{"type":"string"},"uniqueItems":true},{"type":"array","items":{"type":"integer"}}]}`,
	} {
		g := mustCompile(t, Schema([]byte(schema)), v)
		rng := rand.New(rand.NewPCG(1, 2))
		for range 40 {
			if rng.IntN(3) == 0 {
				g.begin()
			}
			s := walk(t, g, rng, 60)
			var x any
			if err := json.Unmarshal([]byte(s), &x); err != nil {
				t.Fatalf("%s: %q: %v", schema, s, err)
			}
			if again := repeated(x); again != "" {
				t.Errorf("%s: %s has %s twice", schema, s, again)
			}
		}
	}
}

// repeated finds a string that an array has twice; those of z may.
func repeated(x any) string {
	switch x := x.(type) {
	case map[string]any:
		for name, e := range x {
			if again := repeated(e); again != "" && name != "z" {
				return again
			}
		}
	case []any:
		seen := map[string]bool{}
		for _, e := range x {
			if s, ok := e.(string); ok {
				if seen[s] {
					return "s" + s
				}
				seen[s] = true
			} else if again := repeated(e); again != "" {
				return again
			}
		}
	}
	return ""
}
