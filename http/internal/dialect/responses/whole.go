package responses

import (
	"github.com/troupe-llm/troupe/http/internal/dialect"
)

// whole writes a response at its end.
type whole struct{ *object }

func (*whole) Begin(dst []byte, _ *dialect.Answer) []byte { return dst }

func (w *whole) Delta(dst []byte, _ *dialect.Answer, d *dialect.Delta) []byte {
	logprobs := w.items.score(d)
	for i := range d.Parts {
		if _, at, _ := w.items.add(&d.Parts[i]); at >= 0 && w.items.all[at].kind == message {
			w.items.addLogprobs(at, logprobs)
			logprobs = nil
		}
	}
	return dst
}

func (w *whole) End(dst []byte, a *dialect.Answer) []byte {
	status := statusOf(a.Choices[0].Final)
	w.items.finish(status == incomplete)
	return w.end(dst, a, status)
}
