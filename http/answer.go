package http

import (
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/troupe-llm/troupe/actors"
	"github.com/troupe-llm/troupe/http/internal/dialect"
	"github.com/troupe-llm/troupe/http/internal/dialect/model"
	"github.com/troupe-llm/troupe/tokenize/reply"
)

// answer is the engine's side of one call: the streams of its choices, merged.
// It belongs to who writes it: the connection's goroutine, or a writer of
// streams whose turn it is.
type answer struct {
	dialect.Answer // what its writer sees of it

	engine  engine
	tok     model.Tokenizer
	call    *dialect.Call
	metrics *metricSet
	epoch   time.Time
	choices []choice      // beside Answer.Choices
	unended int           // choices without a final event
	turn    int           // the choice looked at first
	begun   time.Time     // when its request came
	first   time.Duration // until the first token; 0: none yet
	marks   marks         // of the first choice

	// woken is the one place where the answer waits: it has a value when some
	// stream may have an event, or one of the notices below was given. (A
	// select over a channel for each costs a token 0.3 µs more.)
	woken chan struct{}
	// instead, when set, is called for that: who writes the answer waits elsewhere.
	instead atomic.Pointer[func()]
	// Notices, given by any goroutine; see tell.
	gone atomic.Bool // the client went away
	cut  atomic.Bool // the server stops
	late atomic.Bool // it may not take longer
	idle atomic.Bool // it is time for a sign of life; taken back when seen
}

// choice is one of an answer's texts.
type choice struct {
	*dialect.Choice
	stream stream
	event  actors.Output // the latest; its memory is used again
	delta  dialect.Delta // what it means, likewise
	held   bool          // event was taken ahead of time and is still to be handled
	latest time.Time     // when its latest token came; zero: none yet
	parsed parsed
}

// Why waiting for an event ended without one.
var (
	errGone = errors.New("the client went away")
	errCut  = errors.New("the server stops")
	errLate = errors.New("the answer took longer than it may")
	errIdle = errors.New("nothing happened for a while")
)

// newAnswer makes the answer to a call for a model; begin comes next, and cancel last.
func (s *Server) newAnswer(m *servedModel, c *dialect.Call, begun time.Time) *answer {
	n := len(c.Requests)
	a := &answer{
		Answer: dialect.Answer{Choices: make([]dialect.Choice, n), PerPrompt: c.PerPrompt, Thinks: c.Reply.Thinks()},
		engine: m.engine, tok: m.model.Tokenizer, call: c, metrics: m.metrics, epoch: s.epoch,
		begun: begun, choices: make([]choice, n), woken: make(chan struct{}, 1),
	}
	for i := range a.choices {
		a.choices[i].Choice = &a.Choices[i]
		a.choices[i].delta.Choice = i
	}
	return a
}

// tell gives the answer a notice.
func (a *answer) tell(notice *atomic.Bool) {
	notice.Store(true)
	a.wake()
}

// wake has the answer looked at. Whoever calls it has done before what is
// there to be seen.
func (a *answer) wake() {
	if f := a.instead.Load(); f != nil {
		(*f)()
		return
	}
	select {
	case a.woken <- struct{}{}:
	default:
	}
}

// begin submits the choices and waits until each was accepted, so that a
// request that cannot be run is still answered with a status. When it fails,
// nothing of it is running.
func (a *answer) begin() error {
	for i, r := range a.call.Requests {
		r.Wake = a.wake
		st, err := a.engine.Submit(r)
		if err != nil {
			a.cancel()
			return err
		}
		a.choices[i].stream = st
		a.unended++
	}
	err := a.start()
	if err != nil {
		a.cancel()
	}
	return err
}

// start waits for the first event of every choice.
func (a *answer) start() error {
	for i := range a.choices {
		ch := &a.choices[i]
		for !ch.stream.Take(&ch.event) {
			if err := a.wait(); err != nil {
				return err
			}
		}
		ch.held = true
		if f := ch.event.Final; f != nil && f.Err != nil {
			return f.Err
		}
		if s := ch.event.Started; s != nil {
			a.accepted(i, s.PromptTokens)
		}
	}
	return nil
}

// accepted notes that a choice is running.
func (a *answer) accepted(i int, prompt []int32) {
	ch := &a.choices[i]
	ch.Prompt = prompt
	if i%a.PerPrompt == 0 { // a prompt counts once
		a.metrics.promptTokens.Add(int64(len(prompt)))
	}
	o := a.call.Reply
	if !o.Parsed() {
		return
	}
	if o.Thinks() {
		o = o.After(a.tok.Decode(prompt[max(0, len(prompt)-actors.PromptEnd):], false))
	}
	ch.parsed.parser = reply.NewParser(o)
}

// next waits for more of any choice. It is good until that choice is waited for
// again.
func (a *answer) next() (*choice, error) {
	for {
		if ch := a.take(); ch != nil {
			return ch, nil
		}
		if err := a.wait(); err != nil {
			return nil, err
		}
	}
}

// take returns a choice of which there is more already, if any, in turns: its
// event, and in delta what that means.
func (a *answer) take() *choice {
	for range a.choices {
		i := a.turn
		if a.turn++; a.turn == len(a.choices) {
			a.turn = 0
		}
		ch := &a.choices[i]
		if ch.Final == nil && (ch.held || ch.stream.Take(&ch.event)) {
			ch.held = false
			a.note(ch)
			return ch
		}
	}
	return nil
}

// note keeps and measures what an event says.
func (a *answer) note(ch *choice) {
	ev, d := &ch.event, &ch.delta
	ch.Scores = append(ch.Scores, ev.PromptLogprobs...)
	d.Parts = ch.parse(ev)
	d.Tokens, d.Logprobs, d.TextEnds = ev.Tokens, ev.Logprobs, ev.TextEnds
	if n := len(ev.Tokens); n > 0 {
		ch.Tokens += n
		a.measure(ch, n)
	}
	if d.Final = ev.Final; ev.Final != nil {
		// A stop token is no token of an event, but one of the usage.
		a.metrics.outputTokens.Add(int64(max(0, ev.Final.Usage.CompletionTokens-ch.Tokens)))
		ch.Final = ev.Final
		a.unended--
	}
}

// measure notes that n tokens of a choice have come.
func (a *answer) measure(ch *choice, n int) {
	a.metrics.outputTokens.Add(int64(n))
	now := time.Now()
	if a.first == 0 {
		a.first = now.Sub(a.begun)
		a.metrics.firstToken.observe(a.first)
	}
	if !ch.latest.IsZero() {
		a.metrics.tokenGap.observeN(now.Sub(ch.latest)/time.Duration(n), n)
	}
	ch.latest = now
	if ch == &a.choices[0] && ch.event.Computed > 0 {
		a.marks.add(n, ch.event.Computed, int64(now.Sub(a.epoch)))
	}
}

// wait parks until there may be an event.
func (a *answer) wait() error {
	<-a.woken
	return a.notice()
}

// notice is what was noticed, if anything.
func (a *answer) notice() error {
	switch {
	case a.gone.Load():
		return errGone
	case a.cut.Load():
		return errCut
	case a.late.Load():
		return errLate
	case a.idle.Load():
		a.idle.Store(false)
		return errIdle // an event that came as well is there still
	}
	return nil
}

// cancel ends what is still running. Calling it again does nothing.
func (a *answer) cancel() {
	for i := range a.choices {
		if ch := &a.choices[i]; ch.stream != nil && ch.Final == nil {
			ch.stream.Cancel()
		}
	}
}

// whole waits for all of the answer and returns what its writer makes of it.
func (a *answer) whole() ([]byte, error) {
	w := a.call.Whole
	body := w.Begin(nil, &a.Answer)
	for a.unended > 0 {
		ch, err := a.next()
		if err != nil {
			return nil, err
		}
		if f := ch.delta.Final; f != nil && f.Err != nil {
			return nil, f.Err
		}
		body = w.Delta(body, &a.Answer, &ch.delta)
	}
	return w.End(body, &a.Answer), nil
}

// liveAnswers are those under way, which a stopping server tells so.
type liveAnswers struct {
	mu  sync.Mutex
	all map[*answer]struct{} // guarded by mu
	cut bool                 // guarded by mu: those to come are told at once
}

func (l *liveAnswers) add(a *answer) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.all[a] = struct{}{}
	if l.cut {
		a.tell(&a.cut)
	}
}

func (l *liveAnswers) remove(a *answer) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.all, a)
}

func (l *liveAnswers) cutAll() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.cut = true
	for a := range l.all {
		a.tell(&a.cut)
	}
}
