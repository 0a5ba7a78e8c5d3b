package chat

import (
	"strconv"

	"github.com/troupe-llm/troupe/http/internal/dialect"
	"github.com/troupe-llm/troupe/http/internal/dialect/jsonenc"
	"github.com/troupe-llm/troupe/http/internal/dialect/openai"
)

// whole writes an answer at its end.
type whole struct {
	answer
	choices []dialect.Collected
}

func (*whole) Begin(dst []byte, _ *dialect.Answer) []byte { return dst }

func (w *whole) Delta(dst []byte, _ *dialect.Answer, d *dialect.Delta) []byte {
	w.Trim(d.Logprobs)
	w.choices[d.Choice].Add(d)
	return dst
}

func (w *whole) End(dst []byte, a *dialect.Answer) []byte {
	dst = append(dst, w.Head...)
	for i := range w.choices {
		c := &w.choices[i]
		dst = append(jsonenc.Comma(dst, i), `{"index":`...)
		dst = strconv.AppendInt(dst, int64(i), 10)
		dst = append(dst, `,"message":{"role":"assistant","content":`...)
		dst = append(w.appendMessage(dst, &c.Message), '}')
		dst = w.appendTail(dst, c.Tokens, c.Logprobs, c.Final)
	}
	dst = append(dst, `],"usage":`...)
	u := a.Usage()
	dst = openai.AppendUsage(dst, &u)
	if w.PromptLogprobs {
		dst = w.AppendPromptLogprobs(dst, &a.Choices[0])
	}
	if w.ReturnIDs {
		dst = append(dst, `,"prompt_token_ids":`...)
		dst = jsonenc.IDs(dst, a.Choices[0].Prompt)
	}
	return append(dst, '}')
}
