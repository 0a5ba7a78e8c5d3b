package main

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/troupe-llm/troupe/gpu"
	"github.com/troupe-llm/troupe/gpu/cuda"
)

// sumOptions are the flags of bench sums.
type sumOptions struct {
	Device string `flag:"device" value:"cuda:0,1" help:"GPUs that add up, or cuda for the first ones"`
	TP     int    `flag:"tp" value:"N" min:"0" max:"8" help:"how many (0: as many as --device names)"`
	Width  int    `flag:"width" value:"N" min:"8" help:"numbers of a row, a multiple of 8: the model's hidden size"`
	Rows   []int  `flag:"rows" value:"N,N" help:"tokens of a step"`
}

func newBenchSums() *cobra.Command {
	o := &sumOptions{Device: "cuda", TP: 2, Width: 5120, Rows: []int{1, 8, 32, 64, 128, 256, 512, 768, 1024, 2048, 8192}}
	cmd := &cobra.Command{
		Use:   "sums [flags]",
		Short: "How long GPUs that share a model take to add up what each has",
		Long: `Sums times what GPUs do twice a layer when they share a model, by themselves: rows in
bfloat16, in captured graphs, one sum right behind the other. Parts are sent and added
to the residual stream, the same with the norm that follows, read from each other's
memory, copied by copy engines, of two GPUs, and then added and normed (which in a step
is done while the product before it goes on), and added up by NCCL, where there is one.`,
		Example: `  troupe bench sums --tp 2
  troupe bench sums --device cuda:2,3 --width 8192 --rows 1,16,256`,
		Args: noArgs,
	}
	found := bind(cmd, section{"Work", o})
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if found.err() != nil {
			return found.err()
		}
		if err := o.check(); err != nil {
			return &usageError{err}
		}
		times, err := gpu.TimeSums(o.Device, o.TP, o.Width, o.Rows)
		if err != nil {
			return err
		}
		return printSums(cmd.OutOrStdout(), o.Width, times)
	}
	return cmd
}

func (o *sumOptions) check() error {
	slices.Sort(o.Rows)
	switch {
	case o.Width%8 != 0:
		return fmt.Errorf("--width %d: give a multiple of 8", o.Width)
	case len(o.Rows) == 0 || o.Rows[0] < 1 || o.Rows[len(o.Rows)-1] > 1<<20:
		return fmt.Errorf("--rows %v: give numbers from 1 to %d", o.Rows, 1<<20)
	}
	return nil
}

func printSums(to io.Writer, width int, times []cuda.SumTimes) error {
	w := tabwriter.NewWriter(to, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(w, "rows\tkB\tsent, µs\tand normed\tread\tcopied and normed\tNCCL\tas a share of NCCL\t")
	micros := func(d time.Duration) string {
		if d == 0 {
			return "-"
		}
		return fmt.Sprintf("%.1f", float64(d)/1e3)
	}
	for _, t := range times {
		share := "-"
		if t.NCCL > 0 {
			share = fmt.Sprintf("%.2f", float64(cmp.Or(t.Added, t.Read))/float64(t.NCCL))
		}
		fmt.Fprintf(w, "%d\t%d\t%s\t%s\t%s\t%s\t%s\t%s\t\n", t.Rows, 2*t.Rows*width/1000, micros(t.Added), micros(t.Normed), micros(t.Read), micros(t.Copied), micros(t.NCCL), share)
	}
	return w.Flush()
}
