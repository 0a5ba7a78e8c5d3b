package main

import (
	"fmt"
	"iter"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/troupe-llm/troupe/actors"
	"github.com/troupe-llm/troupe/actors/plan"
	"github.com/troupe-llm/troupe/bench"
	"github.com/troupe-llm/troupe/gpu/device"
	"github.com/troupe-llm/troupe/gpu/model"
)

// virtualOptions are the flags of bench virtual.
type virtualOptions struct {
	NumSeqs   int           `flag:"num-seqs" value:"N" min:"1" help:"requests, all sent at once; without a trace"`
	InputLen  bench.Range   `flag:"input-len" help:"tokens of a prompt, drawn uniformly, or one length; without a trace"`
	OutputLen bench.Range   `flag:"output-len" help:"tokens of a reply, drawn uniformly, or one length; without a trace"`
	Seed      uint64        `flag:"seed" value:"N" help:"of what is drawn"`
	HostCost  time.Duration `flag:"host-cost" value:"DURATION" min:"0" help:"what the processor is taken to need for each step"`

	Report reportOptions
}

func newBenchVirtual() *cobra.Command {
	cfg := defaultConfig()
	cfg.Log.Level = "warn"
	cfg.Engine.Models, cfg.Engine.Device, cfg.Engine.DummyWeights = []string{"qwen3-14b"}, "sim:h200", true
	source := newTraceSource()
	o := &virtualOptions{
		NumSeqs: 256, HostCost: 60 * time.Microsecond,
		InputLen: bench.Range{Low: 100, High: 1024}, OutputLen: bench.Range{Low: 100, High: 1024},
	}
	cmd := &cobra.Command{
		Use:   "virtual [flags]",
		Short: "Ask what a simulated GPU would do, on a clock of its own",
		Long: `Virtual runs the scheduler on a simulated device whose time passes as fast as it can be
computed: an hour of traffic takes seconds, and the same question has the same answer to
the last digit. Step times come from a roofline model of the device, fitted to steps
measured on an H200 (bench/results/virtual.md says how well).`,
		Example: `  troupe bench virtual --model qwen3-0.6b
  troupe bench virtual --device sim:h200,tp=8 --trace-file trace.jsonl --num-requests 10000 \
    --max-seq-len 131072`,
		Args: noArgs,
	}
	sections := append([]section{{"Trace", &source}, {"Work", o}, {"Report", &o.Report}}, cfg.engineSections()...)
	found := bind(cmd, append(sections, section{"Logs", &cfg.Log})...)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		cfg.check(found)
		source.check(cmd, found, "num-seqs", "input-len", "output-len")
		if !source.wanted() && cmd.Flags().Changed("num-requests") {
			found.add("--num-requests is %d; it needs --trace-file: without a trace --num-seqs says how many", source.NumRequests)
		}
		if !strings.HasPrefix(cfg.Engine.Device, "sim:") {
			found.add("--device is %q; a virtual clock needs a simulated device, such as sim:h200", cfg.Engine.Device)
		}
		if cfg.Engine.DP > 1 {
			found.add("--dp is %d; a virtual clock has one engine; troupe bench cluster has many", cfg.Engine.DP)
		}
		if found.err() != nil {
			return found.err()
		}
		return benchVirtual(cmd, cfg, o, &source)
	}
	return cmd
}

func benchVirtual(cmd *cobra.Command, cfg *Config, o *virtualOptions, source *traceSource) error {
	ctx, cancel := interruptible(cmd.Context())
	defer cancel()
	found, err := findModel(cmd, cfg.Engine.Model(), cfg.Engine.part(), cfg.Log.newLogger(cmd.ErrOrStderr()))
	if err != nil {
		return err
	}
	m, err := model.Open(found, cfg.Engine.DummyWeights)
	if err != nil {
		return err
	}
	defer m.Close()
	var trace *bench.Trace
	if source.wanted() {
		if trace, err = source.read(ctx, cmd, &cfg.Log); err != nil {
			return err
		}
	}
	// A simulated device computes no positions, so a request may be longer
	// than the model was made for.
	m.Config.MaxPositions = max(m.Config.MaxPositions, cfg.Schedule.MaxSeqLen)
	engine := cfg.actors(cfg.Log.newLogger(cmd.ErrOrStderr()), nil)
	v := bench.Virtual{
		Device: device.Spec{
			Device: engine.Device, TP: engine.TP, Model: m, DType: engine.DType, Quantization: engine.Quantization, KVDType: engine.KVDType, Slots: engine.MaxRunningRequests, Drafts: engine.Speculative == actors.NGram, PageSize: engine.PageSize,
			NumPages: engine.NumPages, MemoryRatio: engine.MemoryRatio, MaxSeqLen: engine.MaxSeqLen, MaxStepTokens: engine.MaxPrefillLength, Deterministic: engine.Deterministic,
		},
		Plan:     plan.Config{Cache: engine.Cache, Schedule: engine.Schedule, Policy: engine.Policy, Overlap: !engine.NoOverlap, TargetITL: int64(engine.TargetITL)},
		HostCost: o.HostCost, Environment: environment(cmd, cfg),
	}
	if engine.Speculative == actors.NGram {
		v.Plan.Drafts = plan.MaxDrafts
	}
	var runs []*bench.Report
	for _, scale := range source.Scale {
		var arrivals iter.Seq[bench.Arrival]
		if trace != nil {
			arrivals, v.Work = trace.Replay(scale, m.Config.Vocab, 0), source.work(trace, scale)
		} else {
			arrivals = bench.AtOnce(bench.RandomPrompts(o.Seed, o.NumSeqs, o.InputLen, o.OutputLen, m.Config.Vocab))
			v.Work.InputLen, v.Work.OutputLen, v.Work.PromptIDs = o.InputLen.String(), o.OutputLen.String(), m.Config.Vocab
		}
		v.Work.Seed = o.Seed
		report, err := v.Run(arrivals)
		if err != nil {
			return err
		}
		run := report.Report()
		if trace != nil {
			run.Label = bench.Scale(scale)
		}
		runs = append(runs, run)
		if o.Report.quiet() {
			continue
		}
		if run.Label != "" {
			fmt.Fprintf(cmd.OutOrStdout(), "%-14s %s\n", "run", run.Label)
		}
		if _, err := fmt.Fprint(cmd.OutOrStdout(), report); err != nil {
			return err
		}
	}
	return o.Report.writeRuns(cmd.OutOrStdout(), bench.Together(runs))
}
