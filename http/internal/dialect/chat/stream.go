package chat

import (
	"strconv"

	"github.com/troupe-llm/troupe/actors"
	"github.com/troupe-llm/troupe/gpu/batch"
	"github.com/troupe-llm/troupe/http/internal/dialect"
	"github.com/troupe-llm/troupe/http/internal/dialect/jsonenc"
	"github.com/troupe-llm/troupe/http/internal/sse"
	"github.com/troupe-llm/troupe/tokenize/reply"
)

// stream writes an answer as chunks: a choice's first has its role, its last why
// it ended.
type stream struct {
	answer
	begun []bool // by choice: its role is out
}

// Begin says nothing: a role goes before what a choice says.
func (*stream) Begin(dst []byte, _ *dialect.Answer) []byte { return dst }

// chunk is what one chunk says of its choice.
type chunk struct {
	choice   int
	role     bool    // of the choice, and no token
	prompt   []int32 // of the choice; nil: not said
	tokens   []int32
	logprobs []batch.Logprob
	final    *actors.Final
}

func (w *stream) Delta(dst []byte, a *dialect.Answer, d *dialect.Delta) []byte {
	w.Trim(d.Logprobs)
	told := false
	for i := range d.Parts {
		told = told || w.visible(&d.Parts[i])
	}
	tells := told || len(d.Tokens) > 0 && (w.ReturnIDs || len(d.Logprobs) > 0)
	c := chunk{choice: d.Choice}
	if !w.begun[d.Choice] && (tells || d.Final != nil) {
		w.begun[d.Choice] = true
		dst = w.appendRole(dst, a, c)
	}
	c.tokens, c.logprobs = d.Tokens, d.Logprobs
	switch {
	case told: // tokens go with the first
		for i := range d.Parts {
			if w.visible(&d.Parts[i]) {
				dst = w.appendPart(w.open(dst, d.Choice), &d.Parts[i])
				dst = w.close(dst, a, &c)
				c = chunk{choice: d.Choice}
			}
		}
	case tells:
		dst = w.close(append(w.open(dst, d.Choice), `"content":""`...), a, &c)
	}
	if d.Final != nil {
		dst = w.close(w.open(dst, d.Choice), a, &chunk{choice: d.Choice, final: d.Final})
	}
	return dst
}

// visible reports whether clients see a part.
func (w *answer) visible(p *reply.Part) bool {
	return p.Kind != reply.Returned && !(w.unshown && p.Kind == reply.Reasoning)
}

func (w *stream) appendRole(dst []byte, a *dialect.Answer, c chunk) []byte {
	c.role = true
	if w.ReturnIDs {
		c.prompt = a.Choices[c.choice].Prompt
	}
	return w.close(append(w.open(dst, c.choice), `"role":"assistant","content":""`...), a, &c)
}

// open begins a chunk, up to what its delta holds; close ends it.
func (w *stream) open(dst []byte, choice int) []byte {
	dst = append(sse.Data(dst), w.Head...)
	dst = append(dst, `{"index":`...)
	dst = strconv.AppendInt(dst, int64(choice), 10)
	return append(dst, `,"delta":{`...)
}

func (w *stream) close(dst []byte, a *dialect.Answer, c *chunk) []byte {
	dst = w.appendTail(append(dst, '}'), c.tokens, c.logprobs, c.final)
	dst = append(dst, ']')
	if c.prompt != nil {
		dst = append(dst, `,"prompt_token_ids":`...)
		dst = jsonenc.IDs(dst, c.prompt)
	}
	before := -1
	if c.role {
		before = c.choice
	}
	return w.AppendChunkEnd(dst, a, before)
}
