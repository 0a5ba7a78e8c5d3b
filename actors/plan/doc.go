// Package plan decides what a device computes next. It is pure: no actors, no
// clocks, no cgo; the same calls in the same order give the same steps.
//
// Read request.go (what a request is), planner.go (the calls), next.go (how a
// step is built), pace.go (how much of prompts has time in it), speculate.go (which tokens are
// drafted), pages.go and tree.go (who owns which page), snapshots.go (the
// states of recurrent layers), commit.go (what becomes of a result), preempt.go
// (when pages run out).
//
// # A request's way
//
//	Add ──▶ waiting ──seat──▶ running ───────────── end ──▶ gone
//	           ▲                 │ ▲                 ▲
//	           │              Next Commit            │
//	           │                 ▼ │                 │
//	           └── leaving ◀─ preempt    Abort, Finish: from anywhere
//
// Next gives every request that decodes one row and fills the rest of the
// step with chunks of prompts: those that were begun, then, while seats and
// pages last, new ones. The caller launches the step and hands its result to
// Commit, which appends tokens and says who ended.
//
// # Two steps on their way
//
// The token a step draws stays on the device, so the next step can be built
// and launched before it is known here. Of each running request the planner
// therefore keeps two ends: len(tokens), what is known, and length(), what it
// will have when all that was launched is done.
//
//	tokens     ├──── prompt ────┼── output ──┼ ─ ─ pending ─ ─ ┤
//	           0           len(Prompt)   len(tokens)       length() ≤ limit
//	computed   ├────────────────────────────────────────────┤
//	                                              length() − 1: the last token
//	                                              has no keys and values yet
//
// A request that draws its limit's last token is known to end when that is
// launched: no further row is built. One that draws a stop token at step N may
// have a row in N+1 already. That row is computed too often: Commit ignores
// it.
//
// One that is there for its prompt alone draws nothing. It ends when the chunk
// that completes its prompt is committed; computed is then all of it.
//
// What a request with a constraint may draw at N+1 depends on its token of N. Its
// row in N+1 is built all the same, and late: the device computes it up to the
// drawing. Once N is committed, Masks brings what is missing; the device needs it
// before the next step. Whoever ended at N has no mask any more, and draws
// anything.
//
//	device     │ N compute, draw │ N+1 compute      draw │ N+2 …
//	planner    │ Next: N+1       │ Commit N, Masks ─┘ Next: N+2
//
// A step may have rows with drafts: tokens that a request may draw are computed in the same
// row as its last one. How many it draws is not known before the step is done, so no other is
// built meanwhile. Commit appends what is accepted, and the row's keys and values behind that
// are written again by the next.
//
//	tokens     ├──── prompt ────┼── output ──┤ drafts ─ ─ ┤
//	computed   ├───────────────────────────┤─ ─ ─ ─ ─ ─ ─ ─┤  until it is committed
//
// One rule covers every way to leave a seat: whoever ended or was preempted
// keeps seat and pages until the last step with a row of it is committed. So a
// step in flight never refers to a page that was given away.
//
// # Who owns a page
//
// A page holds the keys and values of PageSize tokens in a row. The pages of a
// running request, in order:
//
//	┌─────────────────┬─────────────────┬───────────────────────┐
//	│ filled          │ coming          │ own                   │
//	│ nodes, launched │ nodes, not yet  │ not in the tree       │
//	├─────────────────┼─────────────────┼───────────────────────┤
//	│ 0 … filled      │ filled … treed  │ treed … pages         │
//	│ shared, read by │ written by this │ written by this       │
//	│ many, written   │ request alone,  │ request alone         │
//	│ by none         │ read by none    │                       │
//	└─────────────────┴─────────────────┴───────────────────────┘
//
// A page is written by one request and only while nobody else can hold it; it
// can be held by others from the step after the one that fills it. The device
// runs steps in order, so that step need not be done, only launched.
//
// Of its own pages a request gives back those that are beyond Config.Window for
// every token to come, when the step that saw them last is committed.
//
// References: one for each seated request that holds the page, one for the
// tree if it is a node. A request that holds a node holds all nodes above it.
// At 0 the page is free; at 1 a node is idle, and when it has no children it
// may be evicted, the least recently used first. Only full pages are nodes:
// the page that decoding writes never is.
//
// Pages join the tree twice. When a request is seated, the full pages of its
// known tokens do, as coming: whoever arrives with the same prefix sees that
// it is on its way and waits for it, instead of computing it again; if the
// request leaves before, the coming pages leave the tree. When a request gives
// up its seat, the full pages of all that it computed and knows do, which is
// what the next turn of a conversation begins with. Tokens that two requests
// computed apart stay apart until one of them leaves; then its copies go free.
//
// A match is at most the page before the one of the last known token: one
// token at least is left to compute, or there would be nothing to draw from.
//
// # Never a deadlock
//
// Add refuses what could not run alone on the whole device. A decode that
// needs a page which is not there makes others give theirs, the cheapest to
// compute again first, but never the last one running; so each preemption pays
// for tokens that somebody draws. Every wait is for something that a launched
// step, a running request or an older one in the queue brings about: pages of
// those who leave, pages that are coming, seats. Prefill always has at least
// StepTokens − Slots tokens of a step, decodes one each; where tokens are drafted, half as many.
package plan
