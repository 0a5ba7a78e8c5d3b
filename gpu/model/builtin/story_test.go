package builtin_test

import (
	"context"
	"strings"
	"testing"

	"github.com/troupe-llm/troupe/actors"
	"github.com/troupe-llm/troupe/gpu/batch"
	"github.com/troupe-llm/troupe/gpu/model"
	"github.com/troupe-llm/troupe/tokenize"
)

// The model must tell a story about what it is asked for and end it by
// itself: through the tokenizer, the template and the processor's kernels,
// not through the Python that trained it; and with weights of 8 and 4 bits, too.
func TestStory(t *testing.T) {
	for _, dtype := range []model.DType{model.BFloat16, model.Int8, model.Int4} {
		t.Run(string(dtype), func(t *testing.T) { tellStories(t, dtype) })
	}
}

func tellStories(t *testing.T, dtype model.DType) {
	sys, err := actors.Open(actors.Config{Model: "builtin", Device: "cpu", DType: dtype})
	if err != nil {
		t.Fatal(err)
	}
	defer sys.Close()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	for _, subject := range []string{"fox", "lighthouse", "small robot"} {
		text, final := reply(ctx, t, sys, "Tell me a story about a "+subject+".")
		if final.Err != nil || final.Reason != actors.FinishStop {
			t.Errorf("%s: ended by %q, %v", subject, final.Reason, final.Err)
		}
		if !strings.Contains(text, subject) || strings.Count(text, ".") < 4 {
			t.Errorf("no story about a %s: %s", subject, text)
		}
	}
}

// reply is the greedy answer to one message.
func reply(ctx context.Context, t *testing.T, sys *actors.System, question string) (string, *actors.Final) {
	t.Helper()
	stream, err := sys.Submit(&actors.Request{
		Chat: tokenize.NewChat(tokenize.UserMessage(question)), MaxTokens: 300, Sampling: &batch.Sampling{},
	})
	if err != nil {
		t.Fatal(err)
	}
	text, end, err := stream.Text(ctx)
	if err != nil {
		t.Fatal(err)
	}
	return text, end
}
