package bench

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/troupe-llm/troupe/actors"
	"github.com/troupe-llm/troupe/gpu/batch"
)

// Offline says what an offline run asks for: all requests at once, as token
// ids, of which every one gets exactly the output it was drawn.
type Offline struct {
	// Prompts are the requests. Without any, NumSeqs are drawn.
	Prompts     []Prompt
	NumSeqs     int
	Input       Range
	Output      Range
	Seed        uint64
	Temperature float64
	// KeepEOS lets stop tokens end a request early.
	KeepEOS bool
	// Warmup is how many short requests run before the measured ones.
	Warmup int
	// Progress, when set, hears now and then, from one goroutine, how things
	// stand.
	Progress func(Progress)
	// Environment is what the caller knows of it; Run adds model and device.
	Environment Environment
}

// Run measures a system that does nothing else meanwhile.
func (o *Offline) Run(ctx context.Context, system *actors.System) (*Report, error) {
	dev := system.Device()
	prompts := o.Prompts
	if prompts == nil {
		if most := o.Input.High + o.Output.High; most > dev.MaxSeqLen {
			return nil, fmt.Errorf("requests of up to %d + %d tokens do not fit: the longest this model and device take is %d",
				o.Input.High, o.Output.High, dev.MaxSeqLen)
		}
		prompts = RandomPrompts(o.Seed, o.NumSeqs, o.Input, o.Output, dev.Vocab)
	}
	if o.Warmup > 0 {
		// Other tokens than the measured ones, or those would be cached.
		input, output := spans(prompts)
		short := RandomPrompts(o.Seed+1, o.Warmup, input.within(64), output.within(16), dev.Vocab)
		warm := *o
		warm.Progress = nil
		if _, err := warm.run(ctx, system, short); err != nil {
			return nil, fmt.Errorf("warming up: %w", err)
		}
		system.Trace().Warmed()
	}
	before := system.Stats()
	r, err := o.run(ctx, system, prompts)
	if err != nil {
		return nil, err
	}
	r.Steps = stepsBetween(before, system.Stats())
	r.Work = workOf(prompts)
	r.Work.Seed, r.Work.Temperature, r.Work.IgnoreEOS, r.Work.Warmup = o.Seed, o.Temperature, !o.KeepEOS, o.Warmup
	if o.Prompts == nil {
		r.Work.InputLen, r.Work.OutputLen = o.Input.String(), o.Output.String()
		r.Work.PromptIDs = min(dev.Vocab, PromptIDs)
	}
	r.Environment.describe(system)
	if s := r.Samples; s != nil && r.Failed == 0 && r.Steps.CachedTokens == 0 {
		r.Limit = limitOf(&system.Model().Config, dev, s.Input, s.Output)
	}
	r.Trace = glimpsed(system)
	return r, nil
}

// workOf says what the requests are.
func workOf(prompts []Prompt) Work {
	input, output := spans(prompts)
	return Work{NumSeqs: len(prompts), InputLen: input.String(), OutputLen: output.String()}
}

// spans are the lengths that the requests lie between.
func spans(prompts []Prompt) (input, output Range) {
	for i := range prompts {
		in, out := len(prompts[i].Tokens), prompts[i].MaxTokens
		if i == 0 {
			input, output = Range{in, in}, Range{out, out}
		}
		input = Range{min(input.Low, in), max(input.High, in)}
		output = Range{min(output.Low, out), max(output.High, out)}
	}
	return input, output
}

// timing is what one request's reader saw.
type timing struct {
	sent        time.Time
	first, last time.Duration // since sent; 0: no token came
	arrived     time.Duration // of the latest token, over the wire
	between     []time.Duration
	input       int // tokens of the prompt, by the server's count; 0: not told
	cached      int // of those, what the server says that it had computed before
	tokens      int
	told        bool            // by the server, how many tokens; else events over the wire were counted
	stamps      Stamps          // whose clock times over the wire are by
	lags        []time.Duration // of reading what had come, where the kernel told when
	err         error
}

// run sends every prompt and reads every stream to its end.
func (o *Offline) run(ctx context.Context, system *actors.System, prompts []Prompt) (*Report, error) {
	r := &Report{Schema: Schema, Kind: "offline", Environment: o.Environment}
	timings := make([]timing, len(prompts))
	var count tally
	var readers sync.WaitGroup
	stop := count.watch(progressOf(prompts), o.Progress, inProcess{system})

	began := time.Now()
	r.Environment.Time = began
	for i := range prompts {
		t := &timings[i]
		t.sent = time.Now()
		count.sent.Add(1)
		stream, err := system.Submit(o.request(&prompts[i], o.Seed+uint64(i)))
		if err != nil {
			t.err = err
			count.ended(ctx, err)
			continue
		}
		readers.Go(func() {
			t.read(ctx, stream, &count, len(prompts[i].Tokens))
			count.ended(ctx, t.err)
		})
	}
	readers.Wait()
	elapsed := time.Since(began)
	r.Timeline = stop()
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("%w: this run is not reported", count.interrupted(len(prompts), err))
	}
	return r, r.add(prompts, timings, began, elapsed)
}

func (o *Offline) request(p *Prompt, seed uint64) *actors.Request {
	return &actors.Request{
		Tokens: p.Tokens, MaxTokens: p.MaxTokens, IgnoreEOS: !o.KeepEOS,
		Sampling: &batch.Sampling{Temperature: float32(o.Temperature), Seed: seed},
	}
}

// read follows a stream to its final event. Tokens that arrive in one event
// came at one time: the first has waited for all of it, the others for none.
func (t *timing) read(ctx context.Context, stream *actors.Stream, count *tally, prompt int) {
	var ev actors.Output
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
		if ev.Receipt.Wanted() {
			at := batch.Now()
			ev.Receipt.Written(at, at) // to nobody further
		}
		count.got(len(ev.Tokens), t.tokens == 0 && len(ev.Tokens) > 0, prompt)
		t.tokens += len(ev.Tokens)
		if f := ev.Final; f != nil {
			if t.err = f.Err; t.err == nil && f.Reason == actors.FinishAbort {
				t.err = errors.New("the request was cancelled")
			}
			t.last = now
			if t.first == 0 { // without a token
				t.first = now
			}
			return
		}
	}
}

// add sums the requests up. It fails when none ended well.
func (r *Report) add(prompts []Prompt, timings []timing, began time.Time, elapsed time.Duration) error {
	var ttft, itl, e2e []time.Duration
	var failure error
	s := &Samples{}
	for i := range timings {
		t := &timings[i]
		if errors.Is(t.err, context.Canceled) { // broken off
			continue
		}
		if t.err != nil {
			r.Failed++
			failure, r.Failure = t.err, t.err.Error()
			continue
		}
		input := len(prompts[i].Tokens)
		if input == 0 {
			input = t.input // of a text
		}
		r.Requests++
		r.TotalInputTokens += input
		r.TotalOutputTokens += t.tokens
		if t.tokens < prompts[i].MaxTokens {
			r.Short++
		}
		ttft, e2e = append(ttft, t.first), append(e2e, t.last)
		itl = append(itl, t.between...)
		s.add(t.sent.Sub(began), t.first, t.last, input, t.tokens)
	}
	if r.Requests == 0 {
		return fmt.Errorf("every request failed, the last with: %w", failure)
	}
	r.Samples, r.Histogram = s, newHistogram(itl)
	r.sum(elapsed, ttft, itl, e2e)
	return nil
}

// sum fills in what follows from counts and times.
func (r *Report) sum(elapsed time.Duration, ttft, itl, e2e []time.Duration) {
	r.ElapsedS = elapsed.Seconds()
	r.RequestThroughput = float64(r.Requests) / r.ElapsedS
	r.OutputThroughput = float64(r.TotalOutputTokens) / r.ElapsedS
	r.TotalThroughput = float64(r.TotalInputTokens+r.TotalOutputTokens) / r.ElapsedS
	r.TTFT, r.ITL, r.E2E = distribution(ttft), distribution(itl), distribution(e2e)
}

// add notes a request that ended as it should.
func (s *Samples) add(sent, first, last time.Duration, input, output int) {
	s.Sent = append(s.Sent, round(ms(sent), 3))
	s.TTFT = append(s.TTFT, round(ms(first), 3))
	s.E2E = append(s.E2E, round(ms(last), 3))
	s.Input, s.Output = append(s.Input, input), append(s.Output, output)
}
