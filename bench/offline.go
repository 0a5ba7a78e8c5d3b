package bench

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/troupe-llm/troupe/actors"
	"github.com/troupe-llm/troupe/gpu/batch"
)

// Offline says what an offline run asks for: all requests at once, as token
// ids, of which every one gets exactly the output it was drawn.
type Offline struct {
	NumSeqs     int
	Input       Range
	Output      Range
	Seed        uint64
	Temperature float64
	// KeepEOS lets stop tokens end a request early.
	KeepEOS bool
	// Warmup is how many short requests run before the measured ones.
	Warmup int
	// Progress, when set, hears now and then, from one goroutine, how many of
	// total output tokens there are, beginning with 0.
	Progress func(done, total int)
	// Environment is what the caller knows of it; Run adds model and device.
	Environment Environment
}

// Run measures a system that does nothing else meanwhile.
func (o *Offline) Run(ctx context.Context, system *actors.System) (*Report, error) {
	dev := system.Device()
	if most := o.Input.High + o.Output.High; most > dev.MaxSeqLen {
		return nil, fmt.Errorf("requests of up to %d + %d tokens do not fit: the longest this model and device take is %d",
			o.Input.High, o.Output.High, dev.MaxSeqLen)
	}
	prompts := RandomPrompts(o.Seed, o.NumSeqs, o.Input, o.Output, dev.Vocab)
	if o.Warmup > 0 {
		// Other tokens than the measured ones, or those would be cached.
		short := RandomPrompts(o.Seed+1, o.Warmup, shorter(o.Input, 64), shorter(o.Output, 16), dev.Vocab)
		warm := *o
		warm.Progress = nil
		if _, err := warm.run(ctx, system, short); err != nil {
			return nil, fmt.Errorf("warming up: %w", err)
		}
	}
	before := system.Stats()
	r, err := o.run(ctx, system, prompts)
	if err != nil {
		return nil, err
	}
	after := system.Stats()
	r.Steps = Steps{
		Total: after.Steps - before.Steps, Decode: after.DecodeSteps - before.DecodeSteps,
		Prefill: after.PrefillSteps - before.PrefillSteps, Mixed: after.MixedSteps - before.MixedSteps,
		ComputedTokens: after.Computed - before.Computed, CachedTokens: after.CachedTokens - before.CachedTokens,
		WastedRows: after.Wasted - before.Wasted, Preempted: after.Preempted - before.Preempted,
	}
	r.Work = Work{
		NumSeqs: o.NumSeqs, InputLen: o.Input.String(), OutputLen: o.Output.String(), Seed: o.Seed,
		Temperature: o.Temperature, IgnoreEOS: !o.KeepEOS, PromptIDs: min(dev.Vocab, promptTokens+1),
	}
	m := system.Model()
	e := &r.Environment
	e.Model, e.Parameters, e.DType, e.Dummy = m.Name, m.Config.Params(), string(dev.DType), m.Weights == nil
	e.Device, e.Hardware = dev.Name, dev.Hardware
	e.Slots, e.PageSize, e.NumPages, e.StepTokens = dev.Slots, dev.PageSize, dev.NumPages, dev.MaxStepTokens
	return r, nil
}

// shorter is the range with its ends at most n.
func shorter(r Range, n int) Range { return Range{min(r.Low, n), min(r.High, n)} }

// timing is what one request's reader saw.
type timing struct {
	sent        time.Time
	first, last time.Duration // since sent; 0: no token came
	arrived     time.Duration // of the latest token, over the wire
	between     []time.Duration
	tokens      int
	err         error
}

// run sends every prompt and reads every stream to its end.
func (o *Offline) run(ctx context.Context, system *actors.System, prompts []Prompt) (*Report, error) {
	r := &Report{Schema: Schema, Kind: "offline", Environment: o.Environment}
	var total int
	for i := range prompts {
		total += prompts[i].MaxTokens
	}
	timings := make([]timing, len(prompts))
	var done atomic.Int64
	var readers sync.WaitGroup
	stopProgress := o.report(&done, total)

	began := time.Now()
	r.Environment.Time = began
	for i := range prompts {
		t := &timings[i]
		t.sent = time.Now()
		stream, err := system.Submit(o.request(&prompts[i], o.Seed+uint64(i)))
		if err != nil {
			t.err = err
			continue
		}
		readers.Go(func() { t.read(ctx, stream, &done) })
	}
	readers.Wait()
	elapsed := time.Since(began)
	stopProgress()
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	return r, r.add(prompts, timings, elapsed)
}

func (o *Offline) request(p *Prompt, seed uint64) *actors.Request {
	return &actors.Request{
		Tokens: p.Tokens, MaxTokens: p.MaxTokens, IgnoreEOS: !o.KeepEOS,
		Sampling: batch.Sampling{Temperature: float32(o.Temperature), Seed: seed},
	}
}

// report calls Progress until stopped.
func (o *Offline) report(done *atomic.Int64, total int) (stop func()) {
	if o.Progress == nil {
		return func() {}
	}
	ended, told := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(told)
		o.Progress(0, total)
		tick := time.NewTicker(200 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				o.Progress(int(done.Load()), total)
			case <-ended:
				o.Progress(int(done.Load()), total)
				return
			}
		}
	}()
	return func() { close(ended); <-told }
}

// read follows a stream to its final event. Tokens that arrive in one event
// came at one time: the first has waited for all of it, the others for none.
func (t *timing) read(ctx context.Context, stream *actors.Stream, done *atomic.Int64) {
	var ev actors.Event
	for {
		if err := stream.Next(ctx, &ev); err != nil {
			stream.Cancel()
			t.err = err
			return
		}
		now := time.Since(t.sent)
		for range ev.Tokens {
			if t.first == 0 {
				t.first = now
			} else {
				t.between = append(t.between, now-t.last)
			}
			t.last = now
		}
		ev.Receipt.Written() // to nobody further
		t.tokens += len(ev.Tokens)
		done.Add(int64(len(ev.Tokens)))
		if f := ev.Final; f != nil {
			if t.err = f.Err; t.err == nil && f.Reason == actors.FinishAbort {
				t.err = errors.New("the request was cancelled")
			}
			t.last = now
			return
		}
	}
}

// add sums the requests up. It fails when none ended well.
func (r *Report) add(prompts []Prompt, timings []timing, elapsed time.Duration) error {
	var ttft, itl, e2e []time.Duration
	var failure error
	for i := range timings {
		t := &timings[i]
		if t.err != nil {
			r.Failed++
			failure = t.err
			continue
		}
		r.Requests++
		r.TotalInputTokens += len(prompts[i].Tokens)
		r.TotalOutputTokens += t.tokens
		ttft, e2e = append(ttft, t.first), append(e2e, t.last)
		itl = append(itl, t.between...)
	}
	if r.Requests == 0 {
		return fmt.Errorf("every request failed, the last with: %w", failure)
	}
	r.ElapsedS = elapsed.Seconds()
	r.RequestThroughput = float64(r.Requests) / r.ElapsedS
	r.OutputThroughput = float64(r.TotalOutputTokens) / r.ElapsedS
	r.TotalThroughput = float64(r.TotalInputTokens+r.TotalOutputTokens) / r.ElapsedS
	r.TTFT, r.ITL, r.E2E = distribution(ttft), distribution(itl), distribution(e2e)
	return nil
}
