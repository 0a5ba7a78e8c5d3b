package bench

import (
	"cmp"
	"context"
	"fmt"
	"iter"
	"math"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/troupe-llm/troupe/actors"
)

// Online sends requests over the wire as they would come from users, and
// measures what those would see.
type Online struct {
	Client *Client
	// Arrivals are the requests in order of time. With Concurrency set their
	// times are ignored: so many are kept open, each next one sent as one ends.
	Arrivals    iter.Seq[Arrival]
	Total       Progress // how much there is, for the progress; zero when not known
	Concurrency int
	Temperature float64
	Seed        uint64
	Warmup      int // copies of the first request, made short, that run before
	// SLO bounds what counts as goodput; zero bounds nothing.
	SLO SLO
	// Progress, when set, hears now and then how things stand.
	Progress func(Progress)
	// Engine is the one behind the server when that is in this process, to say
	// what it did.
	Engine *actors.System
	// Work and Environment are what the caller knows of them.
	Work        Work
	Environment Environment
}

// SLO is what a user is promised.
type SLO struct{ TTFT, ITL time.Duration }

// OnlineDetail is what a report holds beside what every one does.
type OnlineDetail struct {
	URL         string  `json:"url"`
	Arrival     string  `json:"arrival"`      // how requests came, in words
	OfferedRate float64 `json:"offered_rate"` // requests a second, as they were to be sent
	// SendLag is how late requests were sent after their time, dialling
	// included: the client's own delay, which the latencies do not contain.
	SendLag Distribution `json:"send_lag_ms"`
	// MostOpen is how many requests were open at once, and MostWaiting how many
	// of them waited for their first token.
	MostOpen    int `json:"most_open,omitempty"`
	MostWaiting int `json:"most_waiting,omitempty"`
	// Behind is how many waited for it when the last request was sent; 0 where
	// requests did not come by time. A server that keeps up with them has few.
	Behind int `json:"behind,omitempty"`
	// CountedBy is how tokens were counted: as the server tells, or by events,
	// where it does not for some reply: then several may have come as one.
	CountedBy Counting `json:"tokens_counted_by"`
	// CachedTokens are those of prompts that the server says it had computed
	// before, for requests that ended well.
	CachedTokens int `json:"cached_tokens,omitempty"`
	// TPOT is the mean time per output token after the first, by request.
	TPOT Distribution `json:"tpot_ms"`
	// Client is what measuring cost.
	Client ClientCost `json:"client"`
	// Goodput is the requests a second that met the SLO; nil without one.
	Goodput *float64 `json:"goodput,omitempty"`
	SLOTTFT float64  `json:"slo_ttft_ms,omitempty"`
	SLOITL  float64  `json:"slo_itl_ms,omitempty"`
}

// Counting is how tokens that came over the wire were counted.
type Counting string

// By what the server says, or by its events.
const (
	ByServer Counting = "server"
	ByEvents Counting = "events"
)

// Run plays the arrivals to their end. When the context breaks it off there are
// both a report, of the requests that had ended, and an error, *Interrupted; the
// error alone when none had.
func (o *Online) Run(ctx context.Context, arrival string) (*Report, error) {
	var count tally
	if err := o.warmUp(ctx); ctx.Err() != nil {
		return nil, count.interrupted(o.Total.Requests, ctx.Err())
	} else if err != nil {
		return nil, err
	}
	r := &Report{Schema: Schema, Kind: "online", Work: o.Work, Environment: o.Environment}
	r.Environment.Model = o.Client.Model
	var before actors.Stats
	if o.Engine != nil {
		before = o.Engine.Stats()
		r.Environment.describe(o.Engine)
	}
	watch := watchClient(o.Engine == nil)
	stop := count.watch(o.Total, o.Progress, o.source(ctx))
	began := time.Now()
	r.Environment.Time = began
	prompts, timings, lags, last := o.play(ctx, began, &count)
	elapsed := time.Since(began)
	r.Timeline = stop()
	client := watch(int(count.tokens.Load()))
	var stopped error
	if ctx.Err() != nil {
		stopped = count.interrupted(o.Total.Requests, ctx.Err())
		if count.done.Load() == 0 {
			return nil, stopped
		}
	}
	if err := r.add(prompts, timings, began, elapsed); err != nil {
		return nil, err
	}
	if o.Engine != nil {
		r.Steps = stepsBetween(before, o.Engine.Stats())
		r.Trace = glimpsed(o.Engine)
	}
	client.read(timings)
	d := &OnlineDetail{
		URL: o.Client.Base, Arrival: arrival, SendLag: distribution(lags), Client: client, CountedBy: ByServer,
		SLOTTFT: ms(o.SLO.TTFT), SLOITL: ms(o.SLO.ITL),
	}
	if last > 0 {
		d.OfferedRate = float64(len(prompts)) / last.Seconds()
		d.Behind = behind(timings, began.Add(last))
	}
	d.MostOpen = mostAtOnce(timings, func(t *timing) time.Duration { return t.last })
	d.MostWaiting = mostAtOnce(timings, func(t *timing) time.Duration { return t.first })
	o.goodput(d, timings, elapsed)
	r.Online = d
	w := workOf(prompts)
	r.Work.NumSeqs = cmp.Or(o.Total.Requests, w.NumSeqs)
	r.Work.InputLen, r.Work.OutputLen = cmp.Or(r.Work.InputLen, w.InputLen), cmp.Or(r.Work.OutputLen, w.OutputLen)
	r.Work.Seed, r.Work.Temperature, r.Work.IgnoreEOS, r.Work.Warmup = o.Seed, o.Temperature, !o.Client.KeepEOS && !o.Client.Plain, o.Warmup
	if stopped != nil {
		r.Unfinished = r.Work.NumSeqs - r.Requests - r.Failed
	}
	return r, stopped
}

// source is what tells of the engine, if anything does.
func (o *Online) source(ctx context.Context) source {
	if o.Engine != nil {
		return inProcess{o.Engine}
	}
	if p := o.Client.poll(ctx); p != nil {
		return p
	}
	return nil
}

// play sends every request in its time and waits for all of them.
func (o *Online) play(ctx context.Context, began time.Time, count *tally) (prompts []Prompt, timings []timing, lags []time.Duration, last time.Duration) {
	var open sync.WaitGroup
	var due []time.Time // when each was to be sent
	var kept []*timing  // timings must not move while requests write to them
	seats := make(chan struct{}, max(o.Concurrency, 1))
	i := uint64(0)
	for a := range o.Arrivals {
		if o.Concurrency > 0 {
			select {
			case seats <- struct{}{}:
			case <-ctx.Done():
			}
		} else {
			if !sleepUntil(ctx, began.Add(a.At)) {
				break
			}
			last = a.At
			due = append(due, began.Add(a.At))
		}
		if ctx.Err() != nil {
			break
		}
		t, p, seed := new(timing), a.Prompt, o.Seed+i
		i++
		kept, prompts = append(kept, t), append(prompts, p)
		count.sent.Add(1)
		open.Go(func() {
			first := true
			o.Client.generate(ctx, &p, o.Temperature, seed, t, func(n int) {
				count.got(n, first, len(p.Tokens))
				first = false
			})
			count.ended(ctx, t.err)
			if o.Concurrency > 0 {
				<-seats
			}
		})
	}
	open.Wait()
	for i, t := range kept {
		timings = append(timings, *t)
		if t.err == nil && due != nil {
			lags = append(lags, max(0, t.sent.Sub(due[i])))
		}
	}
	return prompts, timings, lags, last
}

// sleepUntil reports whether the time came before the context ended.
func sleepUntil(ctx context.Context, t time.Time) bool {
	d := time.Until(t)
	if d <= 0 {
		return ctx.Err() == nil
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// warmUp sends short copies of the first request, with other tokens, so that
// nothing measured is cached by it.
func (o *Online) warmUp(ctx context.Context) error {
	if o.Warmup == 0 {
		return nil
	}
	var open sync.WaitGroup
	failures := make([]error, o.Warmup)
	for a := range o.Arrivals {
		for i := range o.Warmup {
			p := Prompt{MaxTokens: min(a.MaxTokens, 16)}
			if a.Text != "" {
				p.Text = fmt.Sprintf("Warm up, part %d", i+1)
			} else {
				for k := range min(len(a.Tokens), 64) {
					p.Tokens = append(p.Tokens, a.Tokens[(k*7+i+1)%len(a.Tokens)])
				}
			}
			open.Go(func() {
				var t timing
				o.Client.generate(ctx, &p, 0, 0, &t, func(int) {})
				failures[i] = t.err
			})
		}
		break
	}
	open.Wait()
	for _, err := range failures { // most often all are the same
		if err != nil {
			return fmt.Errorf("warming up: %w", err)
		}
	}
	return nil
}

// behind is how many requests waited for their first token at a time.
func behind(timings []timing, at time.Time) (n int) {
	for i := range timings {
		if t := &timings[i]; t.err == nil && !t.sent.After(at) && t.sent.Add(t.first).After(at) {
			n++
		}
	}
	return n
}

// mostAtOnce is how many requests overlapped at most, each taken to be from when
// it was sent until a time after that.
func mostAtOnce(timings []timing, until func(*timing) time.Duration) int {
	type edge struct {
		at   time.Time
		step int
	}
	var edges []edge
	for i := range timings {
		if t := &timings[i]; t.err == nil {
			edges = append(edges, edge{t.sent, 1}, edge{t.sent.Add(until(t)), -1})
		}
	}
	slices.SortFunc(edges, func(a, b edge) int { return cmp.Or(a.at.Compare(b.at), cmp.Compare(a.step, b.step)) })
	now, most := 0, 0
	for _, e := range edges {
		now += e.step
		most = max(most, now)
	}
	return most
}

func (o *Online) goodput(d *OnlineDetail, timings []timing, elapsed time.Duration) {
	var tpot []time.Duration
	good := 0
	for i := range timings {
		t := &timings[i]
		if t.err != nil {
			continue
		}
		d.CachedTokens += t.cached
		if !t.told {
			d.CountedBy = ByEvents
		}
		var per time.Duration
		if t.tokens > 1 {
			per = (t.last - t.first) / time.Duration(t.tokens-1)
			tpot = append(tpot, per)
		}
		if (o.SLO.TTFT == 0 || t.first <= o.SLO.TTFT) && (o.SLO.ITL == 0 || per <= o.SLO.ITL) {
			good++
		}
	}
	d.TPOT = distribution(tpot)
	if o.SLO != (SLO{}) {
		rate := float64(good) / elapsed.Seconds()
		d.Goodput = &rate
	}
}

// Paced gives prompts their times: a request every 1/rate seconds, or, with
// poisson, at random with that mean (exponential gaps, from seed).
func Paced(prompts []Prompt, rate float64, poisson bool, seed uint64) iter.Seq[Arrival] {
	return func(yield func(Arrival) bool) {
		random := rand.New(rand.NewPCG(seed, 0))
		at := 0.0 // seconds
		for _, p := range prompts {
			if !yield(Arrival{time.Duration(at * float64(time.Second)), p}) {
				return
			}
			gap := 1 / rate
			if poisson {
				gap *= -math.Log(1 - random.Float64())
			}
			at += gap
		}
	}
}
