package front

import (
	"fmt"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/troupe-llm/troupe/actors/internal/shell"
	"github.com/troupe-llm/troupe/tokenize"
)

// tokenizer turns a job's prompt into tokens: it renders the chat template and
// encodes. A system has a pool of them (pool.go), so that a long prompt holds up nobody.
//
// Owns:   nothing.
// In:     *tokenizeJob from the pool, one at a time.
// Out:    *prepared or *failed to the detokenizer; exactly one of them per job.
// Blocks: while it encodes: a megabyte of text takes some tens of milliseconds.
// Fails:  a panic fails the job it happened in and no other.
type tokenizer struct {
	codec       *tokenize.Tokenizer // shared, safe for concurrent use; nil: a model without one
	detokenizer *actor.PID
	context     int // tokens that a request may have
	rows        int // ids that the model has an embedding for
	pool        *pool
	self        *actor.PID
}

// Handle encodes.
func (t *tokenizer) Handle(c shell.Mail, m shell.Message) {
	r, ok := m.(*tokenizeJob)
	if !ok {
		return
	}
	t.answer(c, r.job)
	t.pool.rest(t.self)
}

func (t *tokenizer) answer(c shell.Mail, j *job) {
	if j.canceled.Load() { // the detokenizer ends it; do not spend time on it
		c.Send(t.detokenizer, &prepared{job: j})
		return
	}
	prompt, err := t.encode(&j.req)
	if err != nil {
		c.Send(t.detokenizer, &failed{job: j, err: err})
		return
	}
	c.Send(t.detokenizer, &prepared{job: j, prompt: prompt})
}

// Panicked fails the job.
func (t *tokenizer) Panicked(c shell.Mail, m shell.Message, err error) {
	if r, ok := m.(*tokenizeJob); ok {
		c.Send(t.detokenizer, &failed{job: r.job, err: fmt.Errorf("tokenizing the prompt: %w", err)})
		t.pool.rest(t.self)
	}
}

func (t *tokenizer) encode(r *Request) ([]int32, error) {
	if t.codec == nil {
		return nil, inputErrorf("prompt", "this model was opened without a tokenizer; send the prompt as token ids")
	}
	if r.Tokens != nil {
		return r.Tokens, nil
	}
	if err := t.short(r); err != nil {
		return nil, err
	}
	if r.Chat == nil {
		return t.within("prompt", t.codec.Encode(r.Text, !r.NoSpecial))
	}
	text, err := t.codec.Render(*r.Chat)
	if err != nil {
		return nil, inputErrorf("messages", "%v", err)
	}
	return t.within("messages", t.codec.Encode(text, false))
}

// short refuses a prompt that cannot fit the context, by its length: before seconds
// are spent on writing and encoding it.
func (t *tokenizer) short(r *Request) error {
	param, least := "prompt", 0
	if r.Chat != nil {
		param, least = "messages", t.codec.LeastChatTokens(r.Chat)
	} else {
		least = t.codec.LeastTokens(r.Text)
	}
	if least <= t.context {
		return nil
	}
	err := inputErrorf(param, "the prompt has at least %d tokens, but this model's maximum context length is %d, prompt and output", least, t.context)
	err.TooLong = true
	return err
}

// within refuses tokens that the model has no row for.
func (t *tokenizer) within(param string, ids []int32) ([]int32, error) {
	if t.codec.Vocab() <= t.rows {
		return ids, nil
	}
	for _, id := range ids {
		if int(id) >= t.rows {
			return nil, inputErrorf(param, "the prompt holds %q, token %d, which the model's embedding of %d rows lacks", t.codec.Token(id), id, t.rows)
		}
	}
	return ids, nil
}
