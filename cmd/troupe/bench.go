package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/troupe-llm/troupe/actors"
	"github.com/troupe-llm/troupe/bench"
)

func newBench() *cobra.Command {
	cmd := &cobra.Command{
		Use: "bench COMMAND", Short: "Measure how fast it is",
		Args: cobra.ArbitraryArgs, RunE: needCommand, DisableFlagsInUseLine: true,
	}
	cmd.AddCommand(
		newBenchAccuracy(), newBenchCluster(), newBenchCompare(), newBenchFormats(), newBenchOffline(), newBenchOnline(), newBenchReport(), newBenchSimple(), newBenchStreams(), newBenchSums(),
		newBenchTrace(), newBenchVirtual(), newBenchWildchat(),
	)
	return cmd
}

// offlineOptions are the flags of bench offline alone.
type offlineOptions struct {
	NumSeqs     int         `flag:"num-seqs" value:"N" min:"1" help:"requests, all sent at once"`
	InputLen    bench.Range `flag:"input-len" help:"tokens of a prompt, drawn uniformly, or one length"`
	OutputLen   bench.Range `flag:"output-len" help:"tokens of a reply, drawn uniformly, or one length"`
	Seed        uint64      `flag:"seed" value:"N" help:"of prompts and lengths: the very ones that Python's random draws"`
	Temperature float64     `flag:"temperature" value:"T" min:"0" max:"100" help:"0 always takes the likeliest token"`
	IgnoreEOS   bool        `flag:"ignore-eos" help:"generate every token asked for; --ignore-eos=false lets stop tokens end a reply"`
	Warmup      int         `flag:"warm-up" value:"N" min:"0" help:"short requests that run before the measured ones"`

	Report reportOptions
}

// againOptions are the flags of how often bench offline measures.
type againOptions struct {
	Repeat  int    `flag:"repeat" value:"N" min:"1" help:"measure so many times, each with a system opened anew; the report is of the median run"`
	Compare string `flag:"compare" choices:"nothing,overlap" help:"overlap measures with overlap and without, in turns, and tells the ratio"`
}

func newBenchOffline() *cobra.Command {
	cfg := defaultConfig()
	cfg.Log.Level = "warn"
	o := &offlineOptions{
		NumSeqs: 256, InputLen: bench.Range{Low: 100, High: 1024}, OutputLen: bench.Range{Low: 100, High: 1024},
		Temperature: 0.6, IgnoreEOS: true, Warmup: 8,
	}
	again := &againOptions{Repeat: 1, Compare: "nothing"}
	cmd := &cobra.Command{
		Use:   "offline [flags]",
		Short: "Measure throughput: many requests at once, in this process",
		Long: `Offline sends every request at once to a model in this process and measures until the
last token. The defaults are the work of nano-vLLM's benchmark: with seed 0, 142,827
tokens in and 133,966 out. A vocabulary smaller than the ids drawn takes them modulo its
size; lengths stay the same.`,
		Example: `  troupe bench offline --num-seqs 64 --input-len 16:128 --output-len 16:128 --json out.json
  troupe bench offline --model Qwen3-0.6B --dummy-weights --compare overlap --repeat 3`,
		Args: noArgs,
	}
	sections := append([]section{{"Work", o}, {"Repetition", again}, {"Report", &o.Report}}, cfg.engineSections()...)
	found := bind(cmd, append(sections, section{"Logs", &cfg.Log})...)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if cfg.check(found); found.err() != nil {
			return found.err()
		}
		return benchOffline(cmd, cfg, o, again)
	}
	return cmd
}

func benchOffline(cmd *cobra.Command, cfg *Config, o *offlineOptions, again *againOptions) error {
	ctx, cancel := interruptible(cmd.Context())
	defer cancel()
	stderr := cmd.ErrOrStderr()
	log := cfg.Log.newLogger(stderr)
	kinds := []bool{cfg.Schedule.Overlap}
	if again.Compare == "overlap" {
		kinds = []bool{true, false}
	}
	var runs []*bench.Report
	byKind := map[bool][]*bench.Report{}
	var failure error // of the last run: those before are told of
	// In turns, so that what the machine does besides falls on both alike.
	for i := range again.Repeat * len(kinds) {
		one, overlap := *cfg, kinds[i%len(kinds)]
		one.Schedule.Overlap = overlap
		engine, err := one.engine(cmd, log)
		if err != nil {
			return err
		}
		var report *bench.Report
		report, failure = runOffline(ctx, cmd, &one, o, engine)
		if failure != nil {
			break
		}
		report.Label = again.label(i/len(kinds), overlap)
		runs, byKind[overlap] = append(runs, report), append(byKind[overlap], report)
		if !o.Report.quiet() {
			if err := report.WriteText(cmd.OutOrStdout()); err != nil {
				return err
			}
		}
	}
	switch {
	case len(runs) == 0:
		return failure
	case again.Compare == "nothing":
		return errors.Join(o.Report.writeRuns(cmd.OutOrStdout(), bench.Repeated(runs)), failure)
	}
	whole := bench.Together(runs)
	if len(runs) > 1 { // the first two are of both kinds
		whole.Comparison = bench.CompareRuns(byKind[false], byKind[true], "without overlap", "with overlap")
	}
	if err := o.Report.writeRuns(cmd.OutOrStdout(), whole); err != nil || o.Report.quiet() || whole.Comparison == nil {
		return errors.Join(err, failure)
	}
	return errors.Join(whole.Comparison.WriteText(cmd.OutOrStdout()), failure)
}

// label names one of several runs.
func (a *againOptions) label(i int, overlap bool) string {
	var parts []string
	if a.Compare == "overlap" {
		parts = append(parts, map[bool]string{true: "overlap on", false: "overlap off"}[overlap])
	}
	if a.Repeat > 1 {
		parts = append(parts, fmt.Sprintf("run %d", i+1))
	}
	return strings.Join(parts, ", ")
}

// runOffline opens a system, runs the work on it and closes it.
func runOffline(ctx context.Context, cmd *cobra.Command, cfg *Config, o *offlineOptions, engine actors.Config) (report *bench.Report, err error) {
	engine.MaxOpenRequests = max(engine.MaxOpenRequests, o.NumSeqs)
	if engine.Trace == nil {
		engine.Trace = bench.NewGlimpse()
	}
	system, err := actors.Open(engine)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, system.Close()) }()
	in, out := o.InputLen, o.OutputLen
	fitted, err := fitLengths(cmd, &in, &out, system.Device().MaxSeqLen)
	if err != nil {
		return nil, err
	}
	run := bench.Offline{
		NumSeqs: o.NumSeqs, Input: in, Output: out, Seed: o.Seed,
		Temperature: o.Temperature, KeepEOS: !o.IgnoreEOS, Warmup: o.Warmup,
		Progress:    showRun(cmd.ErrOrStderr()),
		Environment: environment(cmd, cfg),
	}
	if report, err = run.Run(ctx, system); err != nil {
		return nil, err
	}
	report.Work.Fitted = fitted
	return report, nil
}

// writeTo writes to a file, to out for "-", or nowhere for "".
func writeTo(name string, out io.Writer, write func(io.Writer) error) (err error) {
	switch name {
	case "":
		return nil
	case "-":
		return write(out)
	}
	file, err := os.Create(name)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	return write(file)
}

// environment is what this program knows of where it measures.
func environment(cmd *cobra.Command, cfg *Config) bench.Environment {
	b := thisBuild()
	e := bench.Environment{
		Time: time.Now(), Version: b.Version, Commit: b.Commit, Go: b.Go, Platform: b.Platform, CPUs: runtime.GOMAXPROCS(0),
		Flags: flagsGiven(cmd),
	}
	if cfg.Remote.URL == "" { // else nothing is known of the engine
		e.Device, e.Overlap = cfg.Engine.Device, cfg.Schedule.Overlap
		e.TargetITL = cfg.Schedule.TargetITL.Seconds() * 1e3
		e.Driver = findDriver(os.DirFS("/"))
	}
	return e
}

// flagsGiven are the flags that differ from their defaults, wherever they were
// given, to repeat a run. Secrets are not among them.
func flagsGiven(cmd *cobra.Command) []string {
	given := []string{}
	cmd.Flags().VisitAll(func(f *pflag.Flag) {
		v, ours := f.Value.(*flagValue)
		if (f.Changed || f.Value.String() != f.DefValue) && !(ours && v.tags.Get("secret") != "") && f.Name != "config" {
			given = append(given, "--"+f.Name+"="+f.Value.String())
		}
	})
	return given
}
