package cluster

import (
	"fmt"
	"io"
	"math"
	"slices"
	"text/tabwriter"
	"time"

	"github.com/troupe-llm/troupe/actors/plan"
	"github.com/troupe-llm/troupe/bench"
)

// Result is what came of a run.
type Result struct {
	Policy           Policy
	Engines, Fronts  int
	KVTokens         int // of an engine
	Requests         int // that came
	Refused, Resumed int
	Preempted        int
	Prompt, Cached   uint64 // tokens
	Generated        uint64
	Span             time.Duration // until the last token
	Steps            uint64
	TTFT, E2E        bench.Distribution
	ITL              bench.Distribution
	Utilization      float64 // share of time that engines compute
	Busy, KV         float64 // of engines' time busy and pages held: the most over the mean

	// Of tokens of prompts, the share that a front believed to be cached though they were not, and
	// the other way round.
	Missed, Unknown float64
	// Of digests: bytes a second that an engine sends a front; of a change; the most at once.
	DigestRate, ChangeBytes float64
	Snapshot                uint64
	KnownPages              int // that a front knows of, engine by engine
	Windows                 []Window
	samples                 []sample
	planned                 plan.Stats // by all engines, since they began
}

// Window is an interval, by when requests came.
type Window struct {
	Begins   time.Duration
	Requests int
	HitRate  float64
	P50, P99 time.Duration // of the first token
}

// HitRate is the share of prompt tokens that were found in an engine's cache.
func (r *Result) HitRate() float64 { return float64(r.Cached) / float64(max(1, r.Prompt)) }

func (c *cluster) result() *Result {
	t := &c.tally
	r := &Result{
		Policy: c.cfg.Policy, Engines: c.cfg.Engines, Fronts: c.cfg.Fronts, KVTokens: c.info.NumPages * c.info.PageSize,
		Requests: c.came, Refused: t.refused, Resumed: t.resumed, Preempted: t.preempted, Prompt: t.prompt, Cached: t.cached, Generated: t.tokens, Span: c.now,
		Missed: share(t.missed, t.prompt), Unknown: share(t.unknown, t.prompt), Snapshot: t.pulseMost,
		TTFT: distribution(t.ttft), E2E: distribution(t.e2e), samples: t.requests,
		ITL: bench.Distribution{Mean: ms(t.itl.mean()), P50: ms(t.itl.quantile(.5)), P90: ms(t.itl.quantile(.9)), P99: ms(t.itl.quantile(.99)), Max: ms(t.itl.max)},
	}
	var busy, used []float64
	for _, e := range c.engines {
		busy, used = append(busy, e.busy.Seconds()), append(used, e.used)
		r.Utilization += e.busy.Seconds() / r.Span.Seconds() / float64(len(c.engines))
		r.Steps += e.steps
		st := e.plan.Stats()
		r.planned.Add(&st)
	}
	r.Busy, r.KV = ratio(busy), ratio(used)
	if t.pulses > 0 {
		r.DigestRate = float64(t.pulseBytes) / r.Span.Seconds() / float64(len(c.engines)*len(c.fronts))
		r.ChangeBytes = float64(t.pulseBytes) / float64(max(1, t.pages))
	}
	for _, f := range c.fronts {
		r.KnownPages = max(r.KnownPages, f.router.Known())
	}
	for i, w := range t.windows {
		slices.Sort(w.ttft)
		r.Windows = append(r.Windows, Window{
			Begins: time.Duration(i) * c.cfg.Window, Requests: len(w.ttft), HitRate: share(w.cached, w.prompt),
			P50: quantile(w.ttft, .5), P99: quantile(w.ttft, .99),
		})
	}
	return r
}

func share(of, all uint64) float64 { return float64(of) / float64(max(1, all)) }

func ms(d time.Duration) float64 { return math.Round(float64(d)/1e2) / 1e4 }

// distribution sorts times and sums them up.
func distribution(d []time.Duration) bench.Distribution {
	if len(d) == 0 {
		return bench.Distribution{}
	}
	slices.Sort(d)
	var sum time.Duration
	for _, x := range d {
		sum += x
	}
	return bench.Distribution{Mean: ms(sum / time.Duration(len(d))), P50: ms(quantile(d, .5)), P90: ms(quantile(d, .9)), P99: ms(quantile(d, .99)), Max: ms(d[len(d)-1])}
}

// WriteTable writes runs beside each other.
func WriteTable(to io.Writer, runs []*Result) error {
	w := tabwriter.NewWriter(to, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(w, "policy\tengines\trequests\thit %\tTTFT p50, ms\tp99\tITL p50\tp99\tbusy %\tbusy, most/mean\tKV, most/mean\tresumed\t")
	for _, r := range runs {
		fmt.Fprintf(w, "%s\t%d\t%d\t%.2f\t%.0f\t%.0f\t%.1f\t%.1f\t%.0f\t%.2f\t%.2f\t%d\t\n",
			r.Policy, r.Engines, r.Requests-r.Refused, 100*r.HitRate(), r.TTFT.P50, r.TTFT.P99, r.ITL.P50, r.ITL.P99, 100*r.Utilization, r.Busy, r.KV, r.Resumed)
	}
	return w.Flush()
}

// WriteDigests writes what telling fronts of prefixes took, of runs in which engines did.
func WriteDigests(to io.Writer, runs []*Result) error {
	w := tabwriter.NewWriter(to, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(w, "engines\tfronts\tdigests, kB/s an engine and front\tbytes a change\tmost at once, kB\tpages known\tbelieved and gone, %\tthere and not known, %\t")
	for _, r := range runs {
		if r.DigestRate > 0 {
			fmt.Fprintf(w, "%d\t%d\t%.2f\t%.1f\t%.0f\t%d\t%.3f\t%.3f\t\n", r.Engines, r.Fronts, r.DigestRate/1e3, r.ChangeBytes, float64(r.Snapshot)/1e3, r.KnownPages, 100*r.Missed, 100*r.Unknown)
		}
	}
	return w.Flush()
}

// WriteWindows writes a run interval by interval.
func (r *Result) WriteWindows(to io.Writer) error {
	w := tabwriter.NewWriter(to, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(w, "from, s\trequests\thit %\tTTFT p50, ms\tp99\t")
	for _, v := range r.Windows {
		fmt.Fprintf(w, "%.0f\t%d\t%.2f\t%.0f\t%.0f\t\n", v.Begins.Seconds(), v.Requests, 100*v.HitRate, ms(v.P50), ms(v.P99))
	}
	return w.Flush()
}

// Report is the run in the form that every command writes.
func (r *Result) Report() *bench.Report {
	b := &bench.Report{
		Schema: bench.Schema, Kind: "cluster", Label: fmt.Sprintf("%s, %d engines", r.Policy, r.Engines),
		Requests: len(r.samples), Failed: r.Refused, ElapsedS: r.Span.Seconds(), TotalInputTokens: int(r.Prompt), TotalOutputTokens: int(r.Generated),
		TTFT: r.TTFT, ITL: r.ITL, E2E: r.E2E, Samples: &bench.Samples{},
		Cluster: &bench.ClusterDetail{
			Policy: string(r.Policy), Engines: r.Engines, Fronts: r.Fronts, KVTokens: r.KVTokens, HitRate: r.HitRate(), Resumed: r.Resumed, Utilization: r.Utilization,
			BusyImbalance: r.Busy, KVImbalance: r.KV, DigestBytesPerS: r.DigestRate, BytesPerChange: r.ChangeBytes, SnapshotBytes: r.Snapshot, KnownPages: r.KnownPages,
			MissedShare: r.Missed, UnknownShare: r.Unknown,
		},
	}
	if p := &r.planned; p.Steps == r.Steps { // else an engine was lost, and what it did is not known
		b.Steps = bench.Steps{
			Total: p.Steps, Decode: p.DecodeSteps, Prefill: p.PrefillSteps, Mixed: p.MixedSteps,
			ComputedTokens: p.Computed, CachedTokens: p.CachedTokens, WastedRows: p.Wasted, Preempted: p.Preempted,
		}
	}
	b.RequestThroughput = float64(b.Requests) / b.ElapsedS
	b.OutputThroughput = float64(r.Generated) / b.ElapsedS
	b.TotalThroughput = float64(r.Prompt+r.Generated) / b.ElapsedS
	for i, every := 0, (len(r.samples)+maxSamples-1)/maxSamples; i < len(r.samples); i += max(1, every) {
		s := &r.samples[i]
		b.Samples.Sent = append(b.Samples.Sent, ms(s.arrived))
		b.Samples.TTFT = append(b.Samples.TTFT, ms(s.ttft))
		b.Samples.E2E = append(b.Samples.E2E, ms(s.e2e))
		b.Samples.Input = append(b.Samples.Input, s.input)
		b.Samples.Output = append(b.Samples.Output, s.output)
	}
	for _, w := range r.Windows {
		b.Cluster.Windows = append(b.Cluster.Windows, bench.ClusterWindow{BeginsS: w.Begins.Seconds(), Requests: w.Requests, HitRate: w.HitRate, TTFTP50: ms(w.P50), TTFTP99: ms(w.P99)})
	}
	return b
}
