//go:build cuda

package cuda

import (
	"errors"
	"fmt"
	"time"

	"github.com/troupe-llm/troupe/gpu/device"
	"github.com/troupe-llm/troupe/gpu/kernel"
)

// sumsInGraph are timed together: of so many in a graph, which is launched so often.
const sumsInGraph, sumLaunches = 20, 10

// TimeSums times what ranks add up, as one of them: all call it at once, with the
// same rows, on locked threads.
func TimeSums(rank *device.Rank, ordinal, width int, rows []int) (list []SumTimes, err error) {
	if err := Usable(); err != nil {
		return nil, err
	}
	c, err := openRank(ordinal, rank, libnccl.opened().Err == nil)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, c.close()) }()
	b := &sumBench{context: c, meetings: meetings{rank: rank}, width: width}
	if err := b.open(rows[len(rows)-1]); err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, b.nccl.close()) }()
	for _, n := range rows {
		t := SumTimes{Rows: n}
		for _, kind := range []struct {
			took *time.Duration
			run  func(rows, i int) error
		}{{&t.Added, b.added}, {&t.Normed, b.normed}, {&t.Read, b.read}, {&t.Copied, b.copied}, {&t.NCCL, b.library}} {
			if *kind.took, err = b.time(func(i int) error { return kind.run(n, i) }); err != nil {
				return nil, fmt.Errorf("cuda: sums of %d rows: %w", n, err)
			}
		}
		list = append(list, t)
	}
	return list, nil
}

// sumBench is a rank with something to add up.
type sumBench struct {
	*context
	meetings
	queue   *queue
	nccl    *communicator // nil: there is none
	width   int
	x, w, y kernel.Ptr
	part    [kernel.MaxRanks]kernel.Ptr
}

func (b *sumBench) open(most int) error {
	shape := kernel.Shape{Heads: 8, KVHeads: 8, HeadDim: 64, PageSize: 16, Stages: 2}
	m, err := loadModules(shape, b.gpu.architecture())
	if err != nil {
		return err
	}
	b.queue = &queue{modules: m, stream: b.compute, overlap: b.gpu.Capability >= 90 && b.common.ranks == 1}
	if b.primary != nil {
		if b.nccl, err = communicate(b.rank, b.compute); err != nil {
			return err
		}
	}
	b.landing.bytes = bf16 * int64(most) * int64(b.width)
	if b.landing.mine, err = b.allocate(inboxes*b.landing.bytes, "what other ranks copy"); err != nil {
		return err
	}
	if err := errors.Join(b.join(b.context, 2*b.gpu.SMs), b.copyWith(b.context)); err != nil {
		return err
	}
	var part kernel.Ptr
	n := int64(most) * int64(b.width)
	for _, s := range []sized{{&part, bf16 * n, "parts"}, {&b.x, f32 * n, "sums"}, {&b.y, bf16 * n, "norms"}, {&b.w, bf16 * int64(b.width), "weights"}} {
		if *s.at, err = b.allocate(s.bytes, s.what); err != nil {
			return err
		}
	}
	if err := kernel.FillRandom(b.queue, part, n, b.width, 1); err != nil {
		return err
	}
	b.part = b.addresses(part)
	return b.err
}

func (b *sumBench) sum(rows, i int) kernel.Sum {
	return kernel.Sum{
		Part: b.part, Inbox: b.inboxes[i%2], Half: 1, X: b.x, Vectors: int32(rows * b.width / 8), W: b.w, Y: b.y, Hidden: int32(b.width), Eps: 1e-6,
	}
}

var errNotSo = errors.New("not so many rows")

func (b *sumBench) added(rows, i int) error {
	s := b.sum(rows, i)
	if !s.Sends() {
		return errNotSo
	}
	return kernel.Reduce(b.queue, &b.links, s)
}

func (b *sumBench) normed(rows, i int) error {
	s := b.sum(rows, i)
	if !s.Norms() {
		return errNotSo
	}
	return kernel.ReduceNorm(b.queue, &b.links, s)
}

func (b *sumBench) read(rows, i int) error {
	s := b.sum(rows, i)
	s.Inbox = [kernel.MaxRanks]kernel.Ptr{}
	return kernel.Reduce(b.queue, &b.links, s)
}

// copied is a sum behind whose copying nothing is computed, as it is from how many rows on.
func (b *sumBench) copied(rows, i int) error {
	s := b.sum(rows, i)
	if s.Sends() || b.rank.Ranks != 2 || b.common.ranks > 1 || b.width > kernel.MaxCopied {
		return errNotSo
	}
	mine, other := b.rank.Index, 1-b.rank.Index
	c := kernel.Copied{X: b.x, W: b.w, Y: b.y, Rows: int32(rows), Hidden: int32(b.width), Eps: 1e-6}
	c.Part[mine], c.Part[other] = b.part[mine], b.landing.place(i%2, other, mine, 2)
	c.Told = b.landing.tells(mine, i%2, 0)
	var to, told [kernel.MaxRanks]kernel.Ptr
	to[other], told[other] = b.landing.place(i%2, mine, other, 2), b.landing.tells(other, i%2, 0).Plus(4*int64(mine))
	if err := b.landing.by.copy(b.part[mine], to, told, bf16*int64(rows)*int64(b.width)); err != nil {
		return err
	}
	if err := kernel.AddCopied(b.queue, &b.links, c); err != nil {
		return err
	}
	return b.landing.by.join()
}

func (b *sumBench) library(rows, _ int) error {
	if b.nccl == nil {
		return errNotSo
	}
	return b.nccl.sum(b.part[b.rank.Index], rows*b.width, true)
}

// time is what one of many in a graph takes; 0: there is none of so many rows.
func (b *sumBench) time(enqueue func(i int) error) (time.Duration, error) {
	for i := range 2 { // what loads a kernel must not be captured
		if err := enqueue(i); errors.Is(err, errNotSo) {
			return 0, nil
		} else if err != nil {
			return 0, err
		}
	}
	if err := b.together(b.rank); err != nil {
		return 0, err
	}
	g, err := capture(b.compute, func() error {
		for i := range sumsInGraph {
			if err := enqueue(i); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return 0, err
	}
	run := func() error {
		for range sumLaunches {
			if err := g.launch(b.compute); err != nil {
				return err
			}
		}
		return nil
	}
	if err := errors.Join(b.together(b.rank), run(), b.together(b.rank)); err != nil {
		return 0, err
	}
	ns, err := timeOn(b.compute, run)
	return time.Duration(ns / (sumsInGraph * sumLaunches)), errors.Join(err, b.together(b.rank), g.free())
}
