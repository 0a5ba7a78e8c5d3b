// Package page shows reports as one HTML page: figures, plots and where they
// were measured, several runs side by side.
//
// The page is complete in itself: it asks for no script, font or image. It
// follows the reader's choice of light or dark, and prints.
//
// Read page.go (which runs), tables.go (what is said of them), charts.go and
// those it names (what is drawn), page.html (how it is put together).
package page

import (
	"embed"
	"fmt"
	"html/template"
	"io"
	"strings"

	"github.com/troupe-llm/troupe/bench"
	"github.com/troupe-llm/troupe/bench/internal/plot"
)

//go:embed page.html page.css
var files embed.FS

var document = template.Must(template.New("page.html").ParseFS(files, "page.html"))

// Named is a report and what to call it; no name is needed for a single one.
type Named struct {
	Name string
	*bench.Report
}

// Write writes the page of these reports, the first of which the others are
// set against. It fails when there are none, or with w's error.
func Write(w io.Writer, reports []Named) error {
	if len(reports) == 0 {
		return fmt.Errorf("a page needs at least one report")
	}
	runs := flatten(reports)
	css, err := files.ReadFile("page.css")
	if err != nil {
		return err
	}
	v := &view{
		Style: template.CSS(string(plot.CSS()) + string(css)), //nolint:gosec // both are embedded
		Defs:  plot.Defs(),
		Title: title(runs), Runs: runs, Several: len(runs) > 1, Told: runs[0].Simulated(),
		Facts: facts(runs[0].Report), Blocks: blocks(figures(runs)), BlockWidth: blockWidth(len(runs)), Environment: environment(runs),
	}
	v.Sections = sections(reports, runs)
	return document.Execute(w, v)
}

// view is what the template shows.
type view struct {
	Style       template.CSS
	Defs        template.HTML
	Title       string
	Runs        []*run
	Several     bool
	Told        bool // a run's figures are always the same
	Facts       []string
	Blocks      []block
	BlockWidth  int // least, of one in CSS pixels
	Sections    []section
	Environment []row
}

// run is one measurement on the page.
type run struct {
	*bench.Report
	Letter string        // what it is called in plots; "" when it is the only one
	Name   string        // in full
	Key    template.HTML // its line's swatch
	style  int
}

// row is a line of a table: a name and a cell for each run.
type row struct {
	Group  string // begins a group of this name
	Name   string
	Cells  []cell
	Differ bool // the cells are not all alike
}

type cell struct {
	Text  string
	Ratio string // to the first run's
	Sense string // of the ratio: "better", "worse", ""
}

// block is the rows of one group.
type block struct {
	Name string
	Rows []row
}

// blocks parts rows by their groups.
func blocks(rows []row) (out []block) {
	for _, r := range rows {
		if r.Group != "" {
			out = append(out, block{Name: r.Group})
		}
		last := &out[len(out)-1]
		last.Rows = append(last.Rows, r)
	}
	return out
}

// section is a part of the page.
type section struct {
	ID, Title, Lead string
	Charts          []figure
	Tables          []table
}

// figure is a chart with what is said below it.
type figure struct {
	SVG     template.HTML
	Head    string
	Keys    []key
	Wide    bool
	Caption string
}

type key struct {
	Swatch template.HTML
	Name   string
}

// table is one of a traced run: names, numbers, and a bar for a share.
type table struct {
	Title string
	Heads []string
	Rows  []tableRow
}

type tableRow struct {
	Name  string
	Cells []string
	Share float64 // 0–100, drawn as a bar
}

// flatten lists every measurement: a report's own, or its runs.
func flatten(reports []Named) (out []*run) {
	for _, r := range reports {
		all := r.Runs
		if len(all) == 0 {
			all = []*bench.Report{r.Report}
		}
		for _, m := range all {
			name := r.Name
			if m.Label != "" {
				name = strings.TrimPrefix(name+", "+m.Label, ", ")
			}
			out = append(out, &run{Report: m, Name: name})
		}
	}
	for i, r := range out {
		r.style, r.Key = i, plot.LineKey(i)
		if len(out) > 1 {
			r.Letter = letter(i)
		}
	}
	return out
}

// letter is the i-th of A … Z, A2 … Z2, …
func letter(i int) string {
	l := string(rune('A' + i%26))
	if i >= 26 {
		l += fmt.Sprint(1 + i/26)
	}
	return l
}

// blockWidth is what a block needs, in CSS pixels: its names, the first run's
// numbers, and the others' with their ratios (widths are in page.css).
func blockWidth(runs int) int { return 145 + 82 + 148*(runs-1) }

func title(runs []*run) string {
	kinds := map[string]bool{}
	for _, r := range runs {
		kinds[r.Kind] = true
	}
	name := "Benchmark"
	if len(kinds) == 1 && runs[0].Kind != "" {
		name = strings.ToUpper(runs[0].Kind[:1]) + runs[0].Kind[1:] + " benchmark"
	}
	if len(runs) > 1 {
		return fmt.Sprintf("%s, %d runs", name, len(runs))
	}
	return name
}

// facts are the first things to know of a run.
func facts(r *bench.Report) []string {
	e := &r.Environment
	var out []string
	add := func(text string, known bool) {
		if known {
			out = append(out, text)
		}
	}
	add(e.Model, e.Model != "")
	add("on "+firstOf(e.Hardware, e.Device), e.Hardware != "" || e.Device != "")
	add(fmt.Sprintf("%s requests, %s tokens in, %s out", plot.Number(float64(r.Requests)), plot.Number(float64(r.TotalInputTokens)), plot.Number(float64(r.TotalOutputTokens))), true)
	add(e.Time.Format("2 January 2006, 15:04 MST"), !e.Time.IsZero())
	return out
}

func firstOf(a, b string) string {
	if a != "" {
		return a
	}
	return b
}
