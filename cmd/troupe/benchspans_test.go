package main

import (
	"encoding/json"
	"io"
	nethttp "net/http"
	"net/http/httptest"
	"strconv"
	"sync"
	"testing"
)

// What bench trace records reaches a collector as one trace: a step's stages
// below the step, a request's below the request, all within the run.
func TestBenchTraceSendsSpans(t *testing.T) {
	type span struct {
		TraceID, SpanID, ParentSpanID, Name string
		StartTimeUnixNano, EndTimeUnixNano  string
	}
	var mu sync.Mutex
	spans, largest := map[string]span{}, 0
	collector := httptest.NewServer(nethttp.HandlerFunc(func(_ nethttp.ResponseWriter, r *nethttp.Request) {
		var sent struct {
			ResourceSpans []struct{ ScopeSpans []struct{ Spans []span } }
		}
		body, err := io.ReadAll(r.Body)
		if err == nil {
			err = json.Unmarshal(body, &sent)
		}
		if err != nil {
			t.Error(err)
			return
		}
		mu.Lock()
		defer mu.Unlock()
		list := sent.ResourceSpans[0].ScopeSpans[0].Spans
		largest = max(largest, len(list))
		for _, s := range list {
			spans[s.SpanID] = s
		}
	}))
	defer collector.Close()
	status, _, errs := invoke(t, "", "bench", "trace", "--device", "sim:h200", "--num-seqs", "12", "--input-len", "20", "--output-len", "90", "--out", "", "--otlp-endpoint", collector.URL)
	if status != 0 {
		t.Fatal(errs)
	}
	mu.Lock()
	defer mu.Unlock()
	ns := func(text string) int64 {
		n, err := strconv.ParseInt(text, 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	count := map[string]int{}
	for _, s := range spans {
		parent, ok := spans[s.ParentSpanID]
		count[parent.Name+"/"+s.Name]++
		if !ok && s.Name != "bench trace" {
			t.Fatalf("%+v has no parent", s)
		}
		if ok && (s.TraceID != parent.TraceID || ns(s.StartTimeUnixNano) < ns(parent.StartTimeUnixNano) || ns(s.EndTimeUnixNano) > ns(parent.EndTimeUnixNano)) {
			t.Errorf("%+v is not within %+v", s, parent)
		}
	}
	steps := count["bench trace/step"]
	if count["/bench trace"] != 1 || steps < 90 || count["bench trace/request"] < 12 || count["request/decode"] < 12 {
		t.Errorf("%v", count)
	}
	for _, stage := range []string{"prepare", "launch", "compute", "commit", "runStep", "stepDone", "tokens"} {
		if count["step/"+stage] != steps {
			t.Errorf("%d of %d steps have %s", count["step/"+stage], steps, stage)
		}
	}
	if len(spans) < 1000 || largest > 1024 {
		t.Errorf("%d spans, up to %d at once", len(spans), largest)
	}
}
