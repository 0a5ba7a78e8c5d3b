package main

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/troupe-llm/troupe/actors"
	"github.com/troupe-llm/troupe/actors/plan"
	"github.com/troupe-llm/troupe/bench"
	"github.com/troupe-llm/troupe/bench/cluster"
	"github.com/troupe-llm/troupe/gpu/device"
	"github.com/troupe-llm/troupe/gpu/model"
)

// clusterRun are the flags of bench cluster.
type clusterRun struct {
	Engines  []int         `flag:"engines" value:"N,N" help:"engines, each on a device of its own: one run for each number"`
	Fronts   int           `flag:"fronts" value:"N" min:"1" max:"1024" help:"fronts that requests come to in turn, each of which knows what engines tell it"`
	Policies policies      `flag:"policies" help:"how fronts choose engines, one run for each: prefix (what troupe does), round-robin, least-loaded, consistent-hashing (with bounded loads), oracle (which sees all as it is), pooled (one engine with the memory and speed of all), or all"`
	HostCost time.Duration `flag:"host-cost" value:"DURATION" min:"0" help:"what the processor is taken to need for each step"`
	Delay    time.Duration `flag:"delay" value:"DURATION" min:"0" help:"what a message between hosts takes"`
	Beat     time.Duration `flag:"beat" value:"DURATION" min:"0" help:"how often an engine tells a front what is new in its prefix tree; 0 is whenever it chooses, as within a process"`
}

// clusterWork are the flags of what comes.
type clusterWork struct {
	Traces   []string `flag:"trace-file" value:"FILE" help:"real arrivals and lengths, perhaps gzipped; may be repeated: they are played at once"`
	Requests int      `flag:"num-requests" value:"N" min:"0" help:"requests in all: traces are repeated, at once, with prompts of their own, until there are so many (0: every request once)"`
	Rate     float64  `flag:"rate" value:"R" min:"0" help:"requests a second for each engine, to which the traces' times are scaled (0: as they are)"`
	Seed     uint64   `flag:"seed" value:"N" help:"of when repetitions begin"`
}

// clusterFaults are the flags of what goes wrong.
type clusterFaults struct {
	Dies   time.Duration `flag:"engine-dies" value:"TIME" min:"0" help:"when an engine is lost (0: never)"`
	Back   time.Duration `flag:"engine-back" value:"DURATION" min:"0" help:"after which time it is back, with nothing (0: never)"`
	Drains time.Duration `flag:"engine-drains" value:"TIME" min:"0" help:"when an engine is told to end what it has and take no more (0: never)"`
	Joins  time.Duration `flag:"front-joins" value:"TIME" min:"0" help:"when the last front comes, which knows nothing (0: from the beginning)"`
	Window time.Duration `flag:"window" value:"DURATION" min:"0" help:"also tell of each such interval (0: of the whole alone)"`
}

func newBenchCluster() *cobra.Command {
	cfg := defaultConfig()
	cfg.Log.Level = "warn"
	cfg.Engine.Models, cfg.Engine.Device, cfg.Engine.DummyWeights = []string{"qwen3-14b"}, "sim:h200", true
	o := &clusterRun{
		Engines: []int{8}, Fronts: 1, Policies: policies{cluster.Prefix},
		HostCost: 60 * time.Microsecond, Delay: 200 * time.Microsecond, Beat: 250 * time.Millisecond,
	}
	work, faulty, report := &clusterWork{}, &clusterFaults{}, &reportOptions{}
	cmd := &cobra.Command{
		Use:   "cluster [flags]",
		Short: "Ask what many simulated engines would do, on a clock of their own",
		Long: `Cluster plays traces to fronts and engines: the planner of each engine, the policy by which
fronts choose and the digests that they choose by are those of the server, step times those
of a simulated device (troupe bench virtual). A thousand engines and a million requests take
minutes, and the same question has the same answer.`,
		Example: `  troupe bench cluster --trace-file mooncake.jsonl --engines 8 --policies all
  troupe bench cluster --trace-file mooncake.jsonl --trace-file azure.csv --engines 64,256 \
    --num-requests 100000 --rate 2`,
		Args: noArgs,
	}
	sections := append([]section{{"Cluster", o}, {"Work", work}, {"Faults", faulty}, {"Report", report}}, cfg.engineSections()...)
	found := bind(cmd, append(sections, section{"Logs", &cfg.Log})...)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		cfg.check(found)
		if len(work.Traces) == 0 {
			found.add("--trace-file is not given; a cluster is of interest for what requests share, which traces tell")
		}
		if !strings.HasPrefix(cfg.Engine.Device, "sim:") {
			found.add("--device is %q; a virtual clock needs a simulated device, such as sim:h200", cfg.Engine.Device)
		}
		if cfg.Engine.DP > 1 {
			found.add("--dp is %d; --engines says how many engines there are", cfg.Engine.DP)
		}
		if cfg.Schedule.Speculative != string(actors.NoSpeculation) {
			found.add("--speculative is %s; tokens are made up here, and no draft of them would be accepted", cfg.Schedule.Speculative)
		}
		if i := slices.IndexFunc(o.Engines, func(n int) bool { return n < 1 || n > 10_000 }); i >= 0 {
			found.add("--engines has %d; there can be 1 to 10000", o.Engines[i])
		}
		if found.err() != nil {
			return found.err()
		}
		return benchCluster(cmd, cfg, o, work, faulty, report)
	}
	return cmd
}

func benchCluster(cmd *cobra.Command, cfg *Config, o *clusterRun, work *clusterWork, faulty *clusterFaults, report *reportOptions) error {
	ctx, cancel := interruptible(cmd.Context())
	defer cancel()
	log := cfg.Log.newLogger(cmd.ErrOrStderr())
	found, err := findModel(cmd, cfg.Engine.Model(), cfg.Engine.part(), log)
	if err != nil {
		return err
	}
	m, err := model.Open(found, cfg.Engine.DummyWeights)
	if err != nil {
		return err
	}
	defer m.Close()
	traffic := cluster.Traffic{Requests: work.Requests, Seed: work.Seed}
	if traffic.Traces, err = work.read(ctx, cmd, &cfg.Log); err != nil {
		return err
	}
	m.Config.MaxPositions = max(m.Config.MaxPositions, cfg.Schedule.MaxSeqLen) // as bench virtual
	engine := cfg.actors(log, nil)
	c := cluster.Config{
		Fronts: o.Fronts, HostCost: o.HostCost, Delay: o.Delay, Beat: o.Beat,
		Dies: faulty.Dies, Back: faulty.Back, Drains: faulty.Drains, Joins: faulty.Joins, Window: faulty.Window,
		Device: device.Spec{
			Device: engine.Device, TP: engine.TP, Model: m, DType: engine.DType, Quantization: engine.Quantization, KVDType: engine.KVDType, Slots: engine.MaxRunningRequests, PageSize: engine.PageSize,
			NumPages: engine.NumPages, MemoryRatio: engine.MemoryRatio, MaxSeqLen: engine.MaxSeqLen, MaxStepTokens: engine.MaxPrefillLength, Deterministic: engine.Deterministic,
		},
		Plan: plan.Config{Cache: engine.Cache, Schedule: engine.Schedule, Policy: engine.Policy, Overlap: !engine.NoOverlap, TargetITL: int64(engine.TargetITL)},
	}
	var results []*cluster.Result
	for _, n := range o.Engines {
		for _, policy := range o.Policies {
			c.Engines, c.Policy, traffic.Rate = n, policy, work.Rate*float64(n)
			r, err := cluster.Run(ctx, c, traffic.Arrivals())
			if err != nil {
				return err
			}
			results = append(results, r)
		}
	}
	if !report.quiet() {
		if err := writeCluster(cmd.OutOrStdout(), results, faulty.Window > 0); err != nil {
			return err
		}
	}
	return report.write(cmd.OutOrStdout(), clusterReport(results, environment(cmd, cfg), strings.Join(work.Traces, ", ")))
}

// read reads the traces.
func (w *clusterWork) read(ctx context.Context, cmd *cobra.Command, log *Log) (all []*bench.Trace, err error) {
	for _, name := range w.Traces {
		source := newTraceSource()
		source.TraceFile, source.NumRequests = name, 0
		trace, err := source.read(ctx, cmd, log)
		if err != nil {
			return nil, err
		}
		all = append(all, trace)
	}
	return all, nil
}

// writeCluster tells of runs.
func writeCluster(to io.Writer, results []*cluster.Result, windows bool) error {
	if err := cluster.WriteTable(to, results); err != nil {
		return err
	}
	if slices.ContainsFunc(results, func(r *cluster.Result) bool { return r.DigestRate > 0 }) {
		fmt.Fprintln(to)
		if err := cluster.WriteDigests(to, results); err != nil {
			return err
		}
	}
	for _, r := range results {
		if !windows {
			break
		}
		fmt.Fprintf(to, "\n%s, %d engines\n", r.Policy, r.Engines)
		if err := r.WriteWindows(to); err != nil {
			return err
		}
	}
	return nil
}

// clusterReport is all runs in one.
func clusterReport(results []*cluster.Result, e bench.Environment, source string) *bench.Report {
	var runs []*bench.Report
	for _, r := range results {
		b := r.Report()
		b.Environment, b.Work.Source = e, source
		runs = append(runs, b)
	}
	return bench.Together(runs)
}

// policies are ways to choose, as a flag prefix,round-robin.
type policies []cluster.Policy

// Set implements flag values.
func (p *policies) Set(text string) error {
	if text == "all" {
		*p = slices.Clone(cluster.Policies)
		return nil
	}
	var all policies
	for name := range strings.SplitSeq(text, ",") {
		one := cluster.Policy(strings.TrimSpace(name))
		if !slices.Contains(cluster.Policies, one) {
			return fmt.Errorf("it must be all, or some of %v with commas between", cluster.Policies)
		}
		all = append(all, one)
	}
	*p = all
	return nil
}

// String is the flag's text.
func (p *policies) String() string {
	var parts []string
	for _, one := range *p {
		parts = append(parts, string(one))
	}
	return strings.Join(parts, ",")
}

// Type names the value in help texts.
func (p *policies) Type() string { return "NAME,NAME" }
