package main

import (
	"time"

	"github.com/spf13/cobra"

	"github.com/troupe-llm/troupe/bench"
)

// accuracyOptions are the flags of bench accuracy.
type accuracyOptions struct {
	Streams  int           `flag:"streams" value:"N" min:"1" max:"30000" help:"replies under way at once"`
	Tokens   int           `flag:"tokens" value:"N" min:"2" help:"tokens of each"`
	First    time.Duration `flag:"first" value:"DURATION" min:"0" help:"from a request to its first token, at least"`
	Interval time.Duration `flag:"interval" value:"DURATION" min:"0.001" help:"between a reply's tokens"`
	Together bool          `flag:"together" help:"all replies' tokens at the same moments, as an engine's steps make them; else spread evenly"`
	Clock    string        `flag:"clock" choices:"auto,client" help:"auto times tokens by the kernel's clock, when they came, where it tells; client when they were read"`

	Report reportOptions
}

func newBenchAccuracy() *cobra.Command {
	o := &accuracyOptions{Streams: 1000, Tokens: 100, First: 200 * time.Millisecond, Interval: 100 * time.Millisecond, Clock: "auto"}
	cmd := &cobra.Command{
		Use:   "accuracy [flags]",
		Short: "Measure the measuring: the client against a server whose times are known",
		Long: `Accuracy has the client of bench online read from a server in this process that writes
tokens at times it keeps, and tells how far what the client reports is from them. On
Linux the client's times are the kernel's, of when a packet came; elsewhere they are of
when it was read.`,
		Example: `  troupe bench accuracy
  troupe bench accuracy --streams 2000 --together --json out.json`,
		Args: noArgs,
	}
	found := bind(cmd, section{"Streams", o}, section{"Report", &o.Report})
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if found.err() != nil {
			return found.err()
		}
		ctx, cancel := interruptible(cmd.Context())
		defer cancel()
		a := bench.Accuracy{
			Streams: o.Streams, Tokens: o.Tokens, First: o.First, Interval: o.Interval, Together: o.Together, OwnClock: o.Clock == "client",
			Progress: showRun(cmd.ErrOrStderr()), Environment: environment(cmd, &Config{}),
		}
		report, err := a.Run(ctx)
		if err != nil {
			return err
		}
		if !o.Report.quiet() {
			if err := report.Accuracy.WriteText(cmd.OutOrStdout(), report); err != nil {
				return err
			}
		}
		return o.Report.write(cmd.OutOrStdout(), report)
	}
	return cmd
}
