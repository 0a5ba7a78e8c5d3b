package bench

import (
	"iter"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/troupe-llm/troupe/actors/plan"
	"github.com/troupe-llm/troupe/gpu/device"
	"github.com/troupe-llm/troupe/gpu/model"
)

func openTrace(t testing.TB, limit int) *Trace {
	t.Helper()
	name := filepath.Join("..", "..", "shared", "traces", "mooncake_conversation_trace.jsonl")
	f, err := os.Open(name)
	if err != nil {
		t.Skip("no Mooncake trace beside the repository: ", err)
	}
	defer f.Close()
	trace, err := ReadTrace(f, "", limit)
	if err != nil {
		t.Fatal(err)
	}
	return trace
}

func dummy(t testing.TB, name string) *model.Model {
	t.Helper()
	m, err := model.Open(name, true)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// mooncake is Qwen3-14B on one H200, its context stretched to the trace's.
func mooncake(t testing.TB, cache plan.Cache) Virtual {
	m := dummy(t, "qwen3-14b")
	m.Config.MaxPositions = 131072
	return Virtual{
		Device:   device.Spec{Device: "sim:h200", Model: m},
		Plan:     plan.Config{Overlap: true, Cache: cache},
		HostCost: 60 * time.Microsecond,
	}
}

func offline(n int) iter.Seq[Arrival] {
	return func(yield func(Arrival) bool) {
		for _, p := range RandomPrompts(0, n, Range{100, 1024}, Range{100, 1024}, 151936) {
			if !yield(Arrival{0, p}) {
				return
			}
		}
	}
}

func run(t testing.TB, v Virtual, arrivals iter.Seq[Arrival]) *VirtualReport {
	t.Helper()
	r, err := v.Run(arrivals)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestOverlapKeepsTheDeviceBusy(t *testing.T) {
	v := Virtual{Device: device.Spec{Device: "sim:h200", Model: dummy(t, "qwen3-0.6b")}, HostCost: 100 * time.Microsecond}
	off := run(t, v, offline(256))
	v.Plan.Overlap = true
	on := run(t, v, offline(256))
	t.Logf("overlap off:\n%von:\n%v", off, on)
	if on.Generated != off.Generated || on.Generated != 133966 {
		t.Errorf("%d tokens with overlap, %d without, want 133966", on.Generated, off.Generated)
	}
	if on.IdleShare() >= 0.01 {
		t.Errorf("the device idles %.2f%% with overlap", 100*on.IdleShare())
	}
	if off.IdleShare() < 2*on.IdleShare() || off.Span <= on.Span {
		t.Errorf("the device idles %.2f%% without overlap, %.2f%% with: no gain", 100*off.IdleShare(), 100*on.IdleShare())
	}
}

func TestMooncakeReplayIsReproducible(t *testing.T) {
	trace := openTrace(t, 200)
	v := mooncake(t, plan.Radix)
	a := run(t, v, trace.Replay(1, 151936, 0))
	b := run(t, v, trace.Replay(1, 151936, 0))
	if !reflect.DeepEqual(a, b) {
		t.Errorf("two runs differ:\n%v\n%v", a, b)
	}
	naive := run(t, mooncake(t, plan.Naive), trace.Replay(1, 151936, 0))
	if a.HitRate() < 0.03 || naive.Cached != 0 || a.Generated != naive.Generated {
		t.Errorf("radix:\n%vnaive:\n%v", a, naive)
	}
	if a.TTFT.Mean >= naive.TTFT.Mean {
		t.Errorf("sharing prefixes does not pay: time to first token %v, without %v", a.TTFT.Mean, naive.TTFT.Mean)
	}
}

func BenchmarkMooncake10k(b *testing.B) {
	trace := openTrace(b, 10000)
	for _, cache := range []plan.Cache{plan.Radix, plan.Naive} {
		for _, rate := range []struct {
			name  string
			scale float64
		}{{"x1", 1}, {"x5", 5}} {
			b.Run(string(cache)+"/"+rate.name, func(b *testing.B) {
				for b.Loop() {
					r := run(b, mooncake(b, cache), trace.Replay(rate.scale, 151936, 0))
					b.Logf("\n%v", r)
				}
			})
		}
	}
}

// What is refused is told; when everything is, there is nothing to report.
func TestVirtualRefusals(t *testing.T) {
	v := Virtual{Device: device.Spec{Device: "sim:h200", Model: dummy(t, "qwen3-0.6b"), MaxSeqLen: 64}}
	long, tight, short := Prompt{Tokens: make([]int32, 70), MaxTokens: 10}, Prompt{Tokens: make([]int32, 60), MaxTokens: 10}, Prompt{Tokens: make([]int32, 50), MaxTokens: 10}
	r := run(t, v, AtOnce([]Prompt{long, tight, short})).Report()
	if r.Requests != 2 || r.Failed != 1 || !strings.Contains(r.Failure, "64") || r.Short != 1 {
		t.Errorf("%d requests, %d of them short, %d failed: %q", r.Requests, r.Short, r.Failed, r.Failure)
	}
	if _, err := v.Run(AtOnce([]Prompt{long})); err == nil || !strings.Contains(err.Error(), "every request was refused") {
		t.Errorf("error %v", err)
	}
}
