package messages

import (
	"github.com/troupe-llm/troupe/http/internal/dialect"
	"github.com/troupe-llm/troupe/http/internal/dialect/jsonenc"
	"github.com/troupe-llm/troupe/tokenize/reply"
)

// whole writes an answer at its end: its blocks in the order they came.
type whole struct {
	answer
	blocks []said
}

// said is one block.
type said struct {
	kind reply.Kind // Text, Reasoning or Call
	name []byte     // of the tool
	text []byte     // arguments, of a call
}

func (*whole) Begin(dst []byte, _ *dialect.Answer) []byte { return dst }

func (w *whole) Delta(dst []byte, _ *dialect.Answer, d *dialect.Delta) []byte {
	for i := range d.Parts {
		p := &d.Parts[i]
		switch n := len(w.blocks); p.Kind {
		case reply.Text, reply.Reasoning:
			if len(p.Text) == 0 {
				break
			}
			if n == 0 || w.blocks[n-1].kind != p.Kind {
				w.blocks = append(w.blocks, said{kind: p.Kind})
			}
			last := &w.blocks[len(w.blocks)-1]
			last.text = append(last.text, p.Text...)
		case reply.Call:
			w.blocks = append(w.blocks, said{kind: p.Kind, name: append([]byte(nil), p.Text...)})
		case reply.Arguments:
			w.blocks[n-1].text = append(w.blocks[n-1].text, p.Text...)
		}
	}
	return dst
}

func (w *whole) End(dst []byte, a *dialect.Answer) []byte {
	dst = w.appendHead(dst)
	calls := 0
	for i := range w.blocks {
		dst = jsonenc.Comma(dst, i)
		switch b := &w.blocks[i]; b.kind {
		case reply.Text:
			dst = append(jsonenc.String(append(dst, `{"type":"text","text":"`...), b.text), `"}`...)
		case reply.Reasoning:
			dst = append(dst, `{"type":"thinking","thinking":"`...)
			if !w.omit {
				dst = jsonenc.String(dst, b.text)
			}
			dst = append(quoted(append(dst, `","signature":`...), w.signature), '}')
		default:
			dst = append(append(w.appendCall(dst, calls, b.name), input(b.text)...), '}')
			calls++
		}
	}
	dst = append(w.appendStop(append(dst, "],"...), a.Choices[0].Final), `,"diagnostics":null,"usage":`...)
	u := a.Usage()
	return append(appendMessageUsage(dst, &u), '}')
}
