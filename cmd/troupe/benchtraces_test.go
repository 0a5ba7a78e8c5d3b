package main

import (
	"crypto/sha256"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/troupe-llm/troupe/bench"
)

// burst is a trace of n requests, 100 ms apart.
func burst(t *testing.T, n int) string {
	t.Helper()
	text := "Timestamp,Model,Request tokens,Response tokens,Total tokens,Log Type\n"
	for i := range n {
		text += fmt.Sprintf("%g,ChatGPT,%d,%d,0,API log\n", 5+float64(i)/10, 20+i%7, 2+i%5)
	}
	name := filepath.Join(t.TempDir(), "burst.csv")
	if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	return name
}

func readReport(t *testing.T, text string) *bench.Report {
	t.Helper()
	r, err := bench.ReadReport(strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestBenchVirtualPlaysATraceAtEveryScale(t *testing.T) {
	trace := burst(t, 40)
	status, out, errs := invoke(t, "", "bench", "virtual", "--model", "qwen3-0.6b", "--trace-file", trace, "--num-requests", "30", "--scale", "0.5,1,2", "--json", "-")
	if status != 0 {
		t.Fatal(errs)
	}
	r := readReport(t, out)
	if r.Kind != "virtual" || len(r.Runs) != 3 || r.Requests != 30 || r.Samples != nil {
		t.Fatalf("%+v", r)
	}
	for i, scale := range []float64{0.5, 1, 2} {
		run := r.Runs[i]
		if run.Label != fmt.Sprintf("scale %g", scale) || run.Work.Scale != scale || run.Work.Format != "burstgpt" || run.Work.Source != "burst.csv" {
			t.Errorf("run %d is %q of %+v", i, run.Label, run.Work)
		}
		if want := 100 * scale * 29; run.Requests != 30 || run.Samples.Sent[29] != want || run.ElapsedS < want/1000 {
			t.Errorf("%s: %d requests, the last sent at %v ms, over at %v s; want it sent at %v", run.Label, run.Requests, run.Samples.Sent[29], run.ElapsedS, want)
		}
	}
	if r.OutputThroughput != r.Runs[0].OutputThroughput {
		t.Error("the figures at the top are not the first run's")
	}

	status, out, errs = invoke(t, "", "bench", "virtual", "--model", "qwen3-0.6b", "--trace-file", trace, "--scale", "0.5,1")
	if status != 0 || !strings.Contains(out, "run            scale 0.5\n") || !strings.Contains(out, "TTFT p50") {
		t.Errorf("status %d, %s%s", status, out, errs)
	}
}

func TestBenchOnlinePlaysATrace(t *testing.T) {
	out := filepath.Join(t.TempDir(), "out.json")
	status, text, errs := invoke(t, "", "bench", "online", "--trace-file", burst(t, 20), "--scale", "0.01", "--vocab", "500", "--slo-ttft", "1h", "--json", out)
	if status != 0 {
		t.Fatal(errs)
	}
	if !strings.Contains(text, "the first 20 requests of burst.csv (burstgpt), times × 0.01") || !strings.Contains(text, "goodput") {
		t.Errorf("it says\n%s", text)
	}
	data, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	r := readReport(t, string(data))
	if len(r.Runs) != 1 || r.Runs[0].Label != "scale 0.01" || r.Runs[0].Requests != r.Requests || r.Samples != nil {
		t.Fatalf("%+v", r)
	}
	r = r.Runs[0]
	if r.Requests != 20 || r.Failed != 0 || r.Runs != nil || r.Work.Scale != 0.01 || r.Steps.Total == 0 || r.Environment.Device != "cpu" {
		t.Errorf("%+v", r)
	}
	if r.Online.Goodput == nil || *r.Online.Goodput != r.RequestThroughput || r.Online.Client.CPUS != 0 || len(r.Timeline.Running) == 0 {
		t.Errorf("online %+v, timeline %+v", r.Online, r.Timeline)
	}
}

// A trace that is played again finds nothing of its last time in the cache; the
// same requests sent again do, and the report says so.
func TestBenchOnlineMeetsNoOldPrompts(t *testing.T) {
	status, text, errs := invoke(t, "", "bench", "online", "--trace-file", burst(t, 20), "--scale", "0.01,0.02", "--json", "-")
	if status != 0 {
		t.Fatal(errs)
	}
	for _, run := range readReport(t, text).Runs {
		if run.Requests != 20 || run.Steps.CachedTokens != 0 || run.Online.CachedTokens != 0 {
			t.Errorf("%s: %d requests, %d and %d tokens cached", run.Label, run.Requests, run.Steps.CachedTokens, run.Online.CachedTokens)
		}
	}
	s := start(t, "--port", "0")
	defer s.end(0)
	defer s.signal(os.Interrupt)
	for i, want := range []string{" in, 12 out", " in (192 of them cached), 12 out"} {
		status, text, errs = invoke(t, "", "bench", "simple", "--url", s.url, "--batch-size", "6", "--input-len", "40", "--output-len", "2")
		if status != 0 || !strings.Contains(text, want) {
			t.Errorf("run %d: status %d: %s%s; want %q", i+1, status, text, errs, want)
		}
	}
}

// The trace is fetched once, resumed where it broke off, and kept.
func TestQwenTraceIsDownloaded(t *testing.T) {
	text := ""
	for i := range 50 {
		text += fmt.Sprintf(`{"chat_id": %d, "parent_chat_id": -1, "timestamp": %d.5, "input_length": 40, "output_length": 3, "type": "text", "turn": 1, "hash_ids": [0, 1, %d]}`+"\n", i, i, i+2)
	}
	published := qwenTrace
	defer func() { qwenTrace = published }()
	qwenTrace.Size, qwenTrace.SHA256 = int64(len(text)), fmt.Sprintf("%x", sha256.Sum256([]byte(text)))
	var ranges []string
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if ranges = append(ranges, r.Header.Get("Range")); len(ranges) == 1 {
			w.Header().Set("Content-Length", fmt.Sprint(len(text)))
			_, _ = io.WriteString(w, text[:1000])
			w.(http.Flusher).Flush()
			panic(http.ErrAbortHandler)
		}
		http.ServeContent(w, r, "", time.Time{}, strings.NewReader(text))
	}))
	defer server.Close()
	dir := t.TempDir()
	for range 2 {
		status, out, errs := invoke(t, "", "bench", "virtual", "--trace-format", "qwen", "--trace-url", server.URL+"/x", "--data-dir", dir, "--json", "-")
		if status != 0 {
			t.Fatal(errs)
		}
		r := readReport(t, out)
		if r.Requests != 50 || r.Work.Format != "qwen" || r.Steps.CachedTokens == 0 || r.Work.Source != "qwen_traceA_blksz_16.jsonl" {
			t.Errorf("%d requests, %+v, %+v", r.Requests, r.Work, r.Steps)
		}
	}
	if len(ranges) != 2 || ranges[0] != "" || !strings.HasPrefix(ranges[1], "bytes=") {
		t.Errorf("asked for ranges %q, want the whole and then the rest, once", ranges)
	}
}

// A download that is not the published file is refused, and said to be.
func TestQwenTraceIsChecked(t *testing.T) {
	asked := 0
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		asked++
		fmt.Fprint(w, "not this one")
	}))
	defer server.Close()
	status, _, errs := invoke(t, "", "bench", "virtual", "--trace-format", "qwen", "--trace-url", server.URL+"/x", "--data-dir", t.TempDir())
	if status != 1 || asked != 1 || !strings.Contains(errs, "sends 12 bytes, want 56354493") || !strings.Contains(errs, "--trace-file") {
		t.Errorf("status %d, asked %d times: %s", status, asked, errs)
	}
}
