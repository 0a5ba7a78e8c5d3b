package main

import (
	"fmt"
	"io"
	"os"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/troupe-llm/troupe/actors"
	"github.com/troupe-llm/troupe/bench"
	"github.com/troupe-llm/troupe/http/otlp"
)

// traceOptions are the flags of bench trace beside those of bench offline.
type traceOptions struct {
	Out          string `flag:"out" value:"FILE" writes:"true" help:"write the trace here, for ui.perfetto.dev; - is standard output, in place of the table, and empty writes none"`
	OTLPEndpoint string `flag:"otlp-endpoint" value:"URL" help:"also send it to this OpenTelemetry collector, such as http://127.0.0.1:4318: a span of each step and request, and of what was done for them"`
	Spans        int    `flag:"spans" value:"N" min:"1000" help:"how much to remember: the last N things done, 64 bytes each"`
}

func newBenchTrace() *cobra.Command {
	cfg := defaultConfig()
	cfg.Log.Level = "warn"
	o := &offlineOptions{
		NumSeqs: 64, InputLen: bench.Range{Low: 64, High: 64}, OutputLen: bench.Range{Low: 64, High: 64},
		Temperature: 0.6, IgnoreEOS: true, Warmup: 8,
	}
	tr := &traceOptions{Out: "troupe.perfetto.json", Spans: 1 << 20}
	cmd := &cobra.Command{
		Use:   "trace [flags]",
		Short: "Show where the time of a token goes, actor by actor",
		Long: `Trace runs the work of bench offline while recording what every actor and the device
do: each message's time in a mailbox and in its handler, and each step being prepared,
launched, computed and committed. It prints where a token's time went and why the device
idled, and writes a trace to be opened at https://ui.perfetto.dev.`,
		Example: `  troupe bench trace
  troupe bench trace --device sim:h200 --model qwen3-14b --dummy-weights --out 14b.json`,
		Args: noArgs,
	}
	sections := append([]section{{"Trace", tr}, {"Work", o}, {"Report", &o.Report}}, cfg.engineSections()...)
	found := bind(cmd, append(sections, section{"Logs", &cfg.Log})...)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		cfg.check(found)
		if tr.OTLPEndpoint != "" {
			if _, err := otlp.Endpoint(tr.OTLPEndpoint); err != nil {
				found.add("--otlp-endpoint: %w", err)
			}
		}
		if found.err() != nil {
			return found.err()
		}
		return benchTrace(cmd, cfg, o, tr)
	}
	return cmd
}

func benchTrace(cmd *cobra.Command, cfg *Config, o *offlineOptions, tr *traceOptions) error {
	ctx, cancel := interruptible(cmd.Context())
	defer cancel()
	log := cfg.Log.newLogger(cmd.ErrOrStderr())
	engine, err := cfg.engine(cmd, log)
	if err != nil {
		return err
	}
	engine.Trace = actors.NewTrace(tr.Spans)
	report, err := runOffline(ctx, cmd, cfg, o, engine)
	if err != nil {
		return err
	}
	rec := engine.Trace.Recording()
	summary := bench.Summarize(rec)
	report.Kind, report.Trace = "trace", &summary
	out := cmd.OutOrStdout()
	if !o.Report.quiet() && tr.Out != "-" {
		if err := report.WriteText(out); err != nil {
			return err
		}
		fmt.Fprintf(out, "\n%d steps traced; %d spans, %d older ones forgotten\n\n", summary.Steps, len(rec.Spans), rec.Forgotten)
		if err := summary.WriteTable(out); err != nil {
			return err
		}
	}
	if err := writeTo(tr.Out, out, func(w io.Writer) error { return bench.WritePerfetto(w, rec, &report.Environment) }); err != nil {
		return err
	}
	if tr.OTLPEndpoint != "" {
		exporter, _, err := newExporter(tr.OTLPEndpoint, func(name string) string {
			if name == "OTEL_SDK_DISABLED" { // of requests; this was asked for
				return ""
			}
			return os.Getenv(name)
		}, log)
		if err != nil {
			return err
		}
		for batch := range slices.Chunk(otlpSpans(rec.Spans), 512) {
			exporter.Send(batch)
		}
		flushSpans(exporter, time.Minute, log)
	}
	return o.Report.write(out, report)
}
