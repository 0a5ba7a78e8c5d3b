package plot

import (
	"fmt"
	"html"
	"math"
	"slices"
	"strings"
)

// Styles is how many lines can be told apart: by colour, dash and symbol.
const Styles = 6

// Line joins points. Its name is written at its end.
type Line struct {
	Name  string
	Style int
	X, Y  []float64
	// Step makes each value hold until the next x; X then has one more: where
	// the last value ends.
	Step   bool
	Fill   bool // down to the axis
	Points bool // a symbol at every point
	Thin   bool
	// Peak writes the name at the highest point, for lines that end alike.
	Peak bool
}

func (l *Line) each(point func(x, y float64)) {
	for i := range l.Y {
		point(l.X[i], l.Y[i])
	}
	if l.Step && len(l.Y) > 0 {
		point(l.X[len(l.Y)], math.NaN())
	}
}

func (l *Line) draw(c *canvas) {
	n := len(l.Y)
	if n == 0 {
		return
	}
	var d strings.Builder
	for i := range n {
		x, y := num(c.x.place(l.X[i])), num(min(c.y.place(l.Y[i]), c.y.from))
		switch {
		case i == 0:
			d.WriteString("M" + x + " " + y)
		case l.Step:
			d.WriteString("H" + x + "V" + y)
		default:
			d.WriteString("L" + x + " " + y)
		}
	}
	if l.Step {
		d.WriteString("H" + num(c.x.place(l.X[n])))
	}
	class := styleClass(l.Style)
	if l.Fill {
		fmt.Fprintf(c, `<path class="wash %s" d="%sV%sH%sZ"/>`, class, d.String(), num(c.y.from), num(c.x.place(l.X[0])))
	}
	if l.Thin {
		class += " thin"
	}
	fmt.Fprintf(c, `<path class="line %s" d="%s"/>`, class, d.String())
	if l.Points {
		for i := range n {
			fmt.Fprintf(c, `<path class="point %s" d="%s"><title>%s: %s, %s</title></path>`, styleClass(l.Style),
				symbol(l.Style, c.x.place(l.X[i]), c.y.place(l.Y[i])), html.EscapeString(l.Name), Number(l.X[i]), Number(l.Y[i]))
		}
	}
	switch {
	case l.Name != "" && l.Peak:
		top := 0
		for i := range n {
			if l.Y[i] > l.Y[top] {
				top = i
			}
		}
		x := c.x.place(l.X[top])
		if l.Step {
			x = (x + c.x.place(l.X[top+1])) / 2
		}
		y := max(c.y.place(l.Y[top])-5, c.y.to+8)
		for slices.ContainsFunc(c.peaks, func(p [2]float64) bool { return math.Abs(p[0]-x) < 11 && math.Abs(p[1]-y) < 12 }) {
			x += 11 // beside the name that is there
		}
		c.peaks = append(c.peaks, [2]float64{x, y})
		c.text(x, y, "middle", "name "+styleClass(l.Style), l.Name)
	case l.Name != "":
		c.labels = append(c.labels, label{at: c.y.place(l.Y[n-1]), text: l.Name, style: l.Style})
	}
}

// symbol is a style's: circle, square, diamond, triangle, cross, bar.
func symbol(style int, x, y float64) string {
	switch style % Styles {
	case 0:
		return fmt.Sprintf("M%s %sa4 4 0 1 0 8 0a4 4 0 1 0-8 0Z", num(x-4), num(y))
	case 1:
		return fmt.Sprintf("M%s %sh7v7h-7Z", num(x-3.5), num(y-3.5))
	case 2:
		return fmt.Sprintf("M%s %sl5 5l-5 5l-5-5Z", num(x), num(y-5))
	case 3:
		return fmt.Sprintf("M%s %sl5 8.5h-10Z", num(x), num(y-5))
	case 4:
		return fmt.Sprintf("M%s %sl5-8.5h-10Z", num(x), num(y+5))
	}
	return fmt.Sprintf("M%s %sh10v4h-10Z", num(x-5), num(y-2))
}

// Stack piles areas upon each other. The i-th value holds from X[i] to X[i+1]:
// X has one more than there are values.
type Stack struct {
	X     []float64
	Parts []Part
}

// Part is one area of a stack.
type Part struct {
	Name string
	Fill int // which colour and hatching
	Y    []float64
}

func (s *Stack) each(point func(x, y float64)) {
	for i, x := range s.X {
		sum := 0.0
		for _, p := range s.Parts {
			sum += p.Y[min(i, len(p.Y)-1)]
		}
		point(x, sum)
	}
}

func (s *Stack) draw(c *canvas) {
	n := len(s.X) - 1
	if n < 1 {
		return
	}
	below := make([]float64, n)
	for _, p := range s.Parts {
		above := make([]float64, n)
		for i := range above {
			above[i] = below[i] + p.Y[i]
		}
		var d strings.Builder
		d.WriteString("M" + num(c.x.place(s.X[0])) + " " + num(c.y.place(below[0])))
		for i := range n {
			d.WriteString("V" + num(c.y.place(above[i])) + "H" + num(c.x.place(s.X[i+1])))
		}
		for i := n - 1; i >= 0; i-- {
			d.WriteString("V" + num(c.y.place(below[i])) + "H" + num(c.x.place(s.X[i])))
		}
		c.area(d.String()+"Z", p.Fill, p.Name)
		below = above
	}
}

// area fills a path with a colour and its hatching.
func (c *canvas) area(path string, fill int, name string) {
	fill %= Fills
	fmt.Fprintf(c, `<path class="area f%d" d="%s"><title>%s</title></path>`, fill, path, html.EscapeString(name))
	if hatches[fill] != "" {
		fmt.Fprintf(c, `<path class="over" fill="url(#plot-hatch-%d)" d="%s"/>`, fill, path)
	}
}

// Rule is a straight line across the frame with a name: a bound, a limit.
type Rule struct {
	Name string
	At   float64
	Down bool // from top to bottom, at an x; else across, at a y
}

func (r *Rule) each(point func(x, y float64)) {
	if r.Down {
		point(r.At, math.NaN())
	} else {
		point(math.NaN(), r.At)
	}
}

func (r *Rule) draw(c *canvas) {
	if r.Down {
		at := c.x.place(r.At)
		fmt.Fprintf(c, `<path class="rule" d="M%s %sV%s"/>`, num(at), num(c.y.from), num(c.y.to))
		if r.Name != "" {
			c.text(at+4, c.y.to+10, "start", "note", r.Name)
		}
		return
	}
	at := c.y.place(r.At)
	fmt.Fprintf(c, `<path class="rule" d="M%s %sH%s"/>`, num(c.x.from), num(at), num(c.x.to))
	c.text(c.x.to-2, at-4, "end", "note", r.Name)
}
