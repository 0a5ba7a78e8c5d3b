package text

import (
	"math"
	"strconv"
	"unicode/utf8"

	"github.com/troupe-llm/troupe/actors"
	"github.com/troupe-llm/troupe/gpu/batch"
	"github.com/troupe-llm/troupe/http/internal/dialect"
	"github.com/troupe-llm/troupe/http/internal/dialect/jsonenc"
	"github.com/troupe-llm/troupe/http/internal/dialect/openai"
)

// answer is what both writers have in common.
type answer struct {
	openai.Answer
	prompts     []prompt
	keepSpecial bool // in an echoed prompt
	echo        bool
}

// piece is a part of one choice: what a chunk tells, or all of it.
type piece struct {
	choice   int
	text     []byte
	ids      []int32
	logprobs []batch.Logprob // one per id, when asked for
	ends     []int           // one per logprob: how long text was with that token
	offset   int             // characters of the choice's text before this piece
	echo     []int32         // of the prompt, which logprobs and ends begin with
	prompt   []int32         // the prompt's ids, once a choice, when asked for
	final    *actors.Final   // nil while there is more
}

// appendPiece appends a choice, or what a chunk says of it. scored has its prompt's
// log-probabilities; nil: they are not said.
func (w *answer) appendPiece(dst []byte, p *piece, scored *dialect.Choice) []byte {
	dst = append(dst, `{"index":`...)
	dst = strconv.AppendInt(dst, int64(p.choice), 10)
	dst = append(dst, `,"text":"`...)
	dst = append(jsonenc.String(dst, p.text), '"')
	if p.final == nil && w.Plain() { // most of them
		return append(dst, openai.Unfinished...)
	}
	dst = append(dst, `,"logprobs":`...)
	if w.Logprobs && len(p.logprobs) > 0 {
		dst = appendLogprobs(dst, p, w.Tokens())
	} else {
		dst = append(dst, "null"...)
	}
	dst = openai.AppendFinish(dst, p.final)
	if w.ReturnIDs {
		dst = append(dst, `,"token_ids":`...)
		dst = jsonenc.IDs(dst, p.ids)
		if p.prompt != nil {
			dst = append(dst, `,"prompt_token_ids":`...)
			dst = jsonenc.IDs(dst, p.prompt)
		}
	}
	if scored != nil {
		dst = w.AppendPromptLogprobs(dst, scored)
	}
	return append(dst, '}')
}

// echoed is choice i's prompt: its text, and, when asked for, what the model says
// of its tokens. There the text is what they come to.
func (w *answer) echoed(i int, ch *dialect.Choice) (e piece) {
	p := &w.prompts[i/w.N]
	e.choice = i
	switch {
	case w.Logprobs:
		e.text, e.ends = w.Tokenizer.DecodeEnds(ch.Prompt, !w.keepSpecial)
		unknown := batch.Logprob{Token: float32(math.NaN())} // nothing comes before the first
		e.echo, e.logprobs = ch.Prompt, append([]batch.Logprob{unknown}, ch.Scores...)
		for i := range e.logprobs {
			lp := &e.logprobs[i]
			lp.Top = lp.Top[:min(len(lp.Top), w.Top)]
		}
	case p.ids != nil:
		e.text = []byte(w.Tokenizer.Decode(p.ids, !w.keepSpecial))
	default:
		e.text = []byte(p.text)
	}
	return e
}

// precede puts an echo before what was said, as one.
func (p *piece) precede(e *piece) {
	for _, end := range p.ends {
		e.ends = append(e.ends, len(e.text)+end)
	}
	p.text, p.ends = append(e.text, p.text...), e.ends
	p.echo, p.logprobs = e.echo, append(e.logprobs, p.logprobs...)
}

// id is the token that logprobs[i] is of.
func (p *piece) id(i int) int32 {
	if i < len(p.echo) {
		return p.echo[i]
	}
	return p.ids[i-len(p.echo)]
}

// appendLogprobs appends parallel arrays over the tokens. The drawn token is
// listed before its alternatives.
func appendLogprobs(dst []byte, p *piece, tok openai.Tokens) []byte {
	dst = append(dst, `{"tokens":[`...)
	for i := range p.logprobs {
		dst = jsonenc.Comma(dst, i)
		dst = openai.AppendToken(dst, tok.TokenBytes(p.id(i)))
	}
	dst = append(dst, `],"token_logprobs":[`...)
	for i := range p.logprobs {
		if dst = jsonenc.Comma(dst, i); isUnknown(&p.logprobs[i]) {
			dst = append(dst, "null"...)
		} else {
			dst = openai.AppendLogprob(dst, p.logprobs[i].Token)
		}
	}
	dst = append(dst, `],"top_logprobs":[`...)
	for i := range p.logprobs {
		dst = jsonenc.Comma(dst, i)
		dst = appendTop(dst, p.id(i), &p.logprobs[i], tok)
	}
	dst = append(dst, `],"text_offset":[`...)
	begin, offset := 0, p.offset
	for i, end := range p.ends {
		dst = jsonenc.Comma(dst, i)
		dst = strconv.AppendInt(dst, int64(offset), 10)
		offset += utf8.RuneCount(p.text[begin:end])
		begin = end
	}
	return append(dst, "]}"...)
}

// isUnknown: a prompt's first token has no log-probability.
func isUnknown(lp *batch.Logprob) bool { return math.IsNaN(float64(lp.Token)) }

// appendTop appends a token and its alternatives by their texts, the token first, as
// vLLM has it.
func appendTop(dst []byte, id int32, lp *batch.Logprob, tok openai.Tokens) []byte {
	if isUnknown(lp) {
		return append(dst, "null"...)
	}
	dst = append(openai.AppendToken(append(dst, '{'), tok.TokenBytes(id)), ':')
	dst = openai.AppendLogprob(dst, lp.Token)
	for _, alt := range lp.Top {
		if alt.Token != id {
			dst = append(openai.AppendToken(append(dst, ','), tok.TokenBytes(alt.Token)), ':')
			dst = openai.AppendLogprob(dst, alt.Logprob)
		}
	}
	return append(dst, '}')
}
