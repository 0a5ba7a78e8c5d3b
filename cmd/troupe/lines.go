package main

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"unicode"

	"github.com/reeflective/readline"
	"github.com/rivo/uniseg"
)

// lineReader reads what a user types: with an editor and a history on a
// terminal, plain lines elsewhere.
type lineReader struct {
	edit   *readline.Shell // nil where there is no terminal
	tty    *os.File        // that terminal
	text   *bufio.Reader   // elsewhere
	pasted bool            // lines were, into the text that is edited now
}

// editing is how the library is set up, whatever the user's inputrc says.
var editing = map[string]any{
	"enable-bracketed-paste":       true,
	"menu-complete-display-prefix": true, // Tab shows what there is before it takes any
	"multiline-column":             false,
	"cursor-position-probe":        false, // asking where the cursor is loses what is typed meanwhile; prompts begin lines
}

// newLineReader edits lines where in and out are the terminal. complete says
// what may follow the text before the cursor.
func newLineReader(in io.Reader, out io.Writer, complete func(string) readline.Completions) *lineReader {
	if !isTerminal(in) || !isTerminal(out) {
		return &lineReader{text: bufio.NewReader(in)}
	}
	l := &lineReader{edit: readline.NewShell()}
	l.tty, _ = in.(*os.File)
	for option, value := range editing {
		if err := l.edit.Config.Set(option, value); err != nil {
			panic("readline: " + err.Error())
		}
	}
	l.edit.AcceptMultiline = l.whole
	l.edit.PasteTransformer = l.paste
	l.edit.SyntaxHighlighter = func(line []rune) string {
		width, height := columns(out), rows(out)
		return makeRoom(string(line), width, height) + string(line)
	}
	l.edit.Completer = func(line []rune, cursor int) readline.Completions {
		return complete(string(line[:min(cursor, len(line))]))
	}
	return l
}

// makeRoom is what makes a terminal scroll until the text, behind a prompt of
// two columns, and one row more are on its screen, and moves the cursor back.
// The library does it only where it may ask where the cursor is.
func makeRoom(text string, width, height int) string {
	if width <= 0 || height <= 1 {
		return ""
	}
	need := 0
	for line := range strings.SplitSeq(text, "\n") {
		need += 1 + (2+uniseg.StringWidth(line))/width
	}
	need = min(need, height-1)
	return strings.Repeat("\x1bD", need) + fmt.Sprintf("\x1b[%dA", need) // as far down as is needed, and up again
}

func (l *lineReader) terminal() bool { return l.edit != nil }

// quiet keeps what is typed out of what is written, for the next text that is read, until restore is called.
func (l *lineReader) quiet() (restore func()) {
	if l == nil || l.tty == nil {
		return func() {}
	}
	return withoutEcho(l.tty)
}

// remember keeps what is typed in a file, and finds there what was before.
func (l *lineReader) remember(file string) error {
	if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
		return err
	}
	if err := shortenHistory(file); err != nil {
		return err
	}
	source, err := readline.NewHistoryFromFile(file)
	if err != nil {
		return err
	}
	l.edit.History.Add("history", shortTexts{source})
	return nil
}

const (
	historyTexts = 1000
	historyBytes = 32 << 10 // of one text; the library reads lines of 64 KiB at most
)

// shortTexts is a history without very long texts.
type shortTexts struct{ readline.History }

func (h shortTexts) Write(text string) (int, error) {
	if len(text) > historyBytes {
		return h.Len(), nil
	}
	return h.History.Write(text)
}

// shortenHistory makes the file if it is missing, and leaves the newest lines
// of one that has grown to twice as many as are kept.
func shortenHistory(file string) error {
	data, err := os.ReadFile(file)
	if errors.Is(err, os.ErrNotExist) {
		return os.WriteFile(file, nil, 0o600)
	}
	lines := bytes.SplitAfter(data, []byte("\n"))
	if err != nil || len(lines) < 2*historyTexts {
		return err
	}
	part := fmt.Sprintf("%s.%d", file, os.Getpid())
	if err := os.WriteFile(part, bytes.Join(lines[len(lines)-historyTexts:], nil), 0o600); err != nil {
		return err
	}
	return os.Rename(part, file)
}

const block = `"""`

// paste takes what was pasted: several lines as they are, to the letter, but
// for what would move the cursor.
func (l *lineReader) paste(text string) string {
	text = strings.Map(func(r rune) rune {
		if unicode.IsControl(r) && r != '\n' && r != '\t' {
			return -1
		}
		return r
	}, strings.TrimRight(text, "\n"))
	l.pasted = l.pasted || strings.Contains(text, "\n")
	return text
}

// whole reports whether Enter ends the text that is edited: not in an open
// block, nor after a backslash, which it takes away.
func (l *lineReader) whole(line []rune) bool {
	text := string(line)
	switch {
	case l.pasted:
		return true
	case isBlock(text):
		return closed(text)
	case strings.HasSuffix(text, `\`):
		l.edit.Line().Cut(len(line)-1, len(line))
		l.edit.Cursor().Set(len(line) - 1)
		return false
	}
	return true
}

func isBlock(text string) bool { return strings.HasPrefix(strings.TrimSpace(text), block) }

func closed(text string) bool {
	text = strings.TrimSpace(text)
	return len(text) >= 2*len(block) && strings.HasSuffix(text, block)
}

// read returns a text: a line, lines joined by backslashes at their ends, what
// stands between triple quotes, or what was pasted. io.EOF means the user left.
func (l *lineReader) read(prompt string) (string, error) {
	if l.edit == nil {
		return l.readPlain()
	}
	l.edit.Prompt.Primary(func() string { return prompt })
	l.edit.Prompt.Secondary(func() string { return ". " })
	for {
		l.pasted = false
		text, err := l.edit.Readline()
		switch {
		case errors.Is(err, readline.ErrInterrupt): // Ctrl-C clears what was typed
			continue
		case err != nil:
			return "", err
		case !l.pasted && isBlock(text):
			return unquoted(text), nil
		}
		return text, nil
	}
}

// readPlain reads a text where nobody edits it.
func (l *lineReader) readPlain() (string, error) {
	text, err := l.line()
	if err != nil {
		return "", err
	}
	inBlock := isBlock(text)
	for more := ""; ; text += "\n" + more {
		rest, goesOn := strings.CutSuffix(text, `\`)
		switch {
		case inBlock && closed(text):
			return unquoted(text), nil
		case !inBlock && !goesOn:
			return text, nil
		case !inBlock:
			text = rest
		}
		if more, err = l.line(); errors.Is(err, io.EOF) {
			return unquoted(text), nil
		} else if err != nil {
			return "", err
		}
	}
}

// unquoted takes triple quotes away from around a text.
func unquoted(text string) string {
	inside, is := strings.CutPrefix(strings.TrimSpace(text), block)
	if !is {
		return text
	}
	return strings.TrimSuffix(strings.TrimPrefix(strings.TrimSuffix(inside, block), "\n"), "\n")
}

func (l *lineReader) line() (string, error) {
	line, err := l.text.ReadString('\n')
	if errors.Is(err, io.EOF) && line != "" {
		err = nil
	}
	return strings.TrimRight(line, "\r\n"), err
}
