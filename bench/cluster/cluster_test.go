package cluster

import (
	"context"
	"iter"
	"math/rand/v2"
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/troupe-llm/troupe/actors/plan"
	"github.com/troupe-llm/troupe/bench"
	"github.com/troupe-llm/troupe/gpu/device"
	"github.com/troupe-llm/troupe/gpu/model"
)

// spec is a simulated H200 that has memory for so many pages of 16 tokens.
func spec(t testing.TB, pages int) device.Spec {
	t.Helper()
	m, err := model.Open("qwen3-14b", true)
	if err != nil {
		t.Fatal(err)
	}
	return device.Spec{Device: "sim:h200", Model: m, NumPages: pages}
}

// conversations are people who talk in turns: each prompt is what was said before, and more.
func conversations(people, turns int, every time.Duration) *bench.Trace {
	rnd := rand.New(rand.NewPCG(5, 6))
	t := &bench.Trace{Format: bench.Mooncake}
	const block = 512
	for person := range people {
		at := time.Duration(rnd.Float64() * float64(every) * float64(turns))
		blocks := []uint64{1} // what all have in common
		for turn := range turns {
			for range 1 + rnd.IntN(8) {
				blocks = append(blocks, uint64(1000*(person+1)+100*turn+len(blocks)))
			}
			r := bench.TraceRequest{At: at, Input: block * len(blocks), Output: 20 + rnd.IntN(300), Blocks: slices.Clone(blocks), Block: block}
			t.Requests = append(t.Requests, r)
			at += time.Duration(rnd.ExpFloat64() * float64(every))
		}
	}
	slices.SortStableFunc(t.Requests, func(a, b bench.TraceRequest) int { return int(a.At - b.At) })
	return t
}

func play(t testing.TB, cfg Config, traffic *Traffic) *Result {
	t.Helper()
	r, err := Run(context.Background(), cfg, traffic.Arrivals())
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%s, %d engines: hit %.4f, TTFT p50 %.0f p99 %.0f, ITL p99 %.1f, busy %.2f (%.2f), %d resumed, %d preempted, digest %.0f B/s, missed %.4f unknown %.4f",
		r.Policy, r.Engines, r.HitRate(), r.TTFT.P50, r.TTFT.P99, r.ITL.P99, r.Utilization, r.Busy, r.Resumed, r.Preempted, r.DigestRate, r.Missed, r.Unknown)
	return r
}

// One engine is what the virtual run of one engine says.
func TestOneEngineIsAVirtualRun(t *testing.T) {
	const vocab = 151936
	prompts := bench.RandomPrompts(0, 40, bench.Range{Low: 100, High: 1024}, bench.Range{Low: 20, High: 200}, vocab)
	cost := 100 * time.Microsecond
	for _, overlap := range []bool{false, true} {
		scheduling := plan.Config{Overlap: overlap}
		v := bench.Virtual{Device: spec(t, 0), Plan: scheduling, HostCost: cost}
		every := 37 * time.Millisecond
		want, err := v.Run(func(yield func(bench.Arrival) bool) {
			for i, p := range prompts {
				if !yield(bench.Arrival{At: time.Duration(i) * every, Prompt: p}) {
					return
				}
			}
		})
		if err != nil {
			t.Fatal(err)
		}
		var arrivals iter.Seq[Arrival] = func(yield func(Arrival) bool) {
			for i, p := range prompts {
				if !yield(Arrival{At: time.Duration(i) * every, Output: p.MaxTokens, Tokens: func(int) []int32 { return p.Tokens }}) {
					return
				}
			}
		}
		got, err := Run(context.Background(), Config{Engines: 1, Policy: RoundRobin, Device: spec(t, 0), Plan: scheduling, HostCost: cost}, arrivals)
		if err != nil {
			t.Fatal(err)
		}
		if off := float64(got.Steps) / float64(want.Steps); got.Generated != want.Generated || off < 0.99 || off > 1.01 {
			t.Errorf("overlap %v: %d tokens in %d steps, a virtual run has %d in %d", overlap, got.Generated, got.Steps, want.Generated, want.Steps)
		}
		for _, d := range []struct {
			name      string
			got, want float64
		}{
			{"span", ms(got.Span), ms(want.Span)}, {"first tokens", got.TTFT.P90, ms(want.TTFT.P90)}, {"requests", got.E2E.P50, ms(want.E2E.P50)}, {"longest between tokens", got.ITL.Max, ms(want.ITL.Max)},
		} {
			// A virtual run of one looks at who came when a step has ended, at times a step later.
			if d.got < d.want*0.99 || d.got > d.want*1.01 {
				t.Errorf("overlap %v: %s take %.3f ms, a virtual run has %.3f", overlap, d.name, d.got, d.want)
			}
		}
	}
}

func TestRunsAreTheSame(t *testing.T) {
	traffic := &Traffic{Traces: []*bench.Trace{conversations(20, 4, 4*time.Second)}, Requests: 200, Rate: 6, Seed: 3}
	cfg := Config{Engines: 3, Fronts: 2, Device: spec(t, 4096), Plan: plan.Config{Overlap: true}, Delay: time.Millisecond, Beat: 250 * time.Millisecond, Dies: 10 * time.Second}
	first, again := play(t, cfg, traffic), play(t, cfg, traffic)
	if !reflect.DeepEqual(first, again) {
		t.Errorf("the same run came out otherwise:\n%+v\n%+v", first, again)
	}
}

// Requests go where their conversation is cached, and do not queue for it. What is compared: how much
// of prompts one engine with all memory finds, and how long first tokens take when load alone counts.
func TestPrefixRouting(t *testing.T) {
	traffic := &Traffic{Traces: []*bench.Trace{conversations(96, 6, 12*time.Second)}, Rate: 16}
	cfg := Config{Engines: 8, Device: spec(t, 8192), Plan: plan.Config{Overlap: true}, HostCost: 60 * time.Microsecond, Delay: 200 * time.Microsecond, Beat: 250 * time.Millisecond}
	by := map[Policy]*Result{}
	for _, p := range Policies {
		cfg.Policy = p
		by[p] = play(t, cfg, traffic)
	}
	ours := by[Prefix]
	if best := by[Pooled]; ours.HitRate() < 0.9*best.HitRate() {
		t.Errorf("%.2f%% of prompts are cached, with one memory %.2f%%", 100*ours.HitRate(), 100*best.HitRate())
	}
	if least := by[LeastLoaded]; ours.TTFT.P99 > least.TTFT.P99 || ours.HitRate() < 1.5*least.HitRate() {
		t.Errorf("first tokens take %.0f ms at p99 and %.2f%% are cached; by load alone %.0f ms and %.2f%%", ours.TTFT.P99, 100*ours.HitRate(), least.TTFT.P99, 100*least.HitRate())
	}
	for _, r := range by {
		if r.Generated != ours.Generated || r.Prompt != ours.Prompt || r.Refused > 0 {
			t.Errorf("%s: %d tokens of prompts, %d generated, %d refused; %s has %d and %d", r.Policy, r.Prompt, r.Generated, r.Refused, Prefix, ours.Prompt, ours.Generated)
		}
	}
}

// Fronts that are told what engines have of each other choose about as well as one that has all requests.
func TestFrontsTellOfEachOther(t *testing.T) {
	traffic := &Traffic{Traces: []*bench.Trace{conversations(120, 6, 4*time.Second)}, Rate: 18}
	cfg := Config{Engines: 8, Device: spec(t, 8192), Plan: plan.Config{Overlap: true}, Delay: 200 * time.Microsecond, Beat: 250 * time.Millisecond}
	one := play(t, cfg, traffic)
	cfg.Fronts = 4
	four := play(t, cfg, traffic)
	if four.TTFT.P99 > 1.5*one.TTFT.P99 || four.HitRate() < 0.9*one.HitRate() {
		t.Errorf("first tokens take %.0f ms at p99, of one front %.0f; %.1f%% is cached, of one front's %.1f%%", four.TTFT.P99, one.TTFT.P99, 100*four.HitRate(), 100*one.HitRate())
	}
}

// Whatever goes wrong, every request gets the tokens it asked for.
func TestFaults(t *testing.T) {
	traffic := &Traffic{Traces: []*bench.Trace{conversations(30, 6, 6*time.Second)}, Rate: 6}
	base := Config{Engines: 3, Device: spec(t, 4096), Plan: plan.Config{Overlap: true}, Delay: time.Millisecond, Beat: 250 * time.Millisecond, Window: 10 * time.Second}
	want := play(t, base, traffic)
	for name, change := range map[string]func(*Config){
		"dies":       func(c *Config) { c.Dies = 8 * time.Second },
		"comes back": func(c *Config) { c.Dies, c.Back = 8*time.Second, 5*time.Second },
		"drains":     func(c *Config) { c.Drains = 8 * time.Second },
		"joins":      func(c *Config) { c.Fronts, c.Joins = 2, 10*time.Second },
	} {
		cfg := base
		change(&cfg)
		got := play(t, cfg, traffic)
		if got.Generated != want.Generated || len(got.samples) != len(want.samples) {
			t.Errorf("%s: %d tokens of %d requests, undisturbed %d of %d", name, got.Generated, len(got.samples), want.Generated, len(want.samples))
		}
		if (got.Resumed > 0) != (cfg.Dies > 0) {
			t.Errorf("%s: %d requests went on elsewhere", name, got.Resumed)
		}
		if cfg.Drains+cfg.Dies > 0 && got.Busy < 1.2*want.Busy && cfg.Back == 0 {
			t.Errorf("%s: engines were busy as without: %.2f of the mean the most, %.2f", name, got.Busy, want.Busy)
		}
		if cfg.Joins > 0 && 4*got.Snapshot < 5*want.Snapshot {
			t.Errorf("%s: a front that knew nothing was told %d bytes at once, without it %d were the most", name, got.Snapshot, want.Snapshot)
		}
	}
}

// Repetitions share nothing with each other, and come at the rate that was asked for.
func TestTraffic(t *testing.T) {
	trace := conversations(4, 3, time.Second)
	traffic := Traffic{Traces: []*bench.Trace{trace, trace}, Requests: 60, Rate: 20}
	var last time.Duration
	seen, n := map[[8]int32]int{}, 0
	for a := range traffic.Arrivals() {
		if n++; a.At < last {
			t.Errorf("request %d comes at %v, after one at %v", n, a.At, last)
		}
		last = a.At
		seen[[8]int32(a.Tokens(151936)[:8])]++
	}
	if n != 60 || len(seen) != 6 { // a beginning for each of three repetitions of two traces
		t.Errorf("%d requests begin in %d ways, want 60 in 6", n, len(seen))
	}
	if rate := 60 / last.Seconds(); rate < 10 || rate > 40 {
		t.Errorf("%.1f requests a second, want some 20", rate)
	}
}

func TestConfigIsChecked(t *testing.T) {
	for name, c := range map[string]Config{
		"no engine": {}, "a policy that is not": {Engines: 2, Policy: "best"},
		"the only front joins": {Engines: 2, Joins: 1}, "the only engine dies": {Engines: 1, Dies: 1},
	} {
		c.Device = spec(t, 64)
		if _, err := Run(context.Background(), c, func(func(Arrival) bool) {}); err == nil {
			t.Errorf("%s: it runs", name)
		}
	}
}
