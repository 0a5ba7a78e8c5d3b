package http

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/troupe-llm/troupe/actors"
	"github.com/troupe-llm/troupe/http/internal/dialect/model"
	"github.com/troupe-llm/troupe/tokenize"
)

// session is an engine with a family's model, which says what is prescribed: who
// asks for the weather is answered by calls of a tool, and what they return by an
// answer with that in it. Each conversation is held against what was said before.
type session struct {
	*fakeEngine
	t         *testing.T
	family    *family
	tokenizer *templated
}

func newSession(t *testing.T, f *family) *session {
	t.Helper()
	s := &session{t: t, family: f, tokenizer: f.tokenizer(t)}
	s.fakeEngine = engineOf(func(_ int, r *actors.Request) (*fakeStream, error) { return s.reply(r.Chat), nil })
	s.info.model, s.info.maxLen = f.name, 1<<20
	return s
}

func (s *session) Tokenizer() model.Tokenizer { return s.tokenizer }

// turn is a message as a template gets it.
type turn struct {
	Role       string
	Content    any
	ToolCallID string        `json:"tool_call_id"`
	ToolCalls  []toolRequest `json:"tool_calls"`
}

type toolRequest struct {
	ID       string
	Function struct {
		Name      string
		Arguments any
	}
}

// offered is a tool as a template gets it.
type offered struct {
	Function struct {
		Name       string
		Parameters struct {
			Properties map[string]struct{ Type string }
			Required   []string
		}
	}
}

func (s *session) reply(chat *tokenize.Chat) *fakeStream {
	var turns []turn
	var tools []offered
	prompt, err := s.tokenizer.Render(*chat)
	err = errors.Join(err, plainly(chat.Messages, &turns), plainly(chat.Tools, &tools))
	if err == nil {
		err = remembered(turns, prompt)
	}
	if err != nil {
		s.t.Errorf("%s: %v: %s", s.family.name, err, prompt)
		return newFakeStream(fails(&actors.InputError{Param: "messages", Msg: err.Error()}))
	}
	text, end := s.family.answer(turns, tools), ends(actors.FinishStop, 20, 10)
	switch last := turns[len(turns)-1].text(); {
	case strings.Contains(last, "be cut off"):
		text, end = text[:len(text)-2], ends(actors.FinishLength, 20, 10)
	case strings.Contains(last, "fail"):
		end = fails(actors.ErrFailed)
	}
	return newFakeStream(slices.Concat([]actors.Output{started(prompt)}, inPieces(text, 7), []actors.Output{end})...)
}

// plainly has what a template gets in types of Go's.
func plainly(given, into any) error {
	text, err := json.Marshal(given)
	if err != nil {
		return err
	}
	return json.Unmarshal(text, into)
}

// answer is what a model of this family says next.
func (f *family) answer(turns []turn, tools []offered) string {
	var results []string
	said := ""
	for i := range turns {
		switch m := &turns[i]; m.Role {
		case "assistant": // what came before is answered
			results, said = nil, ""
		case "tool":
			results = append(results, m.text())
		default: // some agents have systems say something behind users
			said += m.text()
		}
	}
	call, can := callOf(tools)
	switch {
	case len(results) > 0:
		return f.writes("Good.", "It is "+strings.Join(results, " and ")+" there.")
	case !can || !strings.Contains(said, "weather"):
		return f.writes("A greeting.", `Hello, "you"!`)
	case strings.Contains(said, "Rome") && !f.single:
		return f.writes("Both.", "Two.", call("Rome"), call("Bergen"))
	}
	return f.writes("I must look.", "Let me see.", call("Oslo"))
}

// note is what a call has to bring along unharmed.
const note = `in "°C" & <b>, 'please'`

// callOf calls the tool that there is: one that tells the weather, or a shell.
func callOf(tools []offered) (call func(city string) called, can bool) {
	for i := range tools {
		t := &tools[i].Function
		switch {
		case t.Name == "weather":
			return func(city string) called {
				return called{t.Name, []argument{{"city", city}, {"days", []int{1, 2}}, {"note", note}}}
			}, true
		case slices.Contains([]string{"bash", "Bash", "shell", "shell_command", "exec_command"}, t.Name):
			return func(string) called { return called{t.Name, shellArguments(&tools[i])} }, true
		}
	}
	return nil, false
}

// shellArguments run a command that tells the weather.
func shellArguments(shell *offered) (all []argument) {
	p := &shell.Function.Parameters
	for _, name := range p.Required {
		var value any = "Tells the weather."
		switch command := "echo $((20+1)) degrees"; {
		case name != "command" && name != "cmd":
		case p.Properties[name].Type == "array":
			value = []string{"bash", "-c", command}
		default:
			value = command
		}
		all = append(all, argument{name, value})
	}
	return all
}

// remembered reports what has become of calls and their results.
func remembered(turns []turn, prompt string) error {
	var open []string // ids of calls without a result
	for _, m := range turns {
		for _, c := range m.ToolCalls {
			if err := c.remembered(); err != nil {
				return err
			}
			open = append(open, c.ID)
		}
		if m.Role != "tool" {
			continue
		}
		if len(open) == 0 || open[0] == "" || open[0] != m.ToolCallID {
			return fmt.Errorf("there are calls %q, and a result is that of %q", open, m.ToolCallID)
		}
		open = open[1:]
		result := strings.TrimSpace(m.text())
		if quoted := (argument{Value: result}).JSON(); !strings.Contains(prompt, result) && !strings.Contains(prompt, quoted[1:len(quoted)-1]) {
			return fmt.Errorf("the result %q is not in the prompt", result)
		}
	}
	if len(open) > 0 {
		return fmt.Errorf("calls %q have no results", open)
	}
	return nil
}

// remembered reports whether a call is as it was. Some templates have arguments
// as text.
func (c *toolRequest) remembered() error {
	if c.Function.Name != "weather" {
		return nil
	}
	arguments := c.Function.Arguments
	if s, is := arguments.(string); is {
		if err := json.Unmarshal([]byte(s), &arguments); err != nil {
			return fmt.Errorf("arguments %q: %w", s, err)
		}
	}
	if args, _ := arguments.(map[string]any); len(args) != 3 || args["note"] != note || fmt.Sprint(args["days"]) != "[1 2]" {
		return fmt.Errorf("a call had other arguments than %v", arguments)
	}
	return nil
}

// text is all that a message says.
func (m *turn) text() string {
	if s, is := m.Content.(string); is {
		return s
	}
	var all []string
	parts, _ := m.Content.([]any)
	for _, p := range parts {
		part, _ := p.(map[string]any)
		all = append(all, fmt.Sprint(part["text"]))
	}
	return strings.Join(all, " ")
}
