package plan

import "fmt"

// Stats counts what the planner did and has.
type Stats struct {
	Waiting, Running int
	Steps            uint64 // built; as many as the next three together
	DecodeSteps      uint64 // with decode rows alone
	PrefillSteps     uint64 // with prefill rows alone
	MixedSteps       uint64 // with both
	Outstanding      int

	PagesFree   int // hold nothing
	PagesCached int // hold a prefix no request uses; evicted when needed
	PagesUsed   int // held by requests
	Evicted     uint64
	Snapshots   int    // of states, there now
	Saved       uint64 // in all
	Restored    uint64

	PromptTokens uint64 // of requests admitted for the first time
	CachedTokens uint64 // of those, found in the tree
	Computed     uint64 // tokens computed in all, prefill and decode
	Decoded      uint64 // of those, for decode rows: one each
	Generated    uint64 // tokens committed
	Drafted      uint64 // tokens computed that were drafted
	Accepted     uint64 // of those, that were accepted
	Preempted    uint64
	Yielded      uint64    // of those, to make way for a client that had nothing running
	Wasted       uint64    // rows whose request had ended
	Deferred     uint64    // admissions put off to share what another computes
	Finished     [5]uint64 // by Reason

	Reserve float64 // share of the tokens running requests may yet generate for which pages are kept
}

// Stats is a snapshot.
func (p *Planner) Stats() Stats {
	s := p.stats
	s.Waiting, s.Running = p.queue.len(), p.seated
	s.Steps, s.Outstanding = p.step, p.out
	s.PagesFree, s.PagesCached = len(p.pages.free), p.pages.idle
	s.PagesUsed = p.cfg.NumPages - s.PagesFree - s.PagesCached
	s.Evicted = p.pages.evicted
	s.Snapshots = p.pages.states.used
	s.Reserve = p.reserve.share
	return s
}

// Add adds up what several planners did and have; the sum of their Reserves is to be
// divided.
func (s *Stats) Add(o *Stats) {
	s.Waiting += o.Waiting
	s.Running += o.Running
	s.Steps += o.Steps
	s.DecodeSteps += o.DecodeSteps
	s.PrefillSteps += o.PrefillSteps
	s.MixedSteps += o.MixedSteps
	s.Outstanding += o.Outstanding
	s.PagesFree += o.PagesFree
	s.PagesCached += o.PagesCached
	s.PagesUsed += o.PagesUsed
	s.Evicted += o.Evicted
	s.Snapshots += o.Snapshots
	s.Saved += o.Saved
	s.Restored += o.Restored
	s.PromptTokens += o.PromptTokens
	s.CachedTokens += o.CachedTokens
	s.Computed += o.Computed
	s.Decoded += o.Decoded
	s.Generated += o.Generated
	s.Drafted += o.Drafted
	s.Accepted += o.Accepted
	s.Preempted += o.Preempted
	s.Yielded += o.Yielded
	s.Wasted += o.Wasted
	s.Deferred += o.Deferred
	for i, n := range o.Finished {
		s.Finished[i] += n
	}
	s.Reserve += o.Reserve
}

// String is one line for logs.
func (s Stats) String() string {
	return fmt.Sprintf("steps %d, waiting %d, running %d, pages free %d cached %d used %d, hit %d/%d, preempted %d",
		s.Steps, s.Waiting, s.Running, s.PagesFree, s.PagesCached, s.PagesUsed, s.CachedTokens, s.PromptTokens, s.Preempted)
}
