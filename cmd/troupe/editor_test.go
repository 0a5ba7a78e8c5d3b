//go:build unix

package main

import (
	"fmt"
	"io"
	nethttp "net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/creack/pty"
)

// typist sits at a terminal in which the program runs.
type typist struct {
	t    *testing.T
	tty  *os.File
	cmd  *exec.Cmd
	came chan string // what was written on the screen
	seen string      // of it, and not yet looked for
}

// atTerminal runs the program in a terminal of 60 columns.
func atTerminal(t *testing.T, home string, args ...string) *typist {
	t.Helper()
	name, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(name, args...)
	cmd.Env = []string{"HOME=" + home, "TERM=xterm", "INPUTRC=" + os.DevNull}
	tty, err := pty.StartWithSize(cmd, &pty.Winsize{Rows: 24, Cols: 60})
	if err != nil {
		t.Skip("there is no terminal to be had: ", err)
	}
	ty := &typist{t: t, tty: tty, cmd: cmd, came: make(chan string, 1000)}
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = tty.Close() }) // when the test failed
	go ty.read()
	return ty
}

// read takes what comes.
func (ty *typist) read() {
	defer close(ty.came)
	buffer := make([]byte, 4096)
	for {
		n, err := ty.tty.Read(buffer)
		if err != nil {
			return
		}
		ty.came <- string(buffer[:n])
	}
}

// types presses keys.
func (ty *typist) types(keys string) {
	ty.t.Helper()
	if _, err := io.WriteString(ty.tty, keys); err != nil {
		ty.t.Fatal(err)
	}
}

// awaits reads until a text is there, and returns what came before it.
func (ty *typist) awaits(text string) string {
	ty.t.Helper()
	deadline := time.After(patience)
	for {
		if before, rest, found := strings.Cut(ty.seen, text); found {
			ty.seen = rest
			return before
		}
		select {
		case more, ok := <-ty.came:
			if !ok {
				ty.t.Fatalf("it ended, and no %q came: %q", text, ty.seen)
			}
			ty.seen += more
		case <-deadline:
			ty.t.Fatalf("no %q came: %q", text, ty.seen)
		}
	}
}

func (ty *typist) ends() {
	ty.t.Helper()
	for range ty.came { // until it has closed its terminal
	}
	if err := ty.cmd.Wait(); err != nil {
		ty.t.Errorf("it ended with %v", err)
	}
}

const (
	enter, up, tab, ctrlC, ctrlD, ctrlR = "\r", "\x1b[A", "\t", "\x03", "\x04", "\x12"
	pasteBegins, pasteEnds              = "\x1b[200~", "\x1b[201~"
)

// People paste, search, complete, interrupt, and find what they typed the next
// day.
func TestEditor(t *testing.T) {
	p := newParrot(t)
	heard, held := make(chan []string, 100), make(chan chan bool, 1)
	server := httptest.NewServer(nethttp.HandlerFunc(func(w nethttp.ResponseWriter, r *nethttp.Request) {
		select {
		case release := <-held:
			release <- true // it has come
			<-release
		default:
		}
		before := len(p.asked) // one request at a time
		p.Config.Handler.ServeHTTP(w, r)
		if len(p.asked) > before {
			heard <- said(p.asked[before])
		}
	}))
	defer server.Close()
	hears := func(want string) {
		t.Helper()
		if all := <-heard; all[len(all)-1] != "user: "+want {
			t.Errorf("it heard %q, want %q", all[len(all)-1], want)
		}
	}
	home := t.TempDir()
	ty := atTerminal(t, home, "chat", "--url", strings.TrimPrefix(server.URL, "http://"))
	ty.awaits("> ")

	ty.types(pasteBegins + "one \\\r\n\ttwo \"\"\"\rthree\r" + pasteEnds)
	ty.awaits("three")
	ty.types(enter)
	hears("one \\\n\ttwo \"\"\"\nthree")
	ty.awaits("4 tokens")
	ty.awaits("> ")

	ty.types("not sent")
	ty.awaits("not sent")
	ty.types(ctrlC)
	ty.awaits("> ")
	ty.types("a long message \\" + enter)
	ty.awaits("a long message")
	ty.types("of two lines" + enter)
	hears("a long message \nof two lines")
	ty.awaits("4 tokens")
	ty.awaits("> ")

	ty.types(ctrlR)
	ty.awaits("inc-search")
	ty.types("thr")
	ty.awaits("three")
	ty.types(enter)
	hears("one \\\n\ttwo \"\"\"\nthree")
	ty.awaits("4 tokens")
	ty.awaits("> ")

	// What is typed while a reply comes is not between its words, and not lost.
	release := make(chan bool)
	held <- release
	ty.types("who?" + enter)
	<-release
	ty.types("typed meanwhile")
	release <- true
	hears("who?")
	if shown := ty.awaits("4 tokens"); strings.Contains(shown, "meanwhile") {
		t.Errorf("within the reply is what was typed: %q", shown)
	}
	ty.awaits("typed meanwhile")
	ty.types(enter)
	hears("typed meanwhile")
	ty.awaits("4 tokens")
	ty.awaits("> ")

	ty.types("/cl" + tab)
	ty.awaits("/clear")
	ty.types(enter)
	ty.awaits("begins anew")
	ty.awaits("> ")
	file := filepath.Join(t.TempDir(), "conversation.json")
	ty.types("/save " + file + enter)
	ty.awaits("0 messages saved")
	ty.awaits("> ")
	ty.types(ctrlD)
	ty.ends()

	ty = atTerminal(t, home, "chat", "--url", server.URL)
	ty.awaits("> ")
	for range 6 { // /save, /clear, the last two, what was searched for, the message of two lines
		ty.types(up)
	}
	ty.awaits("of two lines")
	ty.types(enter)
	hears("a long message \nof two lines")
	ty.awaits("4 tokens")
	ty.awaits("> ")
	ty.types(ctrlD)
	ty.ends()

	info, err := os.Stat(filepath.Join(home, ".local", "state", "troupe", "history"))
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the history: %v, %v; want one that nobody else reads", info, err)
	}
}

// A history does not grow without end, and a very long text is not kept.
func TestHistoryIsBounded(t *testing.T) {
	file := filepath.Join(t.TempDir(), "history")
	var lines strings.Builder
	for i := range 2*historyTexts + 5 {
		fmt.Fprintf(&lines, "{\"block\": \"text %d\"}\n", i)
	}
	if err := os.WriteFile(file, []byte(lines.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := shortenHistory(file); err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(file)
	if n := strings.Count(string(data), "\n"); err != nil || n < historyTexts-1 || n > historyTexts || !strings.HasSuffix(string(data), fmt.Sprintf("text %d\"}\n", 2*historyTexts+4)) {
		t.Errorf("%d lines are left, %v", n, err)
	}
}
