package bench

import (
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"
)

// Schema is the version of the report's JSON. It grows when a field changes
// its meaning or goes; fields may be added without.
const Schema = 1

// Report is what a run measured, as written by --json.
type Report struct {
	Schema int    `json:"schema"`
	Kind   string `json:"kind"` // "offline", "online", "trace"

	Requests          int     `json:"requests"` // that ended as they should
	Failed            int     `json:"failed"`
	TotalInputTokens  int     `json:"total_input_tokens"`
	TotalOutputTokens int     `json:"total_output_tokens"`
	ElapsedS          float64 `json:"elapsed_s"` // from the first request sent to the last token
	RequestThroughput float64 `json:"request_throughput"`
	OutputThroughput  float64 `json:"output_throughput"` // tokens a second
	TotalThroughput   float64 `json:"total_throughput"`  // input and output tokens a second

	// TTFT is from sending a request to its first token, waiting included;
	// ITL is between tokens of a request, E2E from sending it to its end.
	TTFT Distribution `json:"ttft_ms"`
	ITL  Distribution `json:"itl_ms"`
	E2E  Distribution `json:"e2e_ms"`

	Steps  Steps         `json:"steps"`
	Trace  *TraceSummary `json:"trace,omitempty"` // of a traced run
	Online *OnlineDetail `json:"online,omitempty"`
	// Runs are the reports of one command that measured several times, such as
	// one trace at several scales.
	Runs        []*Report   `json:"runs,omitempty"`
	Work        Work        `json:"work"`
	Environment Environment `json:"environment"`
}

// Distribution summarises durations, in milliseconds. Percentiles are
// interpolated linearly between the samples next to them.
type Distribution struct {
	Mean float64 `json:"mean"`
	P50  float64 `json:"p50"`
	P90  float64 `json:"p90"`
	P99  float64 `json:"p99"`
	Max  float64 `json:"max"`
}

// Steps counts what the scheduler did in the measured time.
type Steps struct {
	Total          uint64 `json:"total"`
	Decode         uint64 `json:"decode"`  // of decode rows alone
	Prefill        uint64 `json:"prefill"` // of prefill rows alone
	Mixed          uint64 `json:"mixed"`   // of both
	ComputedTokens uint64 `json:"computed_tokens"`
	CachedTokens   uint64 `json:"cached_tokens"` // of prompts, found in the prefix cache
	WastedRows     uint64 `json:"wasted_rows"`   // computed for requests that had ended
	Preempted      uint64 `json:"preempted"`
}

// Work says what was asked for.
type Work struct {
	NumSeqs     int     `json:"num_seqs"`
	InputLen    string  `json:"input_len"`
	OutputLen   string  `json:"output_len"`
	Seed        uint64  `json:"seed"`
	Temperature float64 `json:"temperature"`
	IgnoreEOS   bool    `json:"ignore_eos"`
	// PromptIDs is the number of ids that prompts are drawn from: ids beyond
	// it were taken modulo it.
	PromptIDs int `json:"prompt_ids"`
}

// Environment says where and with what a run was made.
type Environment struct {
	Time       time.Time `json:"time"` // of the beginning
	Version    string    `json:"version"`
	Commit     string    `json:"commit,omitempty"`
	Go         string    `json:"go"`
	Platform   string    `json:"platform"`
	Flags      []string  `json:"flags"`
	Model      string    `json:"model"`
	Parameters int64     `json:"parameters"`
	DType      string    `json:"dtype"`
	Dummy      bool      `json:"dummy_weights"`
	Device     string    `json:"device"`
	Hardware   string    `json:"hardware"`
	Slots      int       `json:"slots"`
	PageSize   int       `json:"page_size"`
	NumPages   int       `json:"num_pages"`
	StepTokens int       `json:"max_step_tokens"`
	Overlap    bool      `json:"overlap"`
}

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

// WriteJSON writes the report for programs.
func (r *Report) WriteJSON(w io.Writer) error {
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	return enc.Encode(r)
}

// WriteText writes the report for people.
func (r *Report) WriteText(w io.Writer) error {
	e := &r.Environment
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	line := func(name, format string, args ...any) { fmt.Fprintf(t, name+"\t"+format+"\n", args...) }
	if o := r.Online; o != nil {
		line("server", "%s, model %s", o.URL, e.Model)
		line("arrival", "%s", o.Arrival)
	} else {
		line("model", "%s, %s parameters, %s%s", e.Model, thousands(e.Parameters), e.DType, when(e.Dummy, ", dummy weights"))
		line("device", "%s: %s", e.Device, e.Hardware)
	}
	line("requests", "%s%s", thousands(r.Requests), when(r.Failed > 0, fmt.Sprintf(", and %d failed", r.Failed)))
	line("tokens", "%s in, %s out", thousands(r.TotalInputTokens), thousands(r.TotalOutputTokens))
	line("time", "%.3f s", r.ElapsedS)
	line("throughput", "%.1f output tokens/s, %.1f input and output tokens/s, %.2f requests/s",
		r.OutputThroughput, r.TotalThroughput, r.RequestThroughput)
	if o := r.Online; o != nil {
		if o.Goodput > 0 || o.SLOTTFT > 0 || o.SLOITL > 0 {
			line("goodput", "%.2f requests/s%s%s", o.Goodput, atMost(" with a first token", o.SLOTTFT), atMost(" and tokens", o.SLOITL))
		}
	} else {
		s := &r.Steps
		line("steps", "%s: %s decode, %s prefill, %s mixed", thousands(s.Total), thousands(s.Decode), thousands(s.Prefill), thousands(s.Mixed))
		line("computed", "%s tokens; %s cached, %s rows wasted, %d requests preempted",
			thousands(s.ComputedTokens), thousands(s.CachedTokens), thousands(s.WastedRows), s.Preempted)
	}
	if err := t.Flush(); err != nil {
		return err
	}
	t = tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintf(t, "\nms\tmean\tp50\tp90\tp99\tmax\t\n")
	type row struct {
		name string
		Distribution
	}
	rows := []row{{"first token", r.TTFT}, {"between tokens", r.ITL}, {"whole request", r.E2E}}
	if o := r.Online; o != nil {
		rows = append(rows, row{"a token, by request", o.TPOT}, row{"sent late", o.SendLag})
	}
	for _, d := range rows {
		fmt.Fprintf(t, "%s\t%.2f\t%.2f\t%.2f\t%.2f\t%.2f\t\n", d.name, d.Mean, d.P50, d.P90, d.P99, d.Max)
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
