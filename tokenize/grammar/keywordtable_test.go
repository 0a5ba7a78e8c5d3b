package grammar

import (
	"os"
	"strings"
	"testing"
)

// README names each keyword that is kept to.
func TestKeywordsAreDocumented(t *testing.T) {
	readme, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	for name, word := range keywordTable {
		if said := strings.Contains(string(readme), "`"+name+"`"); word.read != nil && !said {
			t.Errorf("README.md does not name %s, which is read", name)
		}
	}
}
