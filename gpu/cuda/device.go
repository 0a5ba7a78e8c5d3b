//go:build cuda

package cuda

import (
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"unsafe"

	"github.com/troupe-llm/troupe/gpu/batch"
	"github.com/troupe-llm/troupe/gpu/device"
	"github.com/troupe-llm/troupe/gpu/kernel"
	"gorgonia.org/cu"
)

// seats is the steps that have memory of their own: those outstanding, and the
// last one before, whose end is where the next one's time is measured from.
const seats = device.MaxOutstanding + 1

// seat is one step's memory on the host and on the device.
type seat struct {
	upload room
	masks  room   // those that come late; none until a step of this seat has late rows
	result pinned // written by the device
	scores pinned // written by the device; nil until a step of this seat has tokens to score
	sums   pinned // of a rank: what its sums took up to the step's end, nanoseconds and of those waiting
	began  cu.Event
	ended  cu.Event
	copied cu.Event
	// Of a step with late rows: when its pass was computed, and its drawing begun.
	computed, resumed cu.Event

	// Set by Launch, read by Wait.
	seq      uint64
	rows     []launched
	launched int64
	// masked brings what became of the masks, without which the step's end is not
	// enqueued; nil: it has no late rows.
	masked chan error
}

// room is memory for what goes to the device at once.
type room struct {
	staging pinned     // on its way
	block   kernel.Ptr // on the device, as large
}

// Device is a GPU as a device.Device.
type Device struct {
	info   device.Info
	engine *engine // owned by the caller of Launch

	// Owned by the caller of Launch.
	encoder  *encoder
	logprobs []int32 // by slot
	next     int     // steps launched
	unmasked *seat   // of the step launched last, while it waits for masks
	closed   bool

	// Owned by the caller of Wait.
	waited int
	clock  clock
	spent  [2]uint64 // what seat.sums said of the last step

	// seats is used in turn. Launch writes a seat before it raises outstanding,
	// Wait reads it before lowering it.
	seats [seats]seat
	// outstanding counts steps launched and not waited for.
	// Invariant: 0 ≤ outstanding ≤ device.MaxOutstanding.
	outstanding atomic.Int32

	mu     sync.Mutex
	failed error // the first fault: the context is of no more use
}

var _ device.Device = (*Device)(nil)

// Open makes a context on the device that spec.Device names ("cuda" is
// "cuda:0"), compiles the kernels, loads the weights and captures the graphs.
// The caller's goroutine is locked to its thread, and is the one that launches.
// The model's weights are copied: it may be closed afterwards.
func Open(spec device.Spec) (*Device, error) {
	if spec.Model == nil {
		return nil, errors.New("cuda: no model to open")
	}
	ordinal, err := Ordinal(spec.Device)
	if err != nil {
		return nil, err
	}
	if err := Usable(); err != nil {
		return nil, err
	}
	open := func() (*context, error) { return openContext(ordinal) }
	if spec.Rank != nil {
		open = func() (*context, error) { return openRank(ordinal, spec.Rank, false) }
	}
	ctx, err := open()
	if err != nil {
		return nil, err
	}
	d := &Device{}
	if err := d.open(ctx, &spec, ordinal); err != nil {
		return nil, errors.Join(err, ctx.close())
	}
	return d, nil
}

// Ordinal is the number of the GPU that a device's name means.
func Ordinal(name string) (int, error) {
	_, number, ok := strings.Cut(name, ":")
	if !ok {
		return 0, nil
	}
	n, err := strconv.Atoi(number)
	if err != nil {
		return 0, fmt.Errorf(`cuda: device %q; give it as "cuda" or "cuda:1"`, name)
	}
	return n, nil
}

func (d *Device) open(ctx *context, spec *device.Spec, ordinal int) error {
	e, err := newEngine(ctx, spec)
	if err != nil {
		return err
	}
	d.engine = e
	e.info.Name, e.info.Hardware = fmt.Sprintf("cuda:%d", ordinal), ctx.gpu.Name
	for i := range d.seats {
		s := &d.seats[i]
		if s.result, err = ctx.pin(kernel.ResultBytes(e.info.Draws())); err != nil {
			return err
		}
		if s.sums, err = ctx.pin(kernel.SpentBytes); err != nil {
			return err
		}
		for _, event := range []*cu.Event{&s.began, &s.ended, &s.copied, &s.computed, &s.resumed} {
			if *event, err = cu.MakeEvent(cu.DefaultEvent); err != nil {
				return fmt.Errorf("cuda: making an event: %w", err)
			}
		}
		// Room for any step but the most unusual: growing waits for the device.
		if err := s.upload.grow(ctx, 32*e.info.MaxStepTokens+1<<17); err != nil {
			return err
		}
	}
	choose := e.chooseOwn
	if e.deterministic {
		choose = e.pinProducts
	}
	if err := choose(); err != nil {
		return err
	}
	loaded := e.loadProducts()
	if e.rank != nil { // loading may wait for the device, where kernels will wait for ranks
		if err := errors.Join(loaded(), e.together()); err != nil {
			return err
		}
		loaded = func() error { return nil }
	}
	sizes := graphSizes(min(e.info.Draws(), cmp.Or(max(spec.GraphRows, -1), maxGraph)))
	if err := errors.Join(e.captureGraphs(sizes, spec.Capturing), loaded()); err != nil {
		return err
	}
	if err := e.clearSpent(); err != nil {
		return fmt.Errorf("cuda: clearing times: %w", err)
	}
	if e.info.FreeBytes, _, err = freeBytes(); err != nil {
		return err
	}
	d.info = e.info
	d.encoder = newEncoder(e.info, e.shape, sizes)
	d.encoder.reserve, d.encoder.asPrompts = e.reserve, e.deterministic
	if len(sizes) > 0 {
		d.encoder.prompts = e.mostReplayed()
	}
	d.logprobs = make([]int32, e.info.Slots)
	return nil
}

// maxGraph is the largest decode batch captured as a graph.
const maxGraph = 512

// grow makes room for so many bytes. The last step with something here is over.
func (r *room) grow(ctx *context, bytes int) error {
	if len(r.staging) >= bytes {
		return nil
	}
	bytes = max(2*bytes, 1<<16)
	if r.block != 0 {
		if err := ctx.free(r.block); err != nil {
			return fmt.Errorf("cuda: freeing an upload: %w", err)
		}
	}
	var err error
	if r.staging, err = ctx.pin(bytes); err != nil {
		return err
	}
	// Not cleared: that would be on the compute stream, and the copy is not.
	block, err := cu.MemAlloc(int64(bytes))
	if err != nil {
		return fmt.Errorf("cuda: %d KiB for a step's upload: %w", bytes>>10, err)
	}
	r.block = kernel.Ptr(block)
	ctx.own(block)
	return nil
}

// place is memory to write so many bytes to, and where they will lie.
func (r *room) place(ctx *context) func(bytes int) ([]byte, kernel.Ptr, error) {
	return func(bytes int) ([]byte, kernel.Ptr, error) {
		err := r.grow(ctx, bytes)
		return r.staging, r.block, err
	}
}

// send copies the first bytes over, beside what the device computes, whose
// further work waits for them.
func (r *room) send(e *engine, bytes int, copied cu.Event) error {
	if err := cu.MemcpyHtoDAsync(cu.DevicePtr(r.block), unsafe.Pointer(&r.staging[0]), int64(bytes), e.copies); err != nil {
		return fmt.Errorf("copying the step: %w", err)
	}
	if err := copied.Record(e.copies); err != nil {
		return err
	}
	return e.compute.Wait(copied, 0)
}

// Info implements device.Device.
func (d *Device) Info() device.Info { return d.info }

// fail remembers a fault of the context.
func (d *Device) fail(err error) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.failed == nil {
		d.failed = err
	}
	return err
}

func (d *Device) fault() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.failed
}

// Launch implements device.Device.
func (d *Device) Launch(s *batch.Step) error {
	if d.closed {
		return errors.New("cuda: the device is closed")
	}
	if err := d.fault(); err != nil {
		return fmt.Errorf("cuda: step %d: the device failed before: %w", s.Seq, err)
	}
	if n := d.outstanding.Load(); n >= device.MaxOutstanding {
		return fmt.Errorf("cuda: step %d launched while %d are outstanding, the most allowed", s.Seq, n)
	}
	if d.unmasked != nil {
		return fmt.Errorf("cuda: step %d launched before step %d was given its masks", s.Seq, d.unmasked.seq)
	}
	err := d.launch(s)
	if err == nil {
		err = d.engine.captureFresh()
	}
	if err != nil {
		return d.fail(fmt.Errorf("cuda: step %d: %w", s.Seq, err))
	}
	d.next++
	d.outstanding.Add(1)
	return nil
}

func (d *Device) launch(s *batch.Step) error {
	e, seat := d.engine, &d.seats[d.next%seats]
	u, err := d.encoder.encode(s, seat.upload.place(e.context))
	if err != nil {
		return err
	}
	for i := range s.Slots {
		d.logprobs[s.Slots[i].Slot] = s.Slots[i].Sampling.Logprobs
	}
	seat.seq, seat.rows, seat.launched = s.Seq, seat.rows[:0], batch.Now()
	for i := range s.Rows {
		r := &s.Rows[i]
		seat.rows = append(seat.rows, launched{r.Sample, d.logprobs[r.Slot], len(r.Score), r.Drafts})
	}
	if u.scores > 0 && seat.scores == nil {
		if seat.scores, err = e.pin(kernel.ScoreBytes(e.info.MaxStepTokens)); err != nil {
			return err
		}
	}
	if err := seat.upload.send(e, u.bytes, seat.copied); err != nil {
		return err
	}
	if err := seat.began.Record(e.compute); err != nil {
		return err
	}
	if err := e.enqueue(u, seat.result.address()); err != nil {
		return err
	}
	if seat.masked = nil; u.late > 0 {
		if err := seat.computed.Record(e.compute); err != nil {
			return err
		}
		seat.masked, d.unmasked = make(chan error, 1), seat
		return nil
	}
	return d.finish(seat, u)
}

// finish enqueues what comes behind the drawing, in whose logits it computes.
func (d *Device) finish(seat *seat, u *upload) error {
	if u.scores > 0 {
		if err := d.engine.score(u, seat.scores.address()); err != nil {
			return fmt.Errorf("scoring: %w", err)
		}
	}
	if err := d.engine.tellSpent(seat.sums.address()); err != nil {
		return fmt.Errorf("times of sums: %w", err)
	}
	return seat.ended.Record(d.engine.compute)
}

// Mask implements device.Device. Nothing on the device waits for it but what it
// enqueues: kernels that would wait could not be given up.
func (d *Device) Mask(m *batch.Masks) error {
	seat := d.unmasked
	if seat == nil {
		return fmt.Errorf("cuda: %w", m.Check(0, 0, 0))
	}
	d.unmasked = nil
	err := errors.New("its masks were not handed over") // should this panic
	defer func() { seat.masked <- err }()
	if fault := d.fault(); fault != nil {
		err = fmt.Errorf("the device failed before: %w", fault)
	} else {
		err = d.mask(seat, m)
	}
	if err != nil {
		return d.fail(fmt.Errorf("cuda: step %d: %w", seat.seq, err))
	}
	return nil
}

func (d *Device) mask(seat *seat, m *batch.Masks) error {
	e := d.engine
	draws, n, bytes, err := d.encoder.lateMasks(m, seat.masks.place(e.context))
	if err != nil {
		return err
	}
	if err := seat.masks.send(e, bytes, seat.copied); err != nil {
		return err
	}
	if err := seat.resumed.Record(e.compute); err != nil {
		return err
	}
	if err := e.draw(draws, n); err != nil {
		return err
	}
	return d.finish(seat, &d.encoder.up)
}

// Wait implements device.Device.
func (d *Device) Wait(r *batch.Result) error {
	if d.outstanding.Load() == 0 {
		return errors.New("cuda: nothing to wait for: no step is outstanding")
	}
	seat := &d.seats[d.waited%seats]
	err := d.wait(seat, r)
	d.waited++
	d.outstanding.Add(-1)
	if err != nil {
		return d.fail(fmt.Errorf("cuda: step %d: %w", seat.seq, err))
	}
	return nil
}

func (d *Device) wait(seat *seat, r *batch.Result) error {
	if seat.masked != nil {
		if err := <-seat.masked; err != nil {
			return err
		}
	}
	if err := d.engine.attach(); err != nil { // this is not Launch's thread
		return err
	}
	if err := seat.ended.Synchronize(); err != nil {
		return err
	}
	now := batch.Now()
	lasted, err := elapsed(seat.began, seat.ended)
	if err != nil {
		return err
	}
	gap := int64(0)
	if d.waited > 0 {
		if gap, err = elapsed(d.seats[(d.waited-1)%seats].ended, seat.began); err != nil {
			return err
		}
	}
	r.Reset()
	r.Seq = seat.seq
	r.Began, r.Ended = d.clock.step(gap, lasted, seat.launched, now)
	if seat.masked != nil {
		if err := seat.stalled(r); err != nil {
			return err
		}
	}
	r.Reducing, r.Waiting = d.sums(seat)
	readResult(r, seat.result, seat.rows, d.info.Draws())
	readScores(r, seat.scores, seat.rows)
	return nil
}

// sums is what a step's sums took, and of that waiting for other ranks.
func (d *Device) sums(s *seat) (took, waited int64) {
	before := d.spent
	for i := range d.spent {
		d.spent[i] = binary.NativeEndian.Uint64(s.sums[8*i:])
	}
	return int64(d.spent[0] - before[0]), int64(d.spent[1] - before[1])
}

// unnoticed is what lies between two events with nothing in between them, in
// nanoseconds: no more than that is no standing still.
const unnoticed = 5000

// stalled says when the step stood still for want of masks.
func (s *seat) stalled(r *batch.Result) error {
	computed, err := elapsed(s.began, s.computed)
	if err != nil {
		return err
	}
	resumed, err := elapsed(s.began, s.resumed)
	if err != nil {
		return err
	}
	if resumed-computed > unnoticed {
		r.Stalled, r.Resumed = r.Began+computed, r.Began+resumed
	}
	return nil
}

// Close implements device.Device. The context goes even when the device has
// failed, so that another can be opened.
func (d *Device) Close() error {
	if d.closed {
		return nil
	}
	d.closed = true
	e := d.engine
	if err := e.attach(); err != nil {
		return err
	}
	var errs []error
	if d.fault() == nil {
		errs = append(errs, e.compute.Synchronize(), e.copies.Synchronize())
		for _, g := range slices.Concat(slices.Collect(maps.Values(e.graphs)), slices.Collect(maps.Values(e.undrawn)), slices.Collect(maps.Values(e.replayed.graphs))) {
			errs = append(errs, g.free())
		}
		errs = append(errs, e.blas.close(), e.nccl.close())
	}
	err := e.close()
	if d.fault() != nil {
		return nil // it was reported; a dead context reports it again
	}
	return errors.Join(append(errs, err)...)
}
