package reply

import (
	"bytes"
	"strings"
)

// words are texts to look for, each known by its place. None begins another.
type words struct {
	all    []string // "" is never found
	firsts []byte   // the bytes they begin with
}

func newWords(all ...string) words {
	w := words{all: all}
	for _, s := range all {
		if s != "" && bytes.IndexByte(w.firsts, s[0]) < 0 {
			w.firsts = append(w.firsts, s[0])
		}
	}
	return w
}

// find is where the first of the words begins in b, and which it is; if there
// is none, where the tail begins that may become one.
func (w *words) find(b []byte) (at, which int, found bool) {
	for at < len(b) {
		i := w.first(b[at:])
		if i < 0 {
			break
		}
		at += i
		if which, v := w.at(b[at:]); v != bad {
			return at, which, v == ends
		}
		at++
	}
	return len(b), 0, false
}

// first is where the first byte of any word is.
func (w *words) first(b []byte) int {
	switch len(w.firsts) {
	case 0:
		return -1
	case 1:
		return bytes.IndexByte(b, w.firsts[0])
	}
	at := -1
	for _, c := range w.firsts {
		if i := bytes.IndexByte(b, c); i >= 0 {
			at, b = i, b[:i]
		}
	}
	return at
}

// at says whether b begins with a word, or may go on to.
func (w *words) at(b []byte) (which int, v verdict) {
	v = bad
	for i, s := range w.all {
		n := min(len(s), len(b))
		switch {
		case s == "" || string(b[:n]) != s[:n]:
		case n == len(s):
			return i, ends
		default:
			v = more
		}
	}
	return 0, v
}

// match follows one of some words byte by byte.
type match struct {
	words *words
	live  uint32 // those it may be, by their places
	n     int    // bytes so far
}

// begin is ready for one of w.
func (m *match) begin(w *words) { *m = match{words: w, live: 1<<len(w.all) - 1} }

// step takes the next byte. When a word ends it says which.
func (m *match) step(c byte) (which int, v verdict) {
	for i, s := range m.words.all {
		switch {
		case m.live>>i&1 == 0:
		case m.n >= len(s) || s[m.n] != c:
			m.live &^= 1 << i
		case m.n+1 == len(s):
			return i, ends
		}
	}
	if m.n++; m.live == 0 {
		return 0, bad
	}
	return 0, more
}

// begins reports whether one of the words begins with c.
func (w *words) begins(c byte) bool { return bytes.IndexByte(w.firsts, c) >= 0 }

// is reports whether a text is white space only.
func blank(s string) bool { return strings.TrimLeft(s, " \n\t\r") == "" }
