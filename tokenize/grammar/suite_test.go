package grammar

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// suiteCase is one schema of JSON-Schema-Test-Suite with its values.
type suiteCase struct {
	Description string
	Schema      json.RawMessage
	Tests       []struct {
		Description string
		Valid       bool
		Data        json.RawMessage
	}
}

// TestSuite takes JSON-Schema-Test-Suite: no value that is not valid may be let
// through. TROUPE_JSON_SCHEMA_SUITE is a directory of it, such as
// tests/draft2020-12 of github.com/json-schema-org/JSON-Schema-Test-Suite;
// without it there is one file of our own. With -v it says file by file how many
// schemas compile and how many of their valid values are let through, and names
// those that are not.
func TestSuite(t *testing.T) {
	dir := os.Getenv("TROUPE_JSON_SCHEMA_SUITE")
	own := dir == ""
	if own {
		dir = filepath.Join("testdata", "suite")
	}
	v, _ := byteVocabulary()
	var total suiteCount
	var table strings.Builder
	table.WriteString("# A file's schemas, those that compile, their valid values, those let through, their invalid values: all kept out.\n")
	err := filepath.WalkDir(dir, func(name string, d fs.DirEntry, err error) error {
		if err != nil || !strings.HasSuffix(name, ".json") {
			return err
		}
		var n suiteCount
		for _, c := range readSuite(t, name) {
			n.try(t, name, c, v)
		}
		t.Logf("%-60s %v", strings.TrimPrefix(name, dir), n)
		fmt.Fprintf(&table, "%s %d %d %d %d %d\n", filepath.ToSlash(strings.TrimPrefix(name, dir)), n.schemas, n.compiled, n.valid, n.let, n.invalid)
		total.add(n)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%-60s %v", "all", total)
	if !own && filepath.Base(dir) == "draft2020-12" {
		holdTable(t, filepath.Join("testdata", "suite", "draft2020-12.txt"), table.String())
	}
	if own && total != (suiteCount{schemas: 3, compiled: 2, valid: 3, let: 2, invalid: 3}) {
		t.Errorf("that is not what is in the files: %+v", total)
	}
}

// holdTable compares the counts with those that the documents speak of, file by file: a
// file whose schemas or values are not as many is another version's, and is left out.
func holdTable(t *testing.T, name, got string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(name, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	before := map[string]string{}
	for line := range strings.Lines(string(text)) {
		file, counts, _ := strings.Cut(line, " ")
		before[file] = counts
	}
	for line := range strings.Lines(got) {
		file, counts, _ := strings.Cut(line, " ")
		if was, is := before[file]; is && strings.Fields(was)[0] == strings.Fields(counts)[0] && was != counts {
			t.Errorf("%s: %s, and the table says %s (rewrite with -update)", file, counts, was)
		}
	}
}

func readSuite(t *testing.T, name string) (cases []suiteCase) {
	t.Helper()
	data, err := os.ReadFile(name)
	if err == nil {
		err = json.Unmarshal(data, &cases)
	}
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return cases
}

// suiteCount is how many schemas there were and compiled, and of those the
// valid values, which of them were let through, and the values that are not valid.
type suiteCount struct{ schemas, compiled, valid, let, invalid int }

func (n *suiteCount) add(m suiteCount) {
	n.schemas += m.schemas
	n.compiled += m.compiled
	n.valid += m.valid
	n.let += m.let
	n.invalid += m.invalid
}

func (n *suiteCount) try(t *testing.T, name string, c suiteCase, v *Vocabulary) {
	t.Helper()
	n.schemas++
	g, err := Compile(t.Context(), Schema(c.Schema), v)
	if err != nil {
		t.Logf("refused: %s: %s: %v", filepath.Base(name), c.Description, err)
		return
	}
	n.compiled++
	for _, x := range c.Tests {
		value, err := parseJSON(string(x.Data), "")
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		text := value.literal() // in the spelling that patterns and formats have
		through := g.takes(text)
		switch {
		case x.Valid && through:
			n.valid++
			n.let++
		case x.Valid:
			n.valid++
			t.Logf("kept out: %s: %s: %s: %.100s by %.150s", filepath.Base(name), c.Description, x.Description, text, compactly(c.Schema))
		default:
			n.invalid++
			if through {
				t.Errorf("%s: %s lets through %.200s: %s", name, c.Description, text, x.Description)
			}
		}
	}
}

func compactly(data []byte) string {
	var b bytes.Buffer
	if err := json.Compact(&b, data); err != nil {
		return err.Error()
	}
	return b.String()
}

// takes reports whether a text keeps to the grammar from beginning to end.
func (g *Grammar) takes(s string) bool { return g.root.matches(nil, s) }
