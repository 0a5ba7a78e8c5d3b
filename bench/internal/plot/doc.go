// Package plot draws charts as SVG: lines, stacked areas, and lanes of work
// over time.
//
// A chart is plain data; SVG makes it an element to be put into an HTML page,
// which must hold CSS once. Colours, and what they become in the dark and on
// paper, are the style sheet's; so that nobody depends on them, lines also
// differ in their dashes and carry their names at their ends, and areas differ
// in their hatching. Each chart says in words what it shows, for those who do
// not see it.
//
// Read scale.go (values to places), chart.go (frame and axes), marks.go (what
// is within), lanes.go.
//
// gonum/plot draws well, but fixes every colour and writes text without roles,
// so its charts follow neither a page's dark mode nor a screen reader; and it
// would add 7 modules for fonts and PDF.
package plot
