package page

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/troupe-llm/troupe/bench"
	"github.com/troupe-llm/troupe/bench/internal/plot"
)

// metric is one figure of a report.
type metric struct {
	group, name string
	of          func(*bench.Report) (value float64, known bool)
	more        bool // is better
	neutral     bool // neither more nor less is
	follows     bool // it is as requests come: no better or worse at another scale of a trace
}

func known(of func(*bench.Report) float64) func(*bench.Report) (float64, bool) {
	return func(r *bench.Report) (float64, bool) { return of(r), true }
}

// metrics are the page's figures, in order.
func metrics() []metric {
	out := []metric{
		{group: "Throughput", name: "output tokens/s", more: true, follows: true, of: known(func(r *bench.Report) float64 { return r.OutputThroughput })},
		{name: "all tokens/s", more: true, follows: true, of: known(func(r *bench.Report) float64 { return r.TotalThroughput })},
		{name: "requests/s", more: true, follows: true, of: known(func(r *bench.Report) float64 { return r.RequestThroughput })},
		{name: "goodput, requests/s", more: true, follows: true, of: func(r *bench.Report) (float64, bool) {
			if o := r.Online; o != nil && o.Goodput != nil {
				return *o.Goodput, true
			}
			return 0, false
		}},
		{name: "elapsed, s", follows: true, of: known(func(r *bench.Report) float64 { return r.ElapsedS })},
	}
	for _, d := range []struct {
		name string
		of   func(*bench.Report) bench.Distribution
	}{
		{"Time to first token, ms", func(r *bench.Report) bench.Distribution { return r.TTFT }},
		{"Between tokens, ms", func(r *bench.Report) bench.Distribution { return r.ITL }},
		{"Whole request, ms", func(r *bench.Report) bench.Distribution { return r.E2E }},
	} {
		of := func(part func(bench.Distribution) float64) func(*bench.Report) (float64, bool) {
			return func(r *bench.Report) (float64, bool) {
				all := d.of(r)
				return part(all), all != (bench.Distribution{}) // else it was not measured
			}
		}
		out = append(
			out,
			metric{group: d.name, name: "mean", of: of(func(d bench.Distribution) float64 { return d.Mean })},
			metric{name: "p50", of: of(func(d bench.Distribution) float64 { return d.P50 })},
			metric{name: "p90", of: of(func(d bench.Distribution) float64 { return d.P90 })},
			metric{name: "p99", of: of(func(d bench.Distribution) float64 { return d.P99 })},
			metric{name: "max", of: of(func(d bench.Distribution) float64 { return d.Max })},
		)
	}
	steps := func(of func(*bench.Steps) uint64) func(*bench.Report) (float64, bool) {
		return func(r *bench.Report) (float64, bool) { return float64(of(&r.Steps)), r.Steps.Total > 0 }
	}
	out = append(
		out,
		lengths("Prompts, tokens", func(l *bench.Lengths) *bench.LengthSummary { return &l.Input })...,
	)
	out = append(out, lengths("Replies, tokens", func(l *bench.Lengths) *bench.LengthSummary { return &l.Output })...)
	accuracy := func(of func(*bench.AccuracyDetail) float64) func(*bench.Report) (float64, bool) {
		return func(r *bench.Report) (float64, bool) {
			return value(r.Accuracy != nil, func() float64 { return of(r.Accuracy) }), r.Accuracy != nil
		}
	}
	streams := func(of func(*bench.StreamsDetail) float64) func(*bench.Report) (float64, bool) {
		return func(r *bench.Report) (float64, bool) {
			return value(r.Streams != nil, func() float64 { return of(r.Streams) }), r.Streams != nil
		}
	}
	return append(
		out,
		metric{group: "How far these are off, ms", name: "first token", of: accuracy(func(a *bench.AccuracyDetail) float64 { return a.TTFTError })},
		metric{name: "between tokens", of: accuracy(func(a *bench.AccuracyDetail) float64 { return a.ITLError })},
		metric{group: "Processor time a token, µs", name: "server", of: streams(func(s *bench.StreamsDetail) float64 { return s.ServerUserUS })},
		metric{name: "kernel for it", of: streams(func(s *bench.StreamsDetail) float64 { return s.ServerSystemUS })},
		metric{name: "client", of: streams(func(s *bench.StreamsDetail) float64 { return s.ClientUS })},
		metric{group: "Requests", name: "finished", neutral: true, of: known(func(r *bench.Report) float64 { return float64(r.Requests) })},
		metric{name: "failed", neutral: true, of: known(func(r *bench.Report) float64 { return float64(r.Failed) })},
		metric{name: "unfinished", neutral: true, of: func(r *bench.Report) (float64, bool) { return float64(r.Unfinished), r.Unfinished > 0 }},
		metric{name: "short replies", neutral: true, of: func(r *bench.Report) (float64, bool) { return float64(r.Short), r.Short > 0 }},
		metric{name: "open at once, at most", neutral: true, of: func(r *bench.Report) (float64, bool) {
			o := r.Online
			return value(o != nil, func() float64 { return float64(o.MostOpen) }), o != nil && o.MostOpen > 0
		}},
		metric{name: "preempted", neutral: true, of: steps(func(s *bench.Steps) uint64 { return s.Preempted })},
		metric{name: "prompt tokens cached", neutral: true, of: func(r *bench.Report) (float64, bool) {
			if o := r.Online; o != nil && r.Steps.Total == 0 {
				return float64(o.CachedTokens), true
			}
			return float64(r.Steps.CachedTokens), r.Steps.Total > 0
		}},
		metric{group: "Steps", name: "in all", neutral: true, of: steps(func(s *bench.Steps) uint64 { return s.Total })},
		metric{name: "with prefill", neutral: true, of: steps(func(s *bench.Steps) uint64 { return s.Prefill + s.Mixed })},
		metric{name: "tokens computed", neutral: true, of: steps(func(s *bench.Steps) uint64 { return s.ComputedTokens })},
		metric{name: "rows in vain", neutral: true, of: steps(func(s *bench.Steps) uint64 { return s.WastedRows })},
		metric{name: "a decode step, ms", of: func(r *bench.Report) (float64, bool) { return r.Steps.DecodeMS, r.Steps.DecodeMS > 0 }},
		metric{name: "device idle, %", of: func(r *bench.Report) (float64, bool) {
			if share, ok := r.Steps.Idle(); ok || r.Trace == nil {
				return 100 * share, ok
			}
			return 100 * r.Trace.Idle.Share, true
		}},
		metric{name: "of the limit, %", more: true, of: func(r *bench.Report) (float64, bool) {
			l := r.Limit
			return value(l != nil, func() float64 { return 100 * r.OutputThroughput / l.OutputThroughput }), l != nil
		}},
	)
}

// lengths are the figures of how long real texts were.
func lengths(group string, of func(*bench.Lengths) *bench.LengthSummary) (out []metric) {
	for _, m := range []struct {
		name string
		of   func(*bench.LengthSummary) float64
	}{
		{"mean", func(s *bench.LengthSummary) float64 { return s.Mean }},
		{"p50", func(s *bench.LengthSummary) float64 { return float64(s.P50) }},
		{"p90", func(s *bench.LengthSummary) float64 { return float64(s.P90) }},
		{"p99", func(s *bench.LengthSummary) float64 { return float64(s.P99) }},
		{"max", func(s *bench.LengthSummary) float64 { return float64(s.Max) }},
	} {
		out = append(out, metric{name: m.name, neutral: true, of: func(r *bench.Report) (float64, bool) {
			return value(r.Lengths != nil, func() float64 { return m.of(of(r.Lengths)) }), r.Lengths != nil
		}})
	}
	out[0].group = group
	return out
}

func value(ok bool, of func() float64) float64 {
	if !ok {
		return 0
	}
	return of()
}

// figures are the table of metrics; those that no run knows are left out.
func figures(runs []*run) (out []row) {
	group := ""
	for _, m := range metrics() {
		if m.group != "" {
			group = m.group
		}
		line := row{Name: m.name}
		first, hasFirst := m.of(runs[0].Report)
		told := false
		for i, r := range runs {
			v, ok := m.of(r.Report)
			if !ok {
				line.Cells = append(line.Cells, cell{Text: "–"})
				continue
			}
			told = true
			c := cell{Text: plot.Number(v)}
			if i > 0 && hasFirst && first > 0 && v > 0 && !m.neutral {
				c.Ratio, c.Sense = ratio(v/first, m.more)
				if !r.Simulated() || !runs[0].Simulated() || m.follows && r.Work.Scale != runs[0].Work.Scale {
					c.Sense = ""
				}
			}
			line.Cells = append(line.Cells, c)
		}
		if told {
			line.Group, group = group, ""
			out = append(out, line)
		}
	}
	return out
}

// ratio is a quotient in words; within 1% it has no sense, nor has one of single
// runs, but of a simulation.
func ratio(q float64, more bool) (text, sense string) {
	text = "× " + bench.Quotient(q, 2)
	switch {
	case q > 0.99 && q < 1.01:
		return text, ""
	case (q > 1) == more:
		return text, "better"
	}
	return text, "worse"
}

// environment is the table of where and with what runs were made.
func environment(runs []*run) (out []row) {
	type field struct {
		name string
		of   func(r *bench.Report) string
	}
	env := func(name string, of func(e *bench.Environment) string) field {
		return field{name, func(r *bench.Report) string { return of(&r.Environment) }}
	}
	work := func(name string, of func(w *bench.Work) string) field {
		return field{name, func(r *bench.Report) string { return of(&r.Work) }}
	}
	for _, f := range []field{
		{"command", func(r *bench.Report) string { return "troupe bench " + r.Kind }},
		env("flags", func(e *bench.Environment) string { return strings.Join(e.Flags, " ") }),
		env("model", func(e *bench.Environment) string {
			return e.Model + when(e.Parameters > 0, ", "+plot.Number(float64(e.Parameters))+" parameters") + when(e.Dummy, ", random weights")
		}),
		env("weights", func(e *bench.Environment) string { return e.DType }),
		env("device", func(e *bench.Environment) string { return e.Device }),
		env("hardware", func(e *bench.Environment) string { return e.Hardware }),
		env("driver", func(e *bench.Environment) string { return e.Driver }),
		{"server", func(r *bench.Report) string {
			if r.Online == nil {
				return ""
			}
			return r.Online.URL
		}},
		{"arrivals", func(r *bench.Report) string {
			if r.Online == nil {
				return ""
			}
			return r.Online.Arrival
		}},
		work("seed", func(w *bench.Work) string { return strconv.FormatUint(w.Seed, 10) }),
		work("requests", func(w *bench.Work) string { return number(w.NumSeqs) }),
		work("prompt lengths, tokens", func(w *bench.Work) string { return w.InputLen }),
		work("reply lengths, tokens", func(w *bench.Work) string { return w.OutputLen }),
		work("made to fit", func(w *bench.Work) string { return w.Fitted }),
		work("temperature", func(w *bench.Work) string { return plot.Number(w.Temperature) }),
		work("work from", func(w *bench.Work) string { return w.Source }),
		{"conversations", func(r *bench.Report) string { return when(r.Chosen != nil, r.Chosen.String()) }},
		work("times × scale", func(w *bench.Work) string {
			if w.Scale == 0 {
				return ""
			}
			return plot.Number(w.Scale)
		}),
		env("overlap", func(e *bench.Environment) string { return when(e.Device != "", yesNo(e.Overlap)) }), // else it is not known
		env("target between tokens, ms", func(e *bench.Environment) string { return when(e.TargetITL > 0, plot.Number(e.TargetITL)) }),
		env("requests in a step, at most", func(e *bench.Environment) string { return number(e.Slots) }),
		env("tokens in a step, at most", func(e *bench.Environment) string { return number(e.StepTokens) }),
		env("KV memory", func(e *bench.Environment) string {
			if e.NumPages == 0 {
				return ""
			}
			return fmt.Sprintf("%s pages of %d tokens", plot.Number(float64(e.NumPages)), e.PageSize)
		}),
		env("version", func(e *bench.Environment) string { return e.Version }),
		env("commit", func(e *bench.Environment) string { return e.Commit }),
		env("Go", func(e *bench.Environment) string { return e.Go }),
		env("platform", func(e *bench.Environment) string {
			return e.Platform + when(e.CPUs > 0, fmt.Sprintf(", %d processors", e.CPUs))
		}),
		env("begun", func(e *bench.Environment) string {
			if e.Time.IsZero() {
				return ""
			}
			return e.Time.Format(time.RFC3339)
		}),
	} {
		line := row{Name: f.name}
		told := false
		for _, r := range runs {
			text := f.of(r.Report)
			told = told || text != ""
			line.Cells = append(line.Cells, cell{Text: text})
		}
		if !told {
			continue
		}
		line.Differ = slices.ContainsFunc(line.Cells, func(c cell) bool { return c.Text != line.Cells[0].Text })
		out = append(out, line)
	}
	return out
}

func number(n int) string {
	if n == 0 {
		return ""
	}
	return plot.Number(float64(n))
}

func yesNo(b bool) string {
	if b {
		return "on"
	}
	return "off"
}

func when(cond bool, text string) string {
	if cond {
		return text
	}
	return ""
}
