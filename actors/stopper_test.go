package actors

import (
	"math/rand/v2"
	"strings"
	"testing"
)

// cut is what a stopper must amount to, given the whole text at once.
func cut(text string, stops []string, include bool) (string, string) {
	at, which := len(text), ""
	for _, stop := range stops {
		if i := strings.Index(text, stop); i >= 0 && stop != "" && i < at {
			at, which = i, stop
		}
	}
	if include {
		at += len(which)
	}
	return text[:at], which
}

func runStopper(pieces []string, stops []string, include bool) (string, string) {
	s := newStopper(stops, include)
	var out strings.Builder
	for _, p := range pieces {
		text, found := s.add([]byte(p))
		out.Write(text)
		if found {
			return out.String(), s.found
		}
	}
	text, _ := s.flush(nil)
	out.Write(text)
	return out.String(), s.found
}

func TestStopper(t *testing.T) {
	for _, c := range []struct {
		name    string
		pieces  []string
		stops   []string
		include bool
		want    string
		found   string
	}{
		{"none", []string{"a", "b"}, nil, false, "ab", ""},
		{"whole piece", []string{"a", "END", "b"}, []string{"END"}, false, "a", "END"},
		{"across pieces", []string{"aE", "N", "Db"}, []string{"END"}, false, "a", "END"},
		{"included", []string{"aE", "N", "Db"}, []string{"END"}, true, "aEND", "END"},
		{"begins and does not end", []string{"aEN", "x"}, []string{"END"}, false, "aENx", ""},
		{"begins at the end of the text", []string{"aEN"}, []string{"END"}, false, "aEN", ""},
		{"overlapping beginnings", []string{"EE", "END"}, []string{"END"}, false, "EE", "END"},
		{"the earlier one counts", []string{"xyz"}, []string{"z", "y"}, false, "x", "y"},
		{"empty ones are nothing", []string{"ab"}, []string{""}, false, "ab", ""},
		{"in the middle of a character", []string{"h\xc3", "\xa9llo"}, []string{"él"}, false, "h", "él"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got, found := runStopper(c.pieces, c.stops, c.include); got != c.want || found != c.found {
				t.Errorf("got %q, stopped by %q; want %q, %q", got, found, c.want, c.found)
			}
		})
	}
}

// Any text, any stop strings, cut anywhere: the same as on the whole text.
// Only for stop strings none of which is a part of another can "earliest
// begun" differ from "first complete", so those are drawn without overlap.
func TestStopperCutAnywhere(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	word := func(n int) string {
		b := make([]byte, n)
		for i := range b {
			b[i] = "ab"[rnd.IntN(2)]
		}
		return string(b)
	}
	for range 20000 {
		n := 1 + rnd.IntN(5)
		stops := []string{word(n)}
		if rnd.IntN(2) == 0 {
			stops = append(stops, word(n)) // same length: the first complete is the earliest begun
		}
		text, include := word(rnd.IntN(20)), rnd.IntN(2) == 0
		var pieces []string
		for rest := text; rest != ""; {
			n := 1 + rnd.IntN(len(rest))
			pieces, rest = append(pieces, rest[:n]), rest[n:]
		}
		got, found := runStopper(pieces, stops, include)
		want, stop := cut(text, stops, include)
		if got != want || found != stop {
			t.Fatalf("%q stops %q include %v: got %q by %q, want %q by %q", pieces, stops, include, got, found, want, stop)
		}
	}
}
