package http

import (
	"encoding/json"
	"os"
	"regexp"
	"strings"
	"testing"
)

// The dashboard asks for metrics that there are, and for all but a few.
func TestDashboardShowsTheMetrics(t *testing.T) {
	text, err := os.ReadFile("grafana.json")
	if err != nil {
		t.Fatal(err)
	}
	var board struct {
		Panels []struct {
			Title   string
			Targets []struct{ Expr string }
		}
	}
	if err := json.Unmarshal(text, &board); err != nil {
		t.Fatal(err)
	}
	h := start(t, script(), Config{})
	_, exposed := h.read(h.do("GET", "/metrics", ""))
	kinds := map[string]string{}
	for _, m := range regexp.MustCompile(`(?m)^# TYPE (\S+) (\S+)$`).FindAllStringSubmatch(exposed, -1) {
		kinds[m[1]] = m[2]
	}
	shown := map[string]bool{}
	for _, p := range board.Panels {
		for _, target := range p.Targets {
			names := regexp.MustCompile(`\b([a-z]+_[a-z0-9_]+)\{`).FindAllStringSubmatch(target.Expr, -1)
			if len(names) == 0 {
				t.Errorf("panel %q asks for no metric: %s", p.Title, target.Expr)
			}
			for _, m := range names {
				name, isBucket := strings.CutSuffix(m[1], "_bucket")
				kind := kinds[name]
				rated := strings.Contains(target.Expr, "rate("+m[1]+"{")
				if kind == "" && strings.HasPrefix(name, "process_") {
					if _, ok := processNow(); !ok {
						continue // this system does not tell
					}
				}
				if kind == "" || isBucket != (kind == "histogram") || rated == (kind == "gauge") {
					t.Errorf("panel %q asks for %s, which is of kind %q: %s", p.Title, m[1], kind, target.Expr)
				}
				shown[name] = true
			}
		}
	}
	for name := range kinds {
		if strings.HasPrefix(name, "troupe_") && !shown[name] {
			t.Errorf("no panel shows %s", name)
		}
	}
}
