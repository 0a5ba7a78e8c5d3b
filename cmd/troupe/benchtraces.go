package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/troupe-llm/troupe/bench"
	"github.com/troupe-llm/troupe/gpu/model/hub"
)

// traceSource are the flags that say which recorded requests to replay.
type traceSource struct {
	TraceFile   string `flag:"trace-file" value:"FILE" help:"real arrivals and lengths, from a file, perhaps gzipped; without one they are drawn"`
	TraceFormat string `flag:"trace-format" choices:"auto,qwen,mooncake,azure,burstgpt" help:"who published the trace; auto tells by its first line. qwen without --trace-file downloads it, 56 MB"`
	NumRequests int    `flag:"num-requests" value:"N" min:"1" help:"requests in all: the first N of a trace"`
	Scale       scales `flag:"scale" help:"play the trace once for each factor, its times multiplied by it: 0.5 is twice as fast"`
	TraceURL    string `flag:"trace-url" value:"URL" help:"download the qwen trace from here (default: its publisher)"`
	DataDir     string `flag:"data-dir" value:"DIR" help:"where downloads go (default: data under the user's cache directory)"`
}

func newTraceSource() traceSource {
	return traceSource{TraceFormat: "auto", NumRequests: 1000, Scale: scales{1}}
}

// check reports what no single flag can tell. Those named drawn say what
// requests are like where no trace does.
func (t *traceSource) check(cmd *cobra.Command, found *faults, drawn ...string) {
	format := bench.TraceFormat(t.TraceFormat)
	switch {
	case t.wanted():
		for _, name := range drawn {
			if cmd.Flags().Changed(name) {
				found.add("--%s is given, and a trace: requests are as the trace has them", name)
			}
		}
	case t.TraceFormat != "auto":
		found.add("--trace-format is %s; it needs --trace-file (only the %s trace is downloaded)", format, bench.Qwen)
	case t.TraceURL != "":
		found.add("--trace-url is %q; it needs --trace-format %s", t.TraceURL, bench.Qwen)
	case len(t.Scale) != 1 || t.Scale[0] != 1:
		found.add("--scale is %q; it stretches a trace's times, so it needs --trace-file", t.Scale.String())
	}
}

// wanted reports whether there is a trace to replay.
func (t *traceSource) wanted() bool {
	return t.TraceFile != "" || t.TraceFormat == string(bench.Qwen)
}

// qwenTrace is the Bailian trace "to consumers", as published in its
// repository's Git LFS at one commit.
var qwenTrace = hub.FetchConfig{
	URL: "https://media.githubusercontent.com/media/alibaba-edu/qwen-bailian-usagetraces-anon/" +
		"5f7439c51ec248a0c585f7d90a41a6f57773b912/qwen_traceA_blksz_16.jsonl",
	Path:   "qwen_traceA_blksz_16.jsonl",
	Size:   56_354_493,
	SHA256: "07cedc9ed8aff301994ac68ed4aede8123b7603673575eeba9dd677de663db17",
}

// read reads the trace that is wanted, from its file or from what was or is
// downloaded.
func (t *traceSource) read(ctx context.Context, cmd *cobra.Command, log *Log) (*bench.Trace, error) {
	name := t.TraceFile
	if name == "" {
		dir, err := dataDir(t.DataDir)
		if err != nil {
			return nil, err
		}
		fetch := qwenTrace
		fetch.Path = filepath.Join(dir, fetch.Path)
		if t.TraceURL != "" {
			fetch.URL = t.TraceURL
		}
		stderr := cmd.ErrOrStderr()
		fetch.Progress, fetch.Retrying = showProgress(stderr, log.newLogger(stderr), "fetching", true), showRetries(log.newLogger(stderr))
		if _, err := hub.Fetch(ctx, fetch); err != nil {
			return nil, fmt.Errorf("%w\nGive a copy with --trace-file FILE: it is %s", err, fetch.URL)
		}
		name, t.TraceFile = fetch.Path, filepath.Base(fetch.Path)
	}
	file, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	format := bench.TraceFormat(t.TraceFormat)
	if format == "auto" {
		format = ""
	}
	trace, err := bench.ReadTrace(file, format, t.NumRequests)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return trace, nil
}

// work is what a report says of the trace at one scale.
func (t *traceSource) work(trace *bench.Trace, scale float64) bench.Work {
	return bench.Work{Source: filepath.Base(t.TraceFile), Format: string(trace.Format), Scale: scale}
}

// dataDir is where downloads go.
func dataDir(dir string) (string, error) {
	if dir != "" {
		return dir, nil
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("there is no cache directory, so --data-dir is needed: %w", err)
	}
	return filepath.Join(cache, "troupe", "data"), nil
}

// scales are factors, as a flag 0.4,0.5,1.
type scales []float64

// Set implements flag values.
func (s *scales) Set(text string) error {
	var all scales
	for part := range strings.SplitSeq(text, ",") {
		x, err := strconv.ParseFloat(strings.TrimSpace(part), 64)
		if err != nil || !(x >= 1e-6 && x <= 1e6) {
			return errors.New("it must be positive numbers with commas between, such as 0.4,0.5,1")
		}
		all = append(all, x)
	}
	*s = all
	return nil
}

// String is the flag's text.
func (s *scales) String() string {
	var parts []string
	for _, x := range *s {
		parts = append(parts, strconv.FormatFloat(x, 'g', -1, 64))
	}
	return strings.Join(parts, ",")
}

// Type names the value in help texts.
func (s *scales) Type() string { return "X,Y" }
