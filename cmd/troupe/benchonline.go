package main

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"net"
	"syscall"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/troupe-llm/troupe/actors"
	"github.com/troupe-llm/troupe/bench"
	"github.com/troupe-llm/troupe/http"
)

// onlineOptions are the flags of bench online.
type onlineOptions struct {
	Rate        float64     `flag:"rate" value:"R" min:"0" max:"1000000" help:"requests a second, without a trace"`
	Constant    bool        `flag:"constant" help:"with --rate: evenly apart, not at random (a Poisson process)"`
	Concurrency int         `flag:"concurrency" value:"N" min:"0" help:"keep N requests open, each next one sent as one ends, in place of arrival times (0: off)"`
	InputLen    bench.Range `flag:"input-len" help:"tokens of a prompt, drawn uniformly, or one length; without a trace"`
	OutputLen   bench.Range `flag:"output-len" help:"tokens of a reply, drawn uniformly, or one length; without a trace"`
	Vocab       int         `flag:"vocab" value:"N" min:"0" help:"prompts are made of token ids below N (0: 10001, or as many as the server says the model has)"`
	Seed        uint64      `flag:"seed" value:"N" help:"of what is drawn"`
	Temperature float64     `flag:"temperature" value:"T" min:"0" max:"100" help:"0 always takes the likeliest token"`
	Warmup      int         `flag:"warm-up" value:"N" min:"0" help:"short requests that run before the measured ones"`

	Report reportOptions
}

func newBenchOnline() *cobra.Command {
	cfg := defaultConfig()
	cfg.Log.Level = "warn"
	source, w := newTraceSource(), &wire{API: "completions"}
	o := &onlineOptions{
		Rate: 10, Warmup: 4,
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
  troupe bench online --url http://gpu:8000 --trace-format qwen --scale 0.4,0.5,0.6,0.7,0.8,1.6
  troupe bench online --url http://gpu:8000 --trace-file trace.csv --slo-ttft 1s --json out.json`,
		Args: noArgs,
	}
	sections := append([]section{{"Trace", &source}, {"Work", o}, {"Report", &o.Report}, {"Server", &cfg.Remote}, {"Requests", w}}, cfg.engineSections()...)
	found := bind(cmd, append(sections, section{"Logs", &cfg.Log})...)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		cfg.check(found)
		source.check(cmd, found, "rate", "constant", "input-len", "output-len")
		w.check(found)
		checkRemote(cmd, cfg, found)
		for _, name := range []string{"rate", "constant", "scale"} {
			if o.Concurrency > 0 && cmd.Flags().Changed(name) {
				found.add("--%s and --concurrency are two ways to time requests: give one", name)
			}
		}
		if o.Rate == 0 {
			found.add("--rate is 0; it must be positive")
		}
		if found.err() != nil {
			return found.err()
		}
		return benchOnline(cmd, cfg, o, &source, w)
	}
	return cmd
}

func benchOnline(cmd *cobra.Command, cfg *Config, o *onlineOptions, source *traceSource, w *wire) (err error) {
	ctx, cancel := interruptible(cmd.Context())
	defer cancel()
	var trace *bench.Trace
	if source.wanted() {
		if trace, err = source.read(ctx, cmd, &cfg.Log); err != nil {
			return err
		}
	}
	server, err := openTarget(cmd, cfg)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, server.close()) }()
	client, served, err := server.client(ctx, cfg)
	if err != nil {
		return err
	}
	defer client.Close()
	if err := w.open(cmd, client, &served); err != nil {
		return err
	}
	o.Vocab = idsOf(o.Vocab, served)
	var fitted string
	if trace != nil {
		fitted, err = trace.Fit(served.MaxLen)
	} else {
		fitted, err = fitLengths(cmd, &o.InputLen, &o.OutputLen, served.MaxLen)
	}
	if err != nil {
		return err
	}
	var runs []*bench.Report
	var failure error // of the last run: what there is is told
	for i, scale := range source.Scale {
		run, words := o.run(client, source, trace, scale, o.Seed<<8+uint64(i))
		if run.Arrivals, err = w.prepare(run.Arrivals); err != nil {
			return err
		}
		run.SLO, run.Work.Fitted = w.slo(), fitted
		run.Engine = server.system
		run.Environment = environment(cmd, cfg)
		run.Progress = showRun(cmd.ErrOrStderr())
		var report *bench.Report
		if report, failure = run.Run(ctx, words); report == nil {
			break
		}
		if trace != nil {
			report.Label = bench.Scale(scale)
		}
		runs = append(runs, report)
		if !o.Report.quiet() {
			if err := report.WriteText(cmd.OutOrStdout()); err != nil {
				return err
			}
		}
		if failure != nil {
			break
		}
	}
	if len(runs) == 0 {
		return failure
	}
	return errors.Join(o.Report.writeRuns(cmd.OutOrStdout(), bench.Together(runs)), failure)
}

// run is one measurement and how its requests arrive, in words. Each has prompts
// of its own, or the server would remember the last one's.
func (o *onlineOptions) run(c *bench.Client, source *traceSource, trace *bench.Trace, scale float64, salt uint64) (*bench.Online, string) {
	run := &bench.Online{
		Client: c, Concurrency: o.Concurrency, Temperature: o.Temperature, Seed: o.Seed,
		Warmup: o.Warmup,
	}
	words := ""
	if trace != nil {
		run.Arrivals, run.Total, run.Work = trace.Replay(scale, o.Vocab, salt), trace.Total(), source.work(trace, scale)
		words = fmt.Sprintf("the first %d requests of %s (%s), times × %g", len(trace.Requests), run.Work.Source, trace.Format, scale)
	} else {
		run.Arrivals, words = o.drawn(source.NumRequests)
		run.Total = bench.Total(run.Arrivals)
		run.Work.InputLen, run.Work.OutputLen = o.InputLen.String(), o.OutputLen.String()
	}
	run.Work.PromptIDs = o.Vocab
	if o.Concurrency > 0 {
		words = fmt.Sprintf("%d open at a time", o.Concurrency)
	}
	return run, words
}

// drawn are requests without a trace.
func (o *onlineOptions) drawn(n int) (iter.Seq[bench.Arrival], string) {
	prompts := bench.RandomPrompts(o.Seed, n, o.InputLen, o.OutputLen, o.Vocab)
	how := "Poisson"
	if o.Constant {
		how = "evenly apart"
	}
	return bench.Paced(prompts, o.Rate, !o.Constant, o.Seed), fmt.Sprintf("%g requests/s, %s", o.Rate, how)
}

// checkRemote finds flags that say how a model is loaded here when a server is
// named, and the other way round.
func checkRemote(cmd *cobra.Command, cfg *Config, found *faults) {
	if cfg.Remote.URL == "" {
		for _, name := range []string{"api-key", "remote-model"} {
			if cmd.Flags().Changed(name) {
				found.add("--%s is for a server, but there is no --url", name)
			}
		}
		return
	}
	here := pflag.NewFlagSet("", pflag.ContinueOnError)
	for _, s := range cfg.engineSections() {
		addSection(here, s.fields, new(faults))
	}
	here.VisitAll(func(f *pflag.Flag) {
		if cmd.Flags().Changed(f.Name) {
			hint := ""
			if f.Name == "model" {
				hint = ": did you mean --remote-model?"
			}
			found.add("--%s is for a model in this process, but --url names a server%s", f.Name, hint)
		}
	})
}

// target is the server to measure: the one named, or one of this process on
// loopback.
type target struct {
	url    string
	system *actors.System // nil when it is in another process
	close  func() error
}

func openTarget(cmd *cobra.Command, cfg *Config) (*target, error) {
	if cfg.Remote.URL != "" {
		return &target{url: cfg.Remote.URL, close: func() error { return nil }}, nil
	}
	log := cfg.Log.newLogger(cmd.ErrOrStderr())
	engine, err := cfg.engine(cmd, log)
	if err != nil {
		return nil, err
	}
	engine.Trace = bench.NewGlimpse()
	engine.MaxOpenRequests = max(engine.MaxOpenRequests, 65536)
	system, err := actors.Open(engine)
	if err != nil {
		return nil, err
	}
	server, err := http.New(cfg.http(), system, log)
	if err != nil {
		return nil, errors.Join(err, system.Close())
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, errors.Join(err, system.Close())
	}
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()
	return &target{"http://" + listener.Addr().String(), system, func() error {
		now, cancel := context.WithCancel(context.Background())
		cancel()
		if err := server.Shutdown(now); err != nil && !errors.Is(err, context.Canceled) {
			return errors.Join(err, system.Close())
		}
		return errors.Join(<-served, system.Close())
	}}, nil
}

// client is one for the server, which it asks what that serves. A model that
// the server does not list may be asked for by name.
func (t *target) client(ctx context.Context, cfg *Config) (*bench.Client, bench.Served, error) {
	c := bench.NewClient(t.url, cfg.Remote.APIKey, cfg.Remote.Name, 65536)
	served, err := c.Served(ctx)
	switch {
	case err == nil:
		c.Model = served.Name
	case errors.Is(err, syscall.ECONNREFUSED):
		err = fmt.Errorf("%w: is there a server? troupe serve starts one", err)
	case c.Model != "":
		served, err = bench.Served{Name: c.Model}, nil
	}
	if err != nil {
		c.Close()
		return nil, served, err
	}
	return c, served, nil
}
