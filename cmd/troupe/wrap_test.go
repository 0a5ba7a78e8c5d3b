package main

import (
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/rivo/uniseg"
)

// wrapped is a text as a wrapper writes it, given in pieces.
func wrapped(columns int, hang string, pieces ...string) string {
	w := wrapper{width: func() int { return columns }, hang: hang}
	var out strings.Builder
	for _, piece := range pieces {
		w.text(&out, piece)
	}
	w.flush(&out)
	return out.String()
}

func TestWrap(t *testing.T) {
	for _, c := range []struct{ name, hang, text, want string }{
		{"words stay whole", "", "the quick brown fox", "the quick\nbrown fox"},
		{"a line that just fits", "", "0123456789 012", "0123456789\n012"},
		{"spaces stay, but where a line is broken", "", "a  b   cdefghij", "a  b\ncdefghij"},
		{"lines of their own", "", "a\n\nb ", "a\n\nb"},
		{"what goes on hangs", "  ", "• one two three", "• one two\n  three"},
		{"a word too long is left to the terminal", "", "a 0123456789012345 b", "a\n0123456789012345 b"},
		{"wide characters break anywhere", "", "日本語テキスト", "日本語テキ\nスト"},
		{"but punctuation begins no line", "", "日本語テキ。スト", "日本語テ\nキ。スト"},
		{"accents have no width", "", "e\u0301e\u0301e\u0301e\u0301 e\u0301e\u0301e\u0301e\u0301 x", "e\u0301e\u0301e\u0301e\u0301 e\u0301e\u0301e\u0301e\u0301\nx"},
	} {
		if got := wrapped(10, c.hang, c.text); got != c.want {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
	}
}

// Codes take no place, wherever they stand, and code is not broken.
func TestWrapAroundCodes(t *testing.T) {
	w := wrapper{width: func() int { return 10 }}
	var out strings.Builder
	w.text(&out, "one two th")
	w.code(&out, "<b>")
	w.text(&out, "ree ")
	w.verbatim(&out, "0123456789 0123456789\n012345")
	w.text(&out, " 67890")
	w.flush(&out)
	if want := "one two\nth<b>ree 0123456789 0123456789\n012345\n67890"; out.String() != want {
		t.Errorf("%q, want %q", out.String(), want)
	}
}

// However the text comes in pieces, the same comes out: no line is too long
// that could be broken, and nothing is lost but spaces at breaks.
func TestWrapInPieces(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	bits := []string{"a", "word", " ", "  ", "\n", "日本", "。", "é", "0123456789abcdef", "-"}
	for range 2000 {
		var pieces []string
		for range rng.IntN(30) {
			pieces = append(pieces, bits[rng.IntN(len(bits))])
		}
		text, columns := strings.Join(pieces, ""), 10+rng.IntN(20)
		got := wrapped(columns, "", pieces...)
		if want := wrapped(columns, "", text); got != want {
			t.Fatalf("%q in pieces: %q, at once %q", text, got, want)
		}
		if strings.Join(strings.Fields(got), "") != strings.Join(strings.Fields(text), "") {
			t.Fatalf("%q becomes %q", text, got)
		}
		for line := range strings.SplitSeq(got, "\n") {
			if uniseg.StringWidth(line) > columns && strings.Contains(line, " ") && len(strings.Fields(line)[0]) < columns {
				t.Fatalf("%q is wider than %d", line, columns)
			}
		}
	}
}
