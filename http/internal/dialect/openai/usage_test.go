package openai

import (
	"testing"

	"github.com/troupe-llm/troupe/actors"
	"github.com/troupe-llm/troupe/http/internal/dialect"
)

// Details of a completion are those that are known.
func TestUsage(t *testing.T) {
	for _, c := range []struct {
		reasoning, accepted, rejected int
		want                          string
	}{
		{-1, 0, 0, ``},
		{0, 0, 0, `,"completion_tokens_details":{"reasoning_tokens":0}`},
		{-1, 3, 0, `,"completion_tokens_details":{"accepted_prediction_tokens":3,"rejected_prediction_tokens":0}`},
		{-1, 0, 2, `,"completion_tokens_details":{"accepted_prediction_tokens":0,"rejected_prediction_tokens":2}`},
		{0, 3, 4, `,"completion_tokens_details":{"reasoning_tokens":0,"accepted_prediction_tokens":3,"rejected_prediction_tokens":4}`},
		{2, 3, 1, `,"completion_tokens_details":{"reasoning_tokens":2,"accepted_prediction_tokens":3,"rejected_prediction_tokens":1}`},
	} {
		u := dialect.Usage{Usage: actors.Usage{PromptTokens: 4, CachedTokens: 1, CompletionTokens: 5, AcceptedTokens: c.accepted, RejectedTokens: c.rejected}, Reasoning: c.reasoning}
		want := `{"prompt_tokens":4,"completion_tokens":5,"total_tokens":9,"prompt_tokens_details":{"cached_tokens":1}` + c.want + `}`
		if got := string(AppendUsage(nil, &u)); got != want {
			t.Errorf("%s, want %s", got, want)
		}
	}
}
