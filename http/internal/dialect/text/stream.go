package text

import (
	"unicode/utf8"

	"github.com/troupe-llm/troupe/http/internal/dialect"
	"github.com/troupe-llm/troupe/http/internal/sse"
)

// stream writes an answer as chunks: a choice's first has its prompt, when that is
// to be echoed, its last why it ended.
type stream struct {
	answer
	choices []opening
}

// opening is what one choice has said so far.
type opening struct {
	begun  bool // its first chunk is out
	offset int  // characters of its text that are out
}

// Begin says nothing: an echo goes before what a choice says.
func (*stream) Begin(dst []byte, _ *dialect.Answer) []byte { return dst }

func (w *stream) Delta(dst []byte, a *dialect.Answer, d *dialect.Delta) []byte {
	w.Trim(d.Logprobs)
	o, text := &w.choices[d.Choice], d.Text()
	tells := len(text) > 0 || len(d.Tokens) > 0 && (w.ReturnIDs || len(d.Logprobs) > 0)
	if !o.begun && (tells || d.Final != nil) {
		o.begun = true
		dst = w.begin(dst, a, d.Choice)
	}
	if tells {
		dst = w.chunk(dst, a, &piece{choice: d.Choice, text: text, ids: d.Tokens, logprobs: d.Logprobs, ends: d.TextEnds, offset: o.offset}, -1)
	}
	if w.Logprobs {
		o.offset += utf8.RuneCount(text)
	}
	if d.Final != nil {
		dst = w.chunk(dst, a, &piece{choice: d.Choice, final: d.Final}, -1)
	}
	return dst
}

// begin appends what goes before a choice's first token.
func (w *stream) begin(dst []byte, a *dialect.Answer, i int) []byte {
	p := piece{choice: i}
	if w.echo {
		p = w.echoed(i, &a.Choices[i])
		w.choices[i].offset = utf8.RuneCount(p.text)
	}
	if w.ReturnIDs {
		p.prompt = a.Choices[i].Prompt
	}
	if p.text == nil && p.prompt == nil {
		return dst
	}
	return w.chunk(dst, a, &p, i)
}

// chunk appends one; before is as in AppendChunkEnd.
func (w *stream) chunk(dst []byte, a *dialect.Answer, p *piece, before int) []byte {
	dst = append(sse.Data(dst), w.Head...)
	return w.AppendChunkEnd(append(w.appendPiece(dst, p, nil), ']'), a, before)
}
