// Package device says what a device is and how one is asked for. It stands
// apart from package gpu, which opens them, so that each kind can import it;
// and it settles what all kinds settle alike: sizes (size.go) and which steps
// are refused (check.go).
package device

import (
	"maps"
	"slices"
	"strings"

	"github.com/troupe-llm/troupe/gpu/batch"
	"github.com/troupe-llm/troupe/gpu/model"
)

// MaxOutstanding is how many launched steps a device holds at most: the one it
// computes and the one that is ready to follow.
const MaxOutstanding = 2

// Device runs steps of one model, in order. Opening, Launch, Mask and Close come
// from one goroutine whose OS thread is locked. Wait comes from one other, also
// locked to its thread, while Launch may be called: so the next step is
// launched while the last one is waited for. Close is called when no Wait is
// going on, though steps may be outstanding.
//
// Invariant: launched − waited ≤ MaxOutstanding.
type Device interface {
	// Info says what was opened. It does not change.
	Info() Info
	// Launch enqueues a step and returns at once. The step may be reused when
	// its result has been waited for. An error condemns the device.
	Launch(*batch.Step) error
	// Mask hands over the masks of the step launched last, which has late rows
	// and draws no token before; it returns at once. It is called once for each
	// such step, before the next Launch; a Wait for the step needs it to return,
	// also when it fails. An error condemns the device.
	Mask(*batch.Masks) error
	// Wait blocks until the oldest outstanding step is done and fills in its
	// result, reusing its memory. It is called once for each launched step. An
	// error condemns the device.
	Wait(*batch.Result) error
	// Close waits for what runs and frees everything.
	Close() error
}

// Info describes an opened device.
type Info struct {
	Name     string // "cpu", "cuda:0", "sim:h200"
	Hardware string // what a person calls it: "AMD EPYC, 2 cores, AVX-512"
	DType    model.DType
	Ranks    int         // devices that share the model; 0: it is one
	KVDType  model.DType // of keys and values
	// Beside are other types that a processor holds matrices in, as their tensors are:
	// "int8 and bfloat16"; "": none.
	Beside string
	// Held is how weights are held of which some are not in DType; nil: all are.
	Held *model.Held

	Slots     int // requests that may run at once
	PageSize  int // tokens a page
	NumPages  int // pages of KV memory
	MaxSeqLen int // tokens a request may have, prompt and output
	// MaxStepTokens is the most tokens one step may compute.
	MaxStepTokens int
	Vocab         int  // logits, thus sampled tokens, are below it
	Scores        bool // rows may have Score
	// MaxDraws is how many tokens a step's rows may draw at most, those behind drafts
	// counted; 0: rows may have no Drafts.
	MaxDraws int
	// Deterministic says that it was asked for: what becomes of a row depends on no other
	// row of its step.
	Deterministic bool

	WeightBytes int64
	KVBytes     int64
	// StateBytes is what a slot holds of its request besides pages: the states of
	// recurrent layers. 0: nothing. Where there are some, pages of a prefix are not
	// enough to go on behind it: it takes a snapshot, one of so many, of the states
	// there were.
	StateBytes int64
	Snapshots  int
	FreeBytes  int64 // memory the device has left after opening

	// Window is how many positions a token sees in the layer where it sees the most,
	// itself included; 0: all. What lies before may be forgotten.
	Window int
}

// Weights is how weights are held.
func (i *Info) Weights() model.Held {
	if i.Held != nil {
		return *i.Held
	}
	return model.HeldAs(i.DType)
}

// Formats says as what weights are held: "bfloat16, projections float8_e4m3 by
// output", "int4 and int8".
func (i *Info) Formats() string {
	all := string(i.DType)
	if i.Beside != "" {
		all += " and " + i.Beside
	}
	if i.Held == nil {
		return all
	}
	own := map[string][]string{}
	for slot, e := range i.Held.Own {
		of := "projections"
		if strings.Contains(slot, ".experts_") {
			of = "experts"
		}
		if name := e.String(); !slices.Contains(own[of], name) {
			own[of] = append(own[of], name)
		}
	}
	for _, of := range slices.Backward(slices.Sorted(maps.Keys(own))) {
		slices.Sort(own[of])
		all += ", " + of + " " + strings.Join(own[of], " and ")
	}
	return all
}

// Draws is how many tokens a step may draw at most.
func (i *Info) Draws() int { return max(i.Slots, i.MaxDraws) }

// PagesPerSlot is how many pages the longest sequence has.
func (i *Info) PagesPerSlot() int { return i.pages(i.MaxSeqLen) }

func (i *Info) pages(tokens int) int { return (tokens + i.PageSize - 1) / i.PageSize }

// Spec says which device to open, for what, and how large. Zero sizes mean:
// what suits the device.
type Spec struct {
	Device string // "auto", "cpu", "cuda", "cuda:N", "sim:h200", …
	Model  *model.Model
	// TP is how many devices of the kind share the model (tensor parallelism); 0 is
	// one. Package gpu opens them, each with its Rank.
	TP   int
	Rank *Rank
	// DP is how many devices of this kind the process opens, each for a model of its own,
	// this one among them; 0 is one. They divide the host's cores and memory.
	DP int
	// DType of the weights in memory; "" takes the checkpoint's. Only the
	// processor takes model.Int8.
	DType model.DType
	// KVDType is of keys and values in memory; "" or "auto" takes what suits the
	// device: bfloat16, or float32 where a processor has weights in float32, too.
	KVDType model.DType
	// Quantization of what a checkpoint has in wider numbers: "" or "auto", none, or
	// model.FP8, on GPUs.
	Quantization string

	Slots         int
	Drafts        bool // room for draft tokens of every slot; else of what idle slots leave
	PageSize      int
	NumPages      int
	MemoryRatio   float64 // share of free memory for weights and KV pages; used when NumPages is 0
	MaxSeqLen     int
	MaxStepTokens int

	// GraphRows is the most decode rows for which a CUDA device captures graphs;
	// below 0: none. Attention is which of its kernels attend over prompts:
	// "auto", "hopper" or "portable". Other devices have neither.
	GraphRows int
	Attention string
	// Deterministic has a row of a step computed to the same bits whatever else is in the
	// step, and whether it is of a prompt or decodes. It costs a CUDA device time; rows of
	// other devices are so anyway.
	Deterministic bool

	// Progress, when set, hears how many of total bytes of weights are loaded.
	Progress func(done, total int64)
	// Capturing, when set, hears how many of the graphs are captured.
	Capturing func(done, total int64)
}
