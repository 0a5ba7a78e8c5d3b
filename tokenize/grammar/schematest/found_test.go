package schematest

import (
	"encoding/json"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/troupe-llm/troupe/tokenize/grammar"
)

// TestFoundSchemas walks at random through what grammars of schemas as they are
// found allow, those of MaskBench (see TestMaskBench of grammar): what comes
// out is valid. TROUPE_WALKS says how many walks each; without it, one.
func TestFoundSchemas(t *testing.T) {
	dir := os.Getenv("TROUPE_MASKBENCH")
	if dir == "" {
		t.Skip("TROUPE_MASKBENCH is not set to the directory of MaskBench's files")
	}
	files, err := filepath.Glob(filepath.Join(dir, "*.json"))
	if err != nil || len(files) == 0 {
		t.Fatalf("there are no files in %s: %v", dir, err)
	}
	v, text, eos := vocabulary(t)
	walks := rounds(t, "TROUPE_WALKS", 1)
	var refused, unread, ended, endless, stuck int
	for i, name := range files {
		var c struct{ Schema json.RawMessage }
		data, err := os.ReadFile(name)
		if err == nil {
			err = json.Unmarshal(data, &c)
		}
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		g, err := grammar.Compile(t.Context(), grammar.Schema(c.Schema), v)
		if err != nil {
			refused++
			continue
		}
		validator, err := readSchema(string(c.Schema))
		if err != nil {
			unread++
			continue
		}
		rng := rand.New(rand.NewPCG(uint64(i), uint64(rounds(t, "TROUPE_SEED", 1))))
		for range walks {
			out, err := walk(g, rng, text, eos, rng.IntN(200))
			if err != nil {
				stuck++
				t.Logf("%s: %v", name, err)
				continue
			}
			if out == "" {
				endless++
				continue
			}
			ended++
			if err := valid(validator, out); err != nil {
				t.Errorf("%s lets through %s\n%v", name, out, err)
			}
		}
	}
	t.Logf("%d of %d schemas were refused, and %d are no schemas to the validator; %d texts are valid, %d had no end, %d became too ambiguous",
		refused, len(files), unread, ended, endless, stuck)
}

// readSchema is the validator of a schema.
func readSchema(schema string) (*jsonschema.Schema, error) {
	doc, err := jsonschema.UnmarshalJSON(strings.NewReader(schema))
	if err != nil {
		return nil, err
	}
	c := jsonschema.NewCompiler()
	c.AssertFormat()
	// It knows two formats that JSON Schema does not.
	for _, name := range []string{"semver", "period"} {
		c.RegisterFormat(&jsonschema.Format{Name: name, Validate: func(any) error { return nil }})
	}
	if err := c.AddResource("schema.json", doc); err != nil {
		return nil, err
	}
	return c.Compile("schema.json")
}
