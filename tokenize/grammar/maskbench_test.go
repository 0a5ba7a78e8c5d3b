package grammar

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"testing"
)

// maskCase is a file of MaskBench: a schema, and values that are valid or not.
type maskCase struct {
	Schema json.RawMessage
	Tests  []struct {
		Description string
		Valid       bool
		Data        json.RawMessage
	}
}

// TestMaskBench takes schemas as they are found, and values of which it is
// known whether they are valid: none that is not may be let through. Valid ones
// may be kept out, whose members come in another order than the schema's or are
// none of it. TROUPE_MASKBENCH is a directory of such files, as maskbench/data
// of github.com/guidance-ai/jsonschemabench; without it there are a few of our
// own. With -v it says how many were taken and why others were not.
func TestMaskBench(t *testing.T) {
	dir := os.Getenv("TROUPE_MASKBENCH")
	own := dir == ""
	if own {
		dir = filepath.Join("testdata", "maskbench")
	}
	files, err := filepath.Glob(filepath.Join(dir, "*.json"))
	if err != nil || len(files) == 0 {
		t.Fatalf("there are no files in %s: %v", dir, err)
	}
	v, _ := byteVocabulary()
	var compiled, valid, kept, invalid int
	refused := map[string]int{}
	for _, name := range files {
		c := readMaskCase(t, name)
		g, err := Compile(t.Context(), Schema(c.Schema), v)
		if err != nil {
			refused[reason(err)]++
			continue
		}
		compiled++
		for _, x := range c.Tests {
			var text bytes.Buffer
			if err := json.Compact(&text, x.Data); err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			through := g.root.matches(nil, text.String())
			switch {
			case x.Valid:
				valid++
				if !through {
					kept++
				}
			case through:
				t.Errorf("%s lets through %.200s: %s", name, &text, x.Description)
				fallthrough
			default:
				invalid++
			}
		}
	}
	t.Logf("%d of %d schemas compile; of their values, %d of %d valid ones are let through, and %d are not valid",
		compiled, len(files), valid-kept, valid, invalid)
	for _, why := range slices.SortedFunc(maps.Keys(refused), func(a, b string) int { return cmp.Or(refused[b]-refused[a], cmp.Compare(a, b)) }) {
		t.Logf("%5d refused: %s", refused[why], why)
	}
	if own && (compiled != 1 || valid != 3 || kept != 1 || invalid != 4 || len(refused) != 1) {
		t.Error("that is not what is in the files, but 1 schema, 2 of 3 and 4, and 1 refused")
	}
}

func readMaskCase(t *testing.T, name string) (c maskCase) {
	t.Helper()
	data, err := os.ReadFile(name)
	if err == nil {
		err = json.Unmarshal(data, &c)
	}
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return c
}

var particulars = regexp.MustCompile(`got .*|\d+`)

// reason is why a schema was refused, without what differs from one to the next.
func reason(err error) string {
	var fault *Error
	if !errors.As(err, &fault) {
		return err.Error()
	}
	return particulars.ReplaceAllString(fault.Msg, "…")
}
