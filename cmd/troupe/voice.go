package main

import (
	"fmt"
	"io"
	"strings"
)

const (
	dim   = "\x1b[2m"
	plain = "\x1b[0m"
)

// voice writes a reply: reasoning, dimmed, then the text; both with words whole
// on a terminal.
type voice struct {
	out      io.Writer
	styled   bool
	markdown markdown // of the text; its wrapper is for unstyled text, too
	thoughts wrapper
	thinking bool
}

// newVoice writes to out; width is the terminal's, nil where there is none.
func newVoice(out io.Writer, styled bool, width func() int) *voice {
	return &voice{out: out, styled: styled, markdown: markdown{wrap: wrapper{width: width}}, thoughts: wrapper{width: width}}
}

func (v *voice) think(text string) {
	var out strings.Builder
	if !v.thinking {
		v.thinking = true
		out.WriteString(dim)
	}
	v.thoughts.text(&out, text)
	fmt.Fprint(v.out, out.String())
}

func (v *voice) say(text string) {
	v.stopThinking("\n\n")
	var out strings.Builder
	if v.styled {
		out.WriteString(v.markdown.add(text))
	} else {
		v.markdown.wrap.text(&out, text)
	}
	fmt.Fprint(v.out, out.String())
}

func (v *voice) stopThinking(gap string) {
	if !v.thinking {
		return
	}
	v.thinking = false
	var out strings.Builder
	v.thoughts.flush(&out)
	fmt.Fprint(v.out, out.String()+plain+gap)
}

// end leaves the terminal plain and in a new line.
func (v *voice) end() {
	v.stopThinking("")
	fmt.Fprintln(v.out, v.markdown.end())
}
