package page

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/troupe-llm/troupe/bench"
	"github.com/troupe-llm/troupe/bench/internal/plot"
)

// targets draws what first tokens pay for tokens that come evenly: runs that differ
// in their target between tokens, each a point.
func targets(runs []*run) section {
	s := section{
		ID: "targets", Title: "First tokens against tokens in between",
		Lead: "A run a point, by the target that it had for the time between tokens: to the left tokens come more evenly, below first ones come sooner.",
	}
	all := make([]*bench.Report, 0, len(runs))
	differ := false
	for _, r := range runs {
		if r.TTFT.P99 > 0 && r.ITL.P99 > 0 {
			all = append(all, r.Report)
			differ = differ || r.Environment.TargetITL != all[0].Environment.TargetITL
		}
	}
	if !differ {
		return s
	}
	slices.SortStableFunc(all, func(a, b *bench.Report) int { return cmp.Compare(a.ITL.P99, b.ITL.P99) })
	for _, q := range []struct {
		id, name string
		of       func(bench.Distribution) float64
	}{
		{"p50", "p50", func(d bench.Distribution) float64 { return d.P50 }},
		{"p99", "p99", func(d bench.Distribution) float64 { return d.P99 }},
	} {
		chart := plot.Chart{
			ID: "targets-" + q.id, Title: "Time to first token by time between tokens, " + q.name, Width: half, Height: tall,
			X: plot.Axis{Label: "between tokens p99, ms", Scale: plot.Log}, Y: plot.Axis{Label: "first token " + q.name + ", ms", Scale: plot.Log},
		}
		line := &plot.Line{Points: true}
		for _, r := range all {
			line.X, line.Y = append(line.X, r.ITL.P99), append(line.Y, q.of(r.TTFT))
			target := "without a target"
			if t := r.Environment.TargetITL; t > 0 {
				target = fmt.Sprintf("with a target of %s ms", plot.Number(t))
			}
			chart.Desc += fmt.Sprintf("%s ms to the first token and %s ms between tokens %s. ", plot.Number(q.of(r.TTFT)), plot.Number(r.ITL.P99), target)
		}
		chart.Marks = append(chart.Marks, line)
		s.Charts = append(s.Charts, figure{SVG: chart.SVG(), Head: "First token, " + q.name})
	}
	return s
}
