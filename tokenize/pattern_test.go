package tokenize

import (
	"slices"
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

// TestPatternsTakeLinearTime runs patterns that a backtracking engine takes
// exponential or quadratic time for over a quarter of a million letters. It ends.
func TestPatternsTakeLinearTime(t *testing.T) {
	const n = 1 << 18
	for _, c := range []struct {
		expr, text string
		want       int // matches
	}{
		{`(a+)+b`, strings.Repeat("a", n), 0},
		{`(a|a)*b`, strings.Repeat("a", n), 0},
		{`(a|aa)+$b`, strings.Repeat("a", n), 0},
		{`(\w+\s?)+:`, strings.Repeat("word ", n/5), 0},
		{`(?=(a+)+b)a`, strings.Repeat("a", n), 0},
		{`(?=.*c)a`, strings.Repeat("a", n) + "c", n},
		{`a++b`, strings.Repeat("a", n), 0},
		{`(?>a+)b|a`, strings.Repeat("a", n), n},
		{`a(?!.*c)`, strings.Repeat("a", n), n},
		{`(?:a?){30}a{30}b`, strings.Repeat("a", n/16), 0},
		{`(?<=a)b|(?:(?:a|b)*c)+`, strings.Repeat("ab", n/2), n / 2},
	} {
		re, err := newRegex(c.expr)
		if err != nil {
			t.Errorf("%s: %v", c.expr, err)
		} else if got := len(re.matches(c.text, nil)) / 2; got != c.want {
			t.Errorf("%s: %d matches, want %d", c.expr, got, c.want)
		}
	}
}

// TestPatterns holds the general path to what Oniguruma finds.
func TestPatterns(t *testing.T) {
	for _, c := range []struct {
		expr, text string
		want       []string
	}{
		{`[a-z&&[^aeiou]]+`, "strength or", []string{"str", "ngth", "r"}},
		{`[\p{L}&&[^\p{Lu}]\d]`, "aB1", []string{"a"}},
		{`[a[bc]-]+`, "c-abd", []string{"c-ab"}},
		{`[^\S\n]+`, " \t\n ", []string{" \t", " "}},
		{`\S+`, "a\u0085b\u200bc", []string{"a", "b\u200bc"}},
		{`(?i)straSSe|x(?i:y)`, "STRASSE xY", []string{"STRASSE", "xY"}},
		{`(?i:a(?=b)b)`, "AB ab", []string{"AB", "ab"}},
		{`(?:a|b)++c`, "abac", []string{"abac"}},
		{`\d{1,3}(?=(?:\d{3})*\b)|x`, "x", nil},
		{`\d{1,3}(?=(?:\d{3})*(?!\d))`, "1234567", []string{"1", "234", "567"}},
		{`a{,2}b`, "aaab", []string{"aab"}},
		{`a{1,2}+b`, "aaaab", []string{"aaaab"}},
		{`(?<!a)b`, "ab bb", []string{"b", "b"}},
		{`\x{1F600}|\u00e9|\x41|\07`, "😀éA\a", []string{"😀", "é", "A", "\a"}},
		{`^a$`, "a\na", []string{"a", "a"}},
		{`\p{Han}+`, "漢字kana", []string{"漢字"}},
	} {
		re, err := newRegex(c.expr)
		if c.want == nil {
			if err == nil {
				t.Errorf("%s: not refused", c.expr)
			}
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", c.expr, err)
			continue
		}
		var got []string
		for at := re.matches(c.text, nil); len(at) > 0; at = at[2:] {
			got = append(got, c.text[at[0]:at[1]])
		}
		if !slices.Equal(got, c.want) {
			t.Errorf("%s in %q: %q, want %q", c.expr, c.text, got, c.want)
		}
	}
}
