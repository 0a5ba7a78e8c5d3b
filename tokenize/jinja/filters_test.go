package jinja

import (
	"os"
	"strings"
	"testing"
)

// A filter has one line in the tables, and one that is refused has none and is said in doc.go to be.
func TestFilterTables(t *testing.T) {
	lines := map[string]int{}
	for _, f := range filterTable {
		for _, name := range strings.Fields(f.names) {
			lines[name]++
		}
	}
	for name := range rawFilters {
		lines[name]++
	}
	for name, n := range lines {
		if n != 1 {
			t.Errorf("%s is in the tables of filters %d times", name, n)
		}
	}
	doc, err := os.ReadFile("doc.go")
	if err != nil {
		t.Fatal(err)
	}
	_, left, _ := strings.Cut(string(doc), "the filters ")
	said, _, _ := strings.Cut(left, "\n")
	words := strings.FieldsFunc(strings.ReplaceAll(said, " and ", " "), func(r rune) bool { return r == ' ' || r == ',' })
	if len(words) != len(refused) {
		t.Errorf("doc.go says that %q are refused, which are %d", words, len(refused))
	}
	for _, name := range words {
		if !refused[name] || lines[name] > 0 {
			t.Errorf("doc.go says that %s is refused, which it is not", name)
		}
	}
}
