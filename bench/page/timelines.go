package page

import (
	"fmt"
	"slices"

	"github.com/troupe-llm/troupe/bench"
	"github.com/troupe-llm/troupe/bench/internal/plot"
)

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
