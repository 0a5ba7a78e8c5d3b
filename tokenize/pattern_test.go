package tokenize

import (
	"strings"
	"testing"
)

// TestWordCharacters holds \w to what Oniguruma was seen to match, which is not
// the same inside a class.
func TestWordCharacters(t *testing.T) {
	const text = "aé_٣Ⅷªⓐ🅰\u0301ー²½①½-. 😀\u200d"
	for expr, want := range map[string]string{
		`\w`:     "aé_٣Ⅷªⓐ🅰\u0301ー²½½",
		`[\w]`:   "aé_٣Ⅷªⓐ🅰\u0301ー",
		`\W`:     "①-. 😀\u200d",
		`[^\w]`:  "²½①½-. 😀\u200d",
		`[^\w½]`: "²①-. 😀\u200d",
	} {
		re, err := newRegex(expr)
		if err != nil {
			t.Fatal(err)
		}
		var got strings.Builder
		for at := re.matches(text, nil); len(at) > 0; at = at[2:] {
			got.WriteString(text[at[0]:at[1]])
		}
		if got.String() != want {
			t.Errorf("%s matches %q, want %q", expr, got.String(), want)
		}
	}
}
