package actors

import (
	"errors"
	"fmt"
	"runtime"
	"strings"
	"time"

	"github.com/rs/zerolog"

	"github.com/troupe-llm/troupe/actors/internal/shell"
	"github.com/troupe-llm/troupe/actors/plan"
	"github.com/troupe-llm/troupe/actors/trace"
	"github.com/troupe-llm/troupe/gpu/model"
)

// Config says what to serve and how. A zero field takes the default named
// beside it. Open checks it once and reports every fault.
type Config struct {
	// Model is a checkpoint's directory, "builtin", or a published
	// configuration's name together with DummyWeights. Default "builtin".
	Model        string
	DummyWeights bool // random weights, for benchmarks

	Device string      // "auto", "cpu", "cuda", "cuda:N" or "sim:GPU"; default "auto"
	DType  model.DType // of the weights in memory; default: the checkpoint's
	// KVDType is of keys and values in memory; default: bfloat16, or float32 beside
	// weights that are.
	KVDType model.DType
	// Quantization is how a GPU rounds weights that a checkpoint has in wider numbers:
	// "auto", not at all, or "fp8". Default "auto".
	Quantization string

	MaxRunningRequests int     // requests in one step; default: the device's
	MaxPrefillLength   int     // tokens in one step; default: the device's
	PageSize           int     // tokens a KV page, a power of two; default: the device's
	NumPages           int     // KV pages; default: what MemoryRatio allows
	MemoryRatio        float64 // share of the device's free memory to use; default: the device's
	MaxSeqLen          int     // prompt and output of one request; default: the model's, as memory allows
	GraphRows          int     // most decode rows with a CUDA graph; default: the device's; below 0: none
	DP                 int     // engines with a device each, among which requests are shared out; default 1
	TP                 int     // devices that share the model; default: one, or as many as Device names
	Attention          string  // CUDA kernels that attend over prompts: hopper or portable; default: the faster

	// Deterministic has a GPU compute every token to the same bits whatever else is in its
	// step: a request's text depends on no other request, nor on what of it is cached or
	// computed again. It costs time; texts of a processor are so anyway.
	Deterministic bool

	Cache    plan.Cache    // radix or naive; default radix
	Schedule plan.Schedule // mixed or prefill-first; default mixed
	Policy   plan.Policy   // who is admitted next; default: first come, first served
	// NoOverlap waits for each step before the next is sent: to measure what
	// overlap is worth.
	NoOverlap bool

	// TargetITL bounds how long tokens wait for prompts that are computed beside them: as
	// much of prompts is computed in a step as is predicted to let it end in this time.
	// First tokens come later for it. Default: no bound, the most tokens a second.
	TargetITL time.Duration

	// Speculative is how tokens of requests are drafted that leave it open; default: not at all.
	Speculative Speculation

	// MaxOpenRequests bounds the requests accepted and not yet ended, waiting
	// or running; more are turned away with a BusyError. Default 4096.
	MaxOpenRequests int
	// StepTimeout is how long a step may take before the device counts as hung, which
	// ends the system (see System.Failed). Default: on a processor there is none; else
	// the longer of 30 s and a hundred times what a roofline predicts.
	StepTimeout time.Duration
	// Tokenizers is the size of the tokenizer pool; default: one a core, but
	// at least 2, for a long prompt and the others, and at most 8.
	Tokenizers int
	// Compilers is how many grammars are compiled at the same time; default: one
	// for two cores, at least 1 and at most 4.
	Compilers int

	// Cluster, if given, says how this host is one of several.
	Cluster *Cluster

	// Version is this program's, to be shown to who looks at an engine from elsewhere.
	Version string

	Log zerolog.Logger
	// Trace, when set, records what every actor and the device do.
	Trace *Trace
	// Progress, when set, hears how many of total bytes of weights are loaded.
	Progress func(done, total int64)
	// Capturing, when set, hears how many of the device's graphs are captured.
	Capturing func(done, total int64)

	simulation *shell.Simulation   // a test's: when which actor handles what
	between    func(opener) opener // a test's: what stands between the front and an engine
}

// maxDP bounds DP: an engine's number is a byte.
const maxDP = 64

// maxCompilers bounds Compilers: traces have so many tracks for them.
const maxCompilers = trace.MaxCompilers

func (c *Config) fill() {
	if c.Model == "" {
		c.Model = "builtin"
	}
	if c.Device == "" {
		c.Device = "auto"
	}
	if c.DP == 0 {
		c.DP = 1
	}
	if c.MaxOpenRequests == 0 {
		c.MaxOpenRequests = 4096
	}
	if c.Tokenizers == 0 {
		c.Tokenizers = max(2, min(runtime.NumCPU(), 8))
	}
	if c.Compilers == 0 {
		c.Compilers = max(1, min(runtime.NumCPU()/2, maxCompilers))
	}
}

func (c *Config) check() error {
	var faults []error
	atLeast := func(name string, v, least int) {
		if v < least {
			faults = append(faults, fmt.Errorf("%s is %d; it must be at least %d", name, v, least))
		}
	}
	atLeast("DP", c.DP, 1)
	if c.DP > maxDP {
		faults = append(faults, fmt.Errorf("DP is %d; it must be at most %d", c.DP, maxDP))
	}
	if c.DP > 1 && strings.HasPrefix(c.Device, "cuda") {
		faults = append(faults, errSeveralGPUs)
	}
	atLeast("MaxRunningRequests", c.MaxRunningRequests, 0)
	atLeast("MaxPrefillLength", c.MaxPrefillLength, 0)
	atLeast("NumPages", c.NumPages, 0)
	atLeast("MaxSeqLen", c.MaxSeqLen, 0)
	atLeast("MaxOpenRequests", c.MaxOpenRequests, 1)
	if c.StepTimeout < 0 {
		faults = append(faults, fmt.Errorf("StepTimeout is %v; it must not be negative", c.StepTimeout))
	}
	if c.TargetITL < 0 {
		faults = append(faults, fmt.Errorf("TargetITL is %v; it must not be negative", c.TargetITL))
	}
	if c.Speculative != "" && c.Speculative != NoSpeculation && c.Speculative != NGram {
		faults = append(faults, fmt.Errorf("the way of Speculative is %q; it must be %q or %q", c.Speculative, NGram, NoSpeculation))
	}
	atLeast("Tokenizers", c.Tokenizers, 1)
	atLeast("Compilers", c.Compilers, 1)
	if c.Compilers > maxCompilers {
		faults = append(faults, fmt.Errorf("the number of Compilers is %d; it must be at most %d", c.Compilers, maxCompilers))
	}
	if c.PageSize < 0 || c.PageSize > 256 || c.PageSize&(c.PageSize-1) != 0 {
		faults = append(faults, fmt.Errorf("PageSize is %d; it must be a power of two from 1 to 256", c.PageSize))
	}
	if !(c.MemoryRatio >= 0 && c.MemoryRatio <= 1) {
		faults = append(faults, fmt.Errorf("MemoryRatio is %g; it must be above 0 and at most 1", c.MemoryRatio))
	}
	if err := model.CheckQuantization(c.Quantization); err != nil {
		faults = append(faults, err)
	}
	switch c.DType {
	case "", model.Float32, model.BFloat16, model.Int8, model.Int4:
	default:
		faults = append(faults, fmt.Errorf("DType is %q; weights can be held as %s, %s, %s or %s", c.DType, model.Float32, model.BFloat16, model.Int8, model.Int4))
	}
	switch c.KVDType {
	case "", model.Float32, model.BFloat16, model.Float8, model.Int8:
	default:
		faults = append(faults, fmt.Errorf("KVDType is %q; keys and values can be kept as %s, %s, %s or %s", c.KVDType, model.Float32, model.BFloat16, model.Float8, model.Int8))
	}
	if c.Cluster != nil {
		faults = append(faults, c.Cluster.check())
		if c.DP > 1 {
			faults = append(faults, fmt.Errorf("DP is %d; a host of a cluster has one engine: each may be a host of its own", c.DP))
		}
	}
	return errors.Join(faults...)
}
