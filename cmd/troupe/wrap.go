package main

import (
	"math"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/rivo/uniseg"
)

// wrapper breaks lines between words, as wide as a terminal is, in text that
// comes in pieces. It holds back the word that may go on. Wide characters, as
// Chinese is written with, are words of their own, but for punctuation, which
// begins no line. Without a width nothing is held back or broken.
type wrapper struct {
	width func() int // of the terminal, in columns, 0 if it does not say; nil: none
	hang  string     // begins the lines that a long one goes on in

	column int
	gap    string // white space before the word
	word   strings.Builder
	wide   int // columns of the word
}

func (w *wrapper) wraps() bool { return w.width != nil }

// text adds text.
func (w *wrapper) text(out *strings.Builder, s string) {
	if !w.wraps() {
		out.WriteString(s)
		return
	}
	for state := -1; s != ""; {
		var cluster string
		var columns int
		cluster, s, columns, state = uniseg.FirstGraphemeClusterInString(s, state)
		switch first, _ := utf8.DecodeRuneInString(cluster); {
		case first == '\n' || first == '\r':
			w.newline(out)
		case first == ' ' || first == '\t':
			w.flush(out)
			w.gap += cluster
		default:
			if w.wide > 0 && columns > 1 && !unicode.In(first, unicode.Pe, unicode.Pf, unicode.Po) {
				w.flush(out)
			}
			w.word.WriteString(cluster)
			w.wide += columns
		}
	}
}

// code adds what takes no place: the beginning or end of a style.
func (w *wrapper) code(out *strings.Builder, s string) {
	if w.wraps() {
		out = &w.word
	}
	out.WriteString(s)
}

// verbatim adds text that is not broken, such as code.
func (w *wrapper) verbatim(out *strings.Builder, s string) {
	if w.wraps() {
		w.flush(out)
		out.WriteString(w.gap)
		w.gap = ""
		line := strings.LastIndexByte(s, '\n')
		if line >= 0 {
			w.column = 0
		}
		w.column += uniseg.StringWidth(s[line+1:])
	}
	out.WriteString(s)
}

func (w *wrapper) newline(out *strings.Builder) {
	w.flush(out)
	out.WriteString("\n")
	w.gap, w.column = "", 0
}

// flush writes the word, in a new line if it does not fit in this one.
func (w *wrapper) flush(out *strings.Builder) {
	if w.wide > 0 {
		limit := w.width()
		if limit <= 0 { // the terminal does not say
			limit = math.MaxInt
		}
		space := len(w.gap) // a tab may take more
		if w.column+space+w.wide > limit && w.column > len(w.hang) {
			out.WriteString("\n" + w.hang)
			w.gap, w.column, space = "", uniseg.StringWidth(w.hang), 0
		}
		w.column += space + w.wide
		for w.column > limit { // the terminal breaks a word that is wider than it
			w.column -= limit
		}
		out.WriteString(w.gap)
		w.gap = ""
	}
	out.WriteString(w.word.String())
	w.word.Reset()
	w.wide = 0
}
