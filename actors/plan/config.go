package plan

import (
	"errors"
	"fmt"
	"math/bits"

	"github.com/troupe-llm/troupe/gpu/batch"
)

// maxOutstanding is how many launched steps a device holds at most:
// device.MaxOutstanding, which a pure core does not import.
const maxOutstanding = 2

// Cache says whether requests share the pages of a common prefix.
type Cache string

const (
	Radix Cache = "radix" // keep computed prefixes in a tree, share them
	Naive Cache = "naive" // every request computes everything itself
)

// Schedule says how prefill and decode share the device.
type Schedule string

const (
	Mixed        Schedule = "mixed"         // decodes first, prefill in what is left of the step
	PrefillFirst Schedule = "prefill-first" // steps of one kind; prefill when there is any
)

// Policy orders the requests that wait.
type Policy string

const (
	FCFS          Policy = "fcfs"           // first come, first served
	Priority      Policy = "priority"       // higher Request.Priority first
	LongestPrefix Policy = "longest-prefix" // longest cached prefix first
)

// MaxDrafts is a good Config.Drafts: what comes behind so many is seldom right, or the text
// repeats itself so well that every step has them all.
const MaxDrafts = 8

// Config sizes a Planner. It is checked once, by New, and does not change.
type Config struct {
	// Slots is how many requests may run at once: the device's Info.Slots, or
	// fewer. At least 1.
	Slots int
	// NumPages and PageSize are the device's KV memory. PageSize is a power of
	// two from 1 to 256.
	NumPages, PageSize int
	// MaxSeqLen is the most tokens of a request, prompt and output; requests
	// are also bounded by the KV memory.
	MaxSeqLen int
	// StepTokens is the most tokens one step computes. It exceeds Slots, so
	// that every decode fits and prefill always moves.
	StepTokens int
	// Vocab, when positive, bounds the token ids that Add accepts.
	Vocab int
	// EOS are the tokens that stop every request that does not ignore them.
	EOS []int32

	Cache Cache // "" is Radix
	// Digest has Changes told of.
	Digest bool
	// States says that a sequence carries states besides its pages: those of
	// recurrent layers. Pages of a prefix are shared then up to where a snapshot of
	// the states was taken, of which the device has room for so many. Where it has
	// none, every request starts at position 0: the cache is Naive whatever it says.
	States    bool
	Snapshots int
	// Window is how many positions a token sees, itself included, where no layer
	// sees more; 0: all. What no later token sees is given back.
	Window int

	Schedule Schedule // "" is Mixed
	Policy   Policy   // "" is FCFS
	// TargetITL, when positive, is how long a step with decode rows should take at most,
	// in nanoseconds: no more of prompts goes into it than StepTime, which predicts what
	// the device takes for a step, leaves room for. See pace.go.
	TargetITL int64
	StepTime  func(*batch.Step) int64
	// Drafts is how many tokens of a request are drafted at most in a step, of requests that
	// ask for it; 0: none. StepTime says what they cost. See speculate.go.
	Drafts int
	// Idle is for how long the device stood idle of late before steps with drafts, which are
	// built when all is known, in nanoseconds; nil, or 0: that is not known.
	Idle func() int64
	// Draws is how many tokens a step may draw, those behind draft tokens counted: the
	// device's Info.MaxDraws; 0: as many as fit.
	Draws int
	// Overlap lets a step be built before the previous one's tokens are known.
	Overlap bool
	// AgeSteps is how many steps of waiting count as one level of priority,
	// and as the longest possible cached prefix. 0 is 256.
	AgeSteps int
}

// withDefaults fills in what was left empty and reports every fault at once.
func (c Config) withDefaults() (Config, error) {
	def(&c.Cache, Radix)
	if c.States && c.Snapshots == 0 && c.Cache == Radix {
		c.Cache = Naive
	}
	if !c.States || c.Cache != Radix {
		c.Snapshots = min(c.Snapshots, 0) // nothing to take them of, or for
	}
	def(&c.Schedule, Mixed)
	def(&c.Policy, FCFS)
	def(&c.AgeSteps, 256)
	var faults []error
	fault := func(bad bool, format string, args ...any) {
		if bad {
			faults = append(faults, fmt.Errorf("plan: "+format, args...))
		}
	}
	fault(c.Slots < 1, "%d slots: at least 1 is needed", c.Slots)
	fault(c.NumPages < 1, "%d KV pages: at least 1 is needed", c.NumPages)
	fault(c.PageSize < 1 || c.PageSize > 256 || bits.OnesCount(uint(c.PageSize)) != 1,
		"page size %d: a power of two from 1 to 256 is needed", c.PageSize)
	fault(c.Snapshots < 0, "%d snapshots: there cannot be fewer than none", c.Snapshots)
	fault(c.Window < 0, "a window of %d positions: it cannot be negative", c.Window)
	fault(c.MaxSeqLen < 2, "requests of at most %d tokens: at least 2 are needed, one in and one out", c.MaxSeqLen)
	fault(c.StepTokens <= c.Slots,
		"steps of %d tokens for %d slots: every slot takes one and prefill needs at least one more", c.StepTokens, c.Slots)
	fault(c.TargetITL < 0, "a target of %d ns between tokens: it cannot be negative", c.TargetITL)
	fault(c.TargetITL > 0 && c.StepTime == nil, "a target of %d ns between tokens without a prediction of what steps take", c.TargetITL)
	fault(c.TargetITL > 0 && c.Schedule == PrefillFirst,
		"a target of %d ns between tokens under schedule %q, where tokens wait for whole steps of prompts: %q has them in one", c.TargetITL, PrefillFirst, Mixed)
	fault(c.Drafts < 0, "%d drafts: there cannot be fewer than none", c.Drafts)
	fault(c.Drafts > 0 && c.StepTime == nil, "%d drafts without a prediction of what steps take", c.Drafts)
	fault(c.Draws < 0 || c.Draws > 0 && c.Draws < c.Slots, "%d draws a step for %d slots: each may draw a token", c.Draws, c.Slots)
	fault(c.Drafts > 0 && c.States, "%d drafts where sequences carry states, which cannot go back to before a wrong one", c.Drafts)
	fault(c.AgeSteps < 1, "ageing in %d steps: at least 1 is needed", c.AgeSteps)
	fault(c.Cache != Radix && c.Cache != Naive, "cache %q: radix or naive", c.Cache)
	fault(c.Schedule != Mixed && c.Schedule != PrefillFirst, "schedule %q: mixed or prefill-first", c.Schedule)
	fault(c.Policy != FCFS && c.Policy != Priority && c.Policy != LongestPrefix,
		"policy %q: fcfs, priority or longest-prefix", c.Policy)
	return c, errors.Join(faults...)
}

// outstanding is how many launched steps may await their results.
func (c *Config) outstanding() int {
	if c.Overlap {
		return maxOutstanding
	}
	return 1
}

func def[T comparable](p *T, v T) {
	var zero T
	if *p == zero {
		*p = v
	}
}
