package page

import (
	"fmt"
	"math"

	"github.com/troupe-llm/troupe/bench"
	"github.com/troupe-llm/troupe/bench/internal/plot"
)

// comparisons draws how sure the differences are: of runs that a report itself
// sets against each other, and of every report against the first.
func comparisons(reports []Named) section {
	s := section{
		ID: "comparison", Title: "How sure the differences are",
		Lead: "Ratios with the intervals in which they lie with 95% confidence. One that holds 1 may be chance.",
	}
	var all []*bench.Comparison
	for _, r := range reports {
		if r.Comparison != nil {
			all = append(all, r.Comparison)
		}
	}
	for _, r := range reports[1:] {
		if found, err := bench.Compare(reports[0].Report, r.Report, reports[0].Name, r.Name); err == nil { // else they have nothing in common
			all = append(all, found...)
		}
	}
	for i, c := range all {
		if len(c.Rows) == 0 {
			continue
		}
		f := plot.Forest{
			ID: fmt.Sprintf("comparison%d", i), Title: fmt.Sprintf("%s against %s", c.B, c.A), Width: wide,
			Label: fmt.Sprintf("%s / %s", c.B, c.A),
		}
		for _, row := range c.Rows {
			r := plot.Ratio{Name: row.Metric + ", " + row.Unit, Value: row.Ratio, Low: math.NaN(), High: math.NaN(), Text: bench.Quotient(row.Ratio, 3)}
			if row.Low != nil && row.High != nil {
				r.Low, r.High = *row.Low, *row.High
				r.Text += fmt.Sprintf("  (%s–%s)", bench.Quotient(r.Low, 3), bench.Quotient(r.High, 3))
			}
			f.Desc += fmt.Sprintf("%s: %s. ", row.Metric, r.Text)
			f.Rows = append(f.Rows, r)
		}
		s.Charts = append(s.Charts, figure{SVG: f.SVG(), Head: f.Title, Wide: true, Caption: "Intervals: " + c.Basis + "."})
	}
	return s
}
