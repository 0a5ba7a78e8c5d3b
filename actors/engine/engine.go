// Package engine computes tokens: what runs on one device, behind an interface that looks the same
// wherever the device is.
//
// Read it in the order a request goes:
//
//	Submit ─▶ scheduler ─▶ executor
//	(local.go)  │  ▲ │ ▲     │ launch, wait
//	            │  │ │ └─────┘ results
//	            ▼  │ ▼
//	      grammars │ Config.Deliver
//	       │ ▲     │
//	       ▼ └─────┘
//	    compilers
//
// messages.go is their vocabulary, in flow order. What to run is decided by package plan, which
// knows no actors; how to run it by the device, which knows no requests; and whose request it is, and
// what its tokens say, by the front, which knows no device.
//
// # Overlap
//
// The scheduler sends a step before the previous one's tokens are known: what the next step needs of
// them stays on the device. At most two steps are outstanding, so while the device computes one the
// other is ready to follow, and the CPU's work between steps costs no device time. What a request
// with a grammar may draw follows its step: it depends on the token before.
//
// # Ending
//
// Every submitted request gets exactly one output that ends it, which the scheduler writes: it has
// every request from Submit on, also those that wait for their grammars.
package engine

import (
	"errors"

	"github.com/troupe-llm/troupe/actors/internal/shell"
	"github.com/troupe-llm/troupe/actors/plan"
	"github.com/troupe-llm/troupe/actors/wire"
	"github.com/troupe-llm/troupe/gpu/device"
)

// Engine computes requests. All methods may be called by anyone; none waits, but for Close.
// What it has to say of requests goes, in order, where it was told to deliver it when it was made.
type Engine interface {
	// Submit hands a request over, which is left alone from then on. Whatever becomes of it is
	// delivered.
	Submit(*wire.Request)
	// Cancel ends a request as soon as possible; its end is delivered. Of one that has ended it
	// does nothing.
	Cancel(wire.Ref)
	// Identity is what a front and other engines must have in common with it.
	Identity() wire.Identity
	// Info describes the device.
	Info() device.Info
	// State is what it can do now.
	State() State
	// Prefixes is what is new in its prefix tree after what who asks has heard of: the Seq of
	// the last answer, at first 0.
	Prefixes(since uint64) wire.Prefixes
	// Stats is how things stand.
	Stats() Stats
	// Close stops it, with whatever is open, and frees the device. ErrInUse: the device is not
	// done with a step, and keeps the model's memory.
	Close() error
}

// State is what an engine can do.
type State int32

// The states. Lost is for good.
const (
	Ready   State = iota
	Mending       // the device is being reopened; requests wait
	Lost          // it could not be, or it hangs
)

// String is the state's name.
func (s State) String() string {
	return [...]string{Ready: "ready", Mending: "mending", Lost: "lost"}[s]
}

// Stats is a snapshot of an engine's counters.
type Stats struct {
	plan.Stats
	Device DeviceTime
	Actors []shell.ActorStats
}

var (
	// ErrLost says that the device failed and could not be brought back.
	ErrLost = errors.New("the device failed and could not be reopened")
	// ErrInUse is Close's, when a step has not returned.
	ErrInUse = errors.New("the device hangs in a step, and is left as it is")
)
