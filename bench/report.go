package bench

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"
)

// distribution summarises samples, which it sorts.
func distribution(samples []time.Duration) Distribution {
	if len(samples) == 0 {
		return Distribution{}
	}
	slices.Sort(samples)
	var sum float64
	for _, s := range samples {
		sum += ms(s)
	}
	at := func(q float64) float64 {
		x := q * float64(len(samples)-1)
		i := int(x)
		next := min(i+1, len(samples)-1)
		low, high := ms(samples[i]), ms(samples[next])
		return low + (x-float64(i))*(high-low)
	}
	return Distribution{Mean: sum / float64(len(samples)), P50: at(0.5), P90: at(0.9), P99: at(0.99), Max: at(1)}
}

func ms(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

// WriteJSON writes the report for programs: a field a line, and lists of
// numbers each on one.
func (r *Report) WriteJSON(w io.Writer) error {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	if err := enc.Encode(r); err != nil {
		return err
	}
	_, err := w.Write(numberLists.ReplaceAllFunc(b.Bytes(), func(list []byte) []byte {
		return bytes.Join(bytes.Fields(list), nil)
	}))
	return err
}

// numberLists matches a list of numbers over several lines. No string of a
// report can look like one: line breaks in strings are escaped.
var numberLists = regexp.MustCompile(`\[\n[-+.eE0-9,\s]*\]`)

// ReadReport reads what WriteJSON wrote.
func ReadReport(r io.Reader) (*Report, error) {
	var report Report
	if err := json.NewDecoder(r).Decode(&report); err != nil {
		return nil, fmt.Errorf("this is no report: %w", err)
	}
	switch {
	case report.Schema == 0 || report.Kind == "":
		return nil, errors.New("this is no report: it has no schema and kind")
	case report.Schema > Schema:
		return nil, fmt.Errorf("the report has schema %d; this program knows up to %d", report.Schema, Schema)
	}
	return &report, report.consistent()
}

// consistent finds lists that should be as long as each other and are not: in
// a report that was written by hand or by another program.
func (r *Report) consistent() error {
	if r == nil {
		return errors.New("one of its runs is null")
	}
	if s := r.Samples; s != nil {
		n := len(s.TTFT)
		if len(s.Sent) != n || len(s.E2E) != n || len(s.Input) != n || len(s.Output) != n {
			return errors.New("its samples are lists of different lengths")
		}
	}
	if t := r.Timeline; t != nil {
		n := len(t.Output)
		for _, k := range []int{
			len(t.Open), len(t.Steps), len(t.Computed), len(t.Decoded), len(t.Running), len(t.Waiting), len(t.KVUsed), len(t.KVCached),
		} {
			if k != n && k != 0 {
				return errors.New("its timeline has lists of different lengths")
			}
		}
	}
	for _, one := range r.Runs {
		if err := one.consistent(); err != nil {
			return err
		}
	}
	return nil
}

// WriteText writes the report for people: what was measured, how long it took, and distributions.
func (r *Report) WriteText(w io.Writer) error {
	t := textLines{tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)}
	r.writeSubject(t)
	r.writeWork(t)
	t.line("time", "%.3f s", r.ElapsedS)
	t.line("throughput", "%.1f output tokens/s, %.1f input and output tokens/s, %.2f requests/s",
		r.OutputThroughput, r.TotalThroughput, r.RequestThroughput)
	if r.Online != nil {
		r.Online.writeText(t)
	} else {
		r.writeSteps(t)
	}
	if c := r.Chosen; c != nil {
		t.line("conversations", "%s", c)
	}
	if err := t.Flush(); err != nil {
		return err
	}
	return r.writeTables(w)
}

// textLines are names, each with what there is to say.
type textLines struct{ *tabwriter.Writer }

func (t textLines) line(name, format string, args ...any) {
	fmt.Fprintf(t, name+"\t"+format+"\n", args...)
}

// writeSubject tells what was measured.
func (r *Report) writeSubject(t textLines) {
	e := &r.Environment
	if r.Label != "" {
		t.line("run", "%s", r.Label)
	}
	if o := r.Online; o != nil {
		t.line("server", "%s, model %s", o.URL, e.Model)
		late := when(o.Behind >= max(10, r.Requests/10),
			fmt.Sprintf("; the server fell behind: %s waited when the last one came", thousands(o.Behind)))
		t.line("arrival", "%s%s", o.Arrival, late)
	} else {
		t.line("model", "%s, %s parameters, %s%s", e.Model, thousands(e.Parameters), e.DType, when(e.Dummy, ", dummy weights"))
		t.line("device", "%s: %s", e.Device, e.Hardware)
	}
	if r.Work.Fitted != "" {
		t.line("fitted", "%s", r.Work.Fitted)
	}
}

// writeWork tells how many requests and tokens there were.
func (r *Report) writeWork(t textLines) {
	t.line("requests", "%s%s", thousands(r.Requests), when(r.Failed > 0, fmt.Sprintf(", and %d failed, the last with: %s", r.Failed, r.Failure)))
	if r.Unfinished > 0 {
		t.line("unfinished", "%s: they were interrupted, and are in no figure", thousands(r.Unfinished))
	}
	cached := ""
	if o := r.Online; o != nil && o.CachedTokens > 0 {
		cached = fmt.Sprintf(" (%s of them cached)", thousands(o.CachedTokens))
	}
	byEvents := when(r.Online != nil && r.Online.CountedBy == ByEvents, " (counted by events: the server does not tell)")
	t.line("tokens", "%s in%s, %s out%s", thousands(r.TotalInputTokens), cached, thousands(r.TotalOutputTokens), byEvents)
	if r.Short > 0 && r.Work.IgnoreEOS && r.Online != nil {
		t.line("short", "%s replies have fewer tokens than were asked for%s", thousands(r.Short),
			when(byEvents == "", ": the server lets stop tokens end them"))
	}
}

// writeText tells what only a client of a server measures.
func (o *OnlineDetail) writeText(t textLines) {
	t.line("open", "%s at most, %s of them before their first token", thousands(o.MostOpen), thousands(o.MostWaiting))
	if o.Goodput != nil {
		t.line("goodput", "%.2f requests/s%s%s", *o.Goodput, atMost(" with a first token", o.SLOTTFT), atMost(" and tokens", o.SLOITL))
	}
	cost := when(o.Client.CPUS > 0, fmt.Sprintf("%.1f s of processor, %.1f µs a token; ", o.Client.CPUS, o.Client.PerTokenUS))
	t.line("client", "%stimes by the %s's clock; woke %.3f ms late in the median, %.3f at p99", cost, o.Client.Stamps, o.Client.WakeLag.P50, o.Client.WakeLag.P99)
}

// writeSteps tells what the engine did.
func (r *Report) writeSteps(t textLines) {
	s := &r.Steps
	kind := func(n uint64, name string, ms float64) string {
		return fmt.Sprintf("%s %s%s", thousands(n), name, when(n > 0 && ms > 0, fmt.Sprintf(" of %.2f ms", ms)))
	}
	t.line("steps", "%s: %s, %s, %s", thousands(s.Total), kind(s.Decode, "decode", s.DecodeMS), kind(s.Prefill, "prefill", s.PrefillMS), kind(s.Mixed, "mixed", s.MixedMS))
	t.line("computed", "%s tokens; %s cached, %s rows wasted, %d requests preempted",
		thousands(s.ComputedTokens), thousands(s.CachedTokens), thousands(s.WastedRows), s.Preempted)
	if share, ok := s.Idle(); ok {
		t.line("idle", "%.2f%% of the time the device had work", 100*share)
	}
	if s.ReduceS > 0 {
		t.line("all-reduce", "%.2f%% of the time %d devices computed; %.2f%% waiting for the slowest", 100*s.ReduceS/s.BusyS, r.Environment.Ranks, 100*s.WaitS/s.BusyS)
	}
	if l := r.Limit; l != nil {
		t.line("limit", "%.1f output tokens/s, of which %.1f%% were reached: at %.2f TB/s and %.0f TFLOP/s prompts take %.2f s, then attention %.2f s and all else %.2f s",
			l.OutputThroughput, 100*r.OutputThroughput/l.OutputThroughput, l.Read/1e12, l.FLOPs/1e12, l.PromptsS, l.KVS, l.WeightsS)
	}
}

// writeTables writes lengths and latencies, as they are distributed.
func (r *Report) writeTables(w io.Writer) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	if l := r.Lengths; l != nil {
		fmt.Fprintf(t, "\ntokens\tcount\tmin\tmean\tp50\tp90\tp99\tmax\t\n")
		for _, row := range []struct {
			name string
			LengthSummary
		}{{"input length", l.Input}, {"output length", l.Output}} {
			fmt.Fprintf(t, "%s\t%d\t%d\t%.1f\t%d\t%d\t%d\t%d\t\n", row.name, row.Count, row.Min, row.Mean, row.P50, row.P90, row.P99, row.Max)
		}
		if err := t.Flush(); err != nil {
			return err
		}
	}
	fmt.Fprintf(t, "\nms\tmean\tp50\tp90\tp99\tmax\t\n")
	type row struct {
		name string
		Distribution
	}
	rows := []row{{"first token", r.TTFT}, {"between tokens", r.ITL}, {"whole request", r.E2E}}
	if o := r.Online; o != nil {
		rows = append(rows, row{"a token, by request", o.TPOT}, row{"sent late", o.SendLag})
		if o.Client.Stamps == KernelStamps {
			rows = append(rows, row{"read late", o.Client.ReadLag})
		}
	}
	for _, d := range rows {
		fmt.Fprintf(t, "%s\t%.2f\t%.2f\t%.2f\t%.2f\t%.2f\t\n", d.name, d.Mean, d.P50, d.P90, d.P99, d.Max)
	}
	return t.Flush()
}

// ofScale begins the labels of runs of a trace.
const ofScale = "scale "

// Scale labels a run of a trace whose times are multiplied.
func Scale(by float64) string { return fmt.Sprintf("%s%g", ofScale, by) }

// Together is the report of a command that measured several times; of one run
// alone it is that run, unless that is one at a scale of a trace: those are
// always listed.
func Together(runs []*Report) *Report {
	return lead(runs, 0)
}

// Repeated is the report of a command that made the same measurement several
// times: the figures are those of the run with the median throughput.
func Repeated(runs []*Report) *Report {
	order := make([]int, len(runs))
	for i := range order {
		order[i] = i
	}
	slices.SortFunc(order, func(a, b int) int { return cmp.Compare(runs[a].OutputThroughput, runs[b].OutputThroughput) })
	return lead(runs, order[(len(order)-1)/2])
}

// lead puts the figures of runs[i] over all of them. What is long stays in the
// runs.
func lead(runs []*Report, i int) *Report {
	if len(runs) == 1 && !strings.HasPrefix(runs[0].Label, ofScale) {
		return runs[0]
	}
	r := *runs[i]
	r.Label, r.Samples, r.Timeline, r.Histogram, r.Trace = "", nil, nil, nil, nil
	r.Runs = runs
	return &r
}

// WriteRuns writes the runs beside each other, for people.
func (r *Report) WriteRuns(w io.Writer) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintf(t, "\nms\trequests\trequests/s\ttokens/s\tTTFT p50\tp99\tITL p50\tp99\tE2E p50\tp99\t\n")
	for _, x := range r.Runs {
		fmt.Fprintf(t, "%s\t%d\t%.2f\t%.1f\t%.2f\t%.2f\t%.2f\t%.2f\t%.2f\t%.2f\t\n", x.Label, x.Requests, x.RequestThroughput,
			x.OutputThroughput, x.TTFT.P50, x.TTFT.P99, x.ITL.P50, x.ITL.P99, x.E2E.P50, x.E2E.P99)
	}
	return t.Flush()
}

// atMost is a bound of the SLO in words; 0 is none.
func atMost(what string, ms float64) string {
	return when(ms > 0, fmt.Sprintf("%s within %g ms", what, ms))
}

func when(cond bool, text string) string {
	if cond {
		return text
	}
	return ""
}

// thousands writes a count with commas: 142,827.
func thousands[T int | int64 | uint64](n T) string {
	digits := strconv.FormatUint(uint64(n), 10)
	var parts []string
	for len(digits) > 3 {
		parts = append(parts, digits[len(digits)-3:])
		digits = digits[:len(digits)-3]
	}
	parts = append(parts, digits)
	slices.Reverse(parts)
	return strings.Join(parts, ",")
}

// round rounds to so many decimals, for shorter JSON.
func round(x float64, decimals int) float64 {
	p := math.Pow10(decimals)
	return math.Round(x*p) / p
}
