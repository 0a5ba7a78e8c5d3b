package main

import (
	"fmt"
	"iter"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/troupe-llm/troupe/actors/plan"
	"github.com/troupe-llm/troupe/bench"
	"github.com/troupe-llm/troupe/gpu/device"
	"github.com/troupe-llm/troupe/gpu/model"
)

// virtualOptions are the flags of bench virtual.
type virtualOptions struct {
	TraceFile   string        `flag:"trace-file" value:"FILE" help:"real arrivals and lengths, in Mooncake's format; without one, all requests come at once"`
	NumRequests int           `flag:"num-requests" value:"N" min:"1" help:"requests in all: the first N of a trace"`
	Scale       float64       `flag:"scale" value:"X" min:"0.000001" max:"1000000" help:"multiply the trace's times: 0.5 is twice as fast"`
	InputLen    bench.Range   `flag:"input-len" help:"tokens of a prompt, drawn uniformly, or one length; without a trace"`
	OutputLen   bench.Range   `flag:"output-len" help:"tokens of a reply, drawn uniformly, or one length; without a trace"`
	Seed        uint64        `flag:"seed" value:"N" help:"of what is drawn"`
	HostCost    time.Duration `flag:"host-cost" value:"DURATION" min:"0" help:"what the processor is taken to need for each step"`
	JSON        string        `flag:"json" value:"FILE" help:"also write the report as JSON; - is standard output, in place of the table"`
}

func newBenchVirtual() *cobra.Command {
	cfg := defaultConfig()
	cfg.Log.Level = "warn"
	cfg.Engine.Model, cfg.Engine.Device, cfg.Engine.DummyWeights = "qwen3-14b", "sim:h200", true
	o := &virtualOptions{
		NumRequests: 256, Scale: 1, HostCost: 60 * time.Microsecond,
		InputLen: bench.Range{Low: 100, High: 1024}, OutputLen: bench.Range{Low: 100, High: 1024},
	}
	cmd := &cobra.Command{
		Use:   "virtual [flags]",
		Short: "Ask what a simulated GPU would do, on a clock of its own",
		Long: `Virtual runs the scheduler on a simulated device whose time passes as fast as it can be
computed: an hour of traffic takes seconds, and the same question has the same answer to
the last digit. Step times come from a roofline model of the device, not from a
measurement.`,
		Example: `  troupe bench virtual --model qwen3-0.6b
  troupe bench virtual --device sim:h200,tp=8 --trace-file trace.jsonl --num-requests 10000 \
    --max-seq-len 131072`,
		Args: noArgs,
	}
	sections := append([]section{{"Work", o}}, cfg.engineSections()...)
	found := bind(cmd, append(sections, section{"Logs", &cfg.Log})...)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		cfg.check(found)
		if !strings.HasPrefix(cfg.Engine.Device, "sim:") {
			found.add("--device is %q; a virtual clock needs a simulated device, such as sim:h200", cfg.Engine.Device)
		}
		if found.err() != nil {
			return found.err()
		}
		return benchVirtual(cmd, cfg, o)
	}
	return cmd
}

func benchVirtual(cmd *cobra.Command, cfg *Config, o *virtualOptions) error {
	m, err := model.Open(cfg.Engine.Model, cfg.Engine.DummyWeights)
	if err != nil {
		return err
	}
	defer m.Close()
	// A simulated device computes no positions, so a trace may be longer than
	// the model was made for.
	m.Config.MaxPositions = max(m.Config.MaxPositions, cfg.Schedule.MaxSeqLen)
	engine := cfg.actors(cfg.Log.newLogger(cmd.ErrOrStderr()), nil)
	v := bench.Virtual{
		Device: device.Spec{
			Device: engine.Device, Model: m, DType: engine.DType, Slots: engine.MaxRunningRequests, PageSize: engine.PageSize,
			NumPages: engine.NumPages, MemoryRatio: engine.MemoryRatio, MaxSeqLen: engine.MaxSeqLen, MaxStepTokens: engine.MaxPrefillLength,
		},
		Plan:     plan.Config{Cache: engine.Cache, Schedule: engine.Schedule, Policy: engine.Policy, Overlap: !engine.NoOverlap},
		HostCost: o.HostCost, Work: bench.Work{Seed: o.Seed}, Environment: environment(cmd, cfg),
	}
	arrivals, err := o.arrivals(m.Config.Vocab)
	if err != nil {
		return err
	}
	report, err := v.Run(arrivals)
	if err != nil {
		return err
	}
	if o.JSON != "-" {
		if _, err := fmt.Fprint(cmd.OutOrStdout(), report); err != nil {
			return err
		}
	}
	return writeReport(o.JSON, cmd.OutOrStdout(), report.Report())
}

func (o *virtualOptions) arrivals(vocab int) (iter.Seq[bench.Arrival], error) {
	if o.TraceFile == "" {
		prompts := bench.RandomPrompts(o.Seed, o.NumRequests, o.InputLen, o.OutputLen, vocab)
		return func(yield func(bench.Arrival) bool) {
			for _, p := range prompts {
				if !yield(bench.Arrival{Prompt: p}) {
					return
				}
			}
		}, nil
	}
	trace, err := readTrace(o.TraceFile, o.NumRequests)
	if err != nil {
		return nil, err
	}
	return bench.Replay(trace, 1/o.Scale, vocab), nil
}
