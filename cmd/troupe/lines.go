package main

import (
	"bufio"
	"errors"
	"io"
	"os"
	"strings"

	"golang.org/x/term"
)

// lineReader reads what a user types: with line editing and a history on a
// terminal, plain lines elsewhere.
type lineReader struct {
	file *os.File       // the terminal, nil elsewhere
	edit *term.Terminal // on file
	text *bufio.Reader  // elsewhere
}

func newLineReader(in io.Reader, out io.Writer) *lineReader {
	file, _ := in.(*os.File)
	if !isTerminal(in) || !isTerminal(out) {
		return &lineReader{text: bufio.NewReader(in)}
	}
	return &lineReader{file: file, edit: term.NewTerminal(struct {
		io.Reader
		io.Writer
	}{clearOnInterrupt{file}, out}, "")}
}

func (l *lineReader) terminal() bool { return l.edit != nil }

const block = `"""`

// read returns a text: a line, lines joined by backslashes at their ends, or
// what stands between triple quotes. io.EOF means the user left.
func (l *lineReader) read(prompt string) (string, error) {
	line, err := l.line(prompt)
	if err != nil {
		return "", err
	}
	if rest, is := strings.CutPrefix(strings.TrimSpace(line), block); is {
		return l.readBlock(rest)
	}
	text := ""
	for {
		part, more := strings.CutSuffix(line, `\`)
		text += part
		if !more {
			return text, nil
		}
		text += "\n"
		if line, err = l.line(". "); errors.Is(err, io.EOF) {
			return text, nil
		} else if err != nil {
			return "", err
		}
	}
}

// readBlock reads up to the closing quotes; the opening ones were before line.
func (l *lineReader) readBlock(line string) (string, error) {
	var lines []string
	for {
		before, _, closed := strings.Cut(line, block)
		if before != "" || (!closed && len(lines) > 0) {
			lines = append(lines, before)
		}
		if closed {
			return strings.Join(lines, "\n"), nil
		}
		var err error
		if line, err = l.line(". "); errors.Is(err, io.EOF) {
			return strings.Join(lines, "\n"), nil
		} else if err != nil {
			return "", err
		}
	}
}

// line reads one line. The terminal is raw only while it does, so that Ctrl-C
// is a signal while a reply comes.
func (l *lineReader) line(prompt string) (string, error) {
	if l.edit == nil {
		line, err := l.text.ReadString('\n')
		if errors.Is(err, io.EOF) && line != "" {
			err = nil
		}
		return strings.TrimRight(line, "\r\n"), err
	}
	state, err := term.MakeRaw(int(l.file.Fd()))
	if err != nil {
		return "", err
	}
	defer term.Restore(int(l.file.Fd()), state) //nolint:errcheck // there is no other way to restore it
	if width, height, err := term.GetSize(int(l.file.Fd())); err == nil && width > 0 {
		_ = l.edit.SetSize(width, height) // it fails only where the terminal does
	}
	l.edit.SetPrompt(prompt)
	line, err := l.edit.ReadLine()
	if errors.Is(err, term.ErrPasteIndicator) {
		err = nil
	}
	return line, err
}

// clearOnInterrupt makes Ctrl-C clear the line, where it would leave.
type clearOnInterrupt struct{ io.Reader }

func (c clearOnInterrupt) Read(p []byte) (int, error) {
	const ctrlC, ctrlU = 3, 21
	n, err := c.Reader.Read(p)
	for i, b := range p[:n] {
		if b == ctrlC {
			p[i] = ctrlU
		}
	}
	return n, err
}
