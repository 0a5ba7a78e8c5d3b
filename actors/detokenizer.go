package actors

import (
	"errors"
	"fmt"
	"slices"

	"github.com/asynkron/protoactor-go/actor"
	"github.com/rs/zerolog"

	"github.com/troupe-llm/troupe/actors/plan"
	"github.com/troupe-llm/troupe/gpu/batch"
	"github.com/troupe-llm/troupe/tokenize"
	"github.com/troupe-llm/troupe/tokenize/reply"
)

// detokenizer turns tokens into text and feeds the jobs' streams. Text never
// splits a character and never runs into a stop string.
//
// Owns:   each job's text state, and the writing end of its stream.
// In:     *admitted, *tokens from the scheduler; *failed from anyone.
// Out:    events on streams; *stopFound to the scheduler.
// Blocks: never: a stream takes what it is given at once.
// Fails:  a panic fails the job it happened in and no other.
type detokenizer struct {
	codec     *tokenize.Tokenizer // nil: a model without one, whose streams carry tokens only
	marks     []int32             // special tokens shown in what keeps to a grammar
	scheduler *actor.PID
	eos       func(int32) bool
	closed    func(*job) // tells the system that the job's final event is out
	trace     *Trace
	now       int64 // about; kept for the trace
	log       zerolog.Logger
	scratch   []byte
}

// text is a job's state in the detokenizer.
type text struct {
	decoder  *tokenize.Stream
	stop     stopper
	prompt   int // prompt tokens
	produced int // completion tokens
	done     bool
}

func (d *detokenizer) handle(c mail, m message) {
	switch m := m.(type) {
	case *admitted:
		m.job.text.prompt = len(m.prompt)
		if r := &m.job.req; r.Reply != nil && len(r.Stop) > 0 && d.codec != nil {
			end := d.codec.Decode(m.prompt[max(0, len(m.prompt)-PromptEnd):], false)
			m.job.text.stop.answer = reply.NewParser(r.Reply.After(end))
		}
		m.job.stream.start(&Started{PromptTokens: m.prompt})
	case *tokens:
		for i := range m.outs {
			if i%clockEvery == 0 {
				d.now = d.trace.now()
			}
			d.guarded(c, &m.outs[i], m.computed)
		}
		m.release()
	case *failed:
		d.end(m.job, nil, &Final{Reason: FinishError, StopToken: batch.NoToken, Err: m.err})
	}
}

// clockEvery is how many tokens share a reading of the clock: one takes as long
// as turning a token into text.
const clockEvery = 8

// panicked: guarded has dealt with those of a job.
func (d *detokenizer) panicked(mail, message, error) {}

// guarded keeps one job's panic from the others of its step.
func (d *detokenizer) guarded(c mail, o *output, computed int64) {
	defer func() {
		if r := recover(); r != nil {
			err := panicError(r)
			d.log.Error().Str("request", o.job.stream.ID).Err(err).Msg("detokenizing a request panicked; it fails")
			d.end(o.job, nil, &Final{Reason: FinishError, StopToken: batch.NoToken, Err: fmt.Errorf("turning tokens into text: %w", err)})
			c.send(d.scheduler, &stopFound{job: o.job})
		}
	}()
	if d.output(o, computed) && o.finish == plan.Running {
		c.send(d.scheduler, &stopFound{job: o.job})
	}
}

// output adds one output to its job's stream and reports whether it completed
// a stop string, which ends the job here though the scheduler goes on.
func (d *detokenizer) output(o *output, computed int64) (found bool) {
	j := o.job
	if j.text.done { // computed once too often after a stop string
		return false
	}
	if len(o.scores) > 0 {
		j.stream.score(o.scores)
	}
	ended := o.finish != plan.Running
	if o.token != batch.NoToken {
		j.text.produced++
		text := d.scratch[:0]
		if d.codec != nil && !(o.finish == plan.Stop && d.hides(j, o.token)) {
			if j.text.decoder == nil {
				show := j.req.Show
				if j.req.Grammar != nil {
					show = d.marks
				}
				j.text.decoder = d.codec.Stream(!j.req.KeepSpecial, show...)
				j.text.stop.begin(j.req.Stop, j.req.IncludeStop)
			}
			text = j.text.decoder.Append(text, o.token)
		}
		d.scratch = text
		text, found = j.text.stop.add(text)
		j.stream.add(o.token, computed, d.now, text, o.logprob)
		if found {
			d.end(j, nil, &Final{Reason: FinishStop, Stop: j.text.stop.found, StopToken: batch.NoToken, Usage: j.usage(o)})
			return true
		}
	}
	if ended {
		d.finish(j, o)
	}
	return false
}

// hides reports whether the stop token that ended the job stays out of the
// text: always, unless the request wants to see special tokens or stops.
func (d *detokenizer) hides(j *job, token int32) bool {
	return !j.req.IncludeStop && !(j.req.KeepSpecial && d.eos(token))
}

// finish writes what text was held back and the final event.
func (d *detokenizer) finish(j *job, o *output) {
	f := &Final{StopToken: batch.NoToken, Usage: j.usage(o)}
	switch o.finish {
	case plan.Stop:
		f.Reason = FinishStop
		if slices.Contains(j.req.StopTokens, o.token) {
			f.StopToken = o.token
		}
	case plan.Length:
		f.Reason = FinishLength
	case plan.Aborted:
		f.Reason = FinishAbort
	default:
		f.Reason, f.Err = FinishError, errors.New("the request failed: "+o.finish.String())
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

// end writes the final event, once.
func (d *detokenizer) end(j *job, text []byte, f *Final) {
	if j.text.done {
		return
	}
	j.text.done = true
	if f.Usage == (Usage{}) {
		f.Usage = j.usage(nil)
	}
	f.Times = j.times
	f.Times.Ended = batch.Now()
	d.trace.request(j.id, &f.Times, f.Usage.CompletionTokens)
	j.stream.end(text, f)
	d.closed(j)
}

func (j *job) usage(o *output) Usage {
	u := Usage{PromptTokens: j.text.prompt, CompletionTokens: j.text.produced}
	if o != nil {
		u.CachedTokens = o.cached
	}
	return u
}
