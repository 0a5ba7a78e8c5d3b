package front

import (
	"context"
	"iter"
	"strings"
	"sync"
	"time"

	"github.com/troupe-llm/troupe/actors/trace"
	"github.com/troupe-llm/troupe/gpu/batch"
)

// Stream carries one request's events from the detokenizer, its only writer,
// to one reader.
//
// It never makes the writer wait: what the reader has not taken is merged into
// one event. So its memory is bounded by the request's own output, a slow
// reader gets fewer and larger events, and nothing is lost.
type Stream struct {
	ID      string
	Created time.Time

	id     uint64 // the job's
	trace  *trace.Trace
	ends   bool // Request.TextEnds
	cancel func()
	wake   func()        // see Request.Wake
	ready  chan struct{} // capacity 1; for Next, when the request has no Wake

	mu      sync.Mutex
	pending Output // guarded by mu
	some    bool   // guarded by mu: pending holds something
	since   int64  // guarded by mu: when pending's first something was added; kept for the trace
	ended   bool   // guarded by mu: the final event has been written
}

// newStream makes a stream that wakes its reader by wake; nil is for readers
// that use Next.
func newStream(id string, wake func()) *Stream {
	s := &Stream{ID: id, Created: time.Now(), wake: wake}
	if wake == nil {
		s.ready = make(chan struct{}, 1)
		s.wake = s.signal
	}
	return s
}

// Take moves all that has happened since the last Take into out, whose memory
// it reuses, and reports whether there was anything.
func (s *Stream) Take(ev *Output) bool {
	clear(ev.Logprobs)
	empty := Output{Text: ev.Text[:0], Tokens: ev.Tokens[:0], Logprobs: ev.Logprobs[:0], TextEnds: ev.TextEnds[:0]}
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.some {
		*ev = empty
		return false
	}
	*ev, s.pending, s.some = s.pending, empty, false
	ev.Receipt = Receipt{}
	if s.trace.On() && s.since > 0 {
		ev.Receipt = Receipt{s.trace, s.id, s.since, int32(len(ev.Tokens))}
	}
	return true
}

// Receipt is how whoever takes an event tells the trace that it is on its way
// to the client.
type Receipt struct {
	trace  *trace.Trace
	id     uint64 // the job's
	posted int64  // when the event was there to be taken
	tokens int32
}

// Wanted reports whether anyone wants to know.
func (r *Receipt) Wanted() bool { return r.trace != nil }

// Written records when the event was taken and when it had been written, as
// batch.Now. Whoever handles several events one after the other may take the end
// of one for the beginning of the next: reading the clock is half of what
// tracing costs.
func (r *Receipt) Written(taken, at int64) {
	if r.trace != nil {
		r.trace.Add(r.span(taken, at))
	}
}

func (r *Receipt) span(taken, at int64) trace.Span {
	taken = max(taken, r.posted)
	return trace.Span{Kind: trace.SpanSocket, On: trace.TrackSocket, ID: r.id, Posted: r.posted, Began: taken, Ended: max(at, taken), N: r.tokens}
}

// Receipts are signed one after the other and handed in together: the trace's
// memory is mostly on another core, and to fetch it takes longer than all else
// about a receipt (120 ns against 60 where two cores write, for one that is
// handed in by itself).
type Receipts struct {
	trace *trace.Trace
	spans []trace.Span
}

// Sign is what Written is for a single receipt.
func (r *Receipts) Sign(one *Receipt, taken, at int64) {
	if one.trace != nil {
		r.trace, r.spans = one.trace, append(r.spans, one.span(taken, at))
	}
}

// HandIn gives them to the trace.
func (r *Receipts) HandIn() {
	if len(r.spans) > 0 {
		r.trace.AddShared(r.spans)
		r.spans = r.spans[:0]
	}
}

// noted marks pending as not empty, at that time, 0 when no trace wants it.
// Called with mu held.
func (s *Stream) noted(at int64) {
	if !s.some {
		s.since = at
	}
	s.some = true
}

// All yields what comes of the request, up to and with the event that has a Final:
//
//	for ev, err := range stream.All(ctx) {
//		if err != nil {
//			return err
//		}
//		fmt.Print(ev.Text)
//	}
//
// An error comes last: the request's (Final.Err, with its final event) or the context's. A loop that ends
// before the request does cancels it. A stream is read once, and not by others at the same
// time; of a request with a Wake it is read by Take alone.
func (s *Stream) All(ctx context.Context) iter.Seq2[Event, error] {
	return func(yield func(Event, error) bool) {
		var out Output
		defer func() {
			if out.Final == nil {
				s.Cancel()
			}
		}()
		for out.Final == nil {
			if err := s.Next(ctx, &out); err != nil {
				yield(Event{}, err)
				return
			}
			var failed error
			if out.Final != nil {
				failed = out.Final.Err
			}
			if !yield(out.event(), failed) {
				return
			}
		}
	}
}

// Text waits for all that the request says, and its end, which is nil where the context's came
// before. Like All it cancels the request then.
func (s *Stream) Text(ctx context.Context) (text string, end *Final, err error) {
	var all strings.Builder
	for ev, err := range s.All(ctx) {
		all.WriteString(ev.Text)
		if end = ev.Final; err != nil {
			return all.String(), end, err
		}
	}
	return all.String(), end, nil
}

// Next waits for something to happen and takes it into ev. It fails only with
// the context's error.
func (s *Stream) Next(ctx context.Context, ev *Output) error {
	for !s.Take(ev) {
		select {
		case <-s.ready:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// Cancel ends the request as soon as possible, at most one step from now. Its
// final event still comes. Cancelling an ended request does nothing.
func (s *Stream) Cancel() { s.cancel() }

// start writes the first event.
func (s *Stream) start(st *Started) {
	s.mu.Lock()
	s.pending.Started = st
	s.noted(s.trace.Now())
	s.mu.Unlock()
	s.wake()
}

// add appends one token, computed at that time, and the text it completed, now.
func (s *Stream) add(token int32, computed, now int64, text []byte, lp *batch.Logprob) {
	s.mu.Lock()
	ev := &s.pending
	if len(ev.Tokens) == 0 {
		ev.Computed = computed
	}
	ev.Text = append(ev.Text, text...)
	ev.Tokens = append(ev.Tokens, token)
	if lp != nil {
		ev.Logprobs = append(ev.Logprobs, *lp)
	}
	if lp != nil || s.ends {
		ev.TextEnds = append(ev.TextEnds, len(ev.Text))
	}
	s.noted(now)
	s.mu.Unlock()
	s.wake()
}

// score appends log-probabilities of the prompt.
func (s *Stream) score(lps []batch.Logprob) {
	s.mu.Lock()
	s.pending.PromptLogprobs = append(s.pending.PromptLogprobs, lps...)
	s.noted(s.trace.Now())
	s.mu.Unlock()
	s.wake()
}

// end writes the final event after the last of the text.
//
// Invariant: called once a stream.
func (s *Stream) end(text []byte, f *Final) {
	s.mu.Lock()
	if s.ended {
		s.mu.Unlock()
		panic("front: request " + s.ID + " ended twice")
	}
	s.ended = true
	s.noted(f.Times.Ended)
	s.pending.Text = append(s.pending.Text, text...)
	s.pending.Final = f
	s.mu.Unlock()
	s.wake()
}

func (s *Stream) signal() {
	select {
	case s.ready <- struct{}{}:
	default:
	}
}
