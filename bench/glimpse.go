package bench

import "github.com/troupe-llm/troupe/actors"

// A run with the engine in this process is traced for a moment: so that its
// report can show how steps went, at no cost to the rest of it.
const (
	glimpseSteps = 32
	glimpseSpans = 1 << 15
)

// NewGlimpse is the trace for an engine that is to be measured: it records
// nothing but a few steps in the middle of a run.
func NewGlimpse() *actors.Trace {
	t := actors.NewTrace(glimpseSpans)
	t.Pause()
	return t
}

// glimpse decides when to record. A nil one never does.
type glimpse struct {
	trace *actors.Trace
	begun bool
	first uint64 // the step at which it began
}

// newGlimpse is for a system of this process that was given a NewGlimpse.
func newGlimpse(of source) *glimpse {
	s, ok := of.(inProcess)
	if !ok || s.Trace() == nil || !s.Trace().Paused() {
		return nil
	}
	s.Trace().Clear()
	return &glimpse{trace: s.Trace()}
}

// look is called now and then, with the share of the run that is done and the
// steps there were.
func (g *glimpse) look(done float64, steps uint64) {
	switch {
	case g == nil:
	case !g.begun && done >= 0.4 && done < 0.9:
		g.begun, g.first = true, steps
		g.trace.Resume()
	case g.begun && steps >= g.first+glimpseSteps:
		g.trace.Pause()
	}
}

// end is called when the run is over.
func (g *glimpse) end() {
	if g != nil {
		g.trace.Pause()
	}
}

// glimpsed is what was seen; nil when nothing was: without such a trace, or in
// a run that was over too soon.
func glimpsed(s *actors.System) *TraceSummary {
	if s == nil || s.Trace() == nil || !s.Trace().Paused() {
		return nil
	}
	if sum := Summarize(s.Trace().Recording()); sum.Steps > 0 {
		return &sum
	}
	return nil
}
