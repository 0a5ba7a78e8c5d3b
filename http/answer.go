package http

import (
	"errors"
	"math"
	"sync"
	"sync/atomic"
	"time"

	"github.com/troupe-llm/troupe/actors"
	"github.com/troupe-llm/troupe/gpu/batch"
	"github.com/troupe-llm/troupe/tokenize/reply"
)

// answer is the engine's side of one call: the streams of its choices, merged.
// It belongs to the connection's goroutine.
type answer struct {
	s       *Server
	c       *call
	choices []choice
	unended int // choices without a final event
	turn    int // the choice looked at first
	begun   time.Time
	first   time.Duration // until the first token; 0: none yet
	marks   marks         // of the first choice

	// woken is the one place where the answer waits: it has a value when some
	// stream may have an event, or one of the notices below was given. (A
	// select over a channel for each costs a token 0.3 µs more.)
	woken chan struct{}
	// shared is the answer as a stream that pens write: then that is woken
	// instead.
	shared atomic.Pointer[sse]
	// Notices, given by any goroutine; see tell.
	gone atomic.Bool // the client went away
	cut  atomic.Bool // the server stops
	idle atomic.Bool // it is time for a sign of life; taken back when seen
}

// choice is one of an answer's texts.
type choice struct {
	index  int
	stream stream
	event  actors.Event // the latest; its memory is used again
	held   bool         // event was taken ahead of time and is still to be handled
	prompt []int32
	scores []batch.Logprob // of the prompt, from its second token on
	tokens int             // taken so far
	final  *actors.Final
	latest time.Time // when its latest token came; zero: none yet
	parsed parsed
}

// Why waiting for an event ended without one.
var (
	errGone = errors.New("the client went away")
	errCut  = errors.New("the server stops")
	errIdle = errors.New("nothing happened for a while")
)

// newAnswer makes the answer to a call; begin comes next, and cancel last.
func (s *Server) newAnswer(c *call, begun time.Time) *answer {
	a := &answer{s: s, c: c, begun: begun, choices: make([]choice, c.choices()), woken: make(chan struct{}, 1)}
	for i := range a.choices {
		a.choices[i].index = i
	}
	s.live.add(a)
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
	if r := a.shared.Load(); r != nil {
		r.wake()
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
	for i := range a.choices {
		r := a.c.request(i)
		r.Wake = a.wake
		st, err := a.s.engine.Submit(r)
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
	}
	return nil
}

// next waits for an event of any choice. The event is good until that choice
// is waited for again.
func (a *answer) next() (int, *actors.Event, error) {
	for {
		if i, ev := a.take(); ev != nil {
			return i, ev, nil
		}
		if err := a.wait(); err != nil {
			return 0, nil, err
		}
	}
}

// take returns an event that is there already, if any, in turns.
func (a *answer) take() (int, *actors.Event) {
	for range a.choices {
		i := a.turn
		if a.turn++; a.turn == len(a.choices) {
			a.turn = 0
		}
		ch := &a.choices[i]
		if ch.final == nil && (ch.held || ch.stream.Take(&ch.event)) {
			ch.held = false
			a.note(ch)
			return i, &ch.event
		}
	}
	return 0, nil
}

// note keeps and measures what an event says.
func (a *answer) note(ch *choice) {
	ev := &ch.event
	if ev.Started != nil {
		ch.prompt = ev.Started.PromptTokens
		if ch.index%a.c.n == 0 { // a prompt counts once
			a.s.metrics.promptTokens.Add(int64(len(ch.prompt)))
		}
		if a.c.reply.Parsed() {
			a.newParser(ch)
		}
	}
	ch.scores = append(ch.scores, ev.PromptLogprobs...)
	if ch.parsed.parser != nil {
		ch.parse(ev)
	}
	if most := a.c.top; a.c.promptTop > most {
		for i := range ev.Logprobs { // more were asked for of the prompt
			ev.Logprobs[i].Top = ev.Logprobs[i].Top[:min(len(ev.Logprobs[i].Top), most)]
		}
	}
	if n := len(ev.Tokens); n > 0 {
		ch.tokens += n
		a.s.metrics.outputTokens.Add(int64(n))
		now := time.Now()
		if a.first == 0 {
			a.first = now.Sub(a.begun)
			a.s.metrics.firstToken.observe(a.first)
		}
		if !ch.latest.IsZero() {
			a.s.metrics.tokenGap.observeN(now.Sub(ch.latest)/time.Duration(n), n)
		}
		ch.latest = now
		if ch == &a.choices[0] && ev.Computed > 0 {
			a.marks.add(n, ev.Computed, int64(now.Sub(a.s.epoch)))
		}
	}
	if ev.Final != nil {
		// A stop token is no token of an event, but one of the usage.
		a.s.metrics.outputTokens.Add(int64(max(0, ev.Final.Usage.CompletionTokens-ch.tokens)))
		ch.final = ev.Final
		a.unended--
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
	case a.idle.Load():
		a.idle.Store(false)
		return errIdle // an event that came as well is there still
	}
	return nil
}

// cancel ends what is still running. Calling it again does nothing.
func (a *answer) cancel() {
	for i := range a.choices {
		if ch := &a.choices[i]; ch.stream != nil && ch.final == nil {
			ch.stream.Cancel()
		}
	}
	a.s.live.remove(a)
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

// usage adds up the choices': of those that did not come to their end, what
// was seen. A prompt counts once, however many choices it has.
func (a *answer) usage() actors.Usage {
	var sum actors.Usage
	for i := range a.choices {
		ch := &a.choices[i]
		u := actors.Usage{PromptTokens: len(ch.prompt), CompletionTokens: ch.tokens}
		if ch.final != nil {
			u = ch.final.Usage
		}
		sum.CompletionTokens += u.CompletionTokens
		if i%a.c.n == 0 {
			sum.PromptTokens += u.PromptTokens
			sum.CachedTokens += u.CachedTokens
		}
	}
	return sum
}

// reasoned adds up the tokens that choices spent on reasoning; -1 when nobody
// looked.
func (a *answer) reasoned() int {
	if !a.c.reply.Thinks() {
		return -1
	}
	sum := 0
	for i := range a.choices {
		sum += a.choices[i].parsed.reasoned
	}
	return sum
}

// collect waits for all of an answer and returns its choices.
func (a *answer) collect() ([]piece, error) {
	all := make([]piece, len(a.choices))
	for i := range all {
		p := &all[i]
		p.index = i
	}
	for a.unended > 0 {
		i, ev, err := a.next()
		if err != nil {
			return nil, err
		}
		if ev.Final != nil && ev.Final.Err != nil {
			return nil, ev.Final.Err
		}
		all[i].add(ev, &a.choices[i].parsed)
	}
	if a.c.echo {
		for i := range all {
			e := a.echo(i)
			all[i].precede(&e)
		}
	}
	if a.c.returnIDs || a.c.promptLogprobs {
		for i := range all {
			all[i].prompt, all[i].scores = a.choices[i].prompt, a.choices[i].scores
		}
	}
	return all, nil
}

// add appends what an event says, and what that means. It copies.
func (p *piece) add(ev *actors.Event, sp *parsed) {
	if sp.parser != nil {
		if p.message == nil {
			p.message = new(reply.Message)
		}
		p.message.Add(sp.parts)
	}
	for _, end := range ev.TextEnds {
		p.ends = append(p.ends, len(p.text)+end)
	}
	p.text = append(p.text, ev.Text...)
	p.ids = append(p.ids, ev.Tokens...)
	p.logprobs = append(p.logprobs, ev.Logprobs...)
	p.final = ev.Final
}

// echo is choice i's prompt: its text, and, when asked for, what the model says
// of its tokens. There the text is what they come to.
func (a *answer) echo(i int) (e piece) {
	p, ch := &a.c.prompts[i/a.c.n], &a.choices[i]
	switch {
	case a.c.logprobs:
		e.text, e.ends = a.s.tokenizer.DecodeEnds(ch.prompt, !a.c.req.KeepSpecial)
		unknown := batch.Logprob{Token: float32(math.NaN())} // nothing comes before the first
		e.echo, e.logprobs = ch.prompt, append([]batch.Logprob{unknown}, ch.scores...)
		for i := range e.logprobs {
			lp := &e.logprobs[i]
			lp.Top = lp.Top[:min(len(lp.Top), a.c.top)]
		}
	case p.ids != nil:
		e.text = []byte(a.s.tokenizer.Decode(p.ids, !a.c.req.KeepSpecial))
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
