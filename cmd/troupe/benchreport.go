package main

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/troupe-llm/troupe/bench"
	"github.com/troupe-llm/troupe/bench/page"
)

// reportOptions say where the report of a measurement goes.
type reportOptions struct {
	JSON string `flag:"json" value:"FILE" writes:"true" help:"also write the report as JSON; - is standard output, in place of the table"`
	HTML string `flag:"html" value:"FILE" writes:"true" help:"also write the report as a page with plots; - is standard output, in place of the table"`
}

// quiet reports whether standard output is kept for a file.
func (o *reportOptions) quiet() bool { return o.JSON == "-" || o.HTML == "-" }

// write writes the report to where it goes beside the table.
func (o *reportOptions) write(out io.Writer, r *bench.Report) error {
	if err := writeTo(o.JSON, out, r.WriteJSON); err != nil {
		return err
	}
	return writeTo(o.HTML, out, func(w io.Writer) error { return page.Write(w, []page.Named{{Report: r}}) })
}

// tell is write with the table before it.
func (o *reportOptions) tell(out io.Writer, r *bench.Report) error {
	if !o.quiet() {
		if err := r.WriteText(out); err != nil {
			return err
		}
	}
	return o.write(out, r)
}

// writeRuns is write for a report whose runs have been told of one by one: it
// also tells how they compare.
func (o *reportOptions) writeRuns(out io.Writer, r *bench.Report) error {
	if !o.quiet() && len(r.Runs) > 1 {
		if err := r.WriteRuns(out); err != nil {
			return err
		}
	}
	return o.write(out, r)
}

// pageOptions are the flags of bench report.
type pageOptions struct {
	HTML string `flag:"html" value:"FILE" writes:"true" help:"where the page goes; - is standard output"`
	JSON string `flag:"json" value:"FILE" writes:"true" help:"also write all of them here as one report, such as the scales of a trace that were played one by one; - is standard output"`
}

func newBenchReport() *cobra.Command {
	o := &pageOptions{HTML: "report.html"}
	cmd := &cobra.Command{
		Use:   "report [flags] FILE...",
		Short: "Show measurements on a page, side by side",
		Long: `Report reads what the other commands wrote with --json and makes one page of it: figures,
plots, and where and with what each was measured. The first file is what the others are
set against. The page needs nothing but itself.`,
		Example: `  troupe bench report offline.json
  troupe bench report ours.json theirs.json --html compared.html
  troupe bench report online-0.4.json online-0.8.json --json online.json`,
		Args: cobra.ArbitraryArgs,
	}
	found := bind(cmd, section{"Page", o})
	cmd.RunE = func(cmd *cobra.Command, files []string) error {
		if o.HTML == "-" && o.JSON == "-" {
			found.add("--html and --json are both -; standard output takes one of them")
		}
		if len(files) == 0 {
			found.add("no file is named; give what a measurement wrote with --json")
		}
		if found.err() != nil {
			return found.err()
		}
		reports, err := readReports(files)
		if err != nil {
			return err
		}
		if err := writeTo(o.JSON, cmd.OutOrStdout(), together(reports).WriteJSON); err != nil {
			return err
		}
		return writeTo(o.HTML, cmd.OutOrStdout(), func(w io.Writer) error { return page.Write(w, reports) })
	}
	return cmd
}

// together is one report of all runs of these, each called what it was, or else what
// its file is.
func together(reports []page.Named) *bench.Report {
	var runs []*bench.Report
	for _, n := range reports {
		if len(n.Runs) > 0 {
			runs = append(runs, n.Runs...)
			continue
		}
		r := *n.Report
		r.Label = n.Name
		runs = append(runs, &r)
	}
	return bench.Together(runs)
}

// readReports reads what --json wrote, named by their files.
func readReports(files []string) ([]page.Named, error) {
	var reports []page.Named
	for _, name := range files {
		file, err := os.Open(name)
		if err != nil {
			return nil, err
		}
		r, err := bench.ReadReport(file)
		_ = file.Close() // it was only read
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		n := page.Named{Report: r}
		if len(files) > 1 || len(r.Runs) == 0 {
			n.Name = strings.TrimSuffix(filepath.Base(name), ".json")
		}
		reports = append(reports, n)
	}
	return reports, nil
}
