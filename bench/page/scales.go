package page

import (
	"fmt"
	"math"
	"slices"

	"github.com/troupe-llm/troupe/bench"
	"github.com/troupe-llm/troupe/bench/internal/plot"
)

// scales draws latency against how fast a trace was played.
func scales(reports []Named) section {
	s := section{
		ID: "scales", Title: "Scale against latency",
		Lead: "The same trace, its times multiplied by the scale: to the left requests come faster.",
	}
	type curve struct {
		name string
		runs []*bench.Report // by scale
	}
	var curves []curve
	var ticks []float64
	for _, r := range reports {
		c := curve{name: r.Name}
		for _, m := range r.Runs {
			if m.Work.Scale > 0 {
				c.runs = append(c.runs, m)
				ticks = append(ticks, m.Work.Scale)
			}
		}
		slices.SortFunc(c.runs, func(a, b *bench.Report) int { return int(math.Copysign(1, a.Work.Scale-b.Work.Scale)) })
		if len(c.runs) > 1 && c.runs[0].Work.Scale < c.runs[len(c.runs)-1].Work.Scale {
			curves = append(curves, c)
		}
	}
	if len(curves) == 0 {
		return s
	}
	slices.Sort(ticks)
	ticks = slices.Compact(ticks)
	for _, d := range []struct {
		id, name string
		of       func(*bench.Report) bench.Distribution
	}{
		{"ttft", "Time to first token", func(r *bench.Report) bench.Distribution { return r.TTFT }},
		{"itl", "Time between tokens", func(r *bench.Report) bench.Distribution { return r.ITL }},
		{"e2e", "Whole request", func(r *bench.Report) bench.Distribution { return r.E2E }},
	} {
		chart := plot.Chart{
			ID: "scale-" + d.id, Title: d.name + " by scale", Width: half, Height: tall,
			X: plot.Axis{Label: "scale of times", Scale: plot.Log, Ticks: ticks},
			Y: plot.Axis{Label: d.name + ", ms", Scale: plot.Log},
		}
		quantiles := []struct {
			name string
			of   func(bench.Distribution) float64
		}{
			{"p50", func(d bench.Distribution) float64 { return d.P50 }},
			{"p90", func(d bench.Distribution) float64 { return d.P90 }},
			{"p99", func(d bench.Distribution) float64 { return d.P99 }},
		}
		for i, c := range curves {
			for k, q := range quantiles {
				if len(curves) > 1 && k == 1 {
					continue // six lines are enough
				}
				line := &plot.Line{Name: q.name, Style: k, Points: true}
				if len(curves) > 1 {
					line.Name, line.Style, line.Thin = c.name+" "+q.name, i, k == 0
				}
				for _, m := range c.runs {
					line.X, line.Y = append(line.X, m.Work.Scale), append(line.Y, q.of(d.of(m)))
				}
				chart.Marks = append(chart.Marks, line)
				chart.Desc += fmt.Sprintf("%s: %s ms at scale %s, %s ms at %s. ", line.Name, plot.Number(line.Y[0]), plot.Number(line.X[0]),
					plot.Number(line.Y[len(line.Y)-1]), plot.Number(line.X[len(line.X)-1]))
			}
		}
		s.Charts = append(s.Charts, figure{SVG: chart.SVG(), Head: d.name})
	}
	chart := plot.Chart{
		ID: "scale-throughput", Title: "Throughput by scale", Width: half, Height: tall,
		X: plot.Axis{Label: "scale of times", Scale: plot.Log, Ticks: ticks}, Y: plot.Axis{Label: "output tokens/s"},
	}
	for i, c := range curves {
		line := &plot.Line{Style: i, Points: true}
		if len(curves) > 1 {
			line.Name = c.name
		}
		for _, m := range c.runs {
			line.X, line.Y = append(line.X, m.Work.Scale), append(line.Y, m.OutputThroughput)
			chart.Desc += fmt.Sprintf("%s tokens/s at scale %s. ", plot.Number(m.OutputThroughput), plot.Number(m.Work.Scale))
		}
		chart.Marks = append(chart.Marks, line)
	}
	s.Charts = append(s.Charts, figure{SVG: chart.SVG(), Head: "Throughput"})
	return s
}
