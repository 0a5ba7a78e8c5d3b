package cluster

import (
	"encoding/json"
	"math"
	"slices"
	"time"

	aengine "github.com/troupe-llm/troupe/actors/engine"
	"github.com/troupe-llm/troupe/actors/wire"
)

// tally counts what happens in a run.
type tally struct {
	ttft     []time.Duration // in the order of first tokens
	e2e      []time.Duration
	requests []sample
	itl      histogram
	windows  []window

	refused   int
	refusal   error // the last
	resumed   int   // requests that another engine went on with
	preempted int
	tokens    uint64
	prompt    uint64 // tokens of prompts
	cached    uint64
	missed    uint64 // tokens that were believed to be cached, and were not
	unknown   uint64 // the other way round

	pulses                uint64
	pulseBytes, pulseMost uint64 // of all; of the largest
	pages                 uint64 // changes told
	figures               string // of an engine, as they are told
}

// sample is a request that has ended.
type sample struct {
	arrived, ttft, e2e time.Duration
	input, output      int
}

// window is what came in an interval.
type window struct {
	ttft           []time.Duration
	prompt, cached uint64
}

// maxSamples is how many requests are kept one by one.
const maxSamples = 4096

func (t *tally) refuse(err error) {
	t.refused++
	t.refusal = err
}

// believed compares what a front believed to be cached with what was.
func (t *tally) believed(r *request) {
	t.prompt += uint64(len(r.prompt))
	t.cached += uint64(r.hit)
	if d := r.cached - r.hit; d > 0 {
		t.missed += uint64(d)
	} else {
		t.unknown += uint64(-d)
	}
}

// first notes a request's first token.
func (t *tally) first(c *cluster, r *request, ttft time.Duration) {
	t.ttft = append(t.ttft, ttft)
	at := int(r.arrived / c.cfg.Window)
	for len(t.windows) <= at {
		t.windows = append(t.windows, window{})
	}
	w := &t.windows[at]
	w.ttft = append(w.ttft, ttft)
	w.prompt += uint64(len(r.prompt))
	w.cached += uint64(r.hit)
	r.ttft = ttft
}

func (t *tally) ended(r *request, e2e time.Duration) {
	t.e2e = append(t.e2e, e2e)
	t.requests = append(t.requests, sample{r.arrived, r.ttft, e2e, len(r.prompt), r.asked})
}

// pulse counts what an engine told a front.
func (t *tally) pulse(p *wire.Prefixes, bytes uint64) {
	t.pulses++
	t.pages += uint64(len(p.Pages))
	t.pulseBytes += bytes
	t.pulseMost = max(t.pulseMost, bytes)
}

// stats are an engine's figures as a pulse has them. They are as long as each other, so they are
// written anew only now and then.
func (c *cluster) stats(e *engine) string {
	t := &c.tally
	if t.figures == "" || t.pulses%4096 == 0 {
		text, err := json.Marshal(&aengine.Stats{Stats: e.plan.Stats()})
		if err != nil {
			panic(err) // plain numbers
		}
		t.figures = string(text)
	}
	return t.figures
}

// histogram counts times in buckets that are 0.6% wide, so that none of hundreds of millions is kept.
type histogram struct {
	counts   []uint64
	n        uint64
	sum, max time.Duration
	last     time.Duration // what was added last, and where: a step's tokens come together
	at       int
}

const perDecade = 400

func (h *histogram) add(d time.Duration) {
	if h.n++; d != h.last || h.counts == nil {
		h.last, h.at = d, int(perDecade*math.Log10(max(1, float64(d))))
		h.max = max(h.max, d)
	}
	for len(h.counts) <= h.at {
		h.counts = append(h.counts, 0)
	}
	h.counts[h.at]++
	h.sum += d
}

// quantile is the upper edge of the bucket that the quantile is in.
func (h *histogram) quantile(q float64) time.Duration {
	seen := uint64(0)
	for i, n := range h.counts {
		if seen += n; n > 0 && float64(seen) >= q*float64(h.n) {
			return min(h.max, time.Duration(math.Pow(10, float64(i+1)/perDecade)))
		}
	}
	return h.max
}

func (h *histogram) mean() time.Duration { return h.sum / time.Duration(max(1, h.n)) }

// quantile is one of sorted times, by nearest rank.
func quantile(sorted []time.Duration, q float64) time.Duration {
	if len(sorted) == 0 {
		return 0
	}
	return sorted[max(0, int(math.Ceil(q*float64(len(sorted))))-1)]
}

// ratio is the largest over the mean.
func ratio(values []float64) float64 {
	sum := 0.0
	for _, v := range values {
		sum += v
	}
	if sum == 0 {
		return 1
	}
	return slices.Max(values) * float64(len(values)) / sum
}
