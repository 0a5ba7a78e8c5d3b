package page

import (
	"fmt"
	"math"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/troupe-llm/troupe/bench"
)

// sample is a report with everything that a page can show.
func sample(factor float64) *bench.Report {
	r := &bench.Report{
		Schema: bench.Schema, Kind: "offline", Requests: 100, TotalInputTokens: 142827, TotalOutputTokens: 133966,
		ElapsedS: 10 / factor, RequestThroughput: 10 * factor, OutputThroughput: 13396.6 * factor, TotalThroughput: 27679.3 * factor,
		TTFT:    bench.Distribution{Mean: 100, P50: 90, P90: 180, P99: 198, Max: 200},
		ITL:     bench.Distribution{Mean: 3, P50: 2.5, P90: 4, P99: 9, Max: 12},
		E2E:     bench.Distribution{Mean: 4000, P50: 4100, P90: 7000, P99: 7900, Max: 8000},
		Steps:   bench.Steps{Total: 1000, Decode: 900, Mixed: 100, ComputedTokens: 276793},
		Samples: &bench.Samples{}, Timeline: &bench.Timeline{IntervalS: 0.05},
		Histogram: &bench.Histogram{PerDecade: 50, First: 160, Counts: []int{5, 0, 80, 10, 5}, Zero: 3},
		Trace: &bench.TraceSummary{
			Steps: 1000, Stages: []bench.StageTime{{Name: "compute", Count: 1000, Mean: 2000, P50: 1990, P99: 2400, Share: 1}},
			Idle:      bench.IdleTime{Share: .031, Scheduler: .02, Mailbox: .011},
			Mailboxes: []bench.StageTime{{Name: "scheduler", Count: 2000, Mean: 12, P50: 9, P99: 88}},
			Window: &bench.Window{Spans: []bench.WindowSpan{
				{On: "device", What: "compute", Step: 4, N: 64, Began: -900, Ended: 1000},
				{On: "scheduler", What: "prepare", Step: 5, N: 64, Began: 0, Ended: 9},
				{On: "executor", What: "launch", Step: 5, N: 64, Began: 20, Ended: 40},
				{On: "device", What: "compute", Step: 5, N: 64, Began: 1000, Ended: 3000},
				{On: "scheduler", What: "commit", Step: 4, N: 64, Began: 1080, Ended: 1090},
				{On: "scheduler", What: "prepare", Step: 6, N: 64, Began: 1095, Ended: 1100},
				{On: "device", What: "compute", Step: 6, N: 64, Began: 3000, Ended: 5000},
				{On: "scheduler", What: "commit", Step: 6, N: 64, Began: 5100, Ended: 5120},
				{On: "detokenizer", What: "tokens", Step: 6, Began: 5130, Ended: 5150},
				{On: "socket", What: "socket", N: 64, Began: 5150, Ended: 5250},
			}},
		},
		Work: bench.Work{NumSeqs: 100, Seed: 7},
		Environment: bench.Environment{
			Time: time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC), Version: "v1", Commit: "abc1234", Go: "go1.26", Platform: "linux/amd64",
			Flags: []string{"--seed=7"}, Model: "qwen3-0.6b", Device: "sim:h200", Hardware: "simulated NVIDIA H200 SXM", Slots: 128, NumPages: 1000, PageSize: 16, Overlap: true,
		},
	}
	for i := range 100 {
		r.Samples.TTFT = append(r.Samples.TTFT, 2*float64(i+1)/factor)
		r.Samples.E2E = append(r.Samples.E2E, 80*float64(i+1)/factor)
		r.Samples.Sent, r.Samples.Input, r.Samples.Output = append(r.Samples.Sent, 0), append(r.Samples.Input, 1428), append(r.Samples.Output, 1340)
	}
	t := r.Timeline
	for i := range 200 {
		t.Output, t.Open, t.Steps = append(t.Output, 600), append(t.Open, 100), append(t.Steps, 5)
		t.Computed, t.Decoded = append(t.Computed, 700), append(t.Decoded, 500)
		t.Running, t.Waiting = append(t.Running, 100-i/2), append(t.Waiting, i%3)
		t.KVUsed, t.KVCached = append(t.KVUsed, .5), append(t.KVCached, float64(i)/1000)
	}
	return r
}

func written(t *testing.T, reports ...Named) string {
	t.Helper()
	var b strings.Builder
	if err := Write(&b, reports); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// Every part is there, with its axes labelled in units, and says in words what
// it shows.
func TestPageShowsEverything(t *testing.T) {
	html := written(t, Named{Report: sample(1)})
	for _, want := range []string{
		"Offline benchmark", "qwen3-0.6b", "simulated NVIDIA H200 SXM", "142,827 tokens in", "--seed=7", "abc1234", "23 November 2026",
		"13,397", "Time to first token, ms", "Time between tokens, ms", "Whole request, ms", "output tokens/s", "prompt tokens/s",
		"tokens a step, mean", "128 may run", "share of KV pages, %", "time a step, mean, ms", "time, ms", "step 5", "since the device ended step 6, µs",
		"2 of 2 steps were prepared before", "Where a token&#39;s time goes", "Why the device idles", "3.1%", "Time in mailboxes",
		"p50 100, p90 180, p99 198, longest 200 ms", "Up to 2.9% of tokens came together",
	} {
		if !strings.Contains(html, want) {
			t.Errorf("the page does not say %q", want)
		}
	}
	if strings.Contains(html, "NaN") || strings.Contains(html, "Inf") || strings.Contains(html, "ZgotmplZ") {
		t.Error("the page has a number that is none, or a value that was refused")
	}
	for _, svg := range regexp.MustCompile(`<svg class="plot" [^>]*>`).FindAllString(html, -1) {
		if !strings.Contains(svg, `role="img"`) {
			t.Errorf("%s is no image to a screen reader", svg)
		}
	}
}

// Runs that differ in their target between tokens are drawn against each other, and
// others are not.
func TestPageDrawsTargets(t *testing.T) {
	even := sample(2)
	even.Environment.TargetITL = 30
	even.ITL.P99, even.TTFT.P99 = 30, 900
	const title = "Time to first token by time between tokens, p99"
	if html := written(t, Named{"any", sample(1)}, Named{"even", even}); !strings.Contains(html, title) || !strings.Contains(html, "900 ms to the first token and 30 ms between tokens with a target of 30 ms") {
		t.Error("the page does not set first tokens against tokens in between")
	}
	if html := written(t, Named{"a", sample(1)}, Named{"b", sample(2)}); strings.Contains(html, title) {
		t.Error("the page sets runs without targets against each other")
	}
}

// The page asks for nothing from outside, and every label refers to something.
func TestPageIsSelfContained(t *testing.T) {
	html := written(t, Named{"a", sample(1)}, Named{"b", sample(1.5)})
	if found := regexp.MustCompile(`(?i)<script|<link|<img|<iframe|@import|\bsrc=|href=|url\([^#]|https?:`).FindAllString(html, -1); found != nil {
		t.Errorf("the page refers to what is not in it: %q", found)
	}
	ids := map[string]int{}
	for _, m := range regexp.MustCompile(`\bid="([^"]*)"`).FindAllStringSubmatch(html, -1) {
		if ids[m[1]]++; ids[m[1]] > 1 {
			t.Errorf("two elements are called %q", m[1])
		}
	}
	refs := regexp.MustCompile(`aria-labelledby="([^"]*)"|url\(#([^)]*)\)`).FindAllStringSubmatch(html, -1)
	if len(refs) < 20 {
		t.Errorf("%d references", len(refs))
	}
	for _, m := range refs {
		for id := range strings.FieldsSeq(m[1] + m[2]) {
			if ids[id] == 0 {
				t.Errorf("nothing is called %q", id)
			}
		}
	}
}

// Runs stand side by side: their ratios, what differs between them, a name at
// each line.
func TestPageComparesRuns(t *testing.T) {
	first, other := sample(1), sample(1.5)
	other.Environment.Commit = "def5678"
	html := written(t, Named{"before", first}, Named{"after", other})
	if strings.Contains(html, "▲<") || !strings.Contains(html, "These are single runs") {
		t.Error("single runs are said to be better or worse")
	}
	first.Kind, other.Kind = "virtual", "virtual" // whose figures are always the same
	html = written(t, Named{"before", first}, Named{"after", other})
	for _, want := range []string{
		"2 runs", "<b>A</b> before", "<b>B</b> after", "× 1.50", "× 0.67", ">▲<",
		`<tr class="differ"><th scope="row">commit`, "B, after: p50 66.7",
	} {
		if !strings.Contains(html, want) {
			t.Errorf("the page does not say %q", want)
		}
	}
	if strings.Contains(html, `class="differ"><th scope="row">model`) || strings.Contains(html, "▼<") {
		t.Error("something is said to differ or to be worse that is not")
	}
}

func TestPageDrawsScales(t *testing.T) {
	r := sample(1)
	r.Kind = "virtual"
	r.Online = &bench.OnlineDetail{URL: "http-less", Arrival: "a trace"}
	for _, scale := range []float64{1.6, .4, .8} {
		m := sample(scale)
		m.Kind, m.Work.Scale, m.Label = "virtual", scale, fmt.Sprint("scale ", scale)
		m.TTFT.P99 = 100 / scale
		r.Runs = append(r.Runs, m)
	}
	html := written(t, Named{Report: r})
	for _, want := range []string{"Scale against latency", "p99: 250 ms at scale 0.4, 62.5 ms at 1.6", "scale of times", ">0.8<", "<b>C</b> scale 0.8"} {
		if !strings.Contains(html, want) {
			t.Errorf("the page does not say %q", want)
		}
	}
	// Throughput is as requests came; latency is the server's.
	if !strings.Contains(html, `<span class="ratio ">× 0.25</span>`) || !strings.Contains(html, `<span class="ratio worse">× 4.00`) {
		t.Error("a slower trace is called worse for its throughput, or its latency is not")
	}
}

// Of a server in another process it is not known whether it overlaps.
func TestPageClaimsNothingOfOtherServers(t *testing.T) {
	r := sample(1)
	r.Short = 17
	if html := written(t, Named{Report: r}); !strings.Contains(html, `<th scope="row">overlap`) || !strings.Contains(html, `short replies</th><td>17<`) {
		t.Error("the page does not say what is known")
	}
	r.Environment.Device, r.Environment.Overlap, r.Short = "", false, 0
	if html := written(t, Named{Report: r}); strings.Contains(html, `<th scope="row">overlap`) || strings.Contains(html, "short replies") {
		t.Error("the page says what is not known")
	}
}

// What was not measured is no zero, and what only some commands measure is shown.
func TestPageShowsWhatWasMeasured(t *testing.T) {
	r := sample(1)
	r.Samples, r.TTFT = nil, bench.Distribution{}
	r.Streams = &bench.StreamsDetail{ServerUserUS: 5.88, ServerSystemUS: 13.6, ClientUS: 12.9}
	r.Accuracy = &bench.AccuracyDetail{TTFTError: .021, ITLError: .008}
	html := written(t, Named{Report: r})
	for _, want := range []string{"Processor time a token, µs", ">5.88<", "How far these are off, ms", ">0.021<"} {
		if !strings.Contains(html, want) {
			t.Errorf("the page does not say %q", want)
		}
	}
	if strings.Contains(html, "Time to first token, ms") {
		t.Error("the page shows a time that was not measured")
	}
}

func TestPageShowsConversations(t *testing.T) {
	r := sample(1)
	r.Kind = "wildchat"
	r.Chosen = &bench.Conversations{Read: 372, Taken: 256, Language: 98}
	r.Lengths = &bench.Lengths{Input: bench.LengthSummary{Count: 256, P99: 1087}, Output: bench.LengthSummary{Count: 256, P99: 2015}}
	html := written(t, Named{Report: r})
	for _, want := range []string{"Prompts, tokens", "Replies, tokens", ">1,087<", ">2,015<", "372 read: 256 taken; 98 of another language"} {
		if !strings.Contains(html, want) {
			t.Errorf("the page does not say %q", want)
		}
	}
}

// Differences come with how sure they are.
func TestPageSaysHowSureDifferencesAre(t *testing.T) {
	low, high := 1.01, 1.2
	r := sample(1)
	r.Comparison = &bench.Comparison{A: "without", B: "with", Basis: "drawn", Rows: []bench.Comparable{
		{Metric: "output_throughput", Unit: "tokens/s", Ratio: 1.1, Low: &low, High: &high}, {Metric: "ttft p50", Unit: "ms", Ratio: 0.5},
	}}
	html := written(t, Named{"a", r})
	for _, want := range []string{"with against without", "1.100  (1.010–1.200)", "ttft p50, ms", "Intervals: drawn."} {
		if !strings.Contains(html, want) {
			t.Errorf("the page does not say %q", want)
		}
	}
	if html := written(t, Named{"a", sample(1)}, Named{"b", sample(2)}); !strings.Contains(html, "b against a") {
		t.Error("two reports are not compared")
	}
}

// Names come from files and servers; they stay text.
func TestPageTrustsNoName(t *testing.T) {
	r := sample(1)
	const evil = `"><script>alert(1)</script>`
	r.Environment.Model, r.Environment.Flags, r.Kind, r.Trace.Mailboxes[0].Name = evil, []string{evil}, evil, evil
	r.Trace.Window.Spans[1].What = evil
	html := written(t, Named{evil, r}, Named{evil, r})
	if strings.Contains(html, "<script") {
		t.Error("a name became an element")
	}
}

// What a report does not know is left out.
func TestPageOfLittle(t *testing.T) {
	html := written(t, Named{Report: &bench.Report{Schema: 1, Kind: "online", Requests: 1}})
	for _, unwanted := range []string{"<figure", "device idle", "KV memory", "NaN"} {
		if strings.Contains(html, unwanted) {
			t.Errorf("the page has %q", unwanted)
		}
	}
	if err := Write(&strings.Builder{}, nil); err == nil {
		t.Error("a page of nothing was written")
	}
}

func TestDistributions(t *testing.T) {
	d := ofSamples(&bench.Report{Samples: &bench.Samples{TTFT: []float64{4, 0, 2, 2, 8}}}, func(s *bench.Samples) []float64 { return s.TTFT })
	for ms, want := range map[float64]float64{1: .2, 2: .6, 3: .6, 4: .8, 8: 1, 9: 1} {
		if got := d.at(ms); math.Abs(got-want) > 1e-12 {
			t.Errorf("at %v ms: %v, want %v", ms, got, want)
		}
	}
	for q, want := range map[float64]float64{.3: 2, .6: 2, .7: 4, .8: 4, 1: 8} {
		if got := d.quantile(q); got != want {
			t.Errorf("quantile %v: %v, want %v", q, got, want)
		}
	}
	// Edges are 10^(i/50) µs: bucket 150 begins at 1 ms.
	h := ofHistogram(&bench.Histogram{PerDecade: 50, First: 150, Counts: []int{6, 0, 3}, Zero: 1}, bench.Distribution{Max: 1.1})
	if h.count != 10 || h.none != .1 || !slices.Equal(h.share, []float64{.7, 1}) || math.Abs(h.ms[0]-1.0471) > 1e-3 || h.ms[1] != 1.1 {
		t.Errorf("%+v", h)
	}
}

func TestSeriesKeepTotals(t *testing.T) {
	line := &bench.Timeline{IntervalS: .5, Output: make([]int, 150)}
	for i := range line.Output {
		line.Output[i] = i
	}
	s := newSeries(line)
	total := 0.0
	for i, v := range rates(s, line.Output) {
		total += v * (s.edges[i+1] - s.edges[i])
	}
	if len(s.edges) > perAxis+1 || s.edges[len(s.edges)-1] != 75 || math.Abs(total-150*149/2) > 1e-6 {
		t.Errorf("%d edges to %v, total %v", len(s.edges), s.edges[len(s.edges)-1], total)
	}
	if m := means(s, line.Output); m[0] != 1 || m[len(m)-1] != 148 {
		t.Errorf("means %v … %v", m[0], m[len(m)-1])
	}
}
