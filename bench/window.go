package bench

import (
	"cmp"
	"slices"

	"github.com/troupe-llm/troupe/actors"
)

// Window is what was done in a few steps that followed each other, when most
// requests ran. Times are since the first of these steps was prepared.
type Window struct {
	Spans []WindowSpan `json:"spans"`
}

// WindowSpan is one thing done. What is a stage of a step, "tokens" (turning a
// step's tokens into text) or "socket" (events on their way to clients, those
// that follow each other closely taken together).
type WindowSpan struct {
	On    string  `json:"on"` // the track
	What  string  `json:"what"`
	Step  uint64  `json:"step,omitempty"`
	N     int     `json:"n"` // rows, tokens or outputs
	Began float64 `json:"began_us"`
	Ended float64 `json:"ended_us"`
}

const (
	windowSteps = 5
	// socketGap parts bursts of events on their way to clients.
	socketGap = 20_000 // ns
)

// windowOf picks, where the steps had nearly the most rows, those that took
// neither longer nor shorter than most. Spans are in order of time.
func windowOf(steps []*stepTimes, spans []actors.Span) *Window {
	n := len(steps)
	if n < windowSteps {
		return nil
	}
	most := slices.MaxFunc(steps, func(a, b *stepTimes) int { return cmp.Compare(a.prepare.N, b.prepare.N) }).prepare.N
	bounds := func(first int) (from, to int64) {
		return steps[first].prepare.Began, steps[first+windowSteps-1].commit.Ended
	}
	var full []int
	for i := range n - windowSteps + 1 {
		if steps[i].prepare.N*10 >= most*9 {
			full = append(full, i)
		}
	}
	if len(full) == 0 { // most ran at the very end
		full = append(full, n-windowSteps)
	}
	slices.SortFunc(full, func(a, b int) int {
		fromA, toA := bounds(a)
		fromB, toB := bounds(b)
		return cmp.Compare(toA-fromA, toB-fromB)
	})
	from, to := bounds(full[len(full)/2])
	w := &Window{}
	add := func(s *actors.Span, step uint64, began int64) {
		w.Spans = append(w.Spans, WindowSpan{
			On: TrackName(s.On), What: s.Kind.String(), Step: step, N: int(s.N), Began: us(began - from), Ended: us(s.Ended - from),
		})
	}
	var burst actors.Span
	for i := range spans {
		s := &spans[i]
		// What the device did before counts, since that is what it was busy with.
		if s.Kind == actors.SpanCompute && s.Ended > from && s.Began < to {
			add(s, s.ID, s.Began)
		}
		if s.Began < from || s.Ended > to {
			continue
		}
		switch s.Kind {
		case actors.SpanPrepare, actors.SpanLaunch, actors.SpanCommit, actors.HandleTokens:
			add(s, s.ID, s.Began)
		case actors.SpanSocket:
			if burst.Ended > 0 && s.Began <= burst.Ended+socketGap {
				burst.Ended, burst.N = max(burst.Ended, s.Ended), burst.N+s.N
				continue
			}
			if burst.Ended > 0 {
				add(&burst, 0, burst.Began)
			}
			burst = *s
		}
	}
	if burst.Ended > 0 {
		add(&burst, 0, burst.Began)
	}
	return w
}
