package actors

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/troupe-llm/troupe/actors/engine"
	"github.com/troupe-llm/troupe/actors/front"
	"github.com/troupe-llm/troupe/actors/internal/shell"
	"github.com/troupe-llm/troupe/actors/trace"
	"github.com/troupe-llm/troupe/actors/wire"
	"github.com/troupe-llm/troupe/gpu"
	"github.com/troupe-llm/troupe/gpu/batch"
	"github.com/troupe-llm/troupe/gpu/device"
	"github.com/troupe-llm/troupe/gpu/model"
	"github.com/troupe-llm/troupe/tokenize"
)

// What is asked of a system and what it answers: see package front.
type (
	System       = front.System
	Request      = front.Request
	Stream       = front.Stream
	Event        = front.Event
	Output       = front.Output
	Started      = front.Started
	Final        = front.Final
	FinishReason = front.FinishReason
	Speculation  = front.Speculation
	Usage        = front.Usage
	Times        = front.Times
	Phase        = front.Phase
	Attempt      = front.Attempt
	Receipt      = front.Receipt
	Receipts     = front.Receipts
	InputError   = front.InputError
	BusyError    = front.BusyError
	Places       = front.Places
	WaitError    = front.WaitError
	Stats        = front.Stats
	EngineStats  = front.EngineStats
	OpenRequest  = front.OpenRequest
	DeviceTime   = engine.DeviceTime
	ActorStats   = shell.ActorStats
)

// How tokens are drawn, and how likely they were: see package batch.
type (
	Sampling  = batch.Sampling
	TokenBias = batch.TokenBias
	Logprob   = batch.Logprob
)

// PromptEnd, the reasons and the ways to draft: see package front.
const (
	PromptEnd    = front.PromptEnd
	FinishStop   = front.FinishStop
	FinishLength = front.FinishLength
	FinishAbort  = front.FinishAbort
	FinishError  = front.FinishError

	NoSpeculation = front.NoSpeculation
	NGram         = front.NGram
)

var (
	// ErrDraining means the system takes no new requests: HTTP 503.
	ErrDraining = front.ErrDraining
	// ErrFailed means the device failed and could not be brought back: HTTP 503.
	ErrFailed = front.ErrFailed
	// ErrAbsent is ErrFailed where no engine was there, but one may come: HTTP 503, to be tried again.
	ErrAbsent = front.ErrAbsent
	// DelayBuckets are the upper bounds of ActorStats.Delay in seconds; the last
	// bucket has none.
	DelayBuckets = shell.DelayBuckets
)

// NewPlaces are how many requests there may be at once: see front.Places.
func NewPlaces(most int) *Places { return front.NewPlaces(most) }

// What a trace is: see package trace.
type (
	Trace = trace.Trace
	Span  = trace.Span
	// Recording is what a trace remembers.
	Recording = trace.Recording
	// Sample is how an engine stood at a time.
	Sample = trace.Sample
	Track  = trace.Track
	Kind   = trace.Kind
)

// The tracks and kinds of spans.
const (
	TrackAPI         = trace.TrackAPI
	TrackScheduler   = trace.TrackScheduler
	TrackExecutor    = trace.TrackExecutor
	TrackDevice      = trace.TrackDevice
	TrackWaiter      = trace.TrackWaiter
	TrackDetokenizer = trace.TrackDetokenizer
	TrackSocket      = trace.TrackSocket
	TrackRequests    = trace.TrackRequests
	TrackGrammars    = trace.TrackGrammars
	TrackRank        = trace.TrackRank
	TrackCompiler    = trace.TrackCompiler
	TrackTokenizer   = trace.TrackTokenizer

	SpanPrepare    = trace.SpanPrepare
	SpanLaunch     = trace.SpanLaunch
	SpanCompute    = trace.SpanCompute
	SpanCommit     = trace.SpanCommit
	SpanMasks      = trace.SpanMasks
	SpanSocket     = trace.SpanSocket
	SpanTokenize   = trace.SpanTokenize
	SpanQueue      = trace.SpanQueue
	SpanPrefill    = trace.SpanPrefill
	SpanDecode     = trace.SpanDecode
	SpanEngine     = trace.SpanEngine
	SpanEngineLost = trace.SpanEngineLost
	SpanRank       = trace.SpanRank
	SpanReduce     = trace.SpanReduce
	SpanAwait      = trace.SpanAwait

	HandleTokenize = trace.HandleTokenize
	HandleWait     = trace.HandleWait
	HandleCompile  = trace.HandleCompile
	HandleCompiled = trace.HandleCompiled
	HandlePrepared = trace.HandlePrepared
	HandleGenerate = trace.HandleGenerate
	HandleRun      = trace.HandleRun
	HandleMask     = trace.HandleMask
	HandleDone     = trace.HandleDone
	HandleLost     = trace.HandleLost
	HandleReopen   = trace.HandleReopen
	HandleOpened   = trace.HandleOpened
	HandlePlace    = trace.HandlePlace
	HandleNews     = trace.HandleNews
	HandleTokens   = trace.HandleTokens
	HandleFailed   = trace.HandleFailed
	HandleCancel   = trace.HandleCancel
)

// NewTrace keeps the last n spans: see trace.New.
func NewTrace(n int) *Trace { return trace.New(n) }

// Open loads the model, opens the device and starts the actors.
func Open(cfg Config) (*System, error) {
	cfg.fill()
	if err := cfg.check(); err != nil {
		return nil, err
	}
	m, codec, err := openModel(cfg.Model, cfg.DummyWeights || cfg.Cluster != nil && cfg.Cluster.FrontOnly)
	if err != nil {
		return nil, err
	}
	spec := device.Spec{
		Device: cfg.Device, TP: cfg.TP, DP: cfg.DP, Model: m, DType: cfg.DType, Quantization: cfg.Quantization, KVDType: cfg.KVDType,
		Slots: cfg.MaxRunningRequests, Drafts: cfg.Speculative == NGram, PageSize: cfg.PageSize, NumPages: cfg.NumPages, MemoryRatio: cfg.MemoryRatio,
		MaxSeqLen: cfg.MaxSeqLen, MaxStepTokens: cfg.MaxPrefillLength,
		GraphRows: cfg.GraphRows, Attention: cfg.Attention, Deterministic: cfg.Deterministic, Progress: cfg.Progress, Capturing: cfg.Capturing,
	}
	return start(cfg, m, codec, func() (device.Device, error) { return gpu.Open(spec) })
}

// openModel opens a model and its tokenizer, nil where it has none; with dummy, no weights.
func openModel(spec string, dummy bool) (*model.Model, *tokenize.Tokenizer, error) {
	m, err := model.Open(spec, dummy)
	if err != nil || m.Files == nil {
		return m, nil, err
	}
	codec, err := tokenize.Load(m.Files)
	if err != nil {
		return nil, nil, fmt.Errorf("model %s: %w", m.Name, err)
	}
	return m, codec, nil
}

// front is what a front of a model is told, but for its engines.
func (c *Config) front(m *model.Model, codec *tokenize.Tokenizer) front.Config {
	return front.Config{
		Model: m, Codec: codec, MaxOpenRequests: c.MaxOpenRequests, Tokenizers: c.Tokenizers, Version: c.Version, Log: c.Log, Trace: c.Trace,
		Engines: c.DP, Speculative: c.Speculative, Simulation: c.simulation,
	}
}

// start is Open with the parts given; open opens the device of one engine, and may be called for
// several at a time.
func start(cfg Config, m *model.Model, codec *tokenize.Tokenizer, open func() (device.Device, error)) (*System, error) {
	settings := cfg.front(m, codec)
	local := func(number uint8, deliver func(*wire.Batch), lost func()) (engine.Engine, error) {
		e, err := engine.Open(engine.Config{
			Open: open, Model: m, Codec: codec, Number: number, Of: cfg.DP, Digest: cfg.DP > 1 || cfg.Cluster != nil,
			Cache: cfg.Cache, Schedule: cfg.Schedule, Policy: cfg.Policy, NoOverlap: cfg.NoOverlap, TargetITL: cfg.TargetITL,
			StepTimeout: cfg.StepTimeout, Compilers: cfg.Compilers, Log: cfg.Log, Trace: cfg.Trace,
			Deliver: deliver, Lost: lost, Simulation: cfg.simulation,
		})
		if err != nil { // not a nil *Local in an Engine
			return nil, err
		}
		if info := e.Info(); cfg.Speculative == NGram && info.MaxDraws == 0 {
			return nil, errors.Join(errors.New(front.NoDrafts(&info)), e.Close())
		}
		if cfg.DP > 1 && strings.HasPrefix(e.Info().Name, "cuda") {
			return nil, errors.Join(errSeveralGPUs, e.Close())
		}
		return e, nil
	}
	if cfg.between != nil {
		local = cfg.between(local)
	}
	settings.Engine = local
	var s *System
	var err error
	if cfg.Cluster == nil {
		s, err = front.Open(settings)
	} else {
		s, err = startCluster(&cfg, settings, local)
	}
	if err != nil {
		return nil, err
	}
	tellNotes(&cfg, s)
	return s, nil
}

// tellNotes logs what is to be said of a model that is open.
func tellNotes(cfg *Config, s *System) {
	for _, note := range notes(s.Model(), s.Tokenizer(), s.Device().Vocab) {
		cfg.Log.Warn().Str("model", s.Model().Name).Msg(note)
	}
}

// errSeveralGPUs is why there is one engine with a GPU in a process.
var errSeveralGPUs = errors.New("several engines in one process (DP) are for the processor and for simulated GPUs: " +
	"a fault in a kernel ends CUDA for its whole process; troupe serve --dp has a process of its own for each")

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
