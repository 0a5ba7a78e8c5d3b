// Package actors carries a request from text to tokens and back to text. It is what embedders use:
// Open makes a System of a model, a device and the rest of a Config; System.Submit takes a Request, as many as there are
// at a time, and returns a Stream, of which Stream.All yields the Events and Stream.Text the whole. These are package
// front's, by the names that this package gives them: go doc actors/front shows what is in them.
//
//	Submit ─▶ tokenizer ─▶ detokenizer ─────────▶ scheduler ─▶ executor
//	           (a pool)     │   ▲                  │ ▲  │ ▲      │ launch, wait
//	                        │   └─ tokens a step ──┘ │  │ └──────┘ results
//	Stream ◀────────────────┘                        │  ▼
//	                                            compilers ◀▶ grammars
//	└────────────── front ──────────┘ wire └───────────── engine ──────────────┘
//
// Read front, wire, engine, in this order; each lists its files in the order of a request's way. Package
// remote lets a front use engines on other hosts (cluster.go, membership.go), and serves several models at once (models.go). Package plan decides what runs; package trace records what was done.
//
// # Who has what
//
// A front has the requests: texts, clients, every token that came. An engine has a device, and of a
// request what it takes to compute it: prompt, tokens so far, how to draw, the grammar's source.
// Between them go plain values (package wire), and nobody changes what was handed over: so an
// engine may as well be somewhere else, and another can go on where it ended.
//
// # Ending
//
// Every submitted request gets exactly one final event, whatever happens: finished, cancelled,
// refused by the tokenizer or the planner, lost with a device that could not be reopened, or ended by
// a panic of its own. The detokenizer writes it, being the only writer of streams.
package actors
