package page

import (
	"fmt"
	"math"
	"slices"

	"github.com/troupe-llm/troupe/bench"
	"github.com/troupe-llm/troupe/bench/plot"
)

// Sizes of charts, in CSS pixels. A page is wide wide and a half with its gap
// is half of it.
const (
	wide    = 1040
	half    = 508
	tall    = 290
	short   = 230
	perAxis = 64 // intervals of time that are drawn at most
)

// sections are the page's parts; those that no run has data for are left out.
func sections(reports []Named, runs []*run) (out []section) {
	for _, s := range []section{comparisons(reports), scales(reports), latency(runs), throughput(runs), batch(runs), memory(runs), overlap(runs)} {
		if len(s.Charts)+len(s.Tables) > 0 {
			out = append(out, s)
		}
	}
	return out
}

// letters name the runs that have a line, for a legend. A single run needs none.
func letters(runs []*run) (keys []key) {
	if len(runs) < 2 {
		return nil
	}
	for _, r := range runs {
		keys = append(keys, key{r.Key, r.Letter})
	}
	return keys
}

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

// series is a timeline brought to as many intervals as are drawn: edges in
// seconds, and the sum or mean of each.
type series struct {
	edges []float64
	group int
	n     int
}

func newSeries(t *bench.Timeline) series {
	n := len(t.Output)
	s := series{group: max(1, (n+perAxis-1)/perAxis), n: n}
	for i := 0; i < n; i += s.group {
		s.edges = append(s.edges, float64(i)*t.IntervalS)
	}
	s.edges = append(s.edges, float64(n)*t.IntervalS)
	return s
}

// sums adds up values of each interval drawn; times of them are their mean.
func sums[T int | float64](s series, v []T, scale float64) (out []float64) {
	for i := 0; i < s.n; i += s.group {
		sum := 0.0
		for k := i; k < min(i+s.group, len(v)); k++ {
			sum += float64(v[k])
		}
		out = append(out, sum*scale)
	}
	return out
}

func means[T int | float64](s series, v []T) (out []float64) {
	for i := 0; i < s.n; i += s.group {
		sum, n := 0.0, 0
		for k := i; k < min(i+s.group, len(v)); k++ {
			sum, n = sum+float64(v[k]), n+1
		}
		out = append(out, sum/float64(max(1, n)))
	}
	return out
}

// rates are sums for each second of an interval.
func rates(s series, v []int) []float64 {
	out := sums(s, v, 1)
	for i := range out {
		out[i] /= s.edges[i+1] - s.edges[i]
	}
	return out
}

const sinceStart = "time since the first request was sent, s"

// timed are the runs of which it is known how they went.
func timed(runs []*run, has func(*bench.Timeline) bool) (out []*run) {
	for _, r := range runs {
		if r.Timeline != nil && len(r.Timeline.Output) > 1 && has(r.Timeline) {
			out = append(out, r)
		}
	}
	return out
}

// throughput draws tokens a second over time.
func throughput(runs []*run) section {
	s := section{ID: "throughput", Title: "Throughput over time"}
	over := func(id, name, label string, having []*run, of func(*bench.Timeline) []int) {
		if len(having) == 0 {
			return
		}
		chart := plot.Chart{
			ID: id, Title: name, Width: half, Height: tall,
			X: plot.Axis{Label: sinceStart}, Y: plot.Axis{Label: label},
		}
		for _, r := range having {
			at := newSeries(r.Timeline)
			v := rates(at, of(r.Timeline))
			chart.Marks = append(chart.Marks, &plot.Line{Name: r.Letter, Style: r.style, X: at.edges, Y: v, Step: true, Fill: len(having) == 1})
			chart.Desc += described(r, fmt.Sprintf("at most %s, lasting %s s. ", plot.Number(slices.Max(v)), plot.Number(at.edges[len(at.edges)-1])))
		}
		s.Charts = append(s.Charts, figure{SVG: chart.SVG(), Head: name, Keys: letters(having)})
	}
	over("output-rate", "Tokens generated", "output tokens/s", timed(runs, func(*bench.Timeline) bool { return true }),
		func(t *bench.Timeline) []int { return t.Output })
	over("prefill-rate", "Prompt tokens computed", "prompt tokens/s", timed(runs, func(t *bench.Timeline) bool { return len(t.Decoded) > 0 }), prefilled)
	return s
}

// prefilled is how many tokens of prompts each interval computed.
func prefilled(t *bench.Timeline) []int {
	out := make([]int, len(t.Computed))
	for i := range out {
		out[i] = t.Computed[i] - t.Decoded[i]
	}
	return out
}

// batch draws what steps were made of, and who ran and waited.
func batch(runs []*run) section {
	s := section{ID: "batch", Title: "Batch"}
	running := timed(runs, func(t *bench.Timeline) bool { return len(t.Running) > 0 })
	composed := timed(runs, func(t *bench.Timeline) bool { return len(t.Decoded) > 0 })
	mostRequests, mostTokens := 0.0, 0.0
	for _, r := range running {
		at := newSeries(r.Timeline)
		for i, v := range means(at, r.Timeline.Running) {
			mostRequests = max(mostRequests, v+means(at, r.Timeline.Waiting)[i])
		}
	}
	for _, r := range composed {
		decode, prefill := perStep(r.Timeline)
		for i := range decode {
			mostTokens = max(mostTokens, decode[i]+prefill[i])
		}
	}
	// One run has both charts beside each other, several have one kind a row.
	for _, r := range composed {
		s.Charts = append(s.Charts, composition(r, mostTokens))
	}
	for _, r := range running {
		s.Charts = append(s.Charts, requests(r, mostRequests))
	}
	return s
}

// perStep is the mean step of each interval drawn: rows that decode and tokens
// of prompts.
func perStep(t *bench.Timeline) (decode, prefill []float64) {
	at := newSeries(t)
	decode, prefill = sums(at, t.Decoded, 1), sums(at, prefilled(t), 1)
	for i, n := range sums(at, t.Steps, 1) {
		switch {
		case n > 0:
			decode[i] /= n
			prefill[i] /= n
		case i > 0: // one step lasts longer than an interval
			decode[i], prefill[i] = decode[i-1], prefill[i-1]
		}
	}
	return decode, prefill
}

func composition(r *run, most float64) figure {
	at := newSeries(r.Timeline)
	decode, prefill := perStep(r.Timeline)
	chart := plot.Chart{
		ID: "composition" + r.Letter, Title: "Tokens of a step", Width: half, Height: short,
		Desc: described(r, fmt.Sprintf("A step decodes up to %s rows and computes up to %s tokens of prompts, means of intervals.", plot.Number(slices.Max(decode)), plot.Number(slices.Max(prefill)))),
		X:    plot.Axis{Label: sinceStart}, Y: plot.Axis{Label: "tokens a step, mean", Scale: plot.Log, Min: 1, Max: most},
		Marks: []plot.Mark{
			&plot.Line{Style: 1, X: at.edges, Y: prefill, Step: true, Fill: true},
			&plot.Line{Style: 0, X: at.edges, Y: decode, Step: true, Fill: true},
		},
	}
	return figure{
		SVG: chart.SVG(), Head: headed("Batch composition", r),
		Keys: []key{{plot.LineKey(0), "decode"}, {plot.LineKey(1), "prefill"}},
	}
}

func requests(r *run, most float64) figure {
	at := newSeries(r.Timeline)
	running, waiting := means(at, r.Timeline.Running), means(at, r.Timeline.Waiting)
	chart := plot.Chart{
		ID: "requests" + r.Letter, Title: "Requests running and waiting", Width: half, Height: short,
		Desc: described(r, fmt.Sprintf("Up to %s run and up to %s wait.", plot.Number(slices.Max(running)), plot.Number(slices.Max(waiting)))),
		X:    plot.Axis{Label: sinceStart}, Y: plot.Axis{Label: "requests", Max: most},
		Marks: []plot.Mark{&plot.Stack{X: at.edges, Parts: []plot.Part{{Name: "running", Fill: 0, Y: running}, {Name: "waiting", Fill: 2, Y: waiting}}}},
	}
	if n := float64(r.Environment.Slots); n > 0 && n < most*1.5 {
		chart.Marks = append(chart.Marks, &plot.Rule{Name: plot.Number(n) + " may run", At: n})
	}
	return figure{SVG: chart.SVG(), Head: headed("Requests", r), Keys: []key{{plot.FillKey(0), "running"}, {plot.FillKey(2), "waiting"}}}
}

// memory draws how full the KV pages are.
func memory(runs []*run) section {
	s := section{ID: "memory", Title: "KV memory and steps"}
	for _, r := range timed(runs, func(t *bench.Timeline) bool { return len(t.KVUsed) > 0 }) {
		at := newSeries(r.Timeline)
		used, cached := sums(at, r.Timeline.KVUsed, 100), sums(at, r.Timeline.KVCached, 100)
		n := sums(at, ones(at.n), 1)
		for i := range used {
			used[i] /= n[i]
			cached[i] /= n[i]
		}
		chart := plot.Chart{
			ID: "kv" + r.Letter, Title: "KV pages in use", Width: half, Height: short,
			Desc: described(r, fmt.Sprintf("Requests hold up to %s%% of the pages.", plot.Number(slices.Max(used)))),
			X:    plot.Axis{Label: sinceStart}, Y: plot.Axis{Label: "share of KV pages, %"},
			Marks: []plot.Mark{&plot.Stack{X: at.edges, Parts: []plot.Part{{Name: "held by requests", Fill: 0, Y: used}, {Name: "kept for sharing", Fill: 3, Y: cached}}}},
		}
		s.Charts = append(s.Charts, figure{
			SVG: chart.SVG(), Head: headed("KV pages", r),
			Keys: []key{{plot.FillKey(0), "held by requests"}, {plot.FillKey(3), "kept for sharing"}},
		})
	}
	if having := timed(runs, func(t *bench.Timeline) bool { return len(t.Steps) > 0 }); len(having) > 0 {
		s.Charts = append(s.Charts, stepTimes(having))
	}
	return s
}

// stepTimes draws how long steps take, one after the other.
func stepTimes(runs []*run) figure {
	chart := plot.Chart{
		ID: "steps", Title: "Time of a step", Width: half, Height: short,
		X: plot.Axis{Label: sinceStart}, Y: plot.Axis{Label: "time a step, mean, ms"},
	}
	for _, r := range runs {
		at := newSeries(r.Timeline)
		v := sums(at, r.Timeline.Steps, 1)
		for i, n := range v {
			switch {
			case n > 0:
				v[i] = 1000 * (at.edges[i+1] - at.edges[i]) / n
			case i > 0:
				v[i] = v[i-1]
			}
		}
		chart.Marks = append(chart.Marks, &plot.Line{Name: r.Letter, Style: r.style, X: at.edges, Y: v, Step: true, Fill: len(runs) == 1})
		chart.Desc += described(r, fmt.Sprintf("steps of up to %s ms. ", plot.Number(slices.Max(v))))
	}
	return figure{SVG: chart.SVG(), Head: "Step time", Keys: letters(runs)}
}

func ones(n int) []float64 { return slices.Repeat([]float64{1}, n) }

// headed adds which run it is.
func headed(text string, r *run) string {
	if r.Letter == "" {
		return text
	}
	return fmt.Sprintf("%s, %s: %s", text, r.Letter, r.Name)
}

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
