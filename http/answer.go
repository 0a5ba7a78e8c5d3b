package http

import (
	"errors"
	"time"

	"github.com/troupe-llm/troupe/actors"
)

// answer is the engine's side of one call: the streams of its choices, merged.
// It belongs to the connection's goroutine.
type answer struct {
	s       *Server
	c       *call
	choices []choice
	wake    <-chan struct{} // has a value when some stream may have an event
	gone    <-chan struct{} // closed when the client went away
	done    chan struct{}   // closed when nobody waits any more; nil for one choice
	unended int             // choices without a final event
	turn    int             // the choice looked at first
	begun   time.Time
	first   time.Duration // until the first token; 0: none yet
}

// choice is one of an answer's texts.
type choice struct {
	stream stream
	event  actors.Event // the latest; its memory is used again
	held   bool         // event was taken ahead of time and is still to be handled
	prompt []int32
	tokens int // taken so far
	final  *actors.Final
	latest time.Time // when its latest token came; zero: none yet
}

// Why waiting for an event ended without one.
var (
	errGone = errors.New("the client went away")
	errCut  = errors.New("the server stops")
	errIdle = errors.New("nothing happened for a while")
)

// begin submits a call's choices and waits until each was accepted, so that a
// request that cannot be run is still answered with a status. When it fails,
// nothing of it is running.
func (s *Server) begin(c *call, begun time.Time, gone <-chan struct{}) (*answer, error) {
	a := &answer{s: s, c: c, gone: gone, begun: begun, choices: make([]choice, c.choices())}
	for i := range a.choices {
		st, err := s.engine.Submit(c.request(i))
		if err != nil {
			a.cancel()
			return nil, err
		}
		a.choices[i].stream = st
		a.unended++
	}
	a.wake = a.choices[0].stream.Ready()
	if len(a.choices) > 1 {
		a.merge()
	}
	if err := a.start(); err != nil {
		a.cancel()
		return nil, err
	}
	return a, nil
}

// merge makes one wake of all choices'.
func (a *answer) merge() {
	wake, done := make(chan struct{}, 1), make(chan struct{})
	a.wake, a.done = wake, done
	for i := range a.choices {
		go func(ready <-chan struct{}) {
			for {
				select {
				case <-ready:
				case <-done:
					return
				}
				select {
				case wake <- struct{}{}:
				default:
				}
			}
		}(a.choices[i].stream.Ready())
	}
}

// start waits for the first event of every choice.
func (a *answer) start() error {
	for i := range a.choices {
		ch := &a.choices[i]
		for !ch.stream.Take(&ch.event) {
			if err := a.wait(nil); err != nil {
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
func (a *answer) next(idle <-chan time.Time) (int, *actors.Event, error) {
	for {
		if i, ev := a.take(); ev != nil {
			return i, ev, nil
		}
		if err := a.wait(idle); err != nil {
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
	}
	if n := len(ev.Tokens); n > 0 {
		ch.tokens += n
		now := time.Now()
		if a.first == 0 {
			a.first = now.Sub(a.begun)
			a.s.metrics.firstToken.observe(a.first)
		}
		if !ch.latest.IsZero() {
			a.s.metrics.tokenGap.observeN(now.Sub(ch.latest)/time.Duration(n), n)
		}
		ch.latest = now
	}
	if ev.Final != nil {
		ch.final = ev.Final
		a.unended--
	}
}

// wait parks until there may be an event.
func (a *answer) wait(idle <-chan time.Time) error {
	select {
	case <-a.wake:
		return nil
	case <-a.gone:
		return errGone
	case <-a.s.cut:
		return errCut
	case <-idle:
		return errIdle
	}
}

// cancel ends what is still running. Calling it again does nothing.
func (a *answer) cancel() {
	for i := range a.choices {
		if ch := &a.choices[i]; ch.stream != nil && ch.final == nil {
			ch.stream.Cancel()
		}
	}
	if a.done != nil {
		close(a.done)
		a.done = nil
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

// collect waits for all of an answer and returns its choices.
func (a *answer) collect() ([]piece, error) {
	all := make([]piece, len(a.choices))
	for i := range all {
		p := &all[i]
		p.index = i
		if a.c.echo {
			p.text = append(p.text, a.echo(i)...)
		}
	}
	for a.unended > 0 {
		i, ev, err := a.next(nil)
		if err != nil {
			return nil, err
		}
		if ev.Final != nil && ev.Final.Err != nil {
			return nil, ev.Final.Err
		}
		all[i].add(ev)
	}
	if a.c.returnIDs {
		for i := range all {
			all[i].prompt = a.choices[i].prompt
		}
	}
	return all, nil
}

// add appends what an event says. It copies.
func (p *piece) add(ev *actors.Event) {
	for _, end := range ev.TextEnds {
		p.ends = append(p.ends, len(p.text)+end)
	}
	p.text = append(p.text, ev.Text...)
	p.ids = append(p.ids, ev.Tokens...)
	p.logprobs = append(p.logprobs, ev.Logprobs...)
	p.final = ev.Final
}

// echo is the text of choice i's prompt.
func (a *answer) echo(i int) []byte {
	p := &a.c.prompts[i/a.c.n]
	if p.ids != nil {
		return []byte(a.s.tokenizer.Decode(p.ids, !a.c.req.KeepSpecial))
	}
	return []byte(p.text)
}
