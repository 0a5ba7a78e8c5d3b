package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/troupe-llm/troupe/bench"
)

func TestBenchSimpleAndOnlineAgainstAServer(t *testing.T) {
	s := start(t, "--port", "0", "--max-seq-len", "512")
	defer s.end(0)
	defer s.signal(os.Interrupt)
	for _, api := range [][]string{nil, {"--api", "chat", "--tokenizer", "builtin"}} {
		args := append([]string{
			"bench", "simple", "--url", s.url, "--batch-size", "6", "--input-len", "1:60", "--output-len", "2:9", "--vocab", "4000", "--json", "-",
		}, api...)
		status, out, errs := invoke(t, "", args...)
		if status != 0 {
			t.Fatal(errs)
		}
		r := readReport(t, out)
		in, tokens := 0, 0
		for _, p := range bench.RandomPrompts(42, 6, bench.Range{Low: 1, High: 60}, bench.Range{Low: 2, High: 9}, 10001) {
			in, tokens = in+len(p.Tokens), tokens+p.MaxTokens
		}
		if r.Kind != "simple" || r.Requests != 6 || r.TotalInputTokens != in || r.TotalOutputTokens != tokens {
			t.Errorf("%v: %d requests, %d tokens in, %d out; want %d, %d", api, r.Requests, r.TotalInputTokens, r.TotalOutputTokens, in, tokens)
		}
		if r.Online.Client.CPUS <= 0 || r.Environment.Device != "" || r.Steps.Total != 0 {
			t.Errorf("%v: client %+v, device %q, steps %+v", api, r.Online.Client, r.Environment.Device, r.Steps)
		}
	}
}

// What the commands ask for by default is made to fit a server that takes less.
func TestBenchFitsTheServer(t *testing.T) {
	s := start(t, "--port", "0", "--max-seq-len", "256")
	defer s.end(0)
	defer s.signal(os.Interrupt)
	trace := filepath.Join(t.TempDir(), "trace.csv")
	rows := "Timestamp,Model,Request tokens,Response tokens,Total tokens,Log Type\n1,x,250,7,0,\n2,x,50,4,0,\n2,x,249,7,0,\n"
	if err := os.WriteFile(trace, []byte(rows), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		args        []string
		in, out     string
		fitted      string
		requests    int
		refusedWith string
	}{
		{args: []string{"simple", "--batch-size", "4"}, in: "1:227", out: "16:29", fitted: "1–227 and replies 16–29, not 1–8,192 and 16–1,024", requests: 4},
		{args: []string{"simple", "--batch-size", "4", "--api", "chat", "--tokenizer", "builtin"}, in: "1:", out: "16:", fitted: "the model takes 2", requests: 4},
		{args: []string{"online", "--num-requests", "3", "--rate", "100"}, in: "100:128", out: "100:128", fitted: "the model takes 256 tokens", requests: 3},
		{args: []string{"online", "--num-requests", "3", "--rate", "100", "--output-len", "6"}, in: "100:250", out: "6", fitted: "replies 6, not", requests: 3},
		{args: []string{"online", "--num-requests", "3", "--rate", "100", "--output-len", "6", "--input-len", "250"}, in: "250", out: "6", requests: 3},
		{args: []string{"online", "--output-len", "6", "--input-len", "251"}, refusedWith: "251 + 6 tokens do not fit: the longest this model takes is 256"},
		{args: []string{"online", "--trace-file", trace}, in: "50:249", out: "4:7", fitted: "so 1 of the trace's 3 are left out", requests: 2},
	} {
		status, out, errs := invoke(t, "", append(append([]string{"bench"}, c.args...), "--url", s.url, "--json", "-")...)
		if c.refusedWith != "" {
			if status != 1 || !strings.Contains(errs, c.refusedWith) {
				t.Errorf("%v: status %d: %s", c.args, status, errs)
			}
			continue
		}
		if status != 0 {
			t.Fatalf("%v: %s", c.args, errs)
		}
		r := readReport(t, out)
		if w := r.Work; r.Requests != c.requests || r.Failed != 0 || !strings.HasPrefix(w.InputLen, c.in) || !strings.HasPrefix(w.OutputLen, c.out) ||
			!strings.Contains(w.Fitted, c.fitted) || (w.Fitted == "") != (c.fitted == "") || w.PromptIDs != 4096 {
			t.Errorf("%v: %d requests, %d failed: %s, of %+v", c.args, r.Requests, r.Failed, r.Failure, w)
		}
	}
	status, out, errs := invoke(t, "", "bench", "offline", "--num-seqs", "4", "--max-seq-len", "128")
	if status != 0 || !strings.Contains(out, "fitted      the model takes 128 tokens a request, so prompts have 64 and replies 64, not 100–1,024 and 100–1,024\n") {
		t.Errorf("status %d: %s%s", status, out, errs)
	}
}

func TestBenchOfflineRepeatsAndCompares(t *testing.T) {
	dir := t.TempDir()
	a, b := filepath.Join(dir, "a.json"), filepath.Join(dir, "b.json")
	small := []string{"bench", "offline", "--num-seqs", "4", "--input-len", "5:9", "--output-len", "4", "--warm-up", "0"}
	status, out, errs := invoke(t, "", append(small, "--compare", "overlap", "--repeat", "3", "--json", a)...)
	if status != 0 || !strings.Contains(out, "3 runs and 3 runs") || !strings.Contains(out, "overlap off, run 3") {
		t.Fatalf("status %d:\n%s%s", status, out, errs)
	}
	r, err := openReport(a)
	if err != nil {
		t.Fatal(err)
	}
	if len(r.Runs) != 6 || !r.Runs[0].Environment.Overlap || r.Runs[1].Environment.Overlap || r.Comparison == nil || r.Comparison.Rows[0].Low == nil {
		t.Errorf("%+v", r)
	}
	if status, _, errs = invoke(t, "", append(small, "--repeat", "3", "--json", b)...); status != 0 {
		t.Fatal(errs)
	}
	status, out, errs = invoke(t, "", "bench", "compare", a, b)
	if status != 0 || !strings.Contains(out, "3 runs and 3 runs") || !strings.Contains(out, "output_throughput") {
		t.Errorf("status %d:\n%s%s", status, out, errs)
	}
	status, out, errs = invoke(t, "", "bench", "compare", b, b, b, b)
	if status != 0 || !strings.Contains(out, "6 runs and 6 runs") {
		t.Errorf("status %d:\n%s%s", status, out, errs)
	}
	if status, _, errs = invoke(t, "", "bench", "compare", a, b, a); status != 2 || !strings.Contains(errs, "in turns") {
		t.Errorf("status %d: %s", status, errs)
	}
	if status, out, _ = invoke(t, "", "bench", "compare", "--json", a, b); status != 0 || !strings.HasPrefix(out, "[\n") {
		t.Errorf("status %d: %s", status, out)
	}
	if status, _, errs = invoke(t, "", "bench", "compare", a, filepath.Join(dir, "none.json")); status != 1 || !strings.Contains(errs, "none.json") {
		t.Errorf("status %d: %s", status, errs)
	}
}
