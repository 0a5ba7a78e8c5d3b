package bench

import (
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"
)

// reportOf makes a report of drawn requests, scale times as slow as others.
func reportOf(seed uint64, n int, scale float64) *Report {
	random := rand.New(rand.NewPCG(seed, 0))
	r := &Report{Schema: Schema, Kind: "virtual", Samples: &Samples{}, OutputThroughput: 100 / scale}
	for range n {
		first := scale * (10 + 5*random.ExpFloat64())
		r.Samples.Input = append(r.Samples.Input, 1+random.IntN(9))
		r.Samples.Output = append(r.Samples.Output, 11)
		r.Samples.TTFT = append(r.Samples.TTFT, first)
		r.Samples.E2E = append(r.Samples.E2E, first+scale*(90+20*random.Float64()))
	}
	s := newPool(r.Samples).choose(slices.Repeat([]int{1}, n))
	r.TTFT = Distribution{Mean: mean(s.ttft), P50: quantile(s.ttft, 0.5), P99: quantile(s.ttft, 0.99)}
	r.E2E = Distribution{Mean: mean(s.e2e), P50: quantile(s.e2e, 0.5), P99: quantile(s.e2e, 0.99)}
	r.ITL = Distribution{Mean: s.gaps / float64(s.tokens)}
	return r
}

func row(t *testing.T, c *Comparison, metric string) Comparable {
	t.Helper()
	for _, r := range c.Rows {
		if r.Metric == metric {
			return r
		}
	}
	t.Fatalf("no row %s", metric)
	return Comparable{}
}

// The same requests, each half again as slow: there is no doubt about the ratio.
func TestCompareThePairedRequests(t *testing.T) {
	all, err := Compare(reportOf(1, 200, 1), reportOf(1, 200, 1.5), "a", "b")
	if err != nil || len(all) != 1 {
		t.Fatal(all, err)
	}
	for _, metric := range []string{"ttft mean", "ttft p50", "ttft p99", "itl mean", "tpot p50", "tpot p99", "e2e mean", "e2e p99"} {
		r := row(t, all[0], metric)
		if r.Low == nil || r.Ratio < 1.4999 || r.Ratio > 1.5001 || *r.Low < 1.4999 || *r.High > 1.5001 {
			t.Errorf("%+v", r)
		}
	}
	if r := row(t, all[0], "output_throughput"); r.Low != nil || r.Ratio < 0.666 || r.Ratio > 0.667 {
		t.Errorf("%+v: one run tells nothing of a throughput's spread", r)
	}
}

func TestQuotient(t *testing.T) {
	for x, want := range map[float64]string{4.5054: "4.505", 0.1: "0.100", 0.0303: "0.030", 0.000447: "0.00045", 0: "–", 120: "120.000"} {
		if got := Quotient(x, 3); got != want {
			t.Errorf("Quotient(%g) = %s, want %s", x, got, want)
		}
	}
}

// Of many pairs of reports with the same true mean, about 95 in 100 have
// intervals that hold a ratio of 1.
func TestIntervalsCover(t *testing.T) {
	covered := map[string]int{}
	const pairs = 24
	for i := range pairs {
		all, err := Compare(reportOf(uint64(10+i), 40, 1), reportOf(uint64(1000+i), 35, 1), "a", "b")
		if err != nil {
			t.Fatal(err)
		}
		for _, metric := range []string{"ttft mean", "itl mean", "e2e mean", "e2e p50"} {
			if r := row(t, all[0], metric); *r.Low <= 1 && 1 <= *r.High {
				covered[metric]++
			}
		}
	}
	for metric, n := range covered {
		if n < pairs*85/100 {
			t.Errorf("%s: %d of %d intervals hold the truth", metric, n, pairs)
		}
	}
	if len(covered) != 4 {
		t.Errorf("covered %v", covered)
	}
}

// moody are n runs of the same work, made one after the other beginning at a time,
// or a pair of lists made in turns, on a machine whose speed is another each run
// and drifts by so much a run.
func moody(random *rand.Rand, n int, drift float64, turns bool) (a, b []*Report) {
	at := 0
	run := func() *Report {
		r := &Report{Kind: "offline", OutputThroughput: 1000 * math.Exp(0.03*random.NormFloat64()+drift*float64(at))}
		r.Environment.Time = time.Unix(int64(1+at), 0)
		at++
		return r
	}
	for range n {
		a = append(a, run())
		if turns {
			b = append(b, run())
		}
	}
	for len(b) < n {
		b = append(b, run())
	}
	return a, b
}

// The same thing measured twice is told apart about 5 times in 100, and where the
// machine drifts, too, if it was measured in turns.
func TestFalseAlarms(t *testing.T) {
	random := rand.New(rand.NewPCG(7, 0))
	const times = 2000
	for _, c := range []struct {
		name  string
		runs  int
		drift float64
		turns bool
	}{
		{"three by three", 3, 0, false},
		{"four by four", 4, 0, false},
		{"eight by eight", 8, 0, false},
		{"three in turns", 3, 0, true},
		{"four in turns, slower by 0.5% a run", 4, -0.005, true},
	} {
		alarms := 0
		for range times {
			a, b := moody(random, c.runs, c.drift, c.turns)
			r := row(t, CompareRuns(a, b, "a", "a"), "output_throughput")
			if r.Low == nil || r.AA == 0 {
				t.Fatalf("%s: %+v", c.name, r)
			}
			if *r.Low > 1 || *r.High < 1 {
				alarms++
			}
		}
		if share := float64(alarms) / times; share > 0.075 || share < 0.01 {
			t.Errorf("%s: %.3f false alarms", c.name, share)
		}
	}
}

// One run of each tells nothing, however many requests it has.
func TestSingleRunsTellNothing(t *testing.T) {
	a, b := reportOf(1, 200, 1), reportOf(1, 200, 1.01)
	a.Kind, b.Kind = "online", "online"
	all, err := Compare(a, b, "a", "b")
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range all[0].Rows {
		if r.Low != nil || r.High != nil || r.AA != 0 {
			t.Errorf("%+v", r)
		}
	}
	var text strings.Builder
	if err := all[0].WriteText(&text); err != nil || !strings.Contains(text.String(), "measure three or more of each, in turns") {
		t.Errorf("%v\n%s", err, text.String())
	}
}

func TestCompareRepeatedRuns(t *testing.T) {
	several := func(from float64) *Report {
		var runs []*Report
		for i := range 5 {
			r := reportOf(uint64(i), 20, from)
			r.OutputThroughput = from * float64(100+i)
			runs = append(runs, r)
		}
		return Repeated(runs)
	}
	a, b := several(1), several(2)
	if a.OutputThroughput != 102 || a.Samples != nil {
		t.Errorf("the median run has %v tokens/s, samples %v", a.OutputThroughput, a.Samples)
	}
	all, err := Compare(a, b, "a", "b")
	if err != nil {
		t.Fatal(err)
	}
	if r := row(t, all[0], "output_throughput"); r.Low == nil || r.Ratio != 2 || *r.Low >= 2 || *r.Low < 1.94 || *r.High <= 2 || *r.High > 2.06 {
		t.Errorf("%+v in %s", r, all[0].Basis)
	}
	var text strings.Builder
	if err := all[0].WriteText(&text); err != nil || !strings.Contains(text.String(), "5 runs and 5 runs") {
		t.Errorf("%s%v", text.String(), err)
	}
}

func TestCompareScaleByScale(t *testing.T) {
	scaled := func(labels ...string) *Report {
		var runs []*Report
		for i, l := range labels {
			r := reportOf(uint64(i), 10, 1)
			r.Label = "scale " + l
			runs = append(runs, r)
		}
		return Together(runs)
	}
	all, err := Compare(scaled("0.5", "1", "2"), scaled("1", "2", "3"), "a", "b")
	if err != nil || len(all) != 2 || all[0].A != "a, scale 1" || all[1].B != "b, scale 2" {
		t.Errorf("%+v, %v", all, err)
	}
	if _, err := Compare(scaled("0.5", "1"), scaled("2", "3"), "a", "b"); err == nil {
		t.Error("no error without a scale in common")
	}
	if _, err := Compare(&Report{Kind: "offline"}, &Report{Kind: "online"}, "a", "b"); err == nil {
		t.Error("no error for reports of two kinds")
	}
}

// Of an ablation, another report is compared with its first kind.
func TestCompareAnAblation(t *testing.T) {
	var runs []*Report
	for i := range 3 {
		for k, l := range []string{"overlap on", "overlap off"} {
			r := reportOf(uint64(i), 10, float64(1+k))
			r.Label = l + ", run"
			runs = append(runs, r)
		}
	}
	r := Together(runs)
	r.Comparison = CompareRuns(runs[:1], runs[1:2], "a", "b")
	if same := r.runs(); len(same) != 3 || same[1] != runs[2] {
		t.Errorf("%d runs", len(same))
	}
}

// A comparison says in what the work and its surroundings were not alike.
func TestCompareSaysWhatDiffers(t *testing.T) {
	a, b := reportOf(1, 20, 1), reportOf(1, 20, 1)
	a.Work, b.Work = Work{NumSeqs: 20, InputLen: "1:9", Seed: 1}, Work{NumSeqs: 20, InputLen: "5", Seed: 1}
	a.Environment.Flags, b.Environment.Flags = []string{"--x=1"}, []string{"--x=2"}
	b.Environment.Overlap = true
	all, err := Compare(a, b, "a", "b")
	if err != nil {
		t.Fatal(err)
	}
	if want := []string{"input_len: 1:9, 5", "overlap: false, true"}; !slices.Equal(all[0].Differs, want) {
		t.Errorf("%q, want %q", all[0].Differs, want)
	}
	var text strings.Builder
	if err := all[0].WriteText(&text); err != nil || !strings.Contains(text.String(), "differ in  input_len: 1:9, 5\n           overlap: false, true\n") {
		t.Errorf("%v\n%s", err, text.String())
	}
}
