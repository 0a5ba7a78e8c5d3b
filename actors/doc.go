// Package actors carries a request from text to tokens and back to text.
//
// Read it in the order a request does:
//
//	Submit ─▶ tokenizer ─▶ scheduler ─▶ executor
//	(system.go)  (a pool)  ▲ │   ▲         │ launch, wait
//	                │      │ │   └─────────┘ results
//	                ▼      │ │
//	             grammars ─┘ │
//	               │ ▲       │
//	             compilers   │
//	                         ▼
//	Stream ◀──────────── detokenizer
//
// system.go wires and supervises them and keeps the table of open requests;
// messages.go is their vocabulary, in flow order; stream.go is where the
// reader takes the events. What to run is decided by package plan, which knows
// no actors; how to run it by the device, which knows no requests.
//
// # Overlap
//
// The scheduler sends a step before the previous one's tokens are known: what
// the next step needs of them stays on the device. At most two steps are
// outstanding, so while the device computes one the other is ready to follow,
// and the CPU's work between steps costs no device time. What a request with a
// grammar may draw follows its step: it depends on the token before.
//
// # Ending
//
// Every submitted request gets exactly one final event, whatever happens:
// finished, cancelled, refused by the tokenizer or the planner, lost with a
// device that could not be reopened, or ended by a panic of its own. The
// detokenizer writes it, being the only writer of streams.
package actors
