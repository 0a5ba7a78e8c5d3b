// Package front has the requests: it admits them, turns their text into tokens and their tokens into
// text, and hands them to engines, of which it knows nothing but package wire's messages.
//
// Read it in the order a request goes:
//
//	Submit ─▶ tokenizer ─▶ detokenizer ─▶ engine
//	(system.go)  (a pool)    │  ▲            │
//	                         │  └────────────┘ batches of tokens
//	Stream ◀─────────────────┘
//
// messages.go is the actors' vocabulary, in flow order; stream.go is where the reader takes the
// events.
package front

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/asynkron/protoactor-go/actor"
	"github.com/rs/zerolog"

	"github.com/troupe-llm/troupe/actors/engine"
	"github.com/troupe-llm/troupe/actors/internal/shell"
	"github.com/troupe-llm/troupe/actors/trace"
	"github.com/troupe-llm/troupe/actors/wire"
	"github.com/troupe-llm/troupe/gpu/batch"
	"github.com/troupe-llm/troupe/gpu/device"
	"github.com/troupe-llm/troupe/gpu/model"
	"github.com/troupe-llm/troupe/tokenize"
)

// Config says what a front serves.
type Config struct {
	Model *model.Model        // closed with the system, unless an engine's device hangs
	Codec *tokenize.Tokenizer // nil: a model without one

	MaxOpenRequests int
	Places          *Places // for open requests, shared with fronts of other models; nil: MaxOpenRequests of its own
	Tokenizers      int     // in the pool
	Version         string  // of this program, to be shown

	Speculative Speculation // of requests that leave it open; "": none

	Log   zerolog.Logger
	Trace *trace.Trace // nil records nothing

	// Engines is how many engines compute the requests, from 1 to 256, and Engine opens one: it delivers
	// what it has to say by the one function, and calls the other when it is lost. They are alike.
	// Others may join.
	Engines int
	Engine  func(number uint8, deliver func(*wire.Batch), lost func()) (engine.Engine, error)

	Simulation *shell.Simulation // of the actors; nil: they run by themselves

	// Patience is how long a request waits where all engines are lost and one may join or come back;
	// 0: it fails at once, as none does.
	Patience time.Duration
	// Others, if given, are requests of other fronts that this one's engine has.
	Others Others
	// Info and Same describe the engines that will join a front that has none of its own.
	Info device.Info
	Same wire.Identity
}

// Others are requests of fronts on other hosts.
type Others interface {
	Retire()     // has those fronts prefer other engines
	Guests() int // how many requests there are
	Close()      // leaves them, for those fronts to have them computed elsewhere
}

// System is a model being served: its actors and the requests in them.
type System struct {
	cfg   Config
	codec *tokenize.Tokenizer
	info  device.Info   // of the devices of its own engines
	same  wire.Identity // what engines that join have in common with
	alive atomic.Int32  // its own engines that are not lost

	resumed atomic.Uint64 // requests that went on with another engine

	actors     *shell.Group
	api        shell.Mail // what Submit and Cancel send through
	tokenizers []*actor.PID
	prompts    pool // what they encode
	detok      *actor.PID

	lastID atomic.Uint64
	places *Places
	failed chan struct{} // closed when all engines are lost

	mu       sync.Mutex
	engines  []engine.Engine // guarded by mu: at the places that the detokenizer knows; nil: vacant
	open     map[uint64]*job // guarded by mu: submitted, final event not out
	draining bool            // guarded by mu
	empty    chan struct{}   // guarded by mu: closed when draining and open is empty; nil before
}

// job is a request on its way through the actors. Each field belongs to one of
// them.
type job struct {
	// Set by Submit, then read only.
	id     uint64
	req    Request
	stream *Stream

	canceled atomic.Bool  // set by Stream.Cancel
	seen     atomic.Int64 // where it is, for those who look on: see whereabouts; set by the detokenizer

	// The detokenizer's, from when it has the prompt.
	times  Times
	prompt []int32
	given  []int32  // tokens that came
	placed bool     // an engine has it
	ref    wire.Ref // what the engine calls it
	waits  bool     // for an engine
	since  int64    // when it began to, as batch.Now
	losses int      // engines lost since its last token
	at     int      // which engine that is
	owed   int      // tokens that it has to compute before the next; 0 when that has come
	scored int      // log-probabilities of the prompt that came
	again  int      // of those, how many the engine will bring again
	// attempts are what engines did for it, the last one by the engine that has it.
	attempts []Attempt
	text     text
}

// Open opens the engines and starts the actors.
func Open(cfg Config) (*System, error) {
	s := &System{cfg: cfg, codec: cfg.Codec, places: cmp.Or(cfg.Places, NewPlaces(cfg.MaxOpenRequests)), open: make(map[uint64]*job), failed: make(chan struct{})}
	s.actors = shell.NewGroup(cfg.Log, cfg.Trace, 0, describe, cfg.Simulation)
	s.api, s.detok = s.actors.Mail(trace.TrackAPI), s.actors.PID("detokenizer")
	s.alive.Store(int32(cfg.Engines))
	for i := range cfg.Engines {
		e, err := cfg.Engine(uint8(i), s.from(i), s.lost)
		if err == nil {
			s.engines = append(s.engines, e)
			err = s.agree(i)
		}
		if err != nil {
			s.actors.Shutdown()
			for _, e := range s.engines {
				err = errors.Join(err, e.Close())
			}
			return nil, err
		}
	}
	if s.info, s.same = cfg.Info, cfg.Same; len(s.engines) > 0 {
		s.info, s.same = together(s.engines), s.engines[0].Identity()
	}
	s.spawn()
	return s, nil
}

// from is where the engine at a place delivers.
func (s *System) from(at int) func(*wire.Batch) {
	from := s.api.On(trace.TrackScheduler).Of(uint8(at))
	return func(b *wire.Batch) { from.Send(s.detok, &news{batch: b}) }
}

// Identity is what engines must have in common with a front of this model.
func Identity(m *model.Model) wire.Identity {
	return wire.Identity{Version: wire.Version, Model: m.Name, Sizes: engine.Sizes(m), Tokenizer: engine.TokenizerHash(m.Files)}
}

// agree says what the i-th engine has not in common with the front and the first engine.
func (s *System) agree(i int) error {
	mine := Identity(s.cfg.Model)
	first, of := s.engines[0].Identity(), s.engines[i].Identity()
	if err := errors.Join(mine.Agree(&of), first.Agree(&of)); err != nil {
		return fmt.Errorf("engine %d: %w", i, err)
	}
	return nil
}

// lost is called when an engine of its own is.
func (s *System) lost() {
	if s.alive.Add(-1) == 0 && s.cfg.Patience == 0 {
		close(s.failed)
	}
}

// together describes several devices that are alike as one: what there is of each adds up.
func together(engines []engine.Engine) device.Info {
	info := engines[0].Info()
	for _, e := range engines[1:] {
		o := e.Info()
		info.MaxSeqLen = min(info.MaxSeqLen, o.MaxSeqLen)
		info.Slots += o.Slots
		info.NumPages += o.NumPages
		info.WeightBytes += o.WeightBytes
		info.KVBytes += o.KVBytes
		info.Snapshots += o.Snapshots
		info.FreeBytes += o.FreeBytes
	}
	if n := len(engines); n > 1 {
		info.Hardware = strconv.Itoa(n) + " engines, each on " + info.Hardware
	}
	return info
}

// spawn starts the actors.
func (s *System) spawn() {
	ends := engine.Ends(s.cfg.Model, s.codec)
	s.actors.Run("detokenizer", trace.TrackDetokenizer, &detokenizer{
		codec: s.codec, marks: engine.Marks(s.codec), router: newRouter(s.engines, s.info.PageSize), closed: s.closed, resumed: &s.resumed, trace: s.cfg.Trace, log: s.cfg.Log,
		waiting: waiting{patience: s.cfg.Patience, ring: func(after time.Duration) {
			time.AfterFunc(after, func() { s.api.Send(s.detok, &overdue{}) })
		}},
		eos: func(t int32) bool { return slices.Contains(ends, t) },
	})
	s.prompts.mail = s.api
	for i := range s.cfg.Tokenizers {
		name := "tokenizer-" + strconv.Itoa(i)
		pid := s.actors.PID(name)
		t := &tokenizer{codec: s.codec, detokenizer: s.detok, context: s.info.MaxSeqLen, rows: s.info.Vocab, pool: &s.prompts, self: pid}
		s.actors.Run(name, trace.TrackTokenizer+trace.Track(i), t)
		s.tokenizers = append(s.tokenizers, pid)
	}
	s.prompts.idle = slices.Clone(s.tokenizers)
}

// speculative is how a request's tokens are drafted.
func (s *System) speculative(r *Request) (Speculation, error) {
	switch r.Speculative {
	case "":
		if s.info.MaxDraws == 0 {
			return NoSpeculation, nil
		}
		return cmp.Or(s.cfg.Speculative, NoSpeculation), nil
	case NoSpeculation:
	case NGram:
		if s.info.MaxDraws == 0 {
			return "", inputErrorf("speculative", "%s", NoDrafts(&s.info))
		}
	default:
		return "", inputErrorf("speculative", "speculation %q is not known; there are %q and %q", r.Speculative, NGram, NoSpeculation)
	}
	return r.Speculative, nil
}

// NoDrafts says why a device takes no drafts.
func NoDrafts(info *device.Info) string {
	if info.StateBytes > 0 {
		return "tokens of this model cannot be drafted: its recurrent layers cannot go back to before a rejected draft"
	}
	return "tokens cannot be drafted on " + info.Name + ", where rows with drafts have not been tried"
}

// Submit accepts a request. It fails with a *BusyError, ErrDraining, ErrFailed
// or an *InputError; everything else that can go wrong arrives as the
// stream's final event.
func (s *System) Submit(r *Request) (*Stream, error) {
	if err := r.check(s.codec != nil); err != nil {
		return nil, err
	}
	if r.PromptLogprobs && !s.info.Scores {
		return nil, inputErrorf("", "log-probabilities of a prompt, as echo with logprobs and prompt_logprobs ask for, are not computed on %s", s.info.Name)
	}
	speculative, err := s.speculative(r)
	if err != nil {
		return nil, err
	}
	j := &job{id: s.lastID.Add(1), req: *r, times: Times{Submitted: batch.Now()}}
	if j.req.Speculative = speculative; j.req.ID == "" {
		j.req.ID = "req-" + strconv.FormatUint(j.id, 10)
	}
	if j.req.Sampling == nil {
		j.req.Sampling = s.Defaults()
		j.req.Sampling.Seed = rand.Uint64()
	}
	j.stream = newStream(j.req.ID, r.Wake)
	j.stream.id, j.stream.trace, j.stream.ends = j.id, s.cfg.Trace, j.req.TextEnds
	j.stream.cancel = func() {
		if !j.canceled.Swap(true) {
			s.api.Send(s.detok, &cancel{job: j})
		}
	}
	if err := s.admit(j); err != nil {
		return nil, err
	}
	if j.req.Tokens != nil {
		s.api.Send(s.detok, &prepared{job: j, prompt: j.req.Tokens})
		return j.stream, nil
	}
	s.prompts.submit(j)
	return j.stream, nil
}

// admit enters a job into the table of open ones.
func (s *System) admit(j *job) error {
	if s.alive.Load() == 0 && s.cfg.Patience == 0 {
		return ErrFailed
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.draining {
		return ErrDraining
	}
	if err := s.places.Enter(j.req.Client); err != nil {
		return err
	}
	s.open[j.id] = j
	return nil
}

// Failed is closed when the device, of several the last one, is lost and could not be
// opened again: no request is accepted any more, and those that were open end with
// ErrFailed. A GPU that faulted may work again in another process.
func (s *System) Failed() <-chan struct{} { return s.failed }

// closed takes a job whose final event is out from the table. Called by the
// detokenizer.
func (s *System) closed(j *job) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.open, j.id)
	s.places.Leave(j.req.Client)
	if s.draining && len(s.open) == 0 {
		s.signalEmpty()
	}
}

// signalEmpty closes s.empty once. Called with mu held.
func (s *System) signalEmpty() {
	select {
	case <-s.empty:
	default:
		close(s.empty)
	}
}

// Drain stops taking requests and waits until those that are open have ended, those of other hosts
// among them. When the context ends first it cancels the rest, waits for their final
// events and returns the context's error.
func (s *System) Drain(ctx context.Context) error {
	s.Retire()
	s.mu.Lock()
	if !s.draining {
		s.draining, s.empty = true, make(chan struct{})
		if len(s.open) == 0 {
			s.signalEmpty()
		}
	}
	empty := s.empty
	s.mu.Unlock()
	select {
	case <-empty:
		return s.drainOthers(ctx)
	case <-ctx.Done():
	}
	s.mu.Lock()
	for _, id := range slices.Sorted(maps.Keys(s.open)) { // always in the same order
		s.open[id].stream.Cancel()
	}
	s.mu.Unlock()
	<-empty
	return ctx.Err()
}

// Retire has fronts on other hosts prefer other engines, before Drain.
func (s *System) Retire() {
	if s.cfg.Others != nil {
		s.cfg.Others.Retire()
	}
}

// drainOthers waits until no request of other hosts is open, or the context ends.
func (s *System) drainOthers(ctx context.Context) error {
	if s.cfg.Others == nil {
		return nil
	}
	every := time.NewTicker(20 * time.Millisecond)
	defer every.Stop()
	for s.cfg.Others.Guests() > 0 {
		select {
		case <-every.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// Close cancels what is open, stops the actors and closes the device. One that hangs
// it leaves as it is, with the model's memory, which it may be reading: only the
// process's end sets them free.
func (s *System) Close() error {
	now, cancel := context.WithCancel(context.Background())
	cancel()
	if err := s.Drain(now); err != nil && !errors.Is(err, context.Canceled) {
		return err
	}
	if s.cfg.Others != nil {
		s.cfg.Others.Close()
	}
	inUse := false
	for _, e := range s.all() {
		err := e.Close()
		inUse = inUse || errors.Is(err, engine.ErrInUse)
		if err != nil && !errors.Is(err, engine.ErrInUse) {
			return err
		}
	}
	if err := s.actors.Stop(append([]*actor.PID{s.detok}, s.tokenizers...)...); err != nil {
		return err
	}
	s.actors.Shutdown()
	if inUse {
		return nil
	}
	return s.cfg.Model.Close()
}

// Trace is what the system records to; nil when it records nothing.
func (s *System) Trace() *trace.Trace { return s.cfg.Trace }

// Tokenizer is the model's, or nil when it was opened without one.
func (s *System) Tokenizer() *tokenize.Tokenizer { return s.codec }

// Model is what is being served.
func (s *System) Model() *model.Model { return s.cfg.Model }

// Defaults are how tokens are drawn for requests that say nothing of it: as the model's
// generation_config.json has it, and where that says nothing with temperature 1, as OpenAI's API does.
func (s *System) Defaults() *batch.Sampling {
	g := &s.cfg.Model.Generation
	d := &batch.Sampling{Temperature: 1}
	if g.TopK != nil {
		d.TopK = int32(max(*g.TopK, 0))
	}
	for _, given := range []struct {
		from *float64
		to   *float32
	}{{g.Temperature, &d.Temperature}, {g.TopP, &d.TopP}, {g.MinP, &d.MinP}, {g.Repetition, &d.Repetition}} {
		if given.from != nil {
			*given.to = float32(*given.from)
		}
	}
	return d
}

// Device describes the device it runs on.
func (s *System) Device() device.Info { return s.info }

// Ready reports whether requests are being computed: false while every device is
// being reopened or could not be, and while draining.
func (s *System) Ready() bool {
	s.mu.Lock()
	draining := s.draining
	s.mu.Unlock()
	return !draining && slices.ContainsFunc(s.all(), func(e engine.Engine) bool { return e.State() == engine.Ready })
}
