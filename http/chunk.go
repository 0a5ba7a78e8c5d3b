package http

import (
	"fmt"
	"hash/fnv"
	"math"
	"slices"
	"strconv"
	"unicode/utf8"

	"github.com/troupe-llm/troupe/actors"
	"github.com/troupe-llm/troupe/gpu/batch"
	"github.com/troupe-llm/troupe/tokenize/reply"
)

// The answer's JSON is appended by hand: its shape is fixed, a token's chunk
// is appended to memory that is already there, and so costs no allocation.

// appendHead appends an answer's first members, up to the choices.
func (c *call) appendHead(dst []byte) []byte {
	dst = append(dst, `{"id":"`...)
	dst = appendString(dst, c.id)
	dst = append(dst, `","object":"`...)
	switch {
	case c.isChat && c.stream:
		dst = append(dst, "chat.completion.chunk"...)
	case c.isChat:
		dst = append(dst, "chat.completion"...)
	default:
		dst = append(dst, "text_completion"...)
	}
	dst = append(dst, `","created":`...)
	dst = strconv.AppendInt(dst, c.created, 10)
	dst = append(dst, `,"model":`...)
	dst = appendQuoted(dst, c.model)
	dst = append(dst, `,"system_fingerprint":"`...)
	dst = append(dst, c.fingerprint...)
	return append(dst, `","choices":[`...)
}

// fingerprint is the same for the same program with the same model.
func fingerprint(cfg *Config, i *info) string {
	h := fnv.New64a()
	fmt.Fprintf(h, "%q %q %d %d", cfg.Version, i.model, i.vocab, i.maxLen)
	return fmt.Sprintf("fp_%010x", h.Sum64()&(1<<40-1))
}

// piece is a part of one choice: what a chunk tells, or all of it.
type piece struct {
	index    int
	role     bool // open with the role (chat)
	text     []byte
	ids      []int32
	logprobs []batch.Logprob // one per id, when asked for
	ends     []int           // one per logprob: how long text was with that token
	offset   int             // characters of the choice's text before this piece
	echo     []int32         // of the prompt, which logprobs and ends begin with
	prompt   []int32         // the prompt's ids, once a choice, when asked for
	final    *actors.Final   // nil while there is more
	usage    *actors.Usage   // so far, when every chunk tells it
	reasoned int             // of usage; -1: unknown
	scores   []batch.Logprob // of the prompt, when asked for: its tokens' from the second on

	// What the text means, when it was looked at: a part of it, or all of it.
	part    *reply.Part
	message *reply.Message
}

// appendChunk appends one server-sent event: the piece as a chunk. head is
// the call's appendHead.
func (c *call) appendChunk(dst, head []byte, p *piece, tok tokenizer) []byte {
	dst = append(dst, "data: "...)
	dst = append(dst, head...)
	dst = append(dst, `{"index":`...)
	dst = strconv.AppendInt(dst, int64(p.index), 10)
	switch {
	case !c.isChat:
		dst = append(dst, `,"text":"`...)
		dst = append(appendString(dst, p.text), '"')
	case p.role:
		dst = append(dst, `,"delta":{"role":"assistant","content":""}`...)
	case p.final != nil:
		dst = append(dst, `,"delta":{}`...)
	case p.part != nil:
		dst = append(c.appendPart(append(dst, `,"delta":{`...), p.part), '}')
	default:
		dst = append(dst, `,"delta":{"content":"`...)
		dst = append(appendString(dst, p.text), `"}`...)
	}
	dst = c.appendChoiceTail(dst, p, tok)
	dst = append(dst, ']')
	if c.isChat && p.prompt != nil {
		dst = append(dst, `,"prompt_token_ids":`...)
		dst = appendIDs(dst, p.prompt)
	}
	switch {
	case p.usage != nil:
		dst = append(dst, `,"usage":`...)
		dst = appendUsage(dst, *p.usage, p.reasoned)
	case c.includeUsage:
		dst = append(dst, `,"usage":null`...)
	}
	return append(dst, "}\n\n"...)
}

// appendWhole appends one choice of an answer that is not streamed.
func (c *call) appendWhole(dst []byte, p *piece, tok tokenizer) []byte {
	dst = append(dst, `{"index":`...)
	dst = strconv.AppendInt(dst, int64(p.index), 10)
	switch {
	case p.message != nil:
		dst = append(c.appendMessage(append(dst, `,"message":{"role":"assistant","content":`...), p.message), '}')
	case c.isChat:
		dst = append(dst, `,"message":{"role":"assistant","content":"`...)
		dst = append(appendString(dst, p.text), `"}`...)
	default:
		dst = append(dst, `,"text":"`...)
		dst = append(appendString(dst, p.text), '"')
	}
	return c.appendChoiceTail(dst, p, tok)
}

// appendChoiceTail appends what both kinds of answer say of a choice after
// its text.
func (c *call) appendChoiceTail(dst []byte, p *piece, tok tokenizer) []byte {
	if p.final == nil && !c.logprobs && !c.returnIDs { // most of them
		return append(dst, `,"logprobs":null,"finish_reason":null}`...)
	}
	plain := tok
	if c.tokenIDs {
		tok = idNames{tok}
	}
	dst = append(dst, `,"logprobs":`...)
	switch {
	case !c.logprobs || len(p.logprobs) == 0:
		dst = append(dst, "null"...)
	case c.isChat:
		dst = appendChatLogprobs(dst, p, tok)
	default:
		dst = appendTextLogprobs(dst, p, tok)
	}
	dst = append(dst, `,"finish_reason":`...)
	if p.final == nil {
		dst = append(dst, "null"...)
	} else {
		dst = appendFinish(dst, p.final)
	}
	if c.returnIDs {
		dst = append(dst, `,"token_ids":`...)
		dst = appendIDs(dst, p.ids)
		if !c.isChat && p.prompt != nil {
			dst = append(dst, `,"prompt_token_ids":`...)
			dst = appendIDs(dst, p.prompt)
		}
	}
	if c.promptLogprobs && !c.isChat {
		dst = c.appendPromptLogprobs(dst, p, plain)
	}
	return append(dst, '}')
}

// idNames calls tokens by their ids.
type idNames struct{ tokenizer }

func (idNames) TokenBytes(id int32) []byte {
	return strconv.AppendInt([]byte("token_id:"), int64(id), 10)
}

// appendPromptLogprobs appends what the model says of the prompt's tokens: for
// each an object from ids to their log-probabilities and ranks, null for the
// first, before which there is nothing. A rank is told of what is listed.
func (c *call) appendPromptLogprobs(dst []byte, p *piece, tok tokenizer) []byte {
	dst = append(dst, `,"prompt_logprobs":[`...)
	for i, id := range p.prompt {
		if dst = comma(dst, i); i == 0 {
			dst = append(dst, "null"...)
			continue
		}
		lp := &p.scores[i-1]
		top := lp.Top[:min(len(lp.Top), c.promptTop)]
		rank := slices.IndexFunc(lp.Top, func(t batch.TokenLogprob) bool { return t.Token == id })
		dst = appendRanked(append(dst, '{'), id, lp.Token, rank, tok)
		for j := range top {
			if top[j].Token != id {
				dst = appendRanked(append(dst, ','), top[j].Token, top[j].Logprob, j, tok)
			}
		}
		dst = append(dst, '}')
	}
	return append(dst, ']')
}

func appendRanked(dst []byte, id int32, logprob float32, place int, tok tokenizer) []byte {
	dst = append(strconv.AppendInt(append(dst, '"'), int64(id), 10), `":{"logprob":`...)
	dst = append(appendLogprob(dst, logprob), `,"rank":`...)
	if place < 0 {
		dst = append(dst, "null"...)
	} else {
		dst = strconv.AppendInt(dst, int64(place)+1, 10)
	}
	return append(appendToken(append(dst, `,"decoded_token":`...), tok.TokenBytes(id)), '}')
}

// appendFinish appends the reason, and what it was that stopped the text.
func appendFinish(dst []byte, f *actors.Final) []byte {
	dst = append(appendQuoted(dst, string(f.Reason)), `,"stop_reason":`...)
	if f.StopToken >= 0 {
		return strconv.AppendInt(dst, int64(f.StopToken), 10)
	}
	return appendOrNull(dst, f.Stop)
}

// appendChatLogprobs appends {"content":[…]}: an object per token.
func appendChatLogprobs(dst []byte, p *piece, tok tokenizer) []byte {
	dst = append(dst, `{"content":[`...)
	for i := range p.logprobs {
		if i > 0 {
			dst = append(dst, ',')
		}
		lp := &p.logprobs[i]
		dst = appendChatLogprob(dst, p.ids[i], lp.Token, tok)
		dst = append(dst, `,"top_logprobs":[`...)
		for j, alt := range lp.Top {
			if j > 0 {
				dst = append(dst, ',')
			}
			dst = append(appendChatLogprob(dst, alt.Token, alt.Logprob, tok), '}')
		}
		dst = append(dst, "]}"...)
	}
	return append(dst, `],"refusal":null}`...)
}

// appendChatLogprob leaves its object open.
func appendChatLogprob(dst []byte, id int32, logprob float32, tok tokenizer) []byte {
	b := tok.TokenBytes(id)
	dst = append(dst, `{"token":`...)
	dst = appendQuoted(dst, string(b))
	dst = append(dst, `,"logprob":`...)
	dst = appendLogprob(dst, logprob)
	dst = append(dst, `,"bytes":[`...)
	for i, c := range b {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = strconv.AppendUint(dst, uint64(c), 10)
	}
	return append(dst, ']')
}

// appendTextLogprobs appends the older shape: parallel arrays over the
// tokens. The drawn token is listed among its alternatives.
func appendTextLogprobs(dst []byte, p *piece, tok tokenizer) []byte {
	id := func(i int) int32 {
		if i < len(p.echo) {
			return p.echo[i]
		}
		return p.ids[i-len(p.echo)]
	}
	dst = append(dst, `{"tokens":[`...)
	for i := range p.logprobs {
		dst = comma(dst, i)
		dst = appendToken(dst, tok.TokenBytes(id(i)))
	}
	dst = append(dst, `],"token_logprobs":[`...)
	for i := range p.logprobs {
		if dst = comma(dst, i); isUnknown(&p.logprobs[i]) {
			dst = append(dst, "null"...)
		} else {
			dst = appendLogprob(dst, p.logprobs[i].Token)
		}
	}
	dst = append(dst, `],"top_logprobs":[`...)
	for i := range p.logprobs {
		dst = comma(dst, i)
		dst = appendTop(dst, id(i), &p.logprobs[i], tok)
	}
	dst = append(dst, `],"text_offset":[`...)
	begin, offset := 0, p.offset
	for i, end := range p.ends {
		dst = comma(dst, i)
		dst = strconv.AppendInt(dst, int64(offset), 10)
		offset += utf8.RuneCount(p.text[begin:end])
		begin = end
	}
	return append(dst, "]}"...)
}

// isUnknown: a prompt's first token has no log-probability.
func isUnknown(lp *batch.Logprob) bool { return math.IsNaN(float64(lp.Token)) }

// appendTop appends a token's alternatives, and the token itself, by their
// texts.
func appendTop(dst []byte, id int32, lp *batch.Logprob, tok tokenizer) []byte {
	if isUnknown(lp) {
		return append(dst, "null"...)
	}
	dst = append(dst, '{')
	listed := false
	for j, alt := range lp.Top {
		dst = comma(dst, j)
		dst = append(appendToken(dst, tok.TokenBytes(alt.Token)), ':')
		dst = appendLogprob(dst, alt.Logprob)
		listed = listed || alt.Token == id
	}
	if !listed {
		dst = comma(dst, len(lp.Top))
		dst = append(appendToken(dst, tok.TokenBytes(id)), ':')
		dst = appendLogprob(dst, lp.Token)
	}
	return append(dst, '}')
}

func comma(dst []byte, i int) []byte {
	if i > 0 {
		return append(dst, ',')
	}
	return dst
}

// appendToken quotes a token that may be part of a character: then, as at
// OpenAI, as "bytes:\xe4\xbd".
func appendToken(dst, b []byte) []byte {
	if utf8.Valid(b) {
		return appendQuoted(dst, string(b))
	}
	dst = append(dst, `"bytes:`...)
	for _, c := range b {
		dst = append(dst, '\\', '\\', 'x', hexDigits[c>>4], hexDigits[c&15])
	}
	return append(dst, '"')
}

// appendLogprob appends a logarithm as JSON, which has no infinities.
func appendLogprob(dst []byte, x float32) []byte {
	if !(x >= -9999) { // and not a number
		x = -9999
	}
	return strconv.AppendFloat(dst, float64(x), 'g', -1, 32)
}

// appendUsage appends {"prompt_tokens":…}; reasoned is left out below 0.
func appendUsage(dst []byte, u actors.Usage, reasoned int) []byte {
	dst = append(dst, `{"prompt_tokens":`...)
	dst = strconv.AppendInt(dst, int64(u.PromptTokens), 10)
	dst = append(dst, `,"completion_tokens":`...)
	dst = strconv.AppendInt(dst, int64(u.CompletionTokens), 10)
	dst = append(dst, `,"total_tokens":`...)
	dst = strconv.AppendInt(dst, int64(u.PromptTokens+u.CompletionTokens), 10)
	dst = append(dst, `,"prompt_tokens_details":{"cached_tokens":`...)
	dst = strconv.AppendInt(dst, int64(u.CachedTokens), 10)
	dst = append(dst, '}')
	if reasoned >= 0 {
		dst = append(dst, `,"completion_tokens_details":{"reasoning_tokens":`...)
		dst = append(strconv.AppendInt(dst, int64(reasoned), 10), '}')
	}
	return append(dst, '}')
}
