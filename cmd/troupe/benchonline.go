package main

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"net"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/troupe-llm/troupe/actors"
	"github.com/troupe-llm/troupe/bench"
	"github.com/troupe-llm/troupe/http"
)

// onlineOptions are the flags of bench online.
type onlineOptions struct {
	TraceFile   string        `flag:"trace-file" value:"FILE" help:"real arrivals and lengths, from a file; without one they are drawn"`
	TraceFormat string        `flag:"trace-format" choices:"mooncake" help:"what wrote the trace file"`
	NumRequests int           `flag:"num-requests" value:"N" min:"1" help:"requests in all: the first N of a trace"`
	Scale       string        `flag:"scale" value:"X,…" help:"play the trace once for each factor, its times multiplied by it: 0.5 is twice as fast"`
	Rate        float64       `flag:"rate" value:"R" min:"0" max:"1000000" help:"requests a second, without a trace"`
	Constant    bool          `flag:"constant" help:"with --rate: evenly apart, not at random (a Poisson process)"`
	Concurrency int           `flag:"concurrency" value:"N" min:"0" help:"keep N requests open, each next one sent as one ends, in place of arrival times (0: off)"`
	InputLen    bench.Range   `flag:"input-len" help:"tokens of a prompt, drawn uniformly, or one length; without a trace"`
	OutputLen   bench.Range   `flag:"output-len" help:"tokens of a reply, drawn uniformly, or one length; without a trace"`
	Vocab       int           `flag:"vocab" value:"N" min:"2" help:"prompts are made of token ids below N; lower it for a small vocabulary"`
	Seed        uint64        `flag:"seed" value:"N" help:"of what is drawn"`
	Temperature float64       `flag:"temperature" value:"T" min:"0" max:"100" help:"0 always takes the likeliest token"`
	Warmup      int           `flag:"warm-up" value:"N" min:"0" help:"short requests that run before the measured ones"`
	SLOTTFT     time.Duration `flag:"slo-ttft" value:"DURATION" min:"0" help:"a request counts as goodput when its first token came within this (0: always)"`
	SLOITL      time.Duration `flag:"slo-itl" value:"DURATION" min:"0" help:"and its tokens followed each other within this, on average (0: always)"`
	JSON        string        `flag:"json" value:"FILE" help:"also write the report as JSON; - is standard output, in place of the table"`
}

func newBenchOnline() *cobra.Command {
	cfg := defaultConfig()
	cfg.Log.Level = "warn"
	o := &onlineOptions{
		TraceFormat: "mooncake", NumRequests: 1000, Scale: "1", Rate: 10, Vocab: 10001, Warmup: 4,
		InputLen: bench.Range{Low: 100, High: 1024}, OutputLen: bench.Range{Low: 100, High: 1024},
	}
	cmd := &cobra.Command{
		Use:   "online [flags]",
		Short: "Measure latencies: requests over the wire, as users send them",
		Long: `Online sends requests to an OpenAI-compatible server as they would come from users: by
a recorded trace, at a rate, or so many at a time. It measures the time to the first
token, between tokens, and to the end. With --url the server may be any (this one,
vLLM, SGLang); without, one is started in this process and reached over loopback.`,
		Example: `  troupe bench online --rate 20 --num-requests 200
  troupe bench online --url http://127.0.0.1:1919 --concurrency 64
  troupe bench online --url http://gpu:8000 --trace-file trace.jsonl --scale 0.5,1,2 --json out.json`,
		Args: noArgs,
	}
	sections := append([]section{{"Work and report", o}, {"Server", &cfg.Remote}}, cfg.engineSections()...)
	found := bind(cmd, append(sections, section{"Logs", &cfg.Log})...)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		cfg.check(found)
		scales := o.scales(found)
		if o.TraceFile == "" && o.Rate == 0 && o.Concurrency == 0 {
			found.add("--rate is 0; it must be positive, unless --concurrency or --trace-file says when requests are sent")
		}
		if found.err() != nil {
			return found.err()
		}
		return benchOnline(cmd, cfg, o, scales)
	}
	return cmd
}

func (o *onlineOptions) scales(found *faults) (scales []float64) {
	for part := range strings.SplitSeq(o.Scale, ",") {
		x, err := strconv.ParseFloat(strings.TrimSpace(part), 64)
		if err != nil || x <= 0 {
			found.add("--scale is %q; it must be positive numbers with commas between, such as 0.4,0.5,1", o.Scale)
			return nil
		}
		scales = append(scales, x)
	}
	if o.TraceFile == "" && !slices.Equal(scales, []float64{1}) {
		found.add("--scale is %q; it stretches a trace's times, so it needs --trace-file", o.Scale)
	}
	return scales
}

func benchOnline(cmd *cobra.Command, cfg *Config, o *onlineOptions, scales []float64) (err error) {
	ctx, cancel := interruptible(cmd.Context())
	defer cancel()
	url, stop, err := target(cmd, cfg)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, stop()) }()
	client := bench.NewClient(url, cfg.Remote.APIKey, cfg.Remote.Name, 65536)
	defer client.Close()
	if client.Model == "" {
		if client.Model, err = client.FirstModel(ctx); err != nil {
			return err
		}
	}
	var trace []bench.TraceRequest
	if o.TraceFile != "" {
		if trace, err = readTrace(o.TraceFile, o.NumRequests); err != nil {
			return err
		}
	}
	var whole *bench.Report
	var total bench.Progress // the same at every scale
	for i, scale := range scales {
		run, words := o.run(client, trace, scale)
		run.Environment = environment(cmd, cfg)
		if i == 0 {
			total = bench.Total(run.Arrivals)
		}
		run.Total = total
		run.Progress = showRun(cmd.ErrOrStderr())
		report, err := run.Run(ctx, words)
		if err != nil {
			return err
		}
		if o.JSON != "-" {
			if err := report.WriteText(cmd.OutOrStdout()); err != nil {
				return err
			}
		}
		if whole == nil {
			whole = report
		}
		if len(scales) > 1 {
			one := *report
			one.Runs = nil
			whole.Runs = append(whole.Runs, &one)
		}
	}
	return writeReport(o.JSON, cmd.OutOrStdout(), whole)
}

// run is one measurement and how its requests arrive, in words.
func (o *onlineOptions) run(c *bench.Client, trace []bench.TraceRequest, scale float64) (*bench.Online, string) {
	run := &bench.Online{
		Client: c, Concurrency: o.Concurrency, Temperature: o.Temperature, Seed: o.Seed,
		Warmup: o.Warmup, SLO: bench.SLO{TTFT: o.SLOTTFT, ITL: o.SLOITL},
	}
	words := ""
	if trace != nil {
		run.Arrivals = bench.Replay(trace, 1/scale, o.Vocab)
		words = fmt.Sprintf("the first %d requests of %s, times × %g", len(trace), o.TraceFile, scale)
	} else {
		run.Arrivals, words = o.drawn()
	}
	if o.Concurrency > 0 {
		words = fmt.Sprintf("%d open at a time", o.Concurrency)
	}
	return run, words
}

// drawn are requests without a trace.
func (o *onlineOptions) drawn() (iter.Seq[bench.Arrival], string) {
	prompts := bench.RandomPrompts(o.Seed, o.NumRequests, o.InputLen, o.OutputLen, o.Vocab)
	rate := o.Rate
	if rate == 0 {
		rate = 1 // with a concurrency, times do not matter
	}
	how := "Poisson"
	if o.Constant {
		how = "evenly apart"
	}
	return bench.Paced(prompts, rate, !o.Constant, o.Seed), fmt.Sprintf("%g requests/s, %s", rate, how)
}

// readTrace reads at most n requests of a trace.
func readTrace(name string, n int) ([]bench.TraceRequest, error) {
	file, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	trace, err := bench.ReadMooncake(file, n)
	if err == nil && len(trace) == 0 {
		err = errors.New("it holds no requests")
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return trace, nil
}

// target is the server to measure: the one named, or one of this process on
// loopback.
func target(cmd *cobra.Command, cfg *Config) (url string, stop func() error, err error) {
	if cfg.Remote.URL != "" {
		return cfg.Remote.URL, func() error { return nil }, nil
	}
	log := cfg.Log.newLogger(cmd.ErrOrStderr())
	engine := cfg.actors(log, showProgress(cmd.ErrOrStderr(), log, "loading"))
	engine.MaxOpenRequests = max(engine.MaxOpenRequests, 65536)
	system, err := actors.Open(engine)
	if err != nil {
		return "", nil, err
	}
	server, err := http.New(cfg.http(), system, log)
	if err != nil {
		return "", nil, errors.Join(err, system.Close())
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", nil, errors.Join(err, system.Close())
	}
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()
	return "http://" + listener.Addr().String(), func() error {
		now, cancel := context.WithCancel(context.Background())
		cancel()
		if err := server.Shutdown(now); err != nil && !errors.Is(err, context.Canceled) {
			return errors.Join(err, system.Close())
		}
		return errors.Join(<-served, system.Close())
	}, nil
}
