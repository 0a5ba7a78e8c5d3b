// Package plan decides what a device computes next. It is pure: no actors, no
// clocks, no cgo; the same calls in the same order give the same steps.
//
// The caller adds requests, launches what Next returns and hands results to
// Commit:
//
//	Add ──▶ queue ──admit──▶ seat ──Next──▶ step ──device──▶ Commit ──▶ outputs
//	          ▲               │                                │
//	          └── preempt ────┘◀───────── still running ───────┘
//
// Read request.go (what a request is), next.go (how a step is built),
// pages.go and tree.go (who owns which page), commit.go, preempt.go.
package plan
