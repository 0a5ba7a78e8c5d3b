package http

import (
	"context"
	"encoding/json"
	"flag"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/troupe-llm/troupe/actors"
)

// program is a client that ./task test:clients installs into bin/.
type program struct {
	name  string
	needs string   // what is there when it is installed, below bin/
	line  []string // the command; BIN stands for bin/
}

var python, node = filepath.Join("BIN", "venv", "clients", "bin", "python"), "node"

// sessionClients hold sessions with models of all families; anthropicClients have
// conversations of their own with one.
var (
	sessionClients = []program{
		{"python", "venv/clients/lib/*/site-packages/anthropic", []string{python, "clienttest/session.py"}},
		{"javascript", "node/node_modules/typescript", []string{node, "clienttest/session.mjs", filepath.Join("BIN", "node")}},
		{"go", "session", []string{filepath.Join("BIN", "session")}},
	}
	anthropicClients = []program{
		{"python", "venv/clients/lib/*/site-packages/anthropic", []string{python, "clienttest/messages.py"}},
		{"javascript", "node/node_modules/@anthropic-ai/sdk", []string{node, "clienttest/messages.mjs", filepath.Join("BIN", "node")}},
	}
)

// run has the client do its work, with this in its environment. It skips one that
// is not installed.
func (p *program) run(t *testing.T, environment ...string) {
	bin, err := filepath.Abs("../bin")
	if err != nil {
		t.Fatal(err)
	}
	line := make([]string, len(p.line))
	for i, word := range p.line {
		line[i] = strings.Replace(word, "BIN", bin, 1)
	}
	_, lost := exec.LookPath(line[0])
	if found, _ := filepath.Glob(filepath.Join(bin, p.needs)); len(found) == 0 || lost != nil {
		t.Skip("the client is not installed")
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	run := exec.CommandContext(ctx, line[0], line[1:]...)
	run.Env = append(os.Environ(), environment...)
	out, err := run.CombinedOutput()
	if t.Logf("%s", out); err != nil {
		t.Error(err)
	}
}

var (
	withClients = flag.Bool("clients", false, "have conversations by the clients that ./task test:clients installs")
	withCommand = flag.String("with", "", "a command for TestSessions, in place of its clients")
)

// TestSessions has official clients hold a session with a model of each family: it
// calls tools, and uses what they return. -with has another client do that, which
// finds where in $SESSIONS:
//
//	go test ./http -v -count 1 -run TestSessions -with 'echo $SESSIONS; sleep 1000'
func TestSessions(t *testing.T) {
	if !*withClients && *withCommand == "" {
		t.Skip("wants -clients or -with")
	}
	type server struct {
		Name, URL     string
		Thinks, Alone bool // see family
		Single        bool
	}
	var servers []server
	for i := range families {
		f := &families[i]
		h := startTCP(t, newSession(t, f), Config{APIKeys: []string{"key"}})
		servers = append(servers, server{f.name, "http://" + h.ln.Addr().String(), f.thought != "", f.alone, f.single})
	}
	list, err := json.Marshal(servers)
	if err != nil {
		t.Fatal(err)
	}
	environment := []string{"SESSIONS=" + string(list), "OPENAI_API_KEY=key", "ANTHROPIC_API_KEY=key"}
	if *withCommand != "" {
		run := exec.CommandContext(t.Context(), "sh", "-c", *withCommand)
		run.Env, run.Stdout, run.Stderr = append(os.Environ(), environment...), os.Stdout, os.Stderr
		if err := run.Run(); err != nil {
			t.Error(err)
		}
		return
	}
	for i := range sessionClients {
		t.Run(sessionClients[i].name, func(t *testing.T) { sessionClients[i].run(t, environment...) })
	}
}

// TestAnthropicClients has Anthropic's official clients talk to a server whose
// model says what is prescribed: whole and streamed, with thinking, stop strings
// and errors.
func TestAnthropicClients(t *testing.T) {
	if !*withClients {
		t.Skip("wants -clients")
	}
	for i := range anthropicClients {
		t.Run(anthropicClients[i].name, func(t *testing.T) {
			eng := engineOf(prescribed)
			eng.template = templates["thinks"]
			h := startTCP(t, eng, Config{APIKeys: []string{"key"}})
			anthropicClients[i].run(t, "BASE_URL=http://"+h.ln.Addr().String(), "ANTHROPIC_API_KEY=key")
		})
	}
}

// prescribed answers by what was said last.
func prescribed(_ int, r *actors.Request) (*fakeStream, error) {
	var turns []turn
	if err := plainly(r.Chat.Messages, &turns); err != nil {
		return nil, err
	}
	said := turns[len(turns)-1].text()
	end := ends(actors.FinishStop, 20, 10)
	end.Final.Usage.CachedTokens = 16
	switch {
	case strings.Contains(said, "count"):
		end.Final.Stop = "four"
		return replies("one two three ", end), nil
	case strings.Contains(said, "fail"):
		return replies("Well, ", fails(actors.ErrFailed)), nil
	}
	return replies("<think>\nA greeting.\n</think>\n\nHello, \"you\"!", end), nil
}

// replies says a text in small pieces.
func replies(text string, end actors.Output) *fakeStream {
	return newFakeStream(append(append([]actors.Output{started(strings.Repeat("a", 20))}, inPieces(text, 7)...), end)...)
}
