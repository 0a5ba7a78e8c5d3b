package actors

import (
	"errors"
	"strings"
	"testing"

	"github.com/rs/zerolog"

	"github.com/troupe-llm/troupe/actors/internal/toy"
	"github.com/troupe-llm/troupe/gpu/device"
	"github.com/troupe-llm/troupe/gpu/model"
	"github.com/troupe-llm/troupe/tokenize"
)

// TestLongPromptsAreNotWritten: a conversation or a text whose length alone is too much
// is refused as too long without its template running, which here would fail.
func TestLongPromptsAreNotWritten(t *testing.T) {
	s := openSystem(t, Config{Model: model.Builtin})
	messages := make([]tokenize.Message, 400_000)
	for i := range messages {
		if messages[i] = tokenize.UserMessage("Hi"); i%2 == 1 {
			messages[i] = tokenize.AssistantMessage("Hi")
		}
	}
	for name, r := range map[string]*Request{
		"messages": {Chat: &tokenize.Chat{Messages: messages, Kwargs: map[string]any{"messages": nil}}},
		"prompt":   {Text: strings.Repeat("Once upon a time. ", 1<<20)},
	} {
		st, err := s.Submit(r)
		if err != nil {
			t.Fatal(err)
		}
		err = read(t, st).final.Err
		var in *InputError
		if !errors.As(err, &in) || !in.TooLong || in.Param != name || !strings.Contains(in.Msg, "at least") || !strings.Contains(in.Msg, "maximum context length is") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestMoreTokensThanRows: what the embedding has no row for is said when a model is
// opened, and refused in a prompt; other prompts are served.
func TestMoreTokensThanRows(t *testing.T) {
	codec, log := letters(t), new(strings.Builder)
	cfg := Config{Cache: "naive", Log: zerolog.New(log)}
	cfg.fill()
	d := toy.New()
	d.Sizes.Vocab = 20
	m := &model.Model{Name: "toy", Config: model.Config{Vocab: 20, EOS: []int32{0}}}
	s, err := start(cfg, m, codec, func() (device.Device, error) { return d, nil })
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if !strings.Contains(log.String(), "ids up to 25") {
		t.Errorf("the log says %q", log)
	}
	for text, ok := range map[string]bool{"abc": true, "abz": false} {
		st, err := s.Submit(&Request{Text: text, MaxTokens: 1})
		if err != nil {
			t.Fatal(err)
		}
		err = read(t, st).final.Err
		var in *InputError
		if ok != (err == nil) || !ok && (!errors.As(err, &in) || !strings.Contains(in.Msg, `"z", token 25`)) {
			t.Errorf("%s: %v", text, err)
		}
	}
}
