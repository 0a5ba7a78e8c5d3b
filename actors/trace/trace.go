// Package trace records what actors and devices do, for looking at afterwards: fixed-size spans on
// tracks, in rings that forget the oldest.
package trace

import (
	"cmp"
	"math"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/troupe-llm/troupe/gpu/batch"
)

// Trace records what every actor and the device do, one fixed-size Span a
// thing done. A nil Trace records nothing and costs a nil check; a paused one
// costs little more. A full one forgets its oldest spans.
type Trace struct {
	paused atomic.Bool

	namesMu sync.Mutex
	names   []EngineName // guarded by namesMu: of engines elsewhere, in the order in which they came

	warmed atomic.Int64 // when warming up had ended, as batch.Now; 0: nobody did

	actors ring[Span] // what actors and the device do
	// shared is what the readers of streams do, by request, in several rings:
	// they are many, and would wait for each other at one.
	shared  [8]ring[Span]
	samples ring[Sample]
}

// ring keeps the last of what was put into it.
type ring[T any] struct {
	mu      sync.Mutex
	kept    []T    // guarded by mu
	written uint64 // guarded by mu: how many were ever put in
	_       [64]byte
}

// put adds some.
func (r *ring[T]) put(some ...T) {
	r.mu.Lock()
	for i := range some {
		r.kept[r.written%uint64(len(r.kept))] = some[i]
		r.written++
	}
	r.mu.Unlock()
}

// add appends what is kept, and says how many were forgotten.
func (r *ring[T]) add(to []T) (all []T, forgotten uint64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	n := uint64(len(r.kept))
	return append(to, r.kept[:min(n, r.written)]...), max(n, r.written) - n
}

func (r *ring[T]) clear() {
	r.mu.Lock()
	r.written = 0
	r.mu.Unlock()
}

// New keeps the last n spans, half of them of actors and the device: a
// decode step makes about eight. The others are events on their way to
// clients, and four for each request. Of samples, a step makes one or two.
func New(n int) *Trace {
	t := &Trace{actors: ring[Span]{kept: make([]Span, (n+1)/2)}, samples: ring[Sample]{kept: make([]Sample, max(1, n/8))}}
	for i := range t.shared {
		t.shared[i].kept = make([]Span, max(1, n/2/len(t.shared)))
	}
	return t
}

// Pause stops recording until Resume. What is under way when either is called
// may be recorded in part.
func (t *Trace) Pause() { t.paused.Store(true) }

// Resume goes on recording.
func (t *Trace) Resume() { t.paused.Store(false) }

// Paused reports whether it is.
func (t *Trace) Paused() bool { return t.paused.Load() }

// Clear forgets everything.
func (t *Trace) Clear() {
	for r := range t.rings {
		r.clear()
	}
	t.samples.clear()
}

// Warmed says that what was done until now was to warm up.
func (t *Trace) Warmed() {
	if t != nil {
		t.warmed.Store(batch.Now())
	}
}

// rings goes through those of spans.
func (t *Trace) rings(yield func(*ring[Span]) bool) {
	if !yield(&t.actors) {
		return
	}
	for i := range t.shared {
		if !yield(&t.shared[i]) {
			return
		}
	}
}

// On reports whether it records.
func (t *Trace) On() bool { return t != nil && !t.paused.Load() }

// Span is one thing done, on one track. Times are as batch.Now.
type Span struct {
	Kind Kind
	On   Track
	// Engine is the number of the engine that did it, or that sent to the front or was
	// sent to by it; 0 for what concerns none, too.
	Engine uint8
	// From and Posted say who posted the message being handled, and when;
	// for SpanHandle only.
	From   Track
	N      int32 // rows, tokens or outputs, as Kind says
	Posted int64
	Began  int64
	Ended  int64
	// ID is the step's Seq, of its engine, or for what concerns one request its number.
	ID uint64
	// Of SpanCompute: how many of its rows decode, with drafts or without, how many tokens the others have together,
	// and whether each of those has as many.
	Decode  uint16
	Even    bool
	Prefill int32
	// Of SpanCompute, too: how many draft tokens it had, and how many of them were accepted.
	Drafts, Accepted uint16
}

// MaxCompilers is how many compilers have a track.
const MaxCompilers = 4

// MaxRanks is how many of the devices that share a model have a track.
const MaxRanks = 64

// Track is where something was done.
type Track uint8

// The tracks, in the order a request meets them. Devices that share a model count up
// from TrackRank, compilers from TrackCompiler, and tokenizers of the pool from TrackTokenizer, which therefore
// is the last.
const (
	TrackAPI Track = iota // Submit and Cancel, on the caller's goroutine
	TrackScheduler
	TrackExecutor
	TrackDevice
	TrackWaiter
	TrackDetokenizer
	TrackSocket   // events written to clients
	TrackRequests // each request as a whole
	TrackGrammars
	TrackRank
	TrackCompiler  = TrackRank + MaxRanks
	TrackTokenizer = TrackCompiler + MaxCompilers
)

// Kind is what was done.
type Kind uint8

// What a step goes through, what a message is handled as, what a request sees.
const (
	SpanPrepare Kind = iota // scheduler: building a step of N rows
	SpanLaunch              // executor: enqueueing a step of N tokens
	SpanCompute             // device: computing a step of N rows
	SpanCommit              // scheduler: committing a step with N outputs
	SpanMasks               // device: standing still in a step for want of masks
	SpanSocket              // socket: from an event's being there (Posted) and taken (Began) to its being written

	// What a request goes through, as Times has it; recorded at its end.
	SpanTokenize
	SpanQueue
	SpanPrefill
	SpanDecode // of N tokens
	// SpanEngine is what an engine elsewhere did for a request, around its phases there, whose times may
	// be off by N nanoseconds; SpanEngineLost, until that was lost.
	SpanEngine
	SpanEngineLost

	// Of devices that share the model, the last two at the end of the step, each all of
	// it together.
	SpanRank   // rank: computing a step
	SpanReduce // rank: in it, adding up what all have
	SpanAwait  // rank: in that, waiting for others

	HandleTokenize
	HandleWait // for a grammar
	HandleCompile
	HandleCompiled
	HandlePrepared
	HandleGenerate
	HandleRun
	HandleMask
	HandleDone
	HandleLost
	HandleReopen
	HandleOpened
	HandlePlace
	HandleNews
	HandleTokens
	HandleFailed
	HandleCancel
)

var kindNames = [...]string{
	"prepare", "launch", "compute", "commit", "wait for masks", "socket",
	"tokenize", "queue", "prefill", "decode", "engine", "engine lost",
	"rank", "all-reduce", "wait for ranks",
	"tokenizeJob", "compileJob", "compile", "compiled", "prepared", "generate", "runStep", "maskStep", "stepDone", "deviceLost", "reopen", "deviceOpened", "place", "news", "tokens", "failed", "cancel",
}

// String is the span's name: a stage of a step, or a message.
func (k Kind) String() string { return kindNames[k] }

// Handles reports whether the span is the handling of a message.
func (k Kind) Handles() bool { return k >= HandleTokenize }

// Of records what one of several engines, or the front, does: by its number, or 0.
func (t *Trace) Of(engine uint8) Recorder { return Recorder{t, engine} }

// Recorder records what one engine does, or the front. The zero value records nothing.
type Recorder struct {
	*Trace
	engine uint8
}

// Now is the time a span begins at; 0 when nobody wants to know.
func (t *Trace) Now() int64 {
	if !t.On() {
		return 0
	}
	return batch.Now()
}

// Record records something that ends now and began at what Now said then.
func (r Recorder) Record(k Kind, on Track, id uint64, began int64, n int) {
	if began != 0 && r.On() {
		r.Add(Span{Kind: k, On: on, Engine: r.engine, ID: id, Began: began, Ended: batch.Now(), N: int32(n)})
	}
}

// Step records a step's time on the device.
func (r Recorder) Step(s *batch.Step, res *batch.Result) {
	if !r.On() {
		return
	}
	if res.Resumed > res.Stalled {
		r.Add(Span{Kind: SpanMasks, On: TrackDevice, Engine: r.engine, ID: s.Seq, Began: res.Stalled, Ended: res.Resumed})
	}
	r.Add(computed(s, res, r.engine))
	for i := range res.Ranks[:min(len(res.Ranks), MaxRanks)] {
		k := &res.Ranks[i]
		one := Span{Kind: SpanRank, On: TrackRank + Track(i), Engine: r.engine, ID: s.Seq, Began: k.Began, Ended: k.Ended}
		r.Add(one)
		for _, part := range []struct {
			kind Kind
			took int64
		}{{SpanReduce, k.Reducing}, {SpanAwait, k.Waiting}} {
			if part.took > 0 {
				one.Kind, one.Began = part.kind, k.Ended-part.took
				r.Add(one)
			}
		}
	}
}

// computed is a step on the device.
func computed(s *batch.Step, res *batch.Result, engine uint8) Span {
	replies := s.Replies()
	sp := Span{
		Kind: SpanCompute, On: TrackDevice, Engine: engine, ID: s.Seq, Began: res.Began, Ended: res.Ended,
		N: int32(len(s.Rows)), Decode: uint16(min(replies, math.MaxUint16)), Even: true,
	}
	for i := replies; i < len(s.Rows); i++ {
		sp.Prefill += int32(s.Rows[i].Len())
		sp.Even = sp.Even && (i == replies || s.Rows[i].Len() == s.Rows[i-1].Len())
	}
	if replies > s.NumDecode {
		sp.drafted(s, res)
	}
	return sp
}

// drafted counts a step's draft tokens.
func (sp *Span) drafted(s *batch.Step, res *batch.Result) {
	drafts, accepted, at := 0, 0, 0
	for i := range s.Rows {
		r := &s.Rows[i]
		if end := at + r.Draws(); r.Drafts > 0 && end <= len(res.Tokens) {
			drafts += int(r.Drafts)
			accepted += r.Accepted(res.Tokens[at:end])
		}
		at += r.Draws()
	}
	sp.Drafts, sp.Accepted = uint16(min(drafts, math.MaxUint16)), uint16(min(accepted, math.MaxUint16))
}

// Handled records the handling of a message.
func (t *Trace) Handled(s Span) {
	if t.On() {
		t.Add(s)
	}
}

// Add records a span.
func (t *Trace) Add(s Span) {
	r := &t.actors
	if s.On == TrackSocket || s.On == TrackRequests {
		r = t.share(s.ID)
	}
	r.put(s)
}

// share is one of the shared rings.
func (t *Trace) share(id uint64) *ring[Span] { return &t.shared[id%uint64(len(t.shared))] }

// AddShared records spans of sockets, at least one, all in the ring of the first.
func (t *Trace) AddShared(spans []Span) {
	t.share(spans[0].ID).put(spans...)
}

// Spans returns what is remembered, in the order in which it ended, and how
// many spans were forgotten.
func (t *Trace) Spans() (spans []Span, forgotten uint64) {
	for r := range t.rings {
		var lost uint64
		spans, lost = r.add(spans)
		forgotten += lost
	}
	slices.SortStableFunc(spans, func(a, b Span) int { return cmp.Compare(a.Ended, b.Ended) })
	return spans, forgotten
}
