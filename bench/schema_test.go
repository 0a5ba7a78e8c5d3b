package bench

import (
	"bytes"
	"os"
	"reflect"
	"strings"
	"testing"
	"time"
)

// SCHEMA.md must name every field that a report can have.
func TestSchemaIsDocumented(t *testing.T) {
	page, err := os.ReadFile("SCHEMA.md")
	if err != nil {
		t.Fatal(err)
	}
	seen := map[reflect.Type]bool{reflect.TypeFor[time.Time](): true}
	var walk func(reflect.Type)
	walk = func(typ reflect.Type) {
		for typ.Kind() == reflect.Pointer || typ.Kind() == reflect.Slice {
			typ = typ.Elem()
		}
		if typ.Kind() != reflect.Struct || seen[typ] {
			return
		}
		seen[typ] = true
		for i := range typ.NumField() {
			name, _, _ := strings.Cut(typ.Field(i).Tag.Get("json"), ",")
			if !strings.Contains(string(page), "`"+name+"`") {
				t.Errorf("SCHEMA.md does not name %s.%s, %q", typ, typ.Field(i).Name, name)
			}
			walk(typ.Field(i).Type)
		}
	}
	walk(reflect.TypeFor[Report]())
}

func TestReportsAreReadBack(t *testing.T) {
	low := 0.9
	r := &Report{
		Schema: Schema, Kind: "online", Requests: 2, Samples: &Samples{Sent: []float64{0, 1.5}, TTFT: []float64{1e-3, 2}, E2E: []float64{3, 4}, Input: []int{1, 2}, Output: []int{3, 4}},
		Timeline: &Timeline{IntervalS: 0.05, Output: []int{1, 2, 3}}, Histogram: &Histogram{PerDecade: 50, First: -3, Counts: []int{1, 0, 2}},
		Runs:        []*Report{{Kind: "online", Label: "scale [1,\n2]"}},
		Comparison:  &Comparison{Rows: []Comparable{{Metric: "m", Ratio: 1, Low: &low}}},
		Environment: Environment{Time: time.Unix(1, 0).UTC(), Flags: []string{"--a=[1,", "2]"}},
	}
	var b bytes.Buffer
	if err := r.WriteJSON(&b); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(b.String(), `"sent_ms": [0,1.5],`) || !strings.Contains(b.String(), `"counts": [1,0,2],`) {
		t.Errorf("lists of numbers are not on one line:\n%s", b.String())
	}
	got, err := ReadReport(&b)
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(got, r) {
		t.Errorf("read %+v, wrote %+v", got, r)
	}
	for text, want := range map[string]string{
		`{"schema": 99, "kind": "offline"}`: "schema 99",
		`{"a": 1}`:                          "no schema",
		`[`:                                 "no report",
		`{"schema": 1, "kind": "a", "runs": [{"samples": {"ttft_ms": [1]}}]}`:                             "different lengths",
		`{"schema": 1, "kind": "a", "timeline": {"output_tokens": [1, 2], "steps": [1], "open": [1, 2]}}`: "different lengths",
	} {
		if _, err := ReadReport(strings.NewReader(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q in it", text, err, want)
		}
	}
}

// Percentiles of lengths are lengths that there were.
func TestLengthSummary(t *testing.T) {
	var lengths []int
	for i := range 200 {
		lengths = append(lengths, 1000-5*i)
	}
	want := LengthSummary{Count: 200, Min: 5, Mean: 502.5, P50: 505, P90: 905, P99: 995, Max: 1000}
	if got := lengthSummary(lengths); got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
	if got := lengthSummary([]int{7}); got != (LengthSummary{1, 7, 7, 7, 7, 7, 7}) {
		t.Errorf("of one: %+v", got)
	}
	if got := lengthSummary(nil); got != (LengthSummary{}) {
		t.Errorf("of none: %+v", got)
	}
}
