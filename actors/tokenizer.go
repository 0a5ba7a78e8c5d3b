package actors

import (
	"fmt"
	"sync/atomic"

	"github.com/asynkron/protoactor-go/actor"
	"github.com/rs/zerolog"

	"github.com/troupe-llm/troupe/tokenize"
)

// tokenizer turns a job's prompt into tokens: it renders the chat template and
// encodes. A system has a pool of them, so that a long prompt holds up nobody.
//
// Owns:   nothing but its share of load.
// In:     *tokenizeJob from System.
// Out:    *generate to the scheduler, or *failed to the detokenizer; exactly
// one of them per job.
// Blocks: never; a megabyte of text takes some tens of milliseconds.
// Fails:  a panic fails the job it happened in and no other.
type tokenizer struct {
	codec       *tokenize.Tokenizer // shared, safe for concurrent use; nil: a model without one
	scheduler   *actor.PID
	detokenizer *actor.PID
	load        *atomic.Int64 // bytes sent to this tokenizer and not yet encoded
	log         zerolog.Logger
}

func (t *tokenizer) Receive(c actor.Context) {
	m, ok := c.Message().(*tokenizeJob)
	if !ok {
		return
	}
	defer t.load.Add(-m.job.size)
	defer func() {
		if r := recover(); r != nil {
			t.log.Error().Str("request", m.job.stream.ID).Interface("panic", r).Bytes("stack", stack()).Msg("tokenizing a request panicked")
			c.Send(t.detokenizer, &failed{m.job, fmt.Errorf("tokenizing the prompt failed: %v", r)})
		}
	}()
	if m.job.canceled.Load() { // the scheduler ends it; do not spend time on it
		c.Send(t.scheduler, &generate{job: m.job})
		return
	}
	prompt, err := t.encode(&m.job.req)
	if err != nil {
		c.Send(t.detokenizer, &failed{m.job, err})
		return
	}
	c.Send(t.scheduler, &generate{m.job, prompt})
}

func (t *tokenizer) encode(r *Request) ([]int32, error) {
	if t.codec == nil {
		return nil, inputErrorf("prompt", "this model was opened without a tokenizer; send the prompt as token ids")
	}
	if r.Chat == nil {
		return t.codec.Encode(r.Text, !r.NoSpecial), nil
	}
	text, err := t.codec.Render(*r.Chat)
	if err != nil {
		return nil, inputErrorf("messages", "%v", err)
	}
	return t.codec.Encode(text, false), nil
}
