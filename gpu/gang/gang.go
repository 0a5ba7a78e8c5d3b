// Package gang puts several devices that share a model behind one: tensor
// parallelism. Each rank is a device of its own, which runs its share of the
// program (program.Program.Share) and has two locked threads, one that launches
// and one that waits. A step goes to all, rank 0 answers, and nobody outside sees
// more than a device.
//
// All ranks draw: they have the same logits, bit by bit, so the same tokens, which
// is checked. So what a slot drew last is on every device when the next step needs
// it.
//
// A rank that fails ends the gang, once: whoever waits for the others is told the
// reason (meeting.go), and no step is taken any more. The owner closes the gang
// and opens another.
package gang

import (
	"errors"
	"fmt"
	"runtime"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/troupe-llm/troupe/gpu/batch"
	"github.com/troupe-llm/troupe/gpu/device"
)

// Gang is ranks as a device.Device.
type Gang struct {
	info    device.Info
	ranks   []*rank
	meeting *meeting

	mu     sync.Mutex
	failed error // guarded by mu: the first that ended the gang
	closed bool  // owned by the caller of Launch
}

var _ device.Device = (*Gang)(nil)

// rank is one of the devices.
type rank struct {
	index  int
	dev    device.Device // nil: it could not be opened
	thread thread        // that opens, launches, masks, closes
	waiter thread        // that waits
	calls  atomic.Int32  // that have not returned
	result batch.Result  // of the last Wait
}

// thread runs functions one by one on a locked OS thread.
type thread chan func()

func newThread() thread {
	t := make(thread)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread ends with the goroutine
		for f := range t {
			f()
		}
	}()
	return t
}

// Open opens a device for each of names by open, all at once, each with its rank and
// its share of spec.Model. Progress is of all together.
func Open(spec device.Spec, names []string, open func(device.Spec) (device.Device, error)) (*Gang, error) {
	if spec.Model == nil {
		return nil, errors.New("gang: no model to open")
	}
	n := len(names)
	g := &Gang{meeting: newMeeting(n)}
	specs := make([]device.Spec, n)
	loading, capturing := newTally(n, spec.Progress), newTally(n, spec.Capturing)
	for i, name := range names {
		share, err := spec.Model.Share(i, n)
		if err != nil {
			return nil, err
		}
		one := spec
		one.Device, one.Model, one.TP = name, share, 0
		one.Rank = &device.Rank{Index: i, Ranks: n, Meet: g.meeting.of(i)}
		one.Progress, one.Capturing = loading.of(i), capturing.of(i)
		specs[i] = one
	}
	for i := range n {
		g.ranks = append(g.ranks, &rank{index: i, thread: newThread(), waiter: newThread()})
	}
	err := g.all(launching, func(r *rank) (err error) {
		r.dev, err = open(specs[r.index])
		return err
	})
	if err == nil {
		err = g.describe()
	}
	if err != nil {
		return nil, errors.Join(err, g.Close())
	}
	return g, nil
}

// Run has so many ranks do something, each on a locked thread, and returns when all
// have. The first error ends their meetings.
func Run(ranks int, do func(*device.Rank) error) error {
	g := &Gang{meeting: newMeeting(ranks)}
	for i := range ranks {
		g.ranks = append(g.ranks, &rank{index: i, thread: newThread(), waiter: newThread()})
	}
	err := g.all(launching, func(r *rank) error {
		return do(&device.Rank{Index: r.index, Ranks: ranks, Meet: g.meeting.of(r.index)})
	})
	return errors.Join(err, g.Close())
}

func (g *Gang) describe() (err error) {
	infos := make([]device.Info, len(g.ranks))
	for i, r := range g.ranks {
		infos[i] = r.dev.Info()
	}
	if g.info, err = device.Together(infos); err != nil {
		return fmt.Errorf("gang: %w", err)
	}
	return nil
}

func launching(r *rank) thread { return r.thread }
func waiting(r *rank) thread   { return r.waiter }

// all has every rank do something on one of its threads, and returns when all have.
// The first error ends the gang.
func (g *Gang) all(on func(*rank) thread, do func(*rank) error) error {
	var group sync.WaitGroup
	failed := make([]bool, len(g.ranks))
	for i, r := range g.ranks {
		group.Add(1)
		r.calls.Add(1)
		on(r) <- func() {
			defer group.Done()
			defer r.calls.Add(-1)
			if err := recovered(r, do); err != nil {
				failed[i] = true
				g.fail(r, err)
			}
		}
	}
	group.Wait()
	if slices.Contains(failed, true) {
		return g.fault()
	}
	return nil
}

// recovered takes a panic for an error: it condemns the gang, not the process.
func recovered(r *rank, do func(*rank) error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("%v\n%s", p, debug.Stack())
		}
	}()
	return do(r)
}

// fail ends the gang with the first error of any rank. Those that are told of it
// fail, too, with nothing new to say.
func (g *Gang) fail(r *rank, err error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.failed == nil {
		g.failed = fmt.Errorf("gang: rank %d of %d: %w", r.index, len(g.ranks), err)
		g.meeting.end(g.failed)
	}
}

func (g *Gang) fault() error {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.failed
}

// Lagging names the ranks whose calls have not returned, for who wonders about the
// gang's. Any goroutine may ask.
func (g *Gang) Lagging() string {
	var names []string
	for _, r := range g.ranks {
		if r.calls.Load() > 0 {
			names = append(names, strconv.Itoa(r.index))
		}
	}
	return fmt.Sprintf("rank %s of %d", strings.Join(names, " and "), len(g.ranks))
}

// Info implements device.Device.
func (g *Gang) Info() device.Info { return g.info }

// Launch implements device.Device.
func (g *Gang) Launch(s *batch.Step) error {
	if g.closed {
		return errors.New("gang: the device is closed")
	}
	if err := g.fault(); err != nil {
		return fmt.Errorf("step %d: failed before: %w", s.Seq, err)
	}
	return g.all(launching, func(r *rank) error { return r.dev.Launch(s) })
}

// Mask implements device.Device. All ranks have it, whatever became of others: or
// who waits for the step would wait for good.
func (g *Gang) Mask(m *batch.Masks) error {
	return g.all(launching, func(r *rank) error { return r.dev.Mask(m) })
}

// Wait implements device.Device. It returns when every rank is done with the step,
// so nobody reads it any more.
func (g *Gang) Wait(to *batch.Result) error {
	if err := g.all(waiting, func(r *rank) error { return r.dev.Wait(&r.result) }); err != nil {
		return err
	}
	to.Copy(&g.ranks[0].result)
	to.Ranks, to.Reducing, to.Waiting = to.Ranks[:0], 0, 0
	for _, r := range g.ranks {
		one := &r.result
		if !slices.Equal(one.Tokens, to.Tokens) {
			g.fail(r, fmt.Errorf("step %d: it drew %v, rank 0 drew %v", to.Seq, one.Tokens, to.Tokens))
			return g.fault()
		}
		to.Ranks = append(to.Ranks, batch.RankTime{Began: one.Began, Ended: one.Ended, Reducing: one.Reducing, Waiting: one.Waiting})
		to.Began, to.Ended = min(to.Began, one.Began), max(to.Ended, one.Ended)
		to.Reducing += one.Reducing / int64(len(g.ranks))
		to.Waiting += one.Waiting / int64(len(g.ranks))
	}
	return nil
}

// Close implements device.Device.
func (g *Gang) Close() error {
	if g.closed {
		return nil
	}
	g.closed = true
	errs := make([]error, len(g.ranks))
	_ = g.all(launching, func(r *rank) error {
		if r.dev != nil {
			errs[r.index] = r.dev.Close()
		}
		return nil
	})
	for _, r := range g.ranks {
		close(r.thread)
		close(r.waiter)
	}
	return errors.Join(errs...)
}
