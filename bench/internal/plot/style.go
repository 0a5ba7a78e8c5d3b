package plot

import (
	_ "embed"
	"fmt"
	"html/template"
	"strings"
)

// Fills is how many areas can be told apart: by colour and hatching.
const Fills = 6

//go:embed style.css
var style string

// CSS is what a page with charts needs, once.
func CSS() template.CSS { return template.CSS(style) } //nolint:gosec // it is embedded

// hatches are drawn over areas; the first is plain.
var hatches = [Fills]string{
	"",
	`<path d="M-1 1l2-2M0 6l6-6M5 7l2-2"/>`,
	`<circle cx="3" cy="3" r="1"/>`,
	`<path d="M0 3h6"/>`,
	`<path d="M7 1l-2-2M6 6l-6-6M1 7l-2-2"/>`,
	`<path d="M0 3h6M3 0v6"/>`,
}

// Defs are the hatchings, which a page with charts needs once, before them.
func Defs() template.HTML {
	var b strings.Builder
	b.WriteString(`<svg class="plot-defs" width="0" height="0" aria-hidden="true"><defs>`)
	for i, h := range hatches {
		if h != "" {
			fmt.Fprintf(&b, `<pattern id="plot-hatch-%d" class="hatch" width="6" height="6" patternUnits="userSpaceOnUse">%s</pattern>`, i, h)
		}
	}
	b.WriteString(`</defs></svg>`)
	return template.HTML(b.String()) //nolint:gosec // it is all written above
}

// LineKey is a line's swatch, for a legend.
func LineKey(i int) template.HTML {
	return template.HTML(fmt.Sprintf(`<svg class="plot key" viewBox="0 0 28 12" width="28" height="12" aria-hidden="true"><path class="line %s" d="M0 6H28"/><path class="point %[1]s" d="%[2]s"/></svg>`, //nolint:gosec // numbers alone
		styleClass(i), symbol(i, 14, 6)))
}

// FillKey is an area's swatch, for a legend.
func FillKey(i int) template.HTML {
	hatch := ""
	if hatches[i%Fills] != "" {
		hatch = fmt.Sprintf(`<rect fill="url(#plot-hatch-%d)" width="16" height="12"/>`, i%Fills)
	}
	return template.HTML(fmt.Sprintf(`<svg class="plot key" viewBox="0 0 16 12" width="16" height="12" aria-hidden="true"><rect class="area f%d" width="16" height="12"/>%s</svg>`, i%Fills, hatch)) //nolint:gosec // numbers alone
}
