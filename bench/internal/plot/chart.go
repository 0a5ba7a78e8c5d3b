package plot

import (
	"fmt"
	"html"
	"html/template"
	"math"
	"strconv"
	"strings"
)

// Chart is one frame with two axes. Sizes are in CSS pixels at full size; the
// drawing scales with the page.
type Chart struct {
	ID    string // unique on the page
	Title string
	Desc  string // what it shows, for those who do not see it
	// Width and Height include labels.
	Width, Height float64
	X, Y          Axis
	Marks         []Mark
}

// Axis is one side of a chart. Min and Max extend what the marks span; an axis
// that is Linear and not Loose begins at 0.
type Axis struct {
	Label    string // with its unit: "time to first token, ms"
	Scale    Scale
	Min, Max float64   // both 0: as the marks need
	Loose    bool      // may begin elsewhere than at 0
	Fixed    bool      // exactly from Min to Max
	Ticks    []float64 // in place of round numbers
}

// Mark is something drawn within a chart's frame.
type Mark interface {
	// each tells the values that must be on the chart.
	each(point func(x, y float64))
	draw(c *canvas)
}

// canvas is a chart being drawn.
type canvas struct {
	strings.Builder
	chart  *Chart
	x, y   span
	labels []label      // of lines' ends
	peaks  [][2]float64 // where names at peaks are
}

// span is an axis laid out: values from low to high at places from from to to.
type span struct {
	scale     Scale
	low, high float64 // values
	from, to  float64 // places
}

func (s *span) place(v float64) float64 {
	a, b := s.scale.at(s.low), s.scale.at(s.high)
	if b <= a {
		return (s.from + s.to) / 2
	}
	return s.from + (s.scale.at(v)-a)/(b-a)*(s.to-s.from)
}

// The frame's distances to the edges.
const (
	left, right, top, bottom = 34, 22, 10, 46 // left: of the labels of ticks

	fontSize = 12
	letter   = 6.3 // mean width
)

// SVG draws the chart.
func (ch *Chart) SVG() template.HTML {
	c := &canvas{chart: ch}
	c.x, c.y = ch.X.span(), ch.Y.span()
	var xs, ys []float64
	for _, m := range ch.Marks {
		room := 1.0
		if l, ok := m.(*Line); ok && l.Peak && l.Name != "" {
			room = 1.08 // for the name
		}
		m.each(func(x, y float64) { xs, ys = append(xs, x), append(ys, y*room) })
	}
	c.x.fit(xs, &ch.X)
	c.y.fit(ys, &ch.Y)
	margin := float64(right)
	for _, m := range ch.Marks {
		if l, ok := m.(*Line); ok && l.Name != "" && !l.Peak {
			margin = max(margin, 14+letter*float64(len([]rune(l.Name))))
		}
	}
	c.y.from, c.y.to = ch.Height-bottom, top
	widest := 0
	for _, t := range ch.Y.ticks(&c.y, int((c.y.from-c.y.to)/44)) {
		if !t.Minor {
			widest = max(widest, len([]rune(t.Label)))
		}
	}
	c.x.from, c.x.to = left+letter*float64(widest), ch.Width-margin
	c.open(ch.ID, ch.Title, ch.Desc, ch.Width, ch.Height)
	c.axes()
	for _, m := range ch.Marks {
		m.draw(c)
	}
	c.endLabels()
	c.WriteString("</svg>")
	return template.HTML(c.String()) //nolint:gosec // every text in it was escaped
}

func (a *Axis) span() span { return span{scale: a.Scale, low: a.Min, high: a.Max} }

// fit makes the span hold the values.
func (s *span) fit(values []float64, a *Axis) {
	if a.Fixed {
		return
	}
	low, high := math.Inf(1), math.Inf(-1)
	for _, v := range values {
		if math.IsNaN(v) || math.IsInf(v, 0) || (s.scale == Log && v <= 0) {
			continue
		}
		low, high = min(low, v), max(high, v)
	}
	if a.Min != 0 || a.Max != 0 {
		low, high = min(low, a.Min), max(high, a.Max)
	}
	if low > high {
		low, high = 1, 2 // nothing to show
	}
	switch {
	case s.scale == Linear && !a.Loose:
		low = min(low, 0)
		high = max(high, low+1e-9) * 1.04
	case s.scale == Log:
		if low, high = low/1.08, high*1.08; high < low*1.5 {
			mid := math.Sqrt(low * high)
			low, high = mid/1.25, mid*1.25
		}
	case s.scale == Percent:
		low = 0
	}
	s.low, s.high = low, high
}

// open begins an SVG element that says what it is.
func (c *canvas) open(id, title, desc string, width, height float64) {
	fmt.Fprintf(c, `<svg class="plot" viewBox="0 0 %s %s" width="%[1]s" height="%[2]s" role="img" aria-labelledby="%[3]s-t %[3]s-d"><title id="%[3]s-t">%[4]s</title><desc id="%[3]s-d">%[5]s</desc>`,
		num(width), num(height), html.EscapeString(id), html.EscapeString(title), html.EscapeString(desc))
}

// axes draws ticks, grid and labels.
func (c *canvas) axes() {
	x, y := &c.x, &c.y
	nx, ny := int((x.to-x.from)/72), int((y.from-y.to)/44)
	c.WriteString(`<g class="grid">`)
	for _, t := range c.chart.Y.ticks(y, ny) {
		at := y.place(t.At)
		if at < y.to-.5 || at > y.from+.5 {
			continue
		}
		fmt.Fprintf(c, `<path d="M%s %sH%s"%s/>`, num(x.from), num(at), num(x.to), minorClass(t))
		if t.Label != "" && !t.Minor {
			c.text(x.from-8, at+4, "end", "tick", t.Label)
		}
	}
	for _, t := range c.chart.X.ticks(x, nx) {
		at := x.place(t.At)
		if at < x.from-.5 || at > x.to+.5 {
			continue
		}
		length := 5.0
		if t.Minor {
			length = 3
		}
		fmt.Fprintf(c, `<path class="mark" d="M%s %sv%s"/>`, num(at), num(y.from), num(length))
		if t.Label != "" && !t.Minor {
			c.text(at, y.from+19, "middle", "tick", t.Label)
		}
	}
	fmt.Fprintf(c, `<path class="axis" d="M%s %sH%s"/></g>`, num(x.from), num(y.from), num(x.to))
	c.text((x.from+x.to)/2, c.chart.Height-8, "middle", "label", c.chart.X.Label)
	fmt.Fprintf(c, `<text class="label" text-anchor="middle" transform="translate(13 %s) rotate(-90)">%s</text>`,
		num((y.from+y.to)/2), html.EscapeString(c.chart.Y.Label))
}

// ticks are the axis's own, or about n.
func (a *Axis) ticks(s *span, n int) (out []Tick) {
	if a.Ticks == nil {
		return s.scale.ticks(s.low, s.high, max(n, 2))
	}
	for _, v := range a.Ticks {
		out = append(out, Tick{At: v, Label: Number(v)})
	}
	return out
}

func minorClass(t Tick) string {
	if t.Minor {
		return ` class="minor"`
	}
	return ""
}

func (c *canvas) text(x, y float64, anchor, class, text string) {
	fmt.Fprintf(c, `<text class="%s" x="%s" y="%s" text-anchor="%s">%s</text>`, class, num(x), num(y), anchor, html.EscapeString(text))
}

// label is a line's name at its end.
type label struct {
	at    float64
	text  string
	style int
}

// endLabels writes lines' names right of the frame, none over another.
func (c *canvas) endLabels() {
	const apart = 14.0
	sortLabels(c.labels)
	for i := 1; i < len(c.labels); i++ { // down, where they are too near
		c.labels[i].at = max(c.labels[i].at, c.labels[i-1].at+apart)
	}
	lowest := c.y.from
	for i := len(c.labels) - 1; i >= 0; i-- { // and up again from the frame's end
		c.labels[i].at = min(c.labels[i].at, lowest)
		lowest = c.labels[i].at - apart
	}
	for _, l := range c.labels {
		c.text(c.x.to+7, l.at+4, "start", "name "+styleClass(l.style), l.text)
	}
}

func sortLabels(l []label) {
	for i := 1; i < len(l); i++ {
		for k := i; k > 0 && l[k].at < l[k-1].at; k-- {
			l[k], l[k-1] = l[k-1], l[k]
		}
	}
}

func styleClass(i int) string { return "s" + strconv.Itoa(i%Styles) }

// num writes a coordinate.
func num(v float64) string {
	if math.IsNaN(v) || math.IsInf(v, 0) {
		return "0"
	}
	return strconv.FormatFloat(math.Round(v*10)/10, 'f', -1, 64)
}
