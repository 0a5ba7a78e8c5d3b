package page

import (
	"fmt"
	"math"
	"slices"

	"github.com/troupe-llm/troupe/bench"
	"github.com/troupe-llm/troupe/bench/internal/plot"
)

// latency draws how the times of requests and tokens are distributed.
func latency(runs []*run) section {
	s := section{
		ID: "latency", Title: "Latency",
		Lead: "Left, how often a time occurs; right, how long the slowest share waits: each step to the right leaves a tenth of them.",
	}
	for _, d := range []struct {
		id, name, what string
		of             func(*bench.Report) *distribution
	}{
		{"ttft", "Time to first token", "requests", func(r *bench.Report) *distribution {
			return ofSamples(r, func(s *bench.Samples) []float64 { return s.TTFT })
		}},
		{"itl", "Time between tokens", "tokens", func(r *bench.Report) *distribution { return ofHistogram(r.Histogram, r.ITL) }},
		{"e2e", "Whole request", "requests", func(r *bench.Report) *distribution {
			return ofSamples(r, func(s *bench.Samples) []float64 { return s.E2E })
		}},
	} {
		var having []*run
		var all []*distribution
		for _, r := range runs {
			if of := d.of(r.Report); of != nil {
				having, all = append(having, r), append(all, of)
			}
		}
		if len(having) == 0 {
			continue
		}
		s.Charts = append(s.Charts, density(d.id, d.name, d.what, having, all), percentiles(d.id, d.name, d.what, having, all))
	}
	return s
}

// distribution is some durations, as steps of their cumulative share.
type distribution struct {
	ms    []float64 // ascending, positive
	share []float64 // of all durations that are at most that long; ascending to 1
	count float64
	none  float64 // share of those too short to tell
}

// ofSamples is the distribution of one time of each request.
func ofSamples(r *bench.Report, of func(*bench.Samples) []float64) *distribution {
	if r.Samples == nil || len(of(r.Samples)) == 0 {
		return nil
	}
	sorted := slices.Sorted(slices.Values(of(r.Samples)))
	d := &distribution{count: float64(len(sorted))}
	for i, v := range sorted {
		if v > 0 {
			d.ms, d.share = append(d.ms, v), append(d.share, float64(i+1)/d.count)
		} else {
			d.none += 1 / d.count
		}
	}
	if len(d.ms) == 0 {
		return nil
	}
	return d
}

// ofHistogram is the distribution of counted times; the longest is known.
func ofHistogram(h *bench.Histogram, of bench.Distribution) *distribution {
	if h == nil || len(h.Counts) == 0 {
		return nil
	}
	d := &distribution{count: float64(h.Zero)}
	for _, n := range h.Counts {
		d.count += float64(n)
	}
	d.none = float64(h.Zero) / d.count
	sum := float64(h.Zero)
	for i, n := range h.Counts {
		if n > 0 {
			sum += float64(n)
			edge := min(float64(h.Edge(i+1))/1e6, of.Max)
			d.ms, d.share = append(d.ms, edge), append(d.share, sum/d.count)
		}
	}
	return d
}

// at is the share of durations that are at most ms long.
func (d *distribution) at(ms float64) float64 {
	i, found := slices.BinarySearch(d.ms, ms)
	for found && i+1 < len(d.ms) && d.ms[i+1] == ms {
		i++
	}
	switch {
	case found:
		return d.share[i]
	case i == 0:
		return d.none
	}
	return d.share[i-1]
}

// density draws how many of the durations fall into each of equal ratios.
func density(id, name, what string, runs []*run, all []*distribution) figure {
	low, high := math.Inf(1), 0.0
	for _, d := range all {
		low, high = min(low, d.ms[0]), max(high, d.ms[len(d.ms)-1])
	}
	// The histogram in the report has edges at multiples of 1/50 decade; five of
	// them are one bar, fewer where the whole range is short.
	step := 0.1
	for step > 0.021 && math.Log10(high/low)/step < 16 {
		step -= 0.04
	}
	from, to := math.Floor(math.Log10(low*0.999)/step), math.Ceil(math.Log10(high)/step)
	chart := plot.Chart{
		ID: id + "-density", Title: name + ": how often", Width: half, Height: tall,
		X: plot.Axis{Label: name + ", ms", Scale: plot.Log},
		Y: plot.Axis{Label: "share of " + what + ", %"},
	}
	for k, d := range all {
		line := &plot.Line{Style: runs[k].style, Step: true, Fill: len(all) < 4, Peak: true}
		if len(all) < 4 { // more would cover each other
			line.Name = runs[k].Letter
		}
		before := d.none
		for i := from; i < to; i++ {
			share := d.at(math.Pow(10, (i+1)*step) * (1 + 1e-9))
			line.X, line.Y = append(line.X, math.Pow(10, i*step)), append(line.Y, 100*(share-before))
			before = share
		}
		line.X = append(line.X, math.Pow(10, to*step))
		chart.Marks = append(chart.Marks, line)
		chart.Desc += described(runs[k], fmt.Sprintf("half of the %s within %s ms, 99%% within %s ms. ", what, plot.Number(d.quantile(.5)), plot.Number(d.quantile(.99))))
	}
	return figure{SVG: chart.SVG(), Head: name, Keys: letters(runs), Caption: bars(step) + together(all)}
}

// bars says how wide a bar is.
func bars(step float64) string {
	return fmt.Sprintf("Each bar spans a factor of %.2f.", math.Pow(10, step))
}

// together tells of durations that could not be seen.
func together(all []*distribution) string {
	most := 0.0
	for _, d := range all {
		most = max(most, d.none)
	}
	if most < 0.0005 {
		return ""
	}
	return fmt.Sprintf(" Up to %.1f%% of tokens came together with the one before and are not drawn.", 100*most)
}

func described(r *run, text string) string {
	if r.Letter == "" {
		return text
	}
	return r.Letter + ", " + r.Name + ": " + text
}

// quantile is the shortest duration that a share of all does not exceed.
func (d *distribution) quantile(q float64) float64 {
	i, _ := slices.BinarySearch(d.share, q)
	return d.ms[min(i, len(d.ms)-1)]
}

// percentiles draws durations by the share that they exceed.
func percentiles(id, name, what string, runs []*run, all []*distribution) figure {
	chart := plot.Chart{
		ID: id + "-percentiles", Title: name + ": percentiles", Width: half, Height: tall,
		X: plot.Axis{Label: "share of " + what + " that waits at most as long, %", Scale: plot.Percent},
		Y: plot.Axis{Label: name + ", ms", Scale: plot.Log},
	}
	var top float64
	for _, d := range all {
		top = max(top, 1-1/max(2, d.count))
	}
	for k, d := range all {
		line := &plot.Line{Name: runs[k].Letter, Style: runs[k].style}
		most := 1 - 1/max(2, d.count)
		const points = 200
		for i := range points + 1 {
			q := 1 - math.Pow(1-most, float64(i)/points)
			if v := d.quantile(max(q, d.none+1e-12)); i == 0 || i == points || v != line.Y[len(line.Y)-1] {
				line.X, line.Y = append(line.X, q), append(line.Y, v)
			}
		}
		chart.Marks = append(chart.Marks, line)
		chart.Desc += described(runs[k], fmt.Sprintf("p50 %s, p90 %s, p99 %s, longest %s ms. ", plot.Number(d.quantile(.5)), plot.Number(d.quantile(.9)),
			plot.Number(d.quantile(.99)), plot.Number(d.ms[len(d.ms)-1])))
	}
	chart.X.Max = top
	return figure{SVG: chart.SVG(), Head: name + ", percentiles", Keys: letters(runs)}
}
