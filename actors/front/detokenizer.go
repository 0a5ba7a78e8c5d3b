package front

import (
	"fmt"
	"math"
	"slices"
	"sync/atomic"
	"time"

	"github.com/rs/zerolog"

	"github.com/troupe-llm/troupe/actors/internal/shell"
	"github.com/troupe-llm/troupe/actors/trace"
	"github.com/troupe-llm/troupe/actors/wire"
	"github.com/troupe-llm/troupe/gpu/batch"
	"github.com/troupe-llm/troupe/tokenize"
	"github.com/troupe-llm/troupe/tokenize/reply"
)

// detokenizer hands jobs to engines, turns the tokens that come into text and feeds the jobs'
// streams. Text never splits a character and never runs into a stop string.
//
// Owns:   the table of jobs that an engine has, which has which, every job's tokens and text state,
// and the writing end of its stream.
// In:     *prepared, *failed from tokenizers; *news from engines; *cancel from streams.
// Out:    requests and cancels to engines; events on streams.
// Blocks: never: a stream takes what it is given at once.
// Fails:  a panic fails the job it happened in and no other. Jobs of an engine that is lost are handed
// to another one, to be resumed.
type detokenizer struct {
	codec   *tokenize.Tokenizer // nil: a model without one, whose streams carry tokens only
	marks   []int32             // special tokens shown in what keeps to a grammar
	router  router
	waiting waiting // for an engine
	eos     func(int32) bool
	closed  func(*job) // tells the system that the job's final event is out
	resumed *atomic.Uint64
	trace   *trace.Trace
	log     zerolog.Logger
	table   table
	now     int64 // about; kept for the trace
	scratch []byte
}

// text is a job's state in the detokenizer.
type text struct {
	decoder *tokenize.Stream
	stop    stopper
	prompt  int // prompt tokens, of one that was accepted
	cached  int // prompt tokens found in the prefix cache
	done    bool

	accepted int // tokens that were drafted
	rejected int // draft tokens that were others
}

// Handle does what a message asks.
func (d *detokenizer) Handle(_ shell.Mail, m shell.Message) {
	switch m := m.(type) {
	case *prepared:
		d.place(m.job, m.prompt)
	case *news:
		b := m.batch
		for i := range b.Outputs {
			if i%clockEvery == 0 {
				d.now = d.trace.Now()
			}
			o := &b.Outputs[i]
			if j := d.table.find(o.Ref); j != nil {
				if i > 0 && b.Seq > 0 && o.Token != batch.NoToken && b.Outputs[i-1].Ref == o.Ref && b.Outputs[i-1].Token != batch.NoToken {
					j.text.accepted++ // a step draws one token more than drafts were accepted
				}
				j.text.rejected += int(o.Rejected)
				d.guarded(j, o, b.Computed)
			}
		}
		b.Release()
	case *failed:
		d.fail(m.job, m.err)
	case *cancel:
		switch {
		case m.job.waits:
			d.abort(m.job)
		case m.job.placed:
			d.drop(m.job)
		}
	case *joined:
		d.router.joined(m.at, m.engine)
		if at := d.router.targets[m.at].peer; at != "" {
			d.trace.Name(uint8(m.at), at)
		}
		d.arrived()
	case *changed:
		d.router.back(m.at)
		d.arrived()
	case *overdue:
		d.expire(batch.Now())
	}
}

// place hands a job to an engine, unless it was cancelled meanwhile.
func (d *detokenizer) place(j *job, prompt []int32) {
	if j.canceled.Load() {
		d.abort(j)
		return
	}
	if j.req.MaxWait > 0 && j.waitable() <= 0 {
		d.fail(j, &WaitError{j.req.MaxWait})
		return
	}
	j.prompt = prompt
	d.table.add(j)
	d.submit(j)
}

// abort ends a job that no engine has.
func (d *detokenizer) abort(j *job) {
	d.end(j, nil, &Final{Reason: FinishAbort, StopToken: batch.NoToken})
}

// submit hands a job with the tokens it has to the engine that suits best.
func (d *detokenizer) submit(j *job) {
	known := j.prompt
	if len(j.given) > 0 {
		known = slices.Concat(j.prompt, j.given)
	}
	at, cached := d.router.choose(known)
	if at < 0 {
		if d.waiting.patience > 0 {
			d.wait(j)
			return
		}
		at = 0 // which says why
	}
	j.at, j.owed = at, len(known)-cached
	d.router.Took(at, j.owed)
	j.attempt(&d.router.targets[at])
	d.router.targets[at].engine.Submit(j.wire())
}

// maxLosses is how many engines a job may lose one after the other without a token of it in between:
// it may be what they are lost by.
const maxLosses = 5

// resume hands a job whose engine is lost to another one, and reports whether there is one. A job
// that was cancelled just ends.
func (d *detokenizer) resume(j *job) bool {
	d.router.lost(j.at)
	j.leave(&d.router.targets[j.at], batch.Now(), true)
	if !d.router.any() && d.waiting.patience == 0 {
		return false
	}
	if j.canceled.Load() {
		d.abort(j)
		return true
	}
	if j.losses++; j.losses > maxLosses {
		return false
	}
	d.log.Warn().Str("request", j.stream.ID).Int("engine", j.at).Int("tokens", len(j.given)).Msg("the engine is lost; another one goes on with the request")
	d.resumed.Add(1)
	d.router.Ended(j.at, j.owed)
	d.table.renew(j)
	j.again = j.scored
	d.submit(j)
	return true
}

// drop tells the engine that a job need not be computed any further.
func (d *detokenizer) drop(j *job) {
	if e := d.router.targets[j.at].engine; e != nil && !j.waits {
		e.Cancel(j.ref)
	}
}

// waitable is how much of its MaxWait a job has left.
func (j *job) waitable() time.Duration {
	return j.req.MaxWait - time.Duration(batch.Now()-j.times.Submitted)
}

// wire is what an engine is told of a job.
func (j *job) wire() *wire.Request {
	r := &j.req
	var wait time.Duration
	if r.MaxWait > 0 && j.text.prompt == 0 { // else it was begun with, by another engine
		wait = max(j.waitable(), 1)
	}
	return &wire.Request{
		Ref: j.ref, ID: j.id, Prompt: j.prompt, Given: slices.Clone(j.given),
		MaxTokens: r.MaxTokens, PromptOnly: r.PromptOnly, MinTokens: r.MinTokens, StopTokens: r.StopTokens, IgnoreEOS: r.IgnoreEOS,
		Sampling: *r.Sampling, Score: r.PromptLogprobs && len(j.given) == 0, Grammar: r.Grammar, Priority: r.Priority, MaxWait: wait, Client: r.Client,
		Speculate: r.Speculative == NGram, Owed: j.owed,
	}
}

// clockEvery is how many tokens share a reading of the clock: one takes as long
// as turning a token into text.
const clockEvery = 8

// Panicked fails the jobs that the message was about. Of news guarded deals with the job whose
// turn it is: what panics here is nobody's, and what it brought may be lost.
func (d *detokenizer) Panicked(_ shell.Mail, m shell.Message, err error) {
	switch m := m.(type) {
	case *prepared:
		d.giveUp(m.job, fmt.Errorf("handing over a request: %w", err))
	case *news:
		for i := range m.batch.Outputs {
			if j := d.table.find(m.batch.Outputs[i].Ref); j != nil {
				d.giveUp(j, fmt.Errorf("reading an engine's news: %w", err))
			}
		}
	case *failed:
		d.giveUp(m.job, m.err)
	case *cancel:
		d.giveUp(m.job, fmt.Errorf("cancelling a request: %w", err))
	}
}

// giveUp fails a job, which need not be computed any further.
func (d *detokenizer) giveUp(j *job, err error) {
	if j.placed {
		d.drop(j)
	}
	d.fail(j, err)
}

// guarded keeps one job's panic from the others of its step.
func (d *detokenizer) guarded(j *job, o *wire.Output, computed int64) {
	defer func() {
		if r := recover(); r != nil {
			err := shell.PanicError(r)
			d.log.Error().Str("request", j.stream.ID).Err(err).Msg("detokenizing a request panicked; it fails")
			d.giveUp(j, fmt.Errorf("turning tokens into text: %w", err))
		}
	}()
	d.output(j, o, computed)
}

// output adds one output to its job's stream. One that completes a stop string ends the job
// here, and the engine is told.
func (d *detokenizer) output(j *job, o *wire.Output, computed int64) {
	if o.Accepted {
		d.accepted(j)
		return
	}
	if o.Fault != nil && o.Fault.Kind == wire.Lost && d.resume(j) {
		return
	}
	if o.Progress != nil {
		d.progressed(j, o.Progress)
	}
	if len(o.Scores) > 0 {
		d.score(j, o.Scores)
	}
	if o.Token != batch.NoToken {
		if len(j.given) == cap(j.given) {
			j.given = slices.Grow(j.given, max(64, min(j.req.MaxTokens, 512), len(j.given)))
		}
		j.given, j.losses = append(j.given, o.Token), 0
		j.drew(computed)
		text, found := d.scratch[:0], false
		if d.codec != nil && !(o.Reason == wire.Stop && d.hides(j, o.Token)) {
			if j.text.decoder == nil {
				show := j.req.Show
				if j.req.Grammar != nil {
					show = d.marks
				}
				j.text.decoder = d.codec.Stream(!j.req.KeepSpecial, show...)
				j.text.stop.begin(j.req.Stop, j.req.IncludeStop)
			}
			text = j.text.decoder.Append(text, o.Token)
		}
		d.scratch = text
		text, found = j.text.stop.add(text)
		j.stream.add(o.Token, computed, d.now, text, o.Logprob)
		if found {
			if !o.Ends() {
				d.drop(j)
			}
			d.end(j, nil, &Final{Reason: FinishStop, Stop: j.text.stop.found, StopToken: batch.NoToken})
			return
		}
	}
	if o.Ends() {
		d.finish(j, o)
	}
}

// progressed notes when a job came how far. Of one that was resumed counts what was before.
func (d *detokenizer) progressed(j *job, p *wire.Progress) {
	d.router.Begun(j.at, j.owed)
	j.owed = 0
	j.reached(p)
	if len(j.given) == 0 {
		j.times.Queued, j.times.Started, j.times.First, j.text.cached = p.Queued, p.Started, p.First, p.Cached
	}
}

// score passes log-probabilities of the prompt on, but for those that an engine brought that is
// lost since.
func (d *detokenizer) score(j *job, scores []batch.Logprob) {
	old := min(j.again, len(scores))
	j.again -= old
	if scores = scores[old:]; len(scores) > 0 {
		j.scored += len(scores)
		j.stream.score(scores)
	}
}

// accepted begins a job's stream.
func (d *detokenizer) accepted(j *job) {
	if j.text.prompt > 0 { // it is resumed
		return
	}
	prompt := j.prompt
	j.text.prompt = len(prompt)
	if r := &j.req; r.Reply != nil && len(r.Stop) > 0 && d.codec != nil {
		end := d.codec.Decode(prompt[max(0, len(prompt)-PromptEnd):], false)
		j.text.stop.answer = reply.NewParser(r.Reply.After(end))
	}
	j.stream.start(&Started{PromptTokens: prompt})
}

// hides reports whether the stop token that ended the job stays out of the
// text: always, unless the request wants to see special tokens or stops.
func (d *detokenizer) hides(j *job, token int32) bool {
	return !j.req.IncludeStop && !(j.req.KeepSpecial && d.eos(token))
}

// finish writes what text was held back and the final event.
func (d *detokenizer) finish(j *job, o *wire.Output) {
	f := &Final{StopToken: batch.NoToken}
	switch o.Reason {
	case wire.Stop:
		f.Reason = FinishStop
		if slices.Contains(j.req.StopTokens, o.Token) {
			f.StopToken = o.Token
		}
	case wire.Length:
		f.Reason = FinishLength
	case wire.Aborted:
		f.Reason = FinishAbort
	default:
		d.fail(j, j.failure(o.Fault))
		return
	}
	text := d.scratch[:0]
	if j.text.decoder != nil {
		text = j.text.decoder.Flush(text)
	}
	text, found := j.text.stop.flush(text)
	if found {
		f.Reason, f.Stop = FinishStop, j.text.stop.found
	}
	d.scratch = text
	d.end(j, text, f)
}

// fail ends a job with an error.
func (d *detokenizer) fail(j *job, err error) {
	d.end(j, nil, &Final{Reason: FinishError, StopToken: batch.NoToken, Err: err})
}

// end writes the final event, once.
func (d *detokenizer) end(j *job, text []byte, f *Final) {
	if j.text.done {
		return
	}
	j.text.done = true
	if j.waits {
		d.waiting.remove(j)
		d.table.remove(j)
	} else if j.placed {
		d.router.Ended(j.at, j.owed)
		d.table.remove(j)
	}
	f.Usage = Usage{PromptTokens: j.text.prompt, CachedTokens: j.text.cached, CompletionTokens: len(j.given), AcceptedTokens: j.text.accepted, RejectedTokens: j.text.rejected}
	f.Times = j.times
	f.Times.Ended = batch.Now()
	if len(j.attempts) > 0 {
		j.leave(&d.router.targets[j.at], f.Times.Ended, false)
		f.Attempts = j.attempts
	}
	d.record(j.id, f)
	j.stream.end(text, f)
	d.closed(j)
}

// record has a request that has ended on the trace: its phases and, where engines are elsewhere, its
// attempts around those.
func (d *detokenizer) record(id uint64, f *Final) {
	if !d.trace.On() {
		return
	}
	add := func(engine int, p Phase, n int) {
		d.trace.Add(trace.Span{Kind: p.Kind, On: trace.TrackRequests, Engine: uint8(engine), ID: id, Began: p.Began, Ended: p.Ended, N: int32(n)})
	}
	all := func(engine int, phases []Phase, tokens int) {
		for _, p := range phases {
			n := 0
			if p.Kind == trace.SpanDecode {
				n = tokens
			}
			add(engine, p, n)
		}
	}
	if !f.Elsewhere() {
		engine := 0
		if len(f.Attempts) > 0 {
			engine = f.Attempts[0].Engine
		}
		all(engine, f.Times.Phases(), f.Usage.CompletionTokens)
		return
	}
	add(0, Phase{trace.SpanTokenize, f.Times.Submitted, f.Attempts[0].Handed}, 0)
	for i := range f.Attempts {
		a := &f.Attempts[i]
		kind := trace.SpanEngine
		if a.Lost {
			kind = trace.SpanEngineLost
		}
		add(a.Engine, Phase{kind, a.Handed, a.Left}, int(min(a.ClockError, math.MaxInt32)))
		all(a.Engine, a.Phases(), a.Tokens)
	}
}

// failure is what an engine says is wrong with a job, as its client is told.
func (j *job) failure(f *wire.Fault) error {
	switch f.Kind {
	case wire.Refused:
		in := &InputError{Param: f.Param, Msg: f.Msg, TooLong: f.TooLong}
		if in.Param == "prompt" && j.req.Chat != nil {
			in.Param = "messages"
		}
		return in
	case wire.Lost:
		return &lostError{f}
	case wire.Waited:
		return &WaitError{j.req.MaxWait}
	}
	return f
}

// lostError is ErrFailed with what is known of it.
type lostError struct{ *wire.Fault }

func (e *lostError) Unwrap() error { return ErrFailed }
