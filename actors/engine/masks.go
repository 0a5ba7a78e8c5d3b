package engine

import (
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"

	"github.com/troupe-llm/troupe/actors/plan"
	"github.com/troupe-llm/troupe/actors/wire"
)

// masks works out what may follow the tokens just committed, for requests that
// keep to a grammar, while the device computes the step after up to its drawing.
// The planner then finds every mask known. One that was met before takes a tenth
// of a microsecond; a new one up to a millisecond, so several of these are worked
// out at once, on all cores.
//
// They are waited for, here and, when they take longer than the step, by the
// device. Were rows without a mask left out of steps instead, a request that
// meets a new one would miss a step, which costs it more than the mask costs the
// others.
func (s *scheduler) masks(outs []plan.Output) {
	s.unmasked = s.unmasked[:0]
	constrained := false
	for i := range outs {
		r := outs[i].Req
		j := r.User.(*job)
		if j.matcher == nil || outs[i].Finish != plan.Running {
			continue
		}
		constrained = true
		if !j.matcher.Known(r.Output()) {
			s.unmasked = append(s.unmasked, j)
		}
	}
	if !constrained {
		return
	}
	inParallel(len(s.unmasked), func(i int) {
		j := s.unmasked[i]
		j.matcher.Allow(j.planned.Output())
	})
	for _, j := range s.unmasked {
		if err := j.matcher.Err(); err != nil && s.plan.Finish(key(j.ref), plan.Failed) {
			s.fail(j, &wire.Fault{Kind: wire.Refused, Param: j.req.Grammar.Path(), Msg: fmt.Sprintf("the output cannot be kept to the grammar: %v", err)})
		}
	}
	clear(s.unmasked)
}

// inParallel calls f for every i below n, some at the same time, and waits.
func inParallel(n int, f func(i int)) {
	if n < 2 {
		for i := range n {
			f(i)
		}
		return
	}
	var next atomic.Int64
	var all sync.WaitGroup
	for range min(n, runtime.GOMAXPROCS(0)) {
		all.Go(func() {
			for i := int(next.Add(1)) - 1; i < n; i = int(next.Add(1)) - 1 {
				f(i)
			}
		})
	}
	all.Wait()
}
