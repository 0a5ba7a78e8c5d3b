package cluster

import (
	"iter"
	"math/rand/v2"
	"time"

	"github.com/troupe-llm/troupe/bench"
)

// Arrival is a request and when it comes.
type Arrival struct {
	At     time.Duration // since the run began
	Output int           // tokens
	Tokens func(vocab int) []int32
}

// Traffic is made of traces: all of them at once, over and over, each repetition with prompts of its
// own, so that only what was shared within a trace is shared.
type Traffic struct {
	Traces   []*bench.Trace
	Requests int     // in all; 0: every request of the traces once
	Rate     float64 // requests a second, to which times are scaled; 0: as they are
	Seed     uint64  // of when repetitions begin
}

// playing is a trace that is being played.
type playing struct {
	requests []bench.TraceRequest
	begins   time.Duration
	salt     uint64
}

// apart is within which share of a trace's length its repetitions begin: at the same time, one moment's
// crowd would be that of all.
const apart = 0.1

// repetitions are how often each trace is played, at once, to have so many requests.
func (t *Traffic) repetitions() (n, each int) {
	for _, trace := range t.Traces {
		each += len(trace.Requests)
	}
	if t.Requests == 0 {
		return 1, each
	}
	return (t.Requests + each - 1) / each, each
}

// Scale is what times are multiplied by.
func (t *Traffic) Scale() float64 {
	n, each := t.repetitions()
	if t.Rate == 0 {
		return 1
	}
	return float64(n*each) / (t.length() * (1 + t.spread(n))) / t.Rate
}

// length is that of the longest trace, in seconds.
func (t *Traffic) length() float64 {
	var most time.Duration
	for _, trace := range t.Traces {
		most = max(most, trace.Requests[len(trace.Requests)-1].At)
	}
	return max(most.Seconds(), 1e-3)
}

func (t *Traffic) spread(n int) float64 {
	if n == 1 {
		return 0
	}
	return apart
}

// Arrivals are the requests in order.
func (t *Traffic) Arrivals() iter.Seq[Arrival] {
	return func(yield func(Arrival) bool) {
		scale, all := t.Scale(), t.play()
		for n := 0; t.Requests == 0 || n < t.Requests; n++ {
			p := earliest(all)
			if p == nil {
				return
			}
			r, salt := &p.requests[0], p.salt
			a := Arrival{At: time.Duration(float64(p.at()) * scale), Output: r.Output, Tokens: func(vocab int) []int32 { return r.Tokens(vocab, salt) }}
			if !yield(a) {
				return
			}
			p.requests = p.requests[1:]
		}
	}
}

// play begins all repetitions.
func (t *Traffic) play() (all []*playing) {
	n, _ := t.repetitions()
	rnd := rand.New(rand.NewPCG(t.Seed, 1))
	for i := range n {
		for k, trace := range t.Traces {
			begins := time.Duration(rnd.Float64() * t.spread(n) * t.length() * float64(time.Second))
			all = append(all, &playing{trace.Requests, begins, uint64(i*len(t.Traces) + k)})
		}
	}
	return all
}

func (p *playing) at() time.Duration { return p.begins + p.requests[0].At }

// earliest is who has the next request; nil: all are through.
func earliest(all []*playing) (first *playing) {
	for _, p := range all {
		if len(p.requests) > 0 && (first == nil || p.at() < first.at()) {
			first = p
		}
	}
	return first
}
