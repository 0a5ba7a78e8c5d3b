package main

import (
	"encoding/json"
	"io"
	nethttp "net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/troupe-llm/troupe/gpu/model/modeltest"
)

// A server that is asked to tells where requests spent their time: a trace in a
// file, and spans at a collector, on the trace of whoever asked.
func TestServeTellsWhereTimeWent(t *testing.T) {
	const trace = "4bf92f3577b34da6a3ce929d0e0e4736"
	bodies := make(chan []byte, 16)
	collector := httptest.NewServer(nethttp.HandlerFunc(func(_ nethttp.ResponseWriter, r *nethttp.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil || r.URL.Path != "/v1/traces" {
			t.Errorf("%s: %v", r.URL.Path, err)
		}
		bodies <- body
	}))
	defer collector.Close()
	file := filepath.Join(t.TempDir(), "trace.json")
	s := start(t, "--model", modeltest.Get(t, "qwen3").Dir, "--device", "cpu", "--trace", file, "--otlp-endpoint", collector.URL)
	req, err := nethttp.NewRequest(nethttp.MethodPost, s.url+"/completions", strings.NewReader(`{"prompt":[1,2,3],"max_tokens":4,"ignore_eos":true,"stream":true}`))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("traceparent", "00-"+trace+"-00f067aa0ba902b7-01")
	resp, err := nethttp.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if _, err := io.ReadAll(resp.Body); err != nil {
		t.Fatal(err)
	}
	s.signal(syscall.SIGTERM)
	s.end(0)

	var sent struct {
		ResourceSpans []struct {
			ScopeSpans []struct {
				Spans []struct{ TraceID, SpanID, ParentSpanID, Name string }
			}
		}
	}
	if err := json.Unmarshal(<-bodies, &sent); err != nil {
		t.Fatal(err)
	}
	var names []string
	spans := sent.ResourceSpans[0].ScopeSpans[0].Spans
	for i, sp := range spans {
		names = append(names, sp.Name)
		if sp.TraceID != trace || (i == 0 && sp.ParentSpanID != "00f067aa0ba902b7") || (i > 0 && sp.ParentSpanID != spans[0].SpanID) {
			t.Errorf("span %+v", sp)
		}
	}
	if want := []string{"POST /v1/completions", "tokenize", "queue", "prefill", "decode", "write"}; !slices.Equal(names, want) {
		t.Errorf("spans %v, want %v", names, want)
	}
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var events struct{ TraceEvents []struct{ Name string } }
	if err := json.Unmarshal(text, &events); err != nil || len(events.TraceEvents) < 50 {
		t.Errorf("%d events, %v", len(events.TraceEvents), err)
	}
}
