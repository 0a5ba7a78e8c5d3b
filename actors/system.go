package actors

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/asynkron/protoactor-go/actor"
	"github.com/rs/zerolog"

	"github.com/troupe-llm/troupe/actors/plan"
	"github.com/troupe-llm/troupe/gpu"
	"github.com/troupe-llm/troupe/gpu/batch"
	"github.com/troupe-llm/troupe/gpu/device"
	"github.com/troupe-llm/troupe/gpu/model"
	"github.com/troupe-llm/troupe/tokenize"
	"github.com/troupe-llm/troupe/tokenize/grammar"
	"github.com/troupe-llm/troupe/tokenize/reply"
)

// System is a model being served: its actors and the requests in them.
type System struct {
	cfg   Config
	model *model.Model
	codec *tokenize.Tokenizer
	marks []int32 // special tokens that a grammar may have
	dev   device.Info

	actors     *actor.ActorSystem
	api        mail     // what Submit and Cancel send through
	shells     []*shell // for their statistics; fixed once spawned
	tokenizers []tokenizerRef
	known      *grammar.Cache
	grammars   *actor.PID
	compilers  []*actor.PID
	scheduler  *actor.PID
	executor   *actor.PID
	detok      *actor.PID
	thread     *thread

	lastID atomic.Uint64
	state  atomic.Int32  // lifecycle, written by the scheduler
	failed chan struct{} // closed by the scheduler when state is dead
	hung   atomic.Bool   // a step did not return; set by the watchdog
	stats  statsBox

	mu       sync.Mutex
	open     map[uint64]*job // guarded by mu: submitted, final event not out
	draining bool            // guarded by mu
	empty    chan struct{}   // guarded by mu: closed when draining and open is empty; nil before
}

type tokenizerRef struct {
	pid  *actor.PID
	load *atomic.Int64
}

// job is a request on its way through the actors. Each field belongs to one of
// them.
type job struct {
	// Set by Submit, then read only.
	id     uint64
	req    Request
	stream *Stream
	size   int64 // bytes of text to encode, for spreading the load

	canceled atomic.Bool // set by Stream.Cancel

	// times are filled in by each actor in turn, and read by the detokenizer at
	// the end. Each is written once, before the message that tells of it.
	times   Times
	planned plan.Request     // the scheduler's
	matcher *grammar.Matcher // the scheduler's: its constraint, nil for none
	text    text             // the detokenizer's
}

func (j *job) promptParam() string {
	if j.req.Chat != nil {
		return "messages"
	}
	return "prompt"
}

// Open loads the model, opens the device and starts the actors.
func Open(cfg Config) (*System, error) {
	cfg.fill()
	if err := cfg.check(); err != nil {
		return nil, err
	}
	m, err := model.Open(cfg.Model, cfg.DummyWeights)
	if err != nil {
		return nil, err
	}
	var codec *tokenize.Tokenizer
	if m.Files != nil {
		if codec, err = tokenize.Load(m.Files); err != nil {
			return nil, fmt.Errorf("model %s: %w", m.Name, err)
		}
	}
	spec := device.Spec{
		Device: cfg.Device, TP: cfg.TP, Model: m, DType: cfg.DType,
		Slots: cfg.MaxRunningRequests, PageSize: cfg.PageSize, NumPages: cfg.NumPages, MemoryRatio: cfg.MemoryRatio,
		MaxSeqLen: cfg.MaxSeqLen, MaxStepTokens: cfg.MaxPrefillLength,
		GraphRows: cfg.GraphRows, Attention: cfg.Attention, Progress: cfg.Progress, Capturing: cfg.Capturing,
	}
	return start(cfg, m, codec, func() (device.Device, error) { return gpu.Open(spec) })
}

// start is Open with the parts given.
func start(cfg Config, m *model.Model, codec *tokenize.Tokenizer, open func() (device.Device, error)) (*System, error) {
	s := &System{cfg: cfg, model: m, codec: codec, open: make(map[uint64]*job), failed: make(chan struct{}), thread: newThread()}
	var (
		dev device.Device
		err error
	)
	s.thread.do(func() {
		defer recovered(&err)
		dev, err = open()
	})
	if err != nil {
		close(s.thread.work)
		return nil, err
	}
	s.dev = dev.Info()
	for _, note := range notes(m, codec, s.dev.Vocab) {
		cfg.Log.Warn().Str("model", m.Name).Msg(note)
	}
	sched, err := newScheduler(&cfg, s.dev, eos(m, codec))
	if err != nil {
		s.thread.do(func() { err = errors.Join(err, dev.Close()) })
		close(s.thread.work)
		return nil, err
	}
	s.spawn(sched, &executor{open: open, log: cfg.Log, watchdog: newWatchdog(&cfg, m, &s.dev, s.hang)}, dev)
	return s, nil
}

// eos are the tokens that end a reply: the generation config's, which is the
// model's last word, else the model config's, and the tokenizer's own, which a chat
// template ends messages with whatever those two name.
func eos(m *model.Model, codec *tokenize.Tokenizer) []int32 {
	ends := m.Config.EOS
	if len(m.Generation.EOS) > 0 {
		ends = m.Generation.EOS
	}
	if codec != nil {
		if _, id, ok := codec.EOS(); ok && int(id) < m.Config.Vocab && !slices.Contains(ends, id) {
			ends = append(slices.Clone(ends), id)
		}
	}
	return ends
}

// notes tell where the model is run otherwise than its files say. A tokenizer may
// have more tokens than the embedding has rows, when one was added and the model not
// trained on: as in transformers that is no fault until a prompt has such a token.
func notes(m *model.Model, codec *tokenize.Tokenizer, rows int) []string {
	all := slices.Clone(m.Config.Notes)
	if codec != nil && codec.Vocab() > rows {
		all = append(all, fmt.Sprintf("the tokenizer has ids up to %d, the model's embedding only rows up to %d: prompts with tokens beyond, such as %q, are refused",
			codec.Vocab()-1, rows-1, codec.Token(int32(codec.Vocab()-1))))
	}
	return all
}

// spawn wires the actors. Process ids are known before the actors run, so each
// can be given the others' before the first message.
func (s *System) spawn(sched *scheduler, exec *executor, dev device.Device) {
	as := actor.NewActorSystem(actor.WithLoggerFactory(func(*actor.ActorSystem) *slog.Logger {
		return slog.New(zerolog.NewSlogHandler(s.cfg.Log.Level(zerolog.WarnLevel)))
	}))
	s.actors = as
	s.scheduler, s.executor, s.detok = as.NewLocalPID("scheduler"), as.NewLocalPID("executor"), as.NewLocalPID("detokenizer")
	sched.executor, sched.detokenizer = s.executor, s.detok
	sched.publish = s.published
	exec.scheduler = s.scheduler
	sched.trace, exec.trace = s.cfg.Trace, s.cfg.Trace
	s.api = mail{as.Root, TrackAPI}
	exec.waiterMail = s.api.on(TrackWaiter)
	exec.adopt(dev, exec.waiterMail)
	if s.codec != nil {
		for _, mark := range reply.AllTokens() {
			if id, ok := s.codec.TokenID(mark); ok && s.codec.IsSpecial(id) {
				s.marks = append(s.marks, id)
			}
		}
	}
	detok := &detokenizer{codec: s.codec, marks: s.marks, scheduler: s.scheduler, eos: s.isEOS, closed: s.closed, trace: s.cfg.Trace, log: s.cfg.Log}
	s.run("detokenizer", TrackDetokenizer, detok)
	s.run("executor", TrackExecutor, exec, actor.WithDispatcher(s.thread))
	s.run("scheduler", TrackScheduler, sched)
	s.spawnGrammars()
	for i := range s.cfg.Tokenizers {
		load := new(atomic.Int64)
		t := &tokenizer{codec: s.codec, known: s.known, grammars: s.grammars, scheduler: s.scheduler, detokenizer: s.detok, load: load, context: s.dev.MaxSeqLen, rows: s.dev.Vocab}
		s.tokenizers = append(s.tokenizers, tokenizerRef{s.run("tokenizer-"+strconv.Itoa(i), TrackTokenizer+Track(i), t), load})
	}
	s.published(sched.plan.Stats(), DeviceTime{}, ready)
}

// spawnGrammars starts what compiles grammars.
func (s *System) spawnGrammars() {
	g := newGrammars(s.scheduler, s.detok)
	s.known = grammar.NewCache(s.vocabulary)
	s.grammars = s.actors.NewLocalPID("grammars")
	for i := range s.cfg.Compilers {
		name := "compiler-" + strconv.Itoa(i)
		pid := s.actors.NewLocalPID(name)
		s.run(name, TrackCompiler+Track(i), &compiler{cache: s.known, grammars: s.grammars, self: pid})
		s.compilers = append(s.compilers, pid)
	}
	g.idle = slices.Clone(s.compilers)
	s.run("grammars", TrackGrammars, g)
}

// Submit accepts a request. It fails with a *BusyError, ErrDraining, ErrFailed
// or an *InputError; everything else that can go wrong arrives as the
// stream's final event.
func (s *System) Submit(r *Request) (*Stream, error) {
	if err := r.check(s.codec != nil); err != nil {
		return nil, err
	}
	if r.PromptLogprobs && !s.dev.Scores {
		return nil, inputErrorf("", "log-probabilities of a prompt, as echo with logprobs and prompt_logprobs ask for, are not computed on %s", s.dev.Name)
	}
	j := &job{id: s.lastID.Add(1), req: *r, times: Times{Submitted: batch.Now()}}
	if j.req.ID == "" {
		j.req.ID = "req-" + strconv.FormatUint(j.id, 10)
	}
	j.stream = newStream(j.req.ID, r.Wake)
	j.stream.id, j.stream.trace, j.stream.ends = j.id, s.cfg.Trace, j.req.TextEnds
	j.stream.cancel = func() {
		if !j.canceled.Swap(true) {
			s.api.send(s.scheduler, &cancel{job: j})
			if j.req.Grammar != nil {
				s.api.send(s.grammars, &cancel{job: j})
			}
		}
	}
	if err := s.admit(j); err != nil {
		return nil, err
	}
	if j.req.Tokens != nil && j.req.Grammar == nil {
		s.api.send(s.scheduler, &generate{job: j, prompt: j.req.Tokens})
		return j.stream, nil
	}
	j.size = int64(len(j.req.Text)) + promptSize
	if j.req.Chat != nil {
		j.size += j.req.Chat.Size()
	}
	t := s.leastLoaded()
	t.load.Add(j.size)
	s.api.send(t.pid, &tokenizeJob{job: j})
	return j.stream, nil
}

// vocabulary is what grammars are compiled for: all tokens but special ones,
// which no text has. Marks are in it: they are how models write tool calls, and
// shown in texts that keep to a grammar.
func (s *System) vocabulary() *grammar.Vocabulary {
	return grammar.NewVocabulary(s.dev.Vocab, func(id int32) []byte {
		if int(id) >= s.codec.Vocab() || s.codec.IsSpecial(id) && !slices.Contains(s.marks, id) {
			return nil
		}
		return s.codec.TokenBytes(id)
	}, eos(s.model, s.codec))
}

// promptSize is what any prompt costs a tokenizer, in bytes of text, when the
// load is spread.
const promptSize = 64

func (s *System) leastLoaded() tokenizerRef {
	best, least := 0, int64(math.MaxInt64)
	for i, t := range s.tokenizers {
		if l := t.load.Load(); l < least {
			best, least = i, l
		}
	}
	return s.tokenizers[best]
}

// admit enters a job into the table of open ones.
func (s *System) admit(j *job) error {
	if lifecycle(s.state.Load()) == dead {
		return ErrFailed
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.draining {
		return ErrDraining
	}
	if n := len(s.open); n >= s.cfg.MaxOpenRequests {
		return &BusyError{Open: n, Limit: s.cfg.MaxOpenRequests, RetryAfter: time.Second}
	}
	s.open[j.id] = j
	return nil
}

// Failed is closed when the device is lost and could not be opened again: no
// request is accepted any more, and those that were open end with ErrFailed. A
// GPU that faulted may work again in another process.
func (s *System) Failed() <-chan struct{} { return s.failed }

// closed takes a job whose final event is out from the table. Called by the
// detokenizer.
func (s *System) closed(j *job) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.open, j.id)
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

// Drain stops taking requests and waits until those that are open have ended.
// When the context ends first it cancels the rest, waits for their final
// events and returns the context's error.
func (s *System) Drain(ctx context.Context) error {
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
		return nil
	case <-ctx.Done():
	}
	s.mu.Lock()
	for _, j := range s.open {
		j.stream.Cancel()
	}
	s.mu.Unlock()
	<-empty
	return ctx.Err()
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
	pids := append([]*actor.PID{s.scheduler, s.detok, s.grammars}, s.compilers...)
	if !s.hung.Load() {
		pids = append(pids, s.executor)
	}
	for _, t := range s.tokenizers {
		pids = append(pids, t.pid)
	}
	for _, pid := range pids {
		if err := s.actors.Root.PoisonFuture(pid).Wait(); err != nil {
			return fmt.Errorf("stopping %s: %w", pid.Id, err)
		}
	}
	if s.hung.Load() {
		s.actors.Shutdown()
		return nil
	}
	close(s.thread.work)
	s.actors.Shutdown()
	return s.model.Close()
}

func (s *System) isEOS(t int32) bool {
	return slices.Contains(eos(s.model, s.codec), t)
}

// Trace is what the system records to; nil when it records nothing.
func (s *System) Trace() *Trace { return s.cfg.Trace }

// Tokenizer is the model's, or nil when it was opened without one.
func (s *System) Tokenizer() *tokenize.Tokenizer { return s.codec }

// Model is what is being served.
func (s *System) Model() *model.Model { return s.model }

// Device describes the device it runs on.
func (s *System) Device() device.Info { return s.dev }

// Ready reports whether requests are being computed: false while the device is
// being reopened, once it could not be, and while draining.
func (s *System) Ready() bool {
	s.mu.Lock()
	draining := s.draining
	s.mu.Unlock()
	return !draining && !s.hung.Load() && lifecycle(s.state.Load()) == ready
}

// hang notes that the device does not return: at once, whatever the actors do.
func (s *System) hang() { s.hung.Store(true) }
