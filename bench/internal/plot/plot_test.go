package plot

import (
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

func TestTicksAreRoundNumbers(t *testing.T) {
	for _, c := range []struct {
		scale     Scale
		low, high float64
		n         int
		want      string
	}{
		{Linear, 0, 100, 5, "0 20 40 60 80 100"},
		{Linear, 0, 8192, 4, "0 5,000"},
		{Linear, 0, 0.9, 4, "0.0 0.5"},
		{Linear, -3, 3, 3, "−2 0 2"},
		{Log, 1, 1000, 4, "1 10 100 1,000"},
		{Log, 1.2, 95, 8, "2 5 10 20 50"},
		{Log, 0.05, 12, 3, "0.1 1 10"},
		{Log, 1.0, 1.4, 3, "1.0 1.2 1.4"}, // too short for powers of ten
		{Log, 1e-3, 1e6, 3, "0.001 1 1,000 1,000,000"},
		{Percent, 0, .9995, 9, "0 50 90 99 99.9"},
	} {
		var got []string
		for _, tick := range c.scale.ticks(c.low, c.high, c.n) {
			if !tick.Minor {
				got = append(got, tick.Label)
			}
		}
		if text := strings.Join(got, " "); text != c.want {
			t.Errorf("scale %d from %v to %v: %s, want %s", c.scale, c.low, c.high, text, c.want)
		}
	}
}

func TestNumber(t *testing.T) {
	for v, want := range map[float64]string{
		0: "0", 0.012345: "0.0123", 1: "1", 2.5: "2.5", 12.345: "12.3", 99.96: "100", 142827: "142,827", -1234567: "−1,234,567", 1e-9: "0",
	} {
		if got := Number(v); got != want {
			t.Errorf("Number(%v) = %q, want %q", v, got, want)
		}
	}
}

// elements reads an SVG, which must be well-formed, and calls on for each
// element.
func elements(t *testing.T, svg string, on func(xml.StartElement)) (text []string) {
	t.Helper()
	d := xml.NewDecoder(strings.NewReader(svg))
	for {
		tok, err := d.Token()
		if errors.Is(err, io.EOF) {
			return text
		}
		if err != nil {
			t.Fatalf("%v in %s", err, svg)
		}
		switch tok := tok.(type) {
		case xml.StartElement:
			on(tok)
		case xml.CharData:
			text = append(text, string(tok))
		}
	}
}

func attr(e xml.StartElement, name string) string {
	for _, a := range e.Attr {
		if a.Name.Local == name {
			return a.Value
		}
	}
	return ""
}

func chart() *Chart {
	return &Chart{
		ID: "c", Title: "A & B", Desc: "<falls>", Width: 500, Height: 300,
		X: Axis{Label: "time, s"}, Y: Axis{Label: "wait, ms", Scale: Log},
		Marks: []Mark{
			&Line{Name: "A", X: []float64{0, 1, 2}, Y: []float64{100, 10, 1}, Points: true, Fill: true},
			&Line{Name: "B", Style: 1, X: []float64{0, 1, 2}, Y: []float64{0, math.NaN(), 1.01}},
			&Rule{Name: "limit", At: 50},
			&Rule{Name: "end", At: 1.5, Down: true},
		},
	}
}

// A chart says what it is, its axes have their labels, and everything drawn
// lies within it, whatever the values.
func TestChartIsWhole(t *testing.T) {
	svg := string(chart().SVG())
	paths, labelled := 0, ""
	text := elements(t, svg, func(e xml.StartElement) {
		switch e.Name.Local {
		case "svg":
			labelled = attr(e, "aria-labelledby")
			if attr(e, "role") != "img" {
				t.Error("the chart is no image to a screen reader")
			}
		case "path":
			paths++
			inside(t, attr(e, "d"), 500, 300)
		}
	})
	if labelled != "c-t c-d" || paths < 10 {
		t.Errorf("labelled by %q, %d paths", labelled, paths)
	}
	for _, want := range []string{"A & B", "<falls>", "time, s", "wait, ms", "A", "B", "limit", "end", "10", "100", "0.0", "2.0"} {
		if !slices.Contains(text, want) {
			t.Errorf("%q is not written: %q", want, text)
		}
	}
}

// inside checks the absolute coordinates of a path's letters M, L, H and V.
func inside(t *testing.T, d string, width, height float64) {
	t.Helper()
	for _, part := range strings.FieldsFunc(strings.NewReplacer("M", "|M", "L", "|L", "H", "|H", "V", "|V", "a", "|a", "h", "|h", "v", "|v", "l", "|l", "Z", "").Replace(d), func(r rune) bool { return r == '|' }) {
		var limits []float64
		switch part[0] {
		case 'M', 'L':
			limits = []float64{width, height}
		case 'H':
			limits = []float64{width}
		case 'V':
			limits = []float64{height}
		}
		for i, f := range strings.Fields(part[1:]) {
			if i >= len(limits) {
				break
			}
			if v, err := strconv.ParseFloat(f, 64); err != nil || v < -1 || v > limits[i]+1 {
				t.Errorf("%q of %q is not within %v: %v", part, d, limits[i], err)
			}
		}
	}
}

// Lines that end at one place have their names one above the other.
func TestNamesDoNotCoverEachOther(t *testing.T) {
	c := &Chart{ID: "c", Width: 400, Height: 200}
	for i := range 6 {
		c.Marks = append(c.Marks, &Line{Name: fmt.Sprint("run ", i), Style: i, X: []float64{0, 1}, Y: []float64{5, 5}})
	}
	var at []float64
	elements(t, string(c.SVG()), func(e xml.StartElement) {
		if e.Name.Local == "text" && strings.HasPrefix(attr(e, "class"), "name") {
			y, err := strconv.ParseFloat(attr(e, "y"), 64)
			if err != nil {
				t.Fatal(err)
			}
			at = append(at, y)
		}
	})
	slices.Sort(at)
	if len(at) != 6 || at[0] < 0 || at[5] > 200 {
		t.Fatalf("names at %v", at)
	}
	for i := 1; i < len(at); i++ {
		if at[i]-at[i-1] < fontSize {
			t.Errorf("names at %v and %v", at[i-1], at[i])
		}
	}
}

// Lines that peak at one place have their names side by side.
func TestNamesAtPeaksDoNotCoverEachOther(t *testing.T) {
	c := &Chart{ID: "c", Width: 400, Height: 200}
	for i := range 3 {
		c.Marks = append(c.Marks, &Line{Name: string(rune('A' + i)), Style: i, Peak: true, X: []float64{0, 1, 2}, Y: []float64{1, 5, 1}})
	}
	seen := map[string]bool{}
	elements(t, string(c.SVG()), func(e xml.StartElement) {
		if e.Name.Local == "text" && strings.HasPrefix(attr(e, "class"), "name") {
			seen[attr(e, "x")] = true
		}
	})
	if len(seen) != 3 {
		t.Errorf("names at %v", seen)
	}
}

// The i-th value of a stack holds from its edge to the next, on top of those
// below.
func TestStackPilesUp(t *testing.T) {
	c := &Chart{
		ID: "c", Width: 200, Height: 156, X: Axis{Min: 0, Max: 2, Fixed: true}, Y: Axis{Min: 0, Max: 10, Fixed: true},
		Marks: []Mark{&Stack{X: []float64{0, 1, 2}, Parts: []Part{{Name: "a", Y: []float64{1, 4}}, {Name: "b", Fill: 1, Y: []float64{2, 3}}}}},
	}
	var areas []string
	elements(t, string(c.SVG()), func(e xml.StartElement) {
		if strings.HasPrefix(attr(e, "class"), "area") {
			areas = append(areas, attr(e, "d"))
		}
	})
	// 100 px are 10: the axis is at 110.
	if len(areas) != 2 || !strings.Contains(areas[0], " 110V100H") || !strings.Contains(areas[0], "V70H178V110H") ||
		!strings.Contains(areas[1], " 100V80H") || !strings.Contains(areas[1], "V40H178V70H") {
		t.Errorf("%q", areas)
	}
}

func TestLanesShowWhatFits(t *testing.T) {
	l := &Lanes{
		ID: "l", Title: "who", Desc: "what", Width: 600, Label: "time, ms", From: 0, To: 10,
		Rows:  []Lane{{"cpu", []Box{{From: -5, To: 0.001, Text: "too short", Title: "x", Fill: 2}}}, {"gpu", []Box{{From: 1, To: 8, Text: "step 1", Title: "y"}, {From: 20, To: 30}}}},
		Links: []Link{{FromRow: 0, ToRow: 1, From: 0, To: 1}},
	}
	rects := 0
	text := elements(t, string(l.SVG()), func(e xml.StartElement) {
		if e.Name.Local == "rect" {
			rects++
		}
	})
	if rects != 2 || !slices.Contains(text, "step 1") || slices.Contains(text, "too short") || !slices.Contains(text, "time, ms") || !slices.Contains(text, "gpu") {
		t.Errorf("%d boxes, %q", rects, text)
	}
}

func TestNothingToShowIsDrawnAllTheSame(t *testing.T) {
	for _, s := range []Scale{Linear, Log, Percent} {
		c := &Chart{ID: "c", Width: 300, Height: 200, X: Axis{Scale: s}, Y: Axis{Scale: s}, Marks: []Mark{&Line{}, &Stack{}}}
		if svg := string(c.SVG()); strings.Contains(svg, "NaN") || strings.Contains(svg, "Inf") {
			t.Errorf("scale %d: %s", s, svg)
		}
	}
}

// Names of lines and what is written in boxes can be read, in the light and in
// the dark: a contrast of 4.5, as WCAG 2.2 asks of small text.
func TestColoursCanBeRead(t *testing.T) {
	light, dark, _ := strings.Cut(style, "@media screen")
	for theme, css := range map[string]string{"light": light, "dark": dark} {
		colours := map[string]float64{} // luminance
		for _, m := range regexp.MustCompile(`--([\w-]+): #([0-9a-f]+)`).FindAllStringSubmatch(css, -1) {
			colours[m[1]] = luminance(t, m[2])
		}
		pairs := [][2]string{{"plot-ink", "plot-paper"}, {"plot-soft", "plot-paper"}}
		for i := range Styles {
			pairs = append(pairs, [2]string{fmt.Sprint("plot-", i), "plot-paper"})
		}
		for i := range Fills {
			pairs = append(pairs, [2]string{fmt.Sprint("on-", i), fmt.Sprint("fill-", i)})
		}
		for _, p := range pairs {
			a, okA := colours[p[0]]
			b, okB := colours[p[1]]
			if c := (max(a, b) + .05) / (min(a, b) + .05); !okA || !okB || c < 4.5 {
				t.Errorf("%s: the contrast of %s on %s is %.2f", theme, p[0], p[1], c)
			}
		}
	}
}

// luminance is WCAG's relative luminance of a colour.
func luminance(t *testing.T, hex string) float64 {
	t.Helper()
	if len(hex) == 3 {
		hex = string([]byte{hex[0], hex[0], hex[1], hex[1], hex[2], hex[2]})
	}
	sum := 0.0
	for i, weight := range []float64{.2126, .7152, .0722} {
		n, err := strconv.ParseUint(hex[2*i:2*i+2], 16, 8)
		if err != nil {
			t.Fatal(err)
		}
		v := float64(n) / 255
		if v <= .03928 {
			v /= 12.92
		} else {
			v = math.Pow((v+.055)/1.055, 2.4)
		}
		sum += weight * v
	}
	return sum
}
