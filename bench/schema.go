package bench

import (
	"fmt"
	"math"
	"slices"
	"time"
)

// Schema is the version of the report's JSON, which SCHEMA.md describes. It
// grows when a field changes its meaning or goes; fields may be added without.
const Schema = 1

// Report is what a run measured, as written by --json.
type Report struct {
	Schema int    `json:"schema"`
	Kind   string `json:"kind"`            // the command: "offline", "online", "trace", "virtual", "wildchat", "simple", "accuracy", "streams", "cluster"
	Label  string `json:"label,omitempty"` // which of Runs this is: "scale 0.4", "overlap off", "run 2"

	Requests          int     `json:"requests"` // that ended as they should
	Failed            int     `json:"failed"`
	Failure           string  `json:"failure,omitempty"`       // of the last that did not
	Short             int     `json:"short_replies,omitempty"` // of fewer tokens than asked for
	Unfinished        int     `json:"unfinished,omitempty"`    // broken off by Ctrl-C, or not sent for it
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

	Steps     Steps           `json:"steps"`
	Limit     *Limit          `json:"limit,omitempty"`         // of an offline run, where the hardware's rates are known
	Trace     *TraceSummary   `json:"trace,omitempty"`         // of a traced run, or of some steps of it
	Accuracy  *AccuracyDetail `json:"accuracy,omitempty"`      // of the client, against a server whose times are known
	Streams   *StreamsDetail  `json:"streams,omitempty"`       // of thousands of streams
	Online    *OnlineDetail   `json:"online,omitempty"`        // of one over the wire
	Virtual   *VirtualDetail  `json:"virtual,omitempty"`       // of one in virtual time
	Cluster   *ClusterDetail  `json:"cluster,omitempty"`       // of many simulated engines
	Lengths   *Lengths        `json:"lengths,omitempty"`       // of requests made of real texts
	Chosen    *Conversations  `json:"conversations,omitempty"` // and how those were chosen
	Samples   *Samples        `json:"samples,omitempty"`
	Timeline  *Timeline       `json:"timeline,omitempty"`
	Histogram *Histogram      `json:"itl_histogram,omitempty"` // every time between tokens

	// Runs are the measurements of a command that made several: a trace at its
	// scales, be it one, the same work with overlap and without, or repeated. The
	// figures above are then those of the first, and of repeated runs those of
	// the one with the median output throughput.
	Runs []*Report `json:"runs,omitempty"`
	// Comparison sets the Runs with overlap against those without.
	Comparison  *Comparison `json:"comparison,omitempty"`
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

// Steps counts what the scheduler did in the measured time. It is zero for a
// server that is only known by its address.
type Steps struct {
	Total          uint64 `json:"total"`
	Decode         uint64 `json:"decode"`  // of decode rows alone
	Prefill        uint64 `json:"prefill"` // of prefill rows alone
	Mixed          uint64 `json:"mixed"`   // of both
	ComputedTokens uint64 `json:"computed_tokens"`
	CachedTokens   uint64 `json:"cached_tokens"` // of prompts, found in the prefix cache
	WastedRows     uint64 `json:"wasted_rows"`   // computed for requests that had ended
	Preempted      uint64 `json:"preempted"`

	// The device's time, in a system of the same process.
	DecodeMS  float64 `json:"decode_ms,omitempty"`  // a step, in the mean
	PrefillMS float64 `json:"prefill_ms,omitempty"` // the same
	MixedMS   float64 `json:"mixed_ms,omitempty"`   // the same
	BusyS     float64 `json:"busy_s,omitempty"`
	IdleS     float64 `json:"idle_s,omitempty"`   // between steps, or in them for masks, though there was work
	ReduceS   float64 `json:"reduce_s,omitempty"` // of busy_s: adding up what devices that share the model have
	WaitS     float64 `json:"wait_s,omitempty"`   // of reduce_s: waiting for the slowest of them
}

// Idle is the share of the time the device had work in which it did none, if
// that is known.
func (s *Steps) Idle() (share float64, known bool) {
	all := s.BusyS + s.IdleS
	return s.IdleS / max(all, 1e-9), all > 0
}

// Samples are the requests that ended as they should, in the order in which
// they were sent: the same index is the same request. With a request's times
// and counts, the mean time between its tokens is (e2e−ttft)/(output−1).
type Samples struct {
	Sent   []float64 `json:"sent_ms"` // since the run began
	TTFT   []float64 `json:"ttft_ms"`
	E2E    []float64 `json:"e2e_ms"`
	Input  []int     `json:"input_tokens"`
	Output []int     `json:"output_tokens"`
}

// Timeline is how the run went, in intervals of equal length from its
// beginning: at index i, what happened from i·interval to (i+1)·interval, or
// how things stood at the end of that. At most 512 intervals.
type Timeline struct {
	IntervalS float64 `json:"interval_s"`
	Output    []int   `json:"output_tokens"` // that came
	Open      []int   `json:"open"`          // requests sent and not ended

	// Known of an engine in this process, and of a server that tells: ours of
	// all, vLLM and SGLang of who runs and how full the KV memory is.
	Steps    []int     `json:"steps,omitempty"`           // that were built
	Computed []int     `json:"computed_tokens,omitempty"` // by steps, of prompts and replies
	Decoded  []int     `json:"decode_rows,omitempty"`     // of those, computed for rows that decode: one token each
	Running  []int     `json:"running,omitempty"`         // requests in steps
	Waiting  []int     `json:"waiting,omitempty"`         // requests not yet in one
	KVUsed   []float64 `json:"kv_used,omitempty"`         // share of pages that requests hold
	KVCached []float64 `json:"kv_cached,omitempty"`       // share that holds only what may be shared again
}

// Histogram counts durations in buckets whose edges are a fixed ratio apart:
// Counts[i] are those of at least 10^((First+i)/PerDecade) µs and less than
// 10^((First+i+1)/PerDecade) µs. Zero are those below the smallest edge there
// can be, 0.1 µs: tokens that came in one event.
type Histogram struct {
	PerDecade int   `json:"per_decade"`
	First     int   `json:"first"`
	Counts    []int `json:"counts"`
	Zero      int   `json:"zero"`
}

// perDecade makes a bucket 4.7% wide.
const perDecade = 50

// newHistogram counts samples.
func newHistogram(samples []time.Duration) *Histogram {
	h := &Histogram{PerDecade: perDecade}
	counts := map[int]int{}
	for _, d := range samples {
		if d < 100*time.Nanosecond {
			h.Zero++
			continue
		}
		counts[int(math.Floor(perDecade*math.Log10(float64(d)/float64(time.Microsecond))))]++
	}
	if len(counts) == 0 {
		return h
	}
	first, last := math.MaxInt, math.MinInt
	for i := range counts {
		first, last = min(first, i), max(last, i)
	}
	h.First, h.Counts = first, make([]int, last-first+1)
	for i, n := range counts {
		h.Counts[i-first] = n
	}
	return h
}

// Edge is the lower edge of bucket i, and the upper one of i−1.
func (h *Histogram) Edge(i int) time.Duration {
	return time.Duration(math.Pow(10, float64(h.First+i)/float64(h.PerDecade)) * float64(time.Microsecond))
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
	Warmup    int `json:"warm_up"` // requests that ran before the measured ones
	// Source is the file or data set that lengths and times are of; empty when
	// they were drawn.
	Source string `json:"source,omitempty"`
	Format string `json:"format,omitempty"` // of a trace
	// Scale is what the times of a trace were multiplied by.
	Scale float64 `json:"scale,omitempty"`
	// Fitted says how this is less than what the command asks for by default,
	// which was more than the model takes.
	Fitted string `json:"fitted,omitempty"`
}

// StreamsDetail is what serving many streams at once cost.
type StreamsDetail struct {
	Streams        int     `json:"streams"`
	ServerUserUS   float64 `json:"server_user_us"`   // processor time a token, of the server's program
	ServerSystemUS float64 `json:"server_system_us"` // and of the kernel for it
	ClientUS       float64 `json:"client_us"`
	// Delivered is from the end of a device's step to its tokens' being
	// written: upper bounds of p50, p90 and p99; 0 beyond the largest bucket.
	Delivered Distribution `json:"delivered_ms"`
	Resident  [3]int64     `json:"server_resident_bytes"` // before the streams, with them, in the end
	// GoneMS is when nothing was left of clients that vanished: no request,
	// no page, no goroutine.
	GoneMS [3]float64 `json:"gone_ms"`
}

// ClusterDetail is what a report of many simulated engines holds beside what every one does. Bytes are
// those of digests: what engines tell fronts of their prefix trees. Imbalance is the most of an engine
// over the mean.
type ClusterDetail struct {
	Policy          string          `json:"policy"`
	Engines         int             `json:"engines"`
	Fronts          int             `json:"fronts"`
	KVTokens        int             `json:"kv_tokens"`   // of an engine
	HitRate         float64         `json:"hit_rate"`    // of tokens of prompts
	Resumed         int             `json:"resumed"`     // requests that another engine went on with
	Utilization     float64         `json:"utilization"` // share of time that engines compute
	BusyImbalance   float64         `json:"busy_imbalance"`
	KVImbalance     float64         `json:"kv_imbalance"`
	DigestBytesPerS float64         `json:"digest_bytes_per_s"` // of an engine to a front
	BytesPerChange  float64         `json:"bytes_per_change"`   // of all that is told, by pages that joined or left
	SnapshotBytes   uint64          `json:"snapshot_bytes"`     // the most that was told at once
	KnownPages      int             `json:"known_pages"`        // that a front knows of, engine by engine
	MissedShare     float64         `json:"missed_share"`       // of tokens of prompts: believed to be cached, and not there
	UnknownShare    float64         `json:"unknown_share"`      // there, and not believed to be
	Windows         []ClusterWindow `json:"windows,omitempty"`
}

// ClusterWindow is an interval of such a run, by when requests came.
type ClusterWindow struct {
	BeginsS  float64 `json:"begins_s"`
	Requests int     `json:"requests"`
	HitRate  float64 `json:"hit_rate"`
	TTFTP50  float64 `json:"ttft_p50_ms"`
	TTFTP99  float64 `json:"ttft_p99_ms"`
}

// Lengths summarises the lengths of real requests, in tokens.
type Lengths struct {
	Input  LengthSummary `json:"input_tokens"`
	Output LengthSummary `json:"output_tokens"`
}

// LengthSummary is a distribution of lengths; percentiles are the lengths
// themselves, not interpolated: of n sorted ones, that at index n·q.
type LengthSummary struct {
	Count int     `json:"count"`
	Min   int     `json:"min"`
	Mean  float64 `json:"mean"`
	P50   int     `json:"p50"`
	P90   int     `json:"p90"`
	P99   int     `json:"p99"`
	Max   int     `json:"max"`
}

// Conversations says what became of those that were read of a data set: each
// was taken or left out for the first reason that applies.
type Conversations struct {
	Read     int `json:"read"`
	Taken    int `json:"taken"`
	Empty    int `json:"empty"` // no message of a user, or nothing in the first
	Language int `json:"language"`
	Redacted int `json:"redacted"`
	Toxic    int `json:"toxic"`
	Long     int `json:"long"` // did not fit the model; taken before that
}

// String is it in words.
func (c *Conversations) String() string {
	if c == nil {
		return ""
	}
	return fmt.Sprintf("%s read: %s taken; %s of another language, %s toxic, %s redacted, %s empty; %s too long for the model",
		thousands(c.Read), thousands(c.Taken), thousands(c.Language), thousands(c.Toxic), thousands(c.Redacted), thousands(c.Empty), thousands(c.Long))
}

// Lengths sums the lengths of the requests up that ended as they should.
func (s *Samples) Lengths() *Lengths {
	return &Lengths{Input: lengthSummary(s.Input), Output: lengthSummary(s.Output)}
}

// lengthSummary sums lengths up.
func lengthSummary(lengths []int) LengthSummary {
	n := len(lengths)
	if n == 0 {
		return LengthSummary{}
	}
	sorted := slices.Sorted(slices.Values(lengths))
	sum := 0
	for _, l := range sorted {
		sum += l
	}
	return LengthSummary{
		Count: n, Min: sorted[0], Mean: float64(sum) / float64(n),
		P50: sorted[n/2], P90: sorted[n*9/10], P99: sorted[n*99/100], Max: sorted[n-1],
	}
}

// Comparison is one report set against another.
type Comparison struct {
	A     string `json:"a"` // what they are called
	B     string `json:"b"`
	Basis string `json:"basis"` // what the intervals were drawn from, in words
	// Differs is what else is not alike of work and environment: "seed: 0, 1".
	Differs []string     `json:"differs,omitempty"`
	Rows    []Comparable `json:"rows"`
}

// Comparable is one figure of two reports. Ratio is B/A, 0 where A or B is 0;
// Low and High bound it with 95% confidence, and are absent where the reports
// tell too little.
type Comparable struct {
	Metric string   `json:"metric"`
	Unit   string   `json:"unit"`
	A      float64  `json:"a"`
	B      float64  `json:"b"`
	Ratio  float64  `json:"ratio"`
	Low    *float64 `json:"low,omitempty"`
	High   *float64 `json:"high,omitempty"`
	AA     float64  `json:"a_a,omitempty"` // a's later runs against its earlier ones
}

// Environment says where and with what a run was made.
type Environment struct {
	Time       time.Time `json:"time"` // of the beginning
	Version    string    `json:"version"`
	Commit     string    `json:"commit,omitempty"`
	Go         string    `json:"go"`
	Platform   string    `json:"platform"`
	CPUs       int       `json:"cpus"` // that this process may use
	Flags      []string  `json:"flags"`
	Model      string    `json:"model"`
	Parameters int64     `json:"parameters"`
	DType      string    `json:"dtype"`
	Dummy      bool      `json:"dummy_weights"`
	Device     string    `json:"device"`
	Hardware   string    `json:"hardware"`
	Ranks      int       `json:"ranks,omitempty"`  // devices that share the model, where there are several
	Driver     string    `json:"driver,omitempty"` // of a GPU: the kernel driver's version
	Slots      int       `json:"slots"`
	PageSize   int       `json:"page_size"`
	NumPages   int       `json:"num_pages"`
	StepTokens int       `json:"max_step_tokens"`
	Overlap    bool      `json:"overlap"`
	TargetITL  float64   `json:"target_itl_ms,omitempty"` // what prompts may make tokens wait; 0: any time
}
