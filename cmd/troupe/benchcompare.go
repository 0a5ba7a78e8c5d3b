package main

import (
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"

	"github.com/troupe-llm/troupe/bench"
)

func newBenchCompare() *cobra.Command {
	var o struct {
		JSON bool `flag:"json" help:"print JSON: a list of comparisons"`
	}
	cmd := &cobra.Command{
		Use:   "compare [flags] A.json B.json [A.json B.json]...",
		Short: "Set reports of one thing against reports of another",
		Long: `Compare prints each figure of reports that --json wrote, their ratio (b/a), and the
interval in which that ratio lies with 95% confidence. That takes three runs of each or
more: in one report (bench offline --repeat), or in reports given in turns. Single runs get
no interval, since nobody can tell their difference from a moment of the machine's; only
a simulation has none. Runs made in turns, a, b, a, b, are best: what changes slowly falls
on both. The last column is a/a, later runs of a against its earlier ones: where it is as
far from 1 as b/a, the machine was not quiet. Traces at several scales are compared scale
by scale.`,
		Example: `  troupe bench offline --repeat 5 --json a.json
  troupe bench offline --repeat 5 --cache naive --json b.json
  troupe bench compare a.json b.json

  for i in 1 2 3 4; do
    troupe bench offline --json a$i.json
    troupe bench offline --cache naive --json b$i.json
  done
  troupe bench compare a1.json b1.json a2.json b2.json a3.json b3.json a4.json b4.json`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) < 2 || len(args)%2 != 0 {
				return &usageError{fmt.Errorf("compare takes two reports, or more in turns; arguments: %d", len(args))}
			}
			return nil
		},
	}
	found := bind(cmd, section{"Output", &o})
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if err := found.err(); err != nil {
			return err
		}
		return benchCompare(cmd.OutOrStdout(), args, o.JSON)
	}
	return cmd
}

// benchCompare compares files of reports, a and b in turns.
func benchCompare(out io.Writer, files []string, asJSON bool) error {
	var sides [2][]*bench.Report
	for i, name := range files {
		r, err := openReport(name)
		if err != nil {
			return err
		}
		sides[i%2] = append(sides[i%2], r)
	}
	all, err := bench.CompareAll(sides[0], sides[1], files[0], files[1])
	if err != nil {
		return err
	}
	if asJSON {
		return printJSON(out, all)
	}
	for i, c := range all {
		if i > 0 {
			fmt.Fprintln(out)
		}
		if err := c.WriteText(out); err != nil {
			return err
		}
	}
	return nil
}

func openReport(name string) (r *bench.Report, err error) {
	file, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	if r, err = bench.ReadReport(file); err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return r, nil
}
