package cpu

import (
	"errors"
	"time"

	"github.com/troupe-llm/troupe/gpu/batch"
	"github.com/troupe-llm/troupe/gpu/device"
	"github.com/troupe-llm/troupe/gpu/program"
)

// lost ends a step whose ranks do not meet any more.
type lost struct{ error }

// meet has all ranks at one place: do sees what each brings, which stays as it is
// until all are done.
func (e *engine) meet(mine any, do func(all []any)) {
	began := batch.Now()
	waited, err := e.rank.Meet(mine, do)
	e.waiting += waited
	e.reducing += time.Duration(batch.Now() - began)
	if err != nil {
		panic(lost{err})
	}
}

// allReduce adds up what ranks have. Each adds some of the columns up, in the order
// of ranks, and gives the sums to all: the same bits everywhere.
func (e *engine) allReduce(o *program.AllReduce) func() {
	x := e.plan.view(o.X)
	from, to := x.width*e.rank.Index/e.rank.Ranks, x.width*(e.rank.Index+1)/e.rank.Ranks
	return func() {
		e.meet(&x, func(all []any) {
			e.each(e.count(x.rows, x.perToken), 16, func(i int) {
				sum := all[0].(*view).row(i)[from:to]
				for _, other := range all[1:] {
					for j, v := range other.(*view).row(i)[from:to] {
						sum[j] += v
					}
				}
				for _, other := range all[1:] {
					copy(other.(*view).row(i)[from:to], sum)
				}
			})
		})
	}
}

// allGather gives all ranks the columns that this one brings.
func (e *engine) allGather(o *program.AllGather) func() {
	in, out, mine := e.plan.view(o.In), e.plan.view(o.Out), o.Brings[e.rank.Index]
	return func() {
		e.meet(&out, func(all []any) {
			e.each(e.count(in.rows, in.perToken), 16, func(i int) {
				for _, other := range all {
					row := other.(*view).row(i)
					for k, r := range mine.To {
						copy(row[r.At:][:r.N], in.row(i)[mine.From[k]:])
					}
				}
			})
		})
	}
}

// ranked refuses a share of a model without the other ranks.
func ranked(p *program.Program, rank *device.Rank) error {
	for _, op := range p.Ops {
		switch op.(type) {
		case *program.AllReduce, *program.AllGather:
			if rank == nil {
				return errors.New("cpu: the model is one rank's share, and there are no other ranks")
			}
		}
	}
	return nil
}
