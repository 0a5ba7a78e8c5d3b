package http

import (
	"bytes"
	"cmp"
	"fmt"
	"maps"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/valyala/fasthttp"
)

// Metrics are written as Prometheus text by hand: there are few, their labels
// are fixed, and a token costs two atomic additions.

// metricSet is what this package counts itself of a model's answers. The engine counts the rest.
type metricSet struct {
	firstToken histogram // from a request's arrival to its first token
	tokenGap   histogram // between tokens of one answer
	whole      histogram // from a request's arrival to its answer's end
	delivery   histogram // from the device's being done with a token to its being written
	queued     histogram // from an engine's having a prompt's tokens to its first step

	promptLength, outputLength histogram // tokens of a request

	promptTokens, cachedTokens, outputTokens atomic.Int64

	mu       sync.Mutex
	finished map[string]int64 // guarded by mu; by finish reason
}

// requestCounts are of requests, whatever they are for.
type requestCounts struct {
	mu sync.Mutex
	by map[requestKey]int64 // guarded by mu
}

type requestKey struct {
	route  string
	status int
}

func newMetrics() *metricSet {
	return &metricSet{
		firstToken: newHistogram(.001, .002, .005, .01, .02, .04, .06, .08, .1, .25, .5, .75, 1, 2.5, 5, 7.5, 10, 20, 40, 80, 160),
		tokenGap:   newHistogram(.001, .002, .005, .01, .015, .025, .05, .075, .1, .15, .2, .3, .4, .5, .75, 1, 2.5, 5),
		whole:      newHistogram(.05, .1, .3, .5, .8, 1, 1.5, 2, 2.5, 5, 10, 15, 20, 30, 40, 50, 60, 120, 240, 480, 960),
		delivery:   newHistogram(.0001, .0002, .0005, .001, .002, .003, .005, .0075, .01, .015, .02, .03, .05, .1, .25, 1),
		queued:     newHistogram(.001, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 20, 40, 80, 160, 320),

		promptLength: newHistogramOf(1, lengths...), outputLength: newHistogramOf(1, lengths...),
		finished: map[string]int64{"stop": 0, "length": 0, "abort": 0, "error": 0}, // there before the first
	}
}

// lengths are bounds of histograms of tokens.
var lengths = []float64{1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10000, 20000, 50000, 100000, 200000, 500000}

// expect has the series of a route there before its first request: who watches a
// rate sees the first failure only if there was something before it.
func (c *requestCounts) expect(route string, statuses ...int) {
	for _, status := range statuses {
		c.by[requestKey{route, status}] = 0
	}
}

func (c *requestCounts) add(route string, status int) {
	c.mu.Lock()
	c.by[requestKey{cmp.Or(route, "other"), status}]++
	c.mu.Unlock()
}

func (m *metricSet) answered(o *outcome, took time.Duration) {
	m.cachedTokens.Add(int64(o.usage.CachedTokens))
	m.whole.observe(took)
	for i, f := range o.finals {
		if f.Err != nil {
			continue
		}
		if f.Times.Started > 0 {
			m.queued.observe(time.Duration(f.Times.Started - f.Times.Queued))
		}
		if i%o.perPrompt == 0 {
			m.promptLength.observe(time.Duration(f.Usage.PromptTokens))
		}
		m.outputLength.observe(time.Duration(f.Usage.CompletionTokens))
	}
	m.mu.Lock()
	m.finished[o.finish]++
	m.mu.Unlock()
}

// histogram counts values in buckets.
type histogram struct {
	unit   int64           // of values, what the bounds count in
	bounds []float64       // ascending
	counts []atomic.Uint64 // counts[i] ≤ bounds[i], and the rest; not cumulative
	sum    atomic.Int64    // of values
}

// newHistogram is of durations; bounds are in seconds.
func newHistogram(bounds ...float64) histogram { return newHistogramOf(int64(time.Second), bounds...) }

func newHistogramOf(unit int64, bounds ...float64) histogram {
	return histogram{unit: unit, bounds: bounds, counts: make([]atomic.Uint64, len(bounds)+1)}
}

func (h *histogram) observe(v time.Duration) { h.observeN(v, 1) }

// observeN counts n observations of v each.
func (h *histogram) observeN(v time.Duration, n int) {
	i, _ := slices.BinarySearch(h.bounds, float64(v)/float64(h.unit))
	h.counts[i].Add(uint64(n))
	h.sum.Add(int64(v) * int64(n))
}

// exposition is Prometheus's text format, or OpenMetrics'.
type exposition struct {
	bytes.Buffer
	open bool // it is OpenMetrics'
}

func (w *exposition) head(name, kind, help string) {
	if w.open && kind == "counter" {
		name = strings.TrimSuffix(name, "_total")
	}
	fmt.Fprintf(w, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, kind)
}

// labels are several of a sample, those that are not "".
func labels(all ...string) string {
	return strings.Join(slices.DeleteFunc(all, func(l string) bool { return l == "" }), ",")
}

// value writes one sample. labels are like `route="/v1/models"`, or "".
func (w *exposition) value(name, labels string, v float64) {
	w.WriteString(name)
	if labels != "" {
		w.WriteString("{" + labels + "}")
	}
	w.WriteByte(' ')
	w.Write(strconv.AppendFloat(w.AvailableBuffer(), v, 'g', -1, 64))
	w.WriteByte('\n')
}

// label1 is a sample's only label, or its first.
func label1(name, value string) string { return name + `="` + labelEscapes.Replace(value) + `"` }

var labelEscapes = strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`)

// bound is a label for the upper bound of a bucket.
func (w *exposition) bound(v float64) string {
	text := strconv.FormatFloat(v, 'g', -1, 64)
	if w.open && !strings.ContainsAny(text, ".e") {
		text += ".0"
	}
	return `le="` + text + `"`
}

func (w *exposition) gauge(name, help string, v float64) {
	w.head(name, "gauge", help)
	w.value(name, "", v)
}

func (w *exposition) counter(name, help string, v float64) {
	w.head(name, "counter", help)
	w.value(name, "", v)
}

func (w *exposition) histogram(name, help string, h *histogram) {
	w.head(name, "histogram", help)
	w.buckets(name, "", h)
}

// buckets writes the samples of a histogram.
func (w *exposition) buckets(name, of string, h *histogram) {
	var n uint64
	for i := range h.counts {
		n += h.counts[i].Load()
		bound := `le="+Inf"`
		if i < len(h.bounds) {
			bound = w.bound(h.bounds[i])
		}
		w.value(name+"_bucket", labels(of, bound), float64(n))
	}
	w.value(name+"_sum", of, float64(h.sum.Load())/float64(h.unit))
	w.value(name+"_count", of, float64(n))
}

func metrics(x *exchange) *Error {
	h := &x.ctx.Request.Header
	w := exposition{open: prefersOpenMetrics(string(h.Peek(fasthttp.HeaderAccept)))}
	all := *x.s.models.Load()
	writeAnswers(&w, all)
	x.s.requests.write(&w)
	x.s.writeInfo(&w)
	w.gauge("troupe_http_answers_open", "Answers under way.", float64(x.s.answers.Load()))
	w.gauge("troupe_http_body_bytes", "Memory that bodies take which are being read or decoded.", float64(x.s.bodies.used.Load()))
	w.head("troupe_http_limited_total", "counter", "Requests refused for a limit of their key or address.")
	x.s.byKey.write(&w)
	x.s.byAddress.write(&w)
	writeStats(&w, statsOfEach(all))
	writeProcess(&w, x.s.began)
	x.ctx.SetContentType("text/plain; version=0.0.4; charset=utf-8")
	if w.open {
		w.WriteString("# EOF\n")
		x.ctx.SetContentType("application/openmetrics-text; version=1.0.0; charset=utf-8")
	}
	x.ctx.Response.Header.Add(fasthttp.HeaderVary, fasthttp.HeaderAccept)
	x.ctx.Response.Header.Add(fasthttp.HeaderVary, fasthttp.HeaderAcceptEncoding)
	body := w.Bytes()
	if h.HasAcceptEncoding("gzip") {
		body = fasthttp.AppendGzipBytesLevel(nil, body, fasthttp.CompressBestSpeed)
		x.ctx.Response.Header.SetContentEncoding("gzip")
	}
	x.ctx.SetBody(body)
	return nil
}

// prefersOpenMetrics reports whether an Accept field wants that more than
// Prometheus' own format.
func prefersOpenMetrics(accept string) bool {
	var open, plain float64
	for _, part := range strings.Split(accept, ",") {
		kind, params, _ := strings.Cut(strings.TrimSpace(part), ";")
		quality := 1.0
		for _, param := range strings.Split(params, ";") {
			if q, is := strings.CutPrefix(strings.TrimSpace(param), "q="); is {
				quality, _ = strconv.ParseFloat(q, 64)
			}
		}
		switch strings.TrimSpace(kind) {
		case "application/openmetrics-text":
			open = max(open, quality)
		case "text/plain":
			plain = max(plain, quality)
		}
	}
	return open > 0 && open >= plain
}

// writeInfo says what runs here.
func (s *Server) writeInfo(w *exposition) {
	w.head("troupe_build_info", "gauge", "Always 1: which build this is.")
	w.value("troupe_build_info", strings.Join([]string{label1("version", s.cfg.Version), label1("revision", s.cfg.Revision), label1("goversion", runtime.Version())}, ","), 1)
	w.head("troupe_model_info", "gauge", "Always 1, once a model is served: which, and on what.")
	for _, m := range s.models.Load().there() {
		i := &m.info
		w.value("troupe_model_info", strings.Join([]string{
			label1("model", i.model), label1("served_model_name", m.Names[0]), label1("device", i.device), label1("hardware", i.hardware),
			label1("weights", i.weights), label1("kv_dtype", i.kvDType), label1("max_model_len", strconv.Itoa(i.maxLen)),
		}, ","), 1)
	}
}

// writeAnswers writes what was counted of models' answers.
func writeAnswers(w *exposition, all modelTable) {
	for _, f := range []struct {
		name, help string
		of         func(*metricSet) *histogram
	}{
		{"troupe_time_to_first_token_seconds", "From a request's arrival to its first token.", func(m *metricSet) *histogram { return &m.firstToken }},
		{"troupe_inter_token_latency_seconds", "Between the tokens of one answer.", func(m *metricSet) *histogram { return &m.tokenGap }},
		{"troupe_e2e_request_latency_seconds", "From a request's arrival to its answer's end.", func(m *metricSet) *histogram { return &m.whole }},
		{"troupe_token_delivery_seconds", "From the end of a token's step on the device to its being written to a stream.", func(m *metricSet) *histogram { return &m.delivery }},
		{"troupe_request_queue_time_seconds", "From when an engine had a request's tokens to its first step; of requests that ended.", func(m *metricSet) *histogram { return &m.queued }},
		{"troupe_request_prompt_tokens", "Tokens of a prompt; of requests that ended.", func(m *metricSet) *histogram { return &m.promptLength }},
		{"troupe_request_generation_tokens", "Tokens generated for one choice; of requests that ended.", func(m *metricSet) *histogram { return &m.outputLength }},
	} {
		w.head(f.name, "histogram", f.help)
		for _, m := range all {
			w.buckets(f.name, m.label, f.of(m.metrics))
		}
	}
	for _, f := range []struct {
		name, help string
		of         func(*metricSet) *atomic.Int64
	}{
		{"troupe_prompt_tokens_total", "Prompt tokens of requests, counted when they are accepted.", func(m *metricSet) *atomic.Int64 { return &m.promptTokens }},
		{"troupe_cached_prompt_tokens_total", "Prompt tokens found in the prefix cache.", func(m *metricSet) *atomic.Int64 { return &m.cachedTokens }},
		{"troupe_generation_tokens_total", "Tokens generated, counted step by step.", func(m *metricSet) *atomic.Int64 { return &m.outputTokens }},
	} {
		w.head(f.name, "counter", f.help)
		for _, m := range all {
			w.value(f.name, m.label, float64(f.of(m.metrics).Load()))
		}
	}
	w.head("troupe_request_success_total", "counter", "Answers by how they ended.")
	for _, m := range all {
		m.metrics.writeFinished(w, m.label)
	}
}

func (m *metricSet) writeFinished(w *exposition, of string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, reason := range slices.Sorted(maps.Keys(m.finished)) {
		w.value("troupe_request_success_total", labels(of, label1("finished_reason", reason)), float64(m.finished[reason]))
	}
}

func (c *requestCounts) write(w *exposition) {
	c.mu.Lock()
	defer c.mu.Unlock()
	w.head("troupe_http_requests_total", "counter", "Requests by route and status; 499 is a client that went away.")
	byName := func(a, b requestKey) int {
		return cmp.Or(cmp.Compare(a.route, b.route), cmp.Compare(a.status, b.status))
	}
	for _, k := range slices.SortedFunc(maps.Keys(c.by), byName) {
		w.value("troupe_http_requests_total", label1("route", k.route)+","+label1("status", strconv.Itoa(k.status)), float64(c.by[k]))
	}
}

func writeProcess(w *exposition, began time.Time) {
	var mem runtime.MemStats
	runtime.ReadMemStats(&mem)
	if p, ok := processNow(); ok {
		w.counter("process_cpu_seconds_total", "Processor time used.", (p.user + p.system).Seconds())
		w.counter("process_cpu_user_seconds_total", "Processor time used outside of the system's kernel.", p.user.Seconds())
		w.counter("process_cpu_system_seconds_total", "Processor time used in the system's kernel.", p.system.Seconds())
		w.gauge("process_resident_memory_bytes", "Memory that lies in the machine's.", float64(p.resident))
		w.gauge("process_open_fds", "Open files and connections.", float64(p.files))
		w.gauge("process_max_fds", "Files and connections that may be open.", float64(p.mostFiles))
	}
	w.gauge("process_start_time_seconds", "When the server was made, in Unix time.", float64(began.UnixMilli())/1000)
	w.gauge("go_goroutines", "Goroutines that exist.", float64(runtime.NumGoroutine()))
	w.gauge("go_memstats_heap_inuse_bytes", "Heap memory in use.", float64(mem.HeapInuse))
	w.gauge("go_memstats_sys_bytes", "Memory obtained from the system.", float64(mem.Sys))
}
