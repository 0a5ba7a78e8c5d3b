package text

import (
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
		c, ch := &w.choices[i], &a.Choices[i]
		p := piece{choice: i, text: c.Message.Text, ids: c.Tokens, logprobs: c.Logprobs, ends: c.TextEnds, final: c.Final}
		if w.echo {
			e := w.echoed(i, ch)
			p.precede(&e)
		}
		if w.ReturnIDs {
			p.prompt = ch.Prompt
		}
		var scored *dialect.Choice
		if w.PromptLogprobs {
			scored = ch
		}
		dst = w.appendPiece(jsonenc.Comma(dst, i), &p, scored)
	}
	dst = append(dst, `],"usage":`...)
	u := a.Usage()
	return append(openai.AppendUsage(dst, &u), '}')
}
