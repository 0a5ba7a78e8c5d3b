package page

import (
	"fmt"

	"github.com/troupe-llm/troupe/bench"
	"github.com/troupe-llm/troupe/bench/internal/plot"
)

// lane is a row of the overlap timeline and the kinds of work shown in it, by
// the names of their spans.
var laneRows = []struct {
	name  string
	kinds map[string]int // to what fills the box
}{
	{"scheduler", map[string]int{"prepare": 2, "commit": 4}},
	{"executor", map[string]int{"launch": 3}},
	{"device", map[string]int{"compute": 0}},
	{"detokenizer", map[string]int{"tokens": 5}},
	{"sockets", map[string]int{"socket": 1}},
}

// mostTraced is how many runs' steps are shown: more would fill pages.
const mostTraced = 4

// overlap draws some steps of the first traced runs: what each did when, and where
// the time of a token went.
func overlap(all []*run) section {
	var runs []*run
	for _, r := range all {
		if r.Trace != nil && len(runs) < mostTraced {
			runs = append(runs, r)
		}
	}
	s := section{
		ID: "overlap", Title: "Processor and device",
		Lead: "Some steps in full. A thin line leads from a step's being prepared to its being computed: with overlap, while the device computes the step before.",
	}
	for _, r := range runs {
		if w := r.Trace.Window; w != nil && len(w.Spans) > 0 {
			s.Charts = append(s.Charts, window(r, w)...)
		}
	}
	for _, r := range runs {
		if t := r.Trace; t.Steps > 0 {
			s.Tables = append(s.Tables, stageTable(r, t), idleTable(r, t), mailboxTable(r, t))
		}
	}
	return s
}

// window draws the whole window, and the moment between two of its steps.
func window(r *run, w *bench.Window) []figure {
	l := plot.Lanes{
		ID: "lanes" + r.Letter, Title: "What each actor and the device did", Width: wide, Label: "time, ms",
		Rows: lanes(w, 0, 1e3),
	}
	prepared := map[uint64]bench.WindowSpan{}
	for _, sp := range w.Spans {
		l.To = max(l.To, sp.Ended/1e3)
		if sp.What == "prepare" {
			prepared[sp.Step] = sp
		}
	}
	ahead, steps := 0, 0
	var before bench.WindowSpan
	for _, sp := range w.Spans {
		if sp.What != "compute" {
			continue
		}
		if p, ok := prepared[sp.Step]; ok {
			l.Links = append(l.Links, plot.Link{FromRow: 0, ToRow: 2, From: p.Ended / 1e3, To: sp.Began / 1e3})
			if steps++; p.Ended < before.Ended {
				ahead++
			}
		}
		before = sp
	}
	l.Desc = described(r, fmt.Sprintf("%d of %d steps were prepared before the device had ended the step before.", ahead, steps))
	keys := []key{
		{plot.FillKey(2), "prepare a step"},
		{plot.FillKey(4), "commit its tokens"},
		{plot.FillKey(3), "launch"},
		{plot.FillKey(0), "compute"},
		{plot.FillKey(5), "tokens to text"},
		{plot.FillKey(1), "to the sockets"},
	}
	out := []figure{{SVG: l.SVG(), Head: headed("Overlap", r), Wide: true, Caption: l.Desc, Keys: keys}}
	if z := handover(r, w); z != nil {
		out = append(out, *z)
	}
	return out
}

// handover draws what happens from one step's end until its tokens are on
// their way and the step after it is launched.
func handover(r *run, w *bench.Window) *figure {
	var ended bench.WindowSpan // one with neighbours on both sides
	n := 0
	for _, sp := range w.Spans {
		if sp.What == "compute" {
			if n++; n == 3 {
				ended = sp
			}
		}
	}
	to := 0.0
	for _, sp := range w.Spans {
		if sp.Step == ended.Step && (sp.What == "commit" || sp.What == "tokens") {
			to = max(to, sp.Ended)
		}
	}
	for _, sp := range w.Spans { // what the commit made possible
		if to > 0 && sp.Began >= ended.Ended && sp.Began < to+100 && sp.What != "compute" {
			to = max(to, sp.Ended)
		}
	}
	if to <= ended.Ended {
		return nil
	}
	margin := (to - ended.Ended) / 12
	l := plot.Lanes{
		ID: "handover" + r.Letter, Title: "From one step to the next", Width: wide,
		Label: fmt.Sprintf("time since the device ended step %d, µs", ended.Step),
		From:  -margin, To: to - ended.Ended + margin, Rows: lanes(w, ended.Ended, 1),
		Desc: described(r, fmt.Sprintf("Step %d ends on the device; %s µs later its tokens are text and what follows is launched.", ended.Step, plot.Number(to-ended.Ended))),
	}
	return &figure{SVG: l.SVG(), Head: headed("The same, from one step to the next", r), Wide: true, Caption: l.Desc}
}

// lanes are the window's spans by row; times are since from, in units of so
// many µs.
func lanes(w *bench.Window, from, unit float64) []plot.Lane {
	rows := make([]plot.Lane, len(laneRows))
	for i, row := range laneRows {
		rows[i].Name = row.name
		for _, sp := range w.Spans {
			fill, ok := row.kinds[sp.What]
			if !ok {
				continue
			}
			b := plot.Box{
				From: (sp.Began - from) / unit, To: (sp.Ended - from) / unit, Fill: fill, Text: words[sp.What],
				Title: fmt.Sprintf("%s, %s µs", words[sp.What], plot.Number(sp.Ended-sp.Began)),
			}
			if sp.Step > 0 {
				b.Title = fmt.Sprintf("step %d: %s", sp.Step, b.Title)
			}
			if sp.What == "compute" {
				b.Text, b.Deep = fmt.Sprintf("step %d", sp.Step), sp.Step%2 == 1
				b.Title += fmt.Sprintf(", %d rows", sp.N)
			} else if sp.Step > 0 {
				b.Text += fmt.Sprintf(" %d", sp.Step)
			}
			rows[i].Boxes = append(rows[i].Boxes, b)
		}
	}
	return rows
}

// words are what is written for what was done.
var words = map[string]string{
	"prepare": "prepare", "commit": "commit", "launch": "launch", "compute": "compute", "tokens": "text of", "socket": "write",
}

func stageTable(r *run, t *bench.TraceSummary) table {
	out := table{Title: headed("Where a token's time goes", r), Heads: []string{"stage", "mean, µs", "p50", "p99", "share"}}
	for _, d := range t.Stages {
		out.Rows = append(out.Rows, tableRow{d.Name, []string{plot.Number(d.Mean), plot.Number(d.P50), plot.Number(d.P99), share(d.Share)}, 100 * d.Share})
	}
	return out
}

func idleTable(r *run, t *bench.TraceSummary) table {
	out := table{Title: headed("Why the device idles", r), Heads: []string{"waiting for", "share of time"}}
	for _, c := range t.Idle.Causes() {
		out.Rows = append(out.Rows, tableRow{c.Name, []string{share(c.Share)}, 100 * c.Share})
	}
	return out
}

func mailboxTable(r *run, t *bench.TraceSummary) table {
	out := table{Title: headed("Time in mailboxes", r), Heads: []string{"of", "messages", "mean, µs", "p50", "p99"}}
	for _, d := range t.Mailboxes {
		out.Rows = append(out.Rows, tableRow{d.Name, []string{plot.Number(float64(d.Count)), plot.Number(d.Mean), plot.Number(d.P50), plot.Number(d.P99)}, -1})
	}
	return out
}

func share(x float64) string { return fmt.Sprintf("%.1f%%", 100*x) }
