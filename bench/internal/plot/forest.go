package plot

import (
	"fmt"
	"html"
	"html/template"
	"math"
)

// Forest shows ratios with the intervals they lie in, a row each, around 1.
type Forest struct {
	ID, Title, Desc string
	Width           float64
	Label           string // of the ratio
	Rows            []Ratio
}

// Ratio is one row. Low and High are NaN where there is no interval.
type Ratio struct {
	Name, Text       string // Text is the ratio in figures
	Value, Low, High float64
	Style            int
}

const (
	forestRow  = 24
	forestLeft = 190
	forestText = 176
)

// SVG draws the rows.
func (f *Forest) SVG() template.HTML {
	height := float64(len(f.Rows)*forestRow + bottom + 8)
	c := &canvas{chart: &Chart{Width: f.Width, Height: height}}
	c.open(f.ID, f.Title, f.Desc, f.Width, height)
	low, high := 0.95, 1.05
	for _, r := range f.Rows {
		for _, v := range []float64{r.Value, r.Low, r.High} {
			if v > 0 && !math.IsInf(v, 0) {
				low, high = min(low, v), max(high, v)
			}
		}
	}
	low, high = low/1.03, high*1.03
	c.x = span{scale: Log, low: low, high: high, from: forestLeft, to: f.Width - forestText}
	c.y = span{from: height - bottom, to: 8}
	c.WriteString(`<g class="grid">`)
	for _, t := range Log.ticks(low, high, int((c.x.to-c.x.from)/64)) {
		at := c.x.place(t.At)
		if at < c.x.from-.5 || at > c.x.to+.5 {
			continue
		}
		fmt.Fprintf(c, `<path d="M%s %sV%s"%s/>`, num(at), num(c.y.from), num(c.y.to), minorClass(t))
		if !t.Minor {
			c.text(at, c.y.from+19, "middle", "tick", t.Label)
		}
	}
	one := c.x.place(1)
	fmt.Fprintf(c, `<path class="axis" d="M%s %sV%s"/></g>`, num(one), num(c.y.from), num(c.y.to))
	for i, r := range f.Rows {
		y := 8 + (float64(i)+.5)*forestRow
		c.text(forestLeft-12, y+4, "end", "row", r.Name)
		c.text(c.x.to+12, y+4, "start", "tick", r.Text)
		if !(r.Value > 0) {
			continue
		}
		fmt.Fprintf(c, `<g class="%s"><title>%s: %s</title>`, styleClass(r.Style), html.EscapeString(r.Name), html.EscapeString(r.Text))
		if r.Low > 0 && r.High > 0 {
			from, to := num(c.x.place(r.Low)), num(c.x.place(r.High))
			fmt.Fprintf(c, `<path class="line whole" d="M%s %sv10M%[1]s %[3]sH%[4]sM%[4]s %[2]sv10"/>`, from, num(y-5), num(y), to)
		}
		fmt.Fprintf(c, `<path class="point" d="%s"/></g>`, symbol(r.Style, c.x.place(r.Value), y))
	}
	c.text((c.x.from+c.x.to)/2, height-8, "middle", "label", f.Label)
	c.WriteString("</svg>")
	return template.HTML(c.String()) //nolint:gosec // every text in it was escaped
}
