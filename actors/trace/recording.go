package trace

import (
	"cmp"
	"slices"

	"github.com/troupe-llm/troupe/gpu/batch"
)

// Sample is how an engine stood at a time.
type Sample struct {
	At     int64 // as batch.Now
	Engine uint8

	Running, Waiting                  int32 // requests
	PagesUsed, PagesCached, PagesFree int32 // of KV memory, by what they hold: requests' tokens, a prefix nobody uses, nothing
}

// Sample records how the engine stands, if that has changed.
func (r Recorder) Sample(s Sample) {
	if !r.On() {
		return
	}
	s.Engine = r.engine
	k := &r.samples
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.written > 0 {
		last := k.kept[(k.written-1)%uint64(len(k.kept))]
		if last.At = s.At; last == s {
			return
		}
	}
	s.At = batch.Now()
	k.kept[k.written%uint64(len(k.kept))] = s
	k.written++
}

// EngineName says where the engine is that has a number, from some time on.
type EngineName struct {
	Engine uint8
	Since  int64 // as batch.Now
	Name   string
}

// Name notes where an engine elsewhere is, which has this number from now on.
func (t *Trace) Name(engine uint8, name string) {
	if t == nil {
		return
	}
	t.namesMu.Lock()
	defer t.namesMu.Unlock()
	t.names = append(t.names, EngineName{engine, batch.Now(), name})
}

// Recording is what a trace remembers.
type Recording struct {
	Spans     []Span // in the order in which they ended
	Forgotten uint64 // spans that there were before
	Engines   []EngineName
	Samples   []Sample // those of each engine in the order in which they were taken
	Warmed    int64    // until when there was nothing but warming up, as batch.Now; 0: there was none
}

// EngineAt is where the engine was that had this number then; "": in this process.
func (r *Recording) EngineAt(engine uint8, then int64) (name string) {
	for i := range r.Engines {
		if n := &r.Engines[i]; n.Engine == engine && n.Since <= then {
			name = n.Name
		}
	}
	return name
}

// Recording returns all of it.
func (t *Trace) Recording() *Recording {
	r := &Recording{Warmed: t.warmed.Load()}
	r.Spans, r.Forgotten = t.Spans()
	r.Samples, _ = t.samples.add(nil)
	slices.SortStableFunc(r.Samples, func(a, b Sample) int { return cmp.Compare(a.At, b.At) })
	t.namesMu.Lock()
	r.Engines = slices.Clone(t.names)
	t.namesMu.Unlock()
	return r
}
