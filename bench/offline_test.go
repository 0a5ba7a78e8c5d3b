package bench

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/troupe-llm/troupe/actors"
	"github.com/troupe-llm/troupe/gpu/model/modeltest"
)

func openTiny(t *testing.T) *actors.System {
	t.Helper()
	system, err := actors.Open(actors.Config{
		Model: modeltest.Get(t, "qwen3").Dir, Device: "cpu", MaxRunningRequests: 4, NumPages: 64, Log: zerolog.Nop(),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := system.Close(); err != nil {
			t.Error(err)
		}
	})
	return system
}

func TestOfflineCountsWhatWasAskedFor(t *testing.T) {
	var last Progress
	run := Offline{
		NumSeqs: 9, Input: Range{3, 20}, Output: Range{2, 12}, Seed: 5, Temperature: 1, Warmup: 2,
		Progress: func(p Progress) { last = p },
	}
	system := openTiny(t)
	r, err := run.Run(context.Background(), system)
	if err != nil {
		t.Fatal(err)
	}
	var in, out int
	for _, p := range RandomPrompts(5, 9, run.Input, run.Output, system.Device().Vocab) {
		in += len(p.Tokens)
		out += p.MaxTokens
	}
	if r.Requests != 9 || r.Failed != 0 || r.TotalInputTokens != in || r.TotalOutputTokens != out {
		t.Errorf("%d requests, %d failed, %d tokens in, %d out; want 9, 0, %d, %d",
			r.Requests, r.Failed, r.TotalInputTokens, r.TotalOutputTokens, in, out)
	}
	if want := (Progress{9, 9, 9, 0, in, in, out - 9, out - 9}); last != want {
		t.Errorf("the last progress was %+v, want %+v", last, want)
	}
	if n := len(r.Samples.TTFT); n != 9 || len(r.Timeline.Output) == 0 || r.Histogram.Zero+len(r.Histogram.Counts) == 0 {
		t.Errorf("%d samples, timeline %+v, histogram %+v", n, *r.Timeline, *r.Histogram)
	}
	s := &r.Steps
	if s.Total == 0 || s.Total != s.Decode+s.Prefill+s.Mixed || s.ComputedTokens+s.CachedTokens < uint64(in+out-9) {
		t.Errorf("steps %+v", *s)
	}
	if r.TTFT.P50 <= 0 || r.TTFT.P50 > r.E2E.Max || r.ITL.Mean < 0 || r.E2E.Max > r.ElapsedS*1000 {
		t.Errorf("first token %+v, between %+v, whole %+v, elapsed %v s", r.TTFT, r.ITL, r.E2E, r.ElapsedS)
	}
	if got := r.OutputThroughput * r.ElapsedS; math.Abs(got-float64(out)) > 1e-6 {
		t.Errorf("throughput times time is %v, want %d", got, out)
	}
	checkSchema(t, r)
}

// checkSchema looks for what other programs rely on.
func checkSchema(t *testing.T, r *Report) {
	t.Helper()
	var b bytes.Buffer
	if err := r.WriteJSON(&b); err != nil {
		t.Fatal(err)
	}
	var got map[string]any
	if err := json.Unmarshal(b.Bytes(), &got); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{
		"schema", "requests", "total_input_tokens", "total_output_tokens", "elapsed_s", "request_throughput", "output_throughput",
	} {
		if n, is := got[name].(float64); !is || n <= 0 {
			t.Errorf("%s is %v", name, got[name])
		}
	}
	for _, name := range []string{"ttft_ms", "itl_ms", "e2e_ms"} {
		d, _ := got[name].(map[string]any)
		for _, part := range []string{"mean", "p50", "p90", "p99", "max"} {
			if n, is := d[part].(float64); !is || n < 0 {
				t.Errorf("%s.%s is %v", name, part, d[part])
			}
		}
	}
	e, _ := got["environment"].(map[string]any)
	if e["model"] != "qwen3" || e["device"] != "cpu" || e["parameters"].(float64) <= 0 {
		t.Errorf("environment %v", e)
	}
}

func TestOfflineRefusesWhatDoesNotFit(t *testing.T) {
	run := Offline{NumSeqs: 1, Input: Range{1, 5000}, Output: Range{1, 5000}}
	if _, err := run.Run(context.Background(), openTiny(t)); err == nil || !strings.Contains(err.Error(), "5000 + 5000") {
		t.Errorf("error %v, want one with the lengths", err)
	}
}

func TestOfflineCanBeStopped(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	system := openTiny(t)
	run := Offline{NumSeqs: 9, Input: Range{5, 5}, Output: Range{90, 90}}
	if _, err := run.Run(ctx, system); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v, want context.Canceled", err)
	}
	if err := system.Drain(context.Background()); err != nil { // nothing is left running
		t.Error(err)
	}
}

// What numpy.percentile says.
func TestDistribution(t *testing.T) {
	const ms = time.Millisecond
	samples := []time.Duration{40 * ms, 10 * ms, 20 * ms, 30 * ms, 100 * ms}
	if got, want := distribution(samples), (Distribution{Mean: 40, P50: 30, P90: 76, P99: 97.6, Max: 100}); got != want {
		t.Errorf("distribution %+v, want %+v", got, want)
	}
	if got := distribution(nil); got != (Distribution{}) {
		t.Errorf("of nothing %+v", got)
	}
}

func TestReportForPeople(t *testing.T) {
	r := &Report{
		Requests: 256, TotalInputTokens: 142827, TotalOutputTokens: 133966, ElapsedS: 10, OutputThroughput: 13396.6,
		Steps: Steps{Total: 1100, Decode: 1000, Mixed: 100}, Environment: Environment{Model: "m", Parameters: 1234567, Dummy: true},
	}
	var b strings.Builder
	if err := r.WriteText(&b); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"m, 1,234,567 parameters", "dummy weights", "142,827 in, 133,966 out", "13396.6 output tokens/s", "1,100: 1,000 decode, 0 prefill, 100 mixed",
	} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("no %q in\n%s", want, b.String())
		}
	}
}
