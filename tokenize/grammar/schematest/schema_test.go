// Package schematest holds what grammars of JSON schemas let through against a
// validator. It is a module of its own, so that who uses troupe does not depend
// on that validator.
package schematest

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/troupe-llm/troupe/tokenize"
	"github.com/troupe-llm/troupe/tokenize/grammar"
)

// vocabulary is the built-in model's, and the token that ends a text.
func vocabulary(t testing.TB) (v *grammar.Vocabulary, text func(int32) []byte, eos int32) {
	tok, err := tokenize.Load(os.DirFS("../../../gpu/model/builtin/checkpoint"))
	if err != nil {
		t.Fatal(err)
	}
	_, eos, ok := tok.EOS()
	if !ok {
		t.Fatal("the built-in tokenizer has no end of text")
	}
	text = func(id int32) []byte {
		if tok.IsSpecial(id) {
			return nil
		}
		return tok.TokenBytes(id)
	}
	return grammar.NewVocabulary(tok.Vocab(), text, []int32{eos}), text, eos
}

// rounds is how many random schemas are tried; TROUPE_ROUNDS says another
// number, TROUPE_SEED where to begin.
func rounds(t testing.TB, name string, otherwise int) int {
	s := os.Getenv(name)
	if s == "" {
		return otherwise
	}
	n, err := strconv.Atoi(s)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// TestRandomSchemas walks at random through what grammars of random schemas
// allow: what comes out is JSON, and valid.
func TestRandomSchemas(t *testing.T) {
	v, text, eos := vocabulary(t)
	refused, ended, endless, first := 0, 0, 0, rounds(t, "TROUPE_SEED", 1)
	n := rounds(t, "TROUPE_ROUNDS", 80)
	why := map[string]int{}
	for seed := first; seed < first+n; seed++ {
		rng := rand.New(rand.NewPCG(uint64(seed), 1))
		schema := newSchema(rng)
		g, err := grammar.Compile(t.Context(), grammar.Schema([]byte(schema)), v)
		if err != nil {
			refused++
			why[err.Error()[strings.LastIndex(err.Error(), ": ")+1:]]++
			continue
		}
		validator := compile(t, schema)
		for range 4 {
			out, err := walk(g, rng, text, eos, rng.IntN(120))
			if err != nil {
				t.Fatalf("seed %d: %s: %v", seed, schema, err)
			}
			if out == "" {
				endless++
				continue
			}
			ended++
			if err := valid(validator, out); err != nil {
				t.Fatalf("seed %d: %s\nlets through %s\n%v", seed, schema, out, err)
			}
		}
	}
	t.Logf("%d of %d schemas were refused: %v", refused, n, why)
	if endless > ended/20 {
		t.Errorf("%d texts had no end, %d had", endless, ended)
	}
	if refused > n/3 {
		t.Errorf("%d of %d schemas were refused: %v", refused, n, why)
	}
}

func compile(t testing.TB, schema string) *jsonschema.Schema {
	t.Helper()
	s, err := readSchema(schema)
	if err != nil {
		t.Fatalf("%s: %v", schema, err)
	}
	return s
}

func valid(s *jsonschema.Schema, text string) error {
	var plain any // as most programs read it
	if err := json.Unmarshal([]byte(text), &plain); err != nil {
		return err
	}
	if err := s.Validate(plain); err != nil {
		return fmt.Errorf("read into float64: %w", err)
	}
	doc, err := jsonschema.UnmarshalJSON(strings.NewReader(text))
	if err != nil {
		return err
	}
	return s.Validate(doc)
}

// walk draws allowed tokens until the text ends. After `calm` tokens it
// prefers those that close something.
func walk(g *grammar.Grammar, rng *rand.Rand, text func(int32) []byte, eos int32, calm int) (string, error) {
	m := g.Matcher()
	var out []int32
	var all []byte
	for len(out) < calm+2_000 {
		var ids []int32
		ends := false
		for w, bits := range m.Allow(out) {
			for b := range int32(32) {
				if bits>>b&1 == 0 {
					continue
				}
				if id := int32(w)*32 + b; id == eos {
					ends = true
				} else {
					ids = append(ids, id)
				}
			}
		}
		if ends && (len(ids) == 0 || len(out) > calm || rng.IntN(8) == 0) {
			return string(all), nil
		}
		if len(ids) == 0 {
			return "", fmt.Errorf("after %q nothing is allowed: %w", all, m.Err())
		}
		id := ids[rng.IntN(len(ids))]
		if len(out) > calm {
			id = calmest(ids, text, rng)
		}
		out = append(out, id)
		all = append(all, text(id)...)
	}
	return "", nil // no end in sight
}

func calmest(ids []int32, text func(int32) []byte, rng *rand.Rand) int32 {
	for _, want := range []string{`"`, `z`, `b`, `}`, `]`, `:`} {
		for _, id := range ids {
			if string(text(id)) == want && rng.IntN(8) > 0 {
				return id
			}
		}
	}
	return ids[rng.IntN(len(ids))]
}
