package plot

import (
	"fmt"
	"html"
	"html/template"
)

// Lanes shows who did what when: a row for each, boxes along time.
type Lanes struct {
	ID, Title, Desc string
	Width           float64
	Label           string // of time, with its unit
	From, To        float64
	Rows            []Lane
	Links           []Link
}

// Lane is one row.
type Lane struct {
	Name  string
	Boxes []Box
}

// Box is a stretch of time in which something was done.
type Box struct {
	From, To float64
	Text     string // written within where it fits
	Title    string // in full
	Fill     int
	Deep     bool // of two that follow each other in a row
}

// Link is a thin line from a time in one row to a time in another.
type Link struct {
	FromRow, ToRow int
	From, To       float64
}

const (
	laneHeight = 34
	boxHeight  = 22
	laneLeft   = 104
)

// SVG draws the lanes.
func (l *Lanes) SVG() template.HTML {
	height := float64(len(l.Rows)*laneHeight + bottom + 6)
	c := &canvas{chart: &Chart{Width: l.Width, Height: height}}
	c.x = span{low: l.From, high: l.To, from: laneLeft, to: l.Width - 14}
	c.y = span{low: 0, high: 1, from: height - bottom, to: 6}
	c.open(l.ID, l.Title, l.Desc, l.Width, height)
	c.WriteString(`<g class="grid">`)
	for _, t := range linearTicks(l.From, l.To, int((c.x.to-c.x.from)/90)) {
		at := c.x.place(t.At)
		fmt.Fprintf(c, `<path d="M%s %sV%s"/>`, num(at), num(c.y.from), num(c.y.to))
		c.text(at, c.y.from+19, "middle", "tick", t.Label)
	}
	for i, row := range l.Rows {
		fmt.Fprintf(c, `<path class="lane" d="M%s %sH%s"/>`, num(c.x.from), num(l.bottom(i)), num(c.x.to))
		c.text(laneLeft-10, l.bottom(i)-7, "end", "row", row.Name)
	}
	c.WriteString(`</g>`)
	for _, k := range l.Links {
		l.link(c, k)
	}
	for i, row := range l.Rows {
		for _, b := range row.Boxes {
			l.box(c, i, b)
		}
	}
	c.text((c.x.from+c.x.to)/2, height-8, "middle", "label", l.Label)
	c.WriteString("</svg>")
	return template.HTML(c.String()) //nolint:gosec // every text in it was escaped
}

// bottom is where the i-th row's boxes stand.
func (l *Lanes) bottom(i int) float64 { return 6 + float64((i+1)*laneHeight) - 4 }

func (l *Lanes) box(c *canvas, row int, b Box) {
	from, to := c.x.place(max(b.From, l.From)), c.x.place(min(b.To, l.To))
	if to < from {
		return
	}
	width := max(to-from, 2)
	at := l.bottom(row) - boxHeight
	rect := fmt.Sprintf(`x="%s" y="%s" width="%s" height="%d"`, num(from), num(at), num(width), boxHeight)
	class := fmt.Sprintf("box f%d", b.Fill%Fills)
	sliver := width < 7 // too thin for a hatching to be seen
	switch {
	case sliver:
		class = fmt.Sprintf("sliver f%d", b.Fill%Fills)
	case b.Deep:
		class += " deep"
	}
	fmt.Fprintf(c, `<g><title>%s</title><rect class="%s" %s/>`, html.EscapeString(b.Title), class, rect)
	if hatches[b.Fill%Fills] != "" && !sliver {
		fmt.Fprintf(c, `<rect class="over" fill="url(#plot-hatch-%d)" %s/>`, b.Fill%Fills, rect)
	}
	if width > letter*float64(len([]rune(b.Text)))+6 {
		c.text(from+width/2, at+boxHeight/2+4, "middle", fmt.Sprintf("in on%d", b.Fill%Fills), b.Text)
	}
	c.WriteString("</g>")
}

func (l *Lanes) link(c *canvas, k Link) {
	x1, x2 := c.x.place(k.From), c.x.place(k.To)
	y1, y2 := l.bottom(k.FromRow), l.bottom(k.ToRow)-boxHeight
	if k.ToRow < k.FromRow {
		y1, y2 = l.bottom(k.FromRow)-boxHeight, l.bottom(k.ToRow)
	}
	fmt.Fprintf(c, `<path class="link" d="M%s %sC%[1]s %[3]s %[4]s %[3]s %[4]s %[5]s"/>`, num(x1), num(y1), num((y1+y2)/2), num(x2), num(y2))
}
