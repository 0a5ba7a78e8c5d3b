package http

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/troupe-llm/troupe/actors"
	"github.com/troupe-llm/troupe/gpu/batch"
	"github.com/troupe-llm/troupe/http/otlp"
)

// keptSpans keeps what it is sent, a request at a time.
type keptSpans struct {
	mu   sync.Mutex
	sent [][]otlp.Span
	some chan struct{}
}

func (k *keptSpans) Send(s []otlp.Span) {
	k.mu.Lock()
	k.sent = append(k.sent, s)
	k.mu.Unlock()
	k.some <- struct{}{}
}

func attrOf(s *otlp.Span, key string) any {
	for _, a := range s.Attrs {
		if a.Key == key {
			return a.Value
		}
	}
	return nil
}

// timed is the end of an answer that took its time.
func timed(prompt, output int) actors.Output {
	ev := ends("stop", prompt, output)
	now := batch.Now()
	us := int64(time.Microsecond)
	ev.Final.Times = actors.Times{Submitted: now - 50*us, Queued: now - 48*us, Started: now - 40*us, First: now - 30*us, Ended: now}
	return ev
}

const (
	parentTrace = "4bf92f3577b34da6a3ce929d0e0e4736"
	traceparent = "traceparent: 00-" + parentTrace + "-00f067aa0ba902b7-01"
)

// A request is one span, its phases within it, on the caller's trace.
func TestRequestsBecomeSpans(t *testing.T) {
	kept := &keptSpans{some: make(chan struct{}, 10)}
	h := start(t, engineOf(func(int, *actors.Request) (*fakeStream, error) {
		return newFakeStream(started("abc"), says("x"), timed(3, 1)), nil
	}), Config{Spans: kept})
	for i, body := range []string{`{"prompt":"abc","n":2}`, `{"prompt":"abc","stream":true}`} {
		h.read(h.post("/v1/completions", body, traceparent, "tracestate: a=b"))
		<-kept.some
		kept.mu.Lock()
		spans := kept.sent[i]
		kept.mu.Unlock()
		whole := &spans[0]
		if whole.Name != "POST /v1/completions" || whole.Kind != otlp.Server || whole.Trace[0] != 0x4b || whole.Parent[7] != 0xb7 || whole.State != "a=b" ||
			attrOf(whole, "http.response.status_code") != int64(200) || attrOf(whole, "troupe.request_id") != "t" || whole.Error != "" ||
			attrOf(whole, "gen_ai.operation.name") != "text_completion" || attrOf(whole, "gen_ai.usage.input_tokens") != int64(3) {
			t.Errorf("%s: %+v", body, whole)
		}
		var names []string
		for k := range spans[1:] {
			s := &spans[1+k]
			names = append(names, s.Name)
			if s.Trace != whole.Trace || s.Parent != whole.ID || s.ID == whole.ID || s.Ended.Before(s.Began) || s.Ended.After(whole.Ended) {
				t.Errorf("%s: %+v", body, s)
			}
			if want := map[string]int64{"tokenize": 2, "queue": 8, "prefill": 10, "decode": 30}[s.Name]; want > 0 && s.Ended.Sub(s.Began).Microseconds() != want {
				t.Errorf("%s: %s took %v, want %v", body, s.Name, s.Ended.Sub(s.Began), want)
			}
			if i == 0 && attrOf(s, "troupe.choice") != int64(k/5) {
				t.Errorf("%s: %+v is of another choice", body, s)
			}
		}
		want := []string{"tokenize", "queue", "prefill", "decode", "write"}
		if i == 0 {
			want = append(want, want...)
		}
		if !slices.Equal(names, want) {
			t.Errorf("%s: spans %v, want %v", body, names, want)
		}
	}
}

// What engines elsewhere did is within a span of each, inside the request's, which says where the engine is
// and how well its clock is known.
func TestSpansOfEnginesElsewhere(t *testing.T) {
	kept := &keptSpans{some: make(chan struct{}, 1)}
	h := start(t, engineOf(func(int, *actors.Request) (*fakeStream, error) {
		ev := timed(3, 4)
		end, us := ev.Final.Times.Ended, int64(time.Microsecond)
		at := func(before int64) int64 { return end - before*us }
		ev.Final.Attempts = []actors.Attempt{
			{Engine: 2, Peer: "10.0.0.7:7946", Handed: at(49), Came: at(48), Queued: at(48), Started: at(47), First: at(46), Last: at(45), Left: at(40), Tokens: 1, Lost: true, ClockError: 1500},
			{Engine: 0, Peer: "[fe80::1]:9", Handed: at(39), Came: at(50), Queued: at(50), Started: at(30), First: at(20), Last: at(2), Left: at(1), Tokens: 3, ClockError: 12_000},
		}
		return newFakeStream(started("abc"), says("x"), ev), nil
	}), Config{Spans: kept})
	h.read(h.post("/v1/completions", `{"prompt":"abc"}`, traceparent))
	<-kept.some
	spans := kept.sent[0]
	byID := map[otlp.SpanID]*otlp.Span{}
	for i := range spans {
		byID[spans[i].ID] = &spans[i]
	}
	var got []string
	for i := range spans[1:] {
		s := &spans[1+i]
		in := byID[s.Parent]
		if in == nil || s.Trace != spans[0].Trace || in != &spans[0] && (s.Began.Before(in.Began) || s.Ended.After(in.Ended)) {
			t.Errorf("%+v is not within %+v", s, in)
			continue
		}
		name := s.Name
		if in != &spans[0] {
			name = fmt.Sprint(attrOf(in, "server.address"), " ", name)
		}
		got = append(got, name)
	}
	want := []string{
		"tokenize", "engine", "10.0.0.7 queue", "10.0.0.7 prefill", "10.0.0.7 decode", "engine", "fe80::1 queue", "fe80::1 prefill", "fe80::1 decode", "write",
	}
	if !slices.Equal(got, want) {
		t.Errorf("spans %v, want %v", got, want)
	}
	first, second := &spans[2], &spans[6]
	if first.Kind != otlp.Client || first.Error == "" || second.Error != "" || attrOf(first, "server.port") != int64(7946) || attrOf(second, "troupe.clock_error_us") != 12.0 || attrOf(second, "troupe.attempt") != int64(1) {
		t.Errorf("%+v, %+v", first, second)
	}
}

func TestSpansOfWhatFails(t *testing.T) {
	kept := &keptSpans{some: make(chan struct{}, 10)}
	h := start(t, script([]actors.Output{started("a"), fails(errors.New("the device is gone"))}), Config{Spans: kept})
	h.read(h.post("/v1/completions", `{"prompt":"a"}`))
	h.read(h.post("/v1/completions", `{"prompt":`))
	h.read(h.do("GET", "/health", ""))
	h.read(h.post("/v1/completions", `{"prompt":`, "traceparent: 00-"+parentTrace+"-00f067aa0ba902b7-00")) // not sampled
	h.read(h.post("/nowhere", `{}`))
	for range 2 {
		<-kept.some
	}
	if len(kept.sent) != 2 {
		t.Fatalf("%d requests were told of, want 2", len(kept.sent))
	}
	failed, bad := &kept.sent[0][0], &kept.sent[1][0]
	if failed.Error == "" || attrOf(failed, "http.response.status_code") != int64(500) || failed.Parent != (otlp.SpanID{}) || failed.Trace == (otlp.TraceID{}) {
		t.Errorf("a failure: %+v", failed)
	}
	if bad.Error != "" || attrOf(bad, "http.response.status_code") != int64(400) || len(kept.sent[1]) != 1 {
		t.Errorf("a mistake of the client: %+v", bad)
	}
}
