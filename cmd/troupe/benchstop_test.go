package main

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/troupe-llm/troupe/bench"
)

// cancelAfter writes to a buffer, and cancels once it holds a text.
type cancelAfter struct {
	bytes.Buffer
	text   string
	cancel context.CancelFunc
}

func (w *cancelAfter) Write(p []byte) (int, error) {
	n, err := w.Buffer.Write(p)
	if strings.Contains(w.String(), w.text) {
		w.cancel()
	}
	return n, err
}

// What was measured before Ctrl-C is reported, and what was lost is said.
func TestBenchInterrupted(t *testing.T) {
	dir := t.TempDir()
	trace := filepath.Join(dir, "trace.csv")
	if err := os.WriteFile(trace, []byte("Timestamp,Request tokens,Response tokens\n1,4,2\n2,4,2\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{
		{"offline", "--num-seqs=4", "--input-len=5", "--output-len=4", "--repeat=3"},
		{"offline", "--num-seqs=4", "--input-len=5", "--output-len=4", "--compare=overlap", "--html", filepath.Join(dir, "page.html")},
		{"online", "--trace-file", trace, "--scale=1e-6,1000"},
	} {
		ctx, cancel := context.WithCancel(t.Context())
		out, errs := &cancelAfter{text: "whole request", cancel: cancel}, new(bytes.Buffer)
		file := filepath.Join(dir, "report.json")
		status := run(ctx, append(append([]string{"bench"}, args...), "--device=sim:h200", "--json", file), stdio{in: strings.NewReader(""), out: out, err: errs})
		if status != 130 || !strings.Contains(errs.String(), "requests were done") {
			t.Errorf("%v: status %d: %s", args, status, errs)
		}
		if r, err := openReport(file); err != nil || r.Requests < 2 || len(r.Runs) > 1 {
			t.Errorf("%v: %+v, %v: want the first run", args, r, err)
		}
		cancel()
	}
}

// Bars say how much there is where that is known.
func TestRunBars(t *testing.T) {
	text := runBars(bench.Progress{Requests: 4, Sent: 3, Done: 1, Failed: 1, Decode: 70}, 10*time.Second)
	want := "sent    ▕██████████████████      ▏         3 / 4         requests, 0.3/s\n" +
		"done    ▕██████                  ▏         1 / 4         requests, 0.1/s, 1 failed\n" +
		"prefill ▕                        ▏         0             tokens, 0.0/s\n" +
		"decode  ▕                        ▏        70             tokens, 7.0/s\n"
	if text != want {
		t.Errorf("%s\nwant\n%s", text, want)
	}
}
