package page

import "fmt"

// Sizes of charts, in CSS pixels. Two that are half stand beside each other.
const (
	wide    = 1040
	half    = 508
	tall    = 290
	short   = 230
	perAxis = 64 // intervals of time that are drawn at most
)

// sections are the page's parts, in order: comparison.go, scales.go,
// latency.go, timelines.go, lanes.go. Those that no run has data for are left
// out.
func sections(reports []Named, runs []*run) (out []section) {
	for _, s := range []section{comparisons(reports), scales(reports), targets(runs), latency(runs), throughput(runs), batch(runs), memory(runs), overlap(runs)} {
		if len(s.Charts)+len(s.Tables) > 0 {
			out = append(out, s)
		}
	}
	return out
}

// letters name the runs that have a line, for a legend. A single run needs none.
func letters(runs []*run) (keys []key) {
	if len(runs) < 2 {
		return nil
	}
	for _, r := range runs {
		keys = append(keys, key{r.Key, r.Letter})
	}
	return keys
}

// headed adds which run it is.
func headed(text string, r *run) string {
	if r.Letter == "" {
		return text
	}
	return fmt.Sprintf("%s, %s: %s", text, r.Letter, r.Name)
}
