package main

import (
	"errors"
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"github.com/troupe-llm/troupe/bench"
)

func newBenchCompare() *cobra.Command {
	var o struct {
		JSON bool `flag:"json" help:"print JSON: a list of comparisons"`
	}
	cmd := &cobra.Command{
		Use:   "compare [flags] A.json B.json",
		Short: "Set one report against another",
		Long: `Compare prints each figure of two reports that --json wrote, their ratio (b/a), and the
interval in which that ratio lies with 95% confidence, by the bootstrap: over runs where
both reports hold three or more of the same (bench offline --repeat), else over requests.
Requests tell how the work's luck could have fallen, not how the machine's mood could
have. Traces at several scales are compared scale by scale.`,
		Example: `  troupe bench offline --repeat 5 --json a.json
  troupe bench offline --repeat 5 --cache naive --json b.json
  troupe bench compare a.json b.json`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) != 2 {
				return &usageError{fmt.Errorf("compare takes two reports; arguments: %d", len(args))}
			}
			return nil
		},
	}
	found := bind(cmd, section{"Output", &o})
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if err := found.err(); err != nil {
			return err
		}
		var reports [2]*bench.Report
		for i, name := range args {
			var err error
			if reports[i], err = openReport(name); err != nil {
				return err
			}
		}
		all, err := bench.Compare(reports[0], reports[1], args[0], args[1])
		if err != nil {
			return err
		}
		out := cmd.OutOrStdout()
		if o.JSON {
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
	return cmd
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
