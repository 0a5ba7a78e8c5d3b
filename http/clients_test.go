package http

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/troupe-llm/troupe/actors"
	"github.com/troupe-llm/troupe/tokenize/jinja"
)

// TestAnthropicClients has Anthropic's official clients talk to a server whose
// model says what is prescribed: whole and streamed, with thinking, a tool that is
// called and its result used, and errors. It skips clients that are not installed:
// ./task test:clients installs them.
func TestAnthropicClients(t *testing.T) {
	bin, err := filepath.Abs("../bin")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ name, needs, program, script, argument string }{
		{"python", "venv/clients/lib/*/site-packages/anthropic", "venv/clients/bin/python", "clienttest/anthropic.py", ""},
		{"javascript", "node/node_modules/@anthropic-ai/sdk", "", "clienttest/anthropic.mjs", filepath.Join(bin, "node")},
	} {
		t.Run(c.name, func(t *testing.T) {
			program := "node"
			if c.program != "" {
				program = filepath.Join(bin, c.program)
			}
			_, lost := exec.LookPath(program)
			if found, _ := filepath.Glob(filepath.Join(bin, c.needs)); len(found) == 0 || lost != nil {
				t.Skip("the client is not installed")
			}
			eng := engineOf(prescribed)
			eng.template = templates["thinks"]
			h := startTCP(t, eng, Config{APIKeys: []string{"key"}})
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			run := exec.CommandContext(ctx, program, c.script, c.argument)
			run.Env = append(os.Environ(), "BASE_URL=http://"+h.ln.Addr().String(), "ANTHROPIC_API_KEY=key")
			if out, err := run.CombinedOutput(); err != nil {
				t.Errorf("%v\n%s", err, out)
			}
		})
	}
}

// prescribed answers by what was said last.
func prescribed(_ int, r *actors.Request) (*fakeStream, error) {
	messages, _ := r.Chat.Messages.([]any)
	last, _ := messages[len(messages)-1].(*jinja.Dict)
	role, _ := last.Get("role")
	content, _ := last.Get("content")
	said, _ := content.(string)
	end := ends(actors.FinishStop, 20, 10)
	end.Final.Usage.CachedTokens = 16
	switch {
	case role == "tool":
		return replies("It is "+said+" there.", end), nil
	case strings.Contains(said, "weather"):
		return replies("<think>\nI must look.\n</think>\n\nLet me see.\n<tool_call>\n{\"name\": \"weather\", \"arguments\": {\"city\": \"Oslo\", \"days\": [1, 2]}}\n</tool_call>", end), nil
	case strings.Contains(said, "count"):
		end.Final.Stop = "four"
		return replies("one two three ", end), nil
	case strings.Contains(said, "fail"):
		return replies("Well, ", fails(actors.ErrFailed)), nil
	}
	return replies("<think>\nA greeting.\n</think>\n\nHello, \"you\"!", end), nil
}

// replies says a text in small pieces.
func replies(text string, end actors.Event) *fakeStream {
	return newFakeStream(append(append([]actors.Event{started(strings.Repeat("a", 20))}, inPieces(text, 7)...), end)...)
}
