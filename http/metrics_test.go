package http

import (
	"compress/gzip"
	"io"
	"math"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/troupe-llm/troupe/actors"
	"github.com/troupe-llm/troupe/http/internal/dialect"
)

var sample = regexp.MustCompile(`^([a-z_:][a-z0-9_:]*)(\{[a-z_]+="[^"]*"(?:,[a-z_]+="[^"]*")*\})? (\S+)$`)

// scrape reads an exposition as Prometheus does: every sample follows its
// type.
func scrape(t *testing.T, text string) map[string]float64 {
	t.Helper()
	samples, types := map[string]float64{}, map[string]string{}
	for line := range strings.Lines(text) {
		line = strings.TrimSuffix(line, "\n")
		if rest, ok := strings.CutPrefix(line, "# TYPE "); ok {
			name, kind, _ := strings.Cut(rest, " ")
			if types[name] != "" {
				t.Errorf("%s has two types", name)
			}
			types[name] = kind
			continue
		}
		if strings.HasPrefix(line, "# HELP ") {
			continue
		}
		m := sample.FindStringSubmatch(line)
		if m == nil {
			t.Fatalf("not a sample: %q", line)
		}
		name := m[1]
		for _, part := range []string{"_bucket", "_sum", "_count"} {
			if base, ok := strings.CutSuffix(name, part); ok && types[base] == "histogram" {
				name = base
			}
		}
		v, err := strconv.ParseFloat(m[3], 64)
		if err != nil || types[name] == "" {
			t.Errorf("%q: %v, type %q", line, err, types[name])
		}
		if _, twice := samples[m[1]+m[2]]; twice {
			t.Errorf("%s%s is given twice", m[1], m[2])
		}
		samples[m[1]+m[2]] = v
	}
	return samples
}

func TestMetrics(t *testing.T) {
	h := start(t, script(
		[]actors.Output{started("ab"), says("xyz"), ends("stop", 2, 3)},
		[]actors.Output{started("ab"), says("x"), says("y"), ends("length", 2, 2)},
	), Config{})
	h.read(h.post("/v1/completions", `{"prompt":"ab"}`))
	h.read(h.post("/v1/completions", `{"prompt":"ab","stream":true}`))
	h.read(h.post("/v1/completions", `{}`))
	h.read(h.do("GET", "/nowhere", ""))
	resp := h.do("GET", "/metrics", "")
	status, text := h.read(resp)
	if status != 200 || !strings.HasPrefix(resp.header.Get("Content-Type"), "text/plain; version=0.0.4") {
		t.Fatalf("%d %s", status, resp.header.Get("Content-Type"))
	}
	got := scrape(t, text)
	for name, want := range map[string]float64{
		`troupe_http_requests_total{route="/v1/completions",status="200"}`: 2,
		`troupe_http_requests_total{route="/v1/completions",status="400"}`: 1,
		`troupe_http_requests_total{route="other",status="404"}`:           1,
		`troupe_request_success_total{finished_reason="stop"}`:             1,
		`troupe_request_success_total{finished_reason="length"}`:           1,
		`troupe_request_success_total{finished_reason="abort"}`:            0,
		`troupe_prompt_tokens_total`:                                       4,
		`troupe_generation_tokens_total`:                                   5,
		`troupe_time_to_first_token_seconds_count`:                         2,
		`troupe_inter_token_latency_seconds_count`:                         1, // tokens that came together have no gap
		`troupe_token_delivery_seconds_count`:                              2, // streamed ones
		`troupe_e2e_request_latency_seconds_bucket{le="+Inf"}`:             2,
		`troupe_http_answers_open`:                                         0,
		`troupe_mailbox_depth{actor="scheduler"}`:                          3,
		`troupe_mailbox_delay_seconds_count{actor="scheduler"}`:            2,
		`troupe_num_requests_running`:                                      0,
		`troupe_gpu_busy_seconds_total`:                                    3,
		`troupe_gpu_idle_seconds_total`:                                    1,
	} {
		if v, ok := got[name]; !ok || v != want {
			t.Errorf("%s is %v, want %v", name, v, want)
		}
	}
}

func TestHistogram(t *testing.T) {
	h := newHistogram(.1, 1)
	h.observe(100 * time.Millisecond) // a bound belongs to its bucket
	h.observeN(200*time.Millisecond, 3)
	h.observe(5 * time.Second)
	var w exposition
	w.histogram("h", "help", &h)
	got := scrape(t, w.String())
	for name, want := range map[string]float64{`h_bucket{le="0.1"}`: 1, `h_bucket{le="1"}`: 4, `h_bucket{le="+Inf"}`: 5, "h_count": 5, "h_sum": 5.7} {
		if math.Abs(got[name]-want) > 1e-9 {
			t.Errorf("%s is %v, want %v", name, got[name], want)
		}
	}
}

func TestProcess(t *testing.T) {
	p, ok := processNow()
	if !ok {
		t.Skip("the system says nothing of a process")
	}
	if p.user+p.system <= 0 || p.resident < 1<<20 || p.files < 3 || p.mostFiles < uint64(p.files) {
		t.Errorf("%+v", p)
	}
}

// Tokens are counted as they come, not when their answer ends, and once each.
func TestTokensAreCountedByStep(t *testing.T) {
	s, err := newServer(Config{}, script([]actors.Output{started("ab"), says("xyz"), says("x"), ends("stop", 2, 5)}), zerologNop)
	if err != nil {
		t.Fatal(err)
	}
	a := s.newAnswer((*s.models.Load())[0], &dialect.Call{Requests: []*actors.Request{{}}, PerPrompt: 1}, time.Now())
	if err := a.begin(); err != nil {
		t.Fatal(err)
	}
	for i, want := range [][2]int64{{2, 0}, {2, 3}, {2, 4}, {2, 5}} {
		if _, err := a.next(); err != nil {
			t.Fatal(err)
		}
		if got := [2]int64{a.metrics.promptTokens.Load(), a.metrics.outputTokens.Load()}; got != want {
			t.Errorf("after event %d prompts and output have %v tokens, want %v", i, got, want)
		}
	}
}

// A token of which nothing is written is not delivered.
func TestDeliveryIsOfWhatIsWritten(t *testing.T) {
	h := start(t, script([]actors.Output{started("ab"), {Tokens: []int32{1, 2}}, says("x"), ends("stop", 2, 3)}), Config{})
	h.read(h.post("/v1/completions", `{"prompt":"ab","stream":true}`))
	_, text := h.read(h.do("GET", "/metrics", ""))
	got := scrape(t, text)
	if n := got["troupe_token_delivery_seconds_count"]; n != 1 {
		t.Errorf("%v tokens were delivered, want 1", n)
	}
	if got["process_max_fds"] < 1 && got["process_open_fds"] > 0 {
		t.Error("nothing says how many files may be open")
	}
}

// What has not happened yet is there, too: a rate needs a first value.
func TestSeriesAreThereFromTheBeginning(t *testing.T) {
	h := start(t, script(), Config{Version: "1.2", Revision: "abc", Models: []string{`a "b"` + "\n" + `\c`}})
	_, text := h.read(h.do("GET", "/metrics", ""))
	for _, want := range []string{
		`troupe_http_requests_total{route="/v1/messages",status="503"} 0`, `troupe_http_requests_total{route="other",status="404"} 0`,
		`troupe_request_success_total{finished_reason="error"} 0`, `troupe_http_limited_total{of="address",limit="open"} 0`,
		`troupe_build_info{version="1.2",revision="abc",goversion="` + runtime.Version() + `"} 1`,
		`troupe_model_info{model="fake",served_model_name="a \"b\"\n\\c",device="toy",hardware="a machine",weights="bfloat16",kv_dtype="int8",max_model_len="1024"} 1`,
		`troupe_request_queue_time_seconds_count 0`, `troupe_request_prompt_tokens_count 0`, `troupe_request_generation_tokens_count 0`,
	} {
		if !strings.Contains(text, "\n"+want+"\n") {
			t.Errorf("no %s", want)
		}
	}
}

// How long requests wait, and how long they are.
func TestRequestHistograms(t *testing.T) {
	timed := ends("stop", 700, 30)
	timed.Final.Times = actors.Times{Queued: 1e9, Started: 1e9 + 2e8}
	h := start(t, script([]actors.Output{started("ab"), timed}, []actors.Output{started("ab"), ends("stop", 3, 1)}), Config{})
	h.read(h.post("/v1/completions", `{"prompt":"ab"}`))
	h.read(h.post("/v1/completions", `{"prompt":"ab"}`))
	_, text := h.read(h.do("GET", "/metrics", ""))
	got := scrape(t, text)
	for name, want := range map[string]float64{
		`troupe_request_queue_time_seconds_bucket{le="0.1"}`: 0, `troupe_request_queue_time_seconds_bucket{le="0.25"}`: 1,
		`troupe_request_queue_time_seconds_sum`: 0.2, // one was never begun with
		`troupe_request_prompt_tokens_sum`:      703, `troupe_request_prompt_tokens_bucket{le="500"}`: 1,
		`troupe_request_generation_tokens_sum`: 31, `troupe_request_generation_tokens_count`: 2,
	} {
		if got[name] != want {
			t.Errorf("%s is %v, want %v", name, got[name], want)
		}
	}
}

// Who asks for OpenMetrics gets it, and who takes gzip that.
func TestMetricsFormats(t *testing.T) {
	h := start(t, script(), Config{})
	ask := func(header ...string) (kind, body string) {
		resp := h.do("GET", "/metrics", "", header...)
		_, body = h.read(resp)
		if resp.header.Get("Content-Encoding") == "gzip" {
			r, err := gzip.NewReader(strings.NewReader(body))
			if err != nil {
				t.Fatal(err)
			}
			plain, err := io.ReadAll(r)
			if err != nil {
				t.Fatal(err)
			}
			body = "gzip " + string(plain)
		}
		return resp.header.Get("Content-Type"), body
	}
	const open = "application/openmetrics-text; version=1.0.0; charset=utf-8"
	for accept, want := range map[string]string{
		"":    "text/plain; version=0.0.4; charset=utf-8",
		"*/*": "text/plain; version=0.0.4; charset=utf-8",
		"application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.5,text/plain;version=0.0.4;q=0.2,*/*;q=0.1": open,
		"text/plain, application/openmetrics-text;q=0.5":                                                                 "text/plain; version=0.0.4; charset=utf-8",
		"application/openmetrics-text":                                                                                   open,
	} {
		if kind, _ := ask("Accept: " + accept); kind != want {
			t.Errorf("%q: %s", accept, kind)
		}
	}
	_, text := ask("Accept: application/openmetrics-text", "Accept-Encoding: gzip")
	text, zipped := strings.CutPrefix(text, "gzip ")
	text, ended := strings.CutSuffix(text, "\n# EOF\n")
	if !zipped || !ended || strings.Contains(text, "EOF") {
		t.Errorf("compressed %v, ended %v", zipped, ended)
	}
	// Counters have _total in samples alone, and bounds a point.
	kinds := map[string]string{}
	for line := range strings.Lines(text + "\n") {
		if rest, is := strings.CutPrefix(line, "# TYPE "); is {
			name, kind, _ := strings.Cut(strings.TrimSpace(rest), " ")
			if kinds[name] = kind; kind == "counter" && strings.HasSuffix(name, "_total") {
				t.Errorf("the type of %s is told", name)
			}
		}
		name := line[:strings.IndexAny(line, " {")]
		if base, counts := strings.CutSuffix(name, "_total"); !strings.HasPrefix(line, "#") && counts != (kinds[base] == "counter") {
			t.Errorf("%q is of no counter, or has another name", line)
		}
		if _, le, is := strings.Cut(line, `le="`); is && !strings.HasPrefix(le, "+Inf") && !strings.ContainsAny(le[:strings.Index(le, `"`)], ".e") {
			t.Errorf("%q has a bound without a point", line)
		}
	}
}

// Of several engines each has its figures, in /metrics and in /stats.
func TestStatsOfEngines(t *testing.T) {
	st := &actors.Stats{Resumed: 3, Engines: []actors.EngineStats{
		{Name: "10.0.0.1:7", Ready: true},
		{Name: "[fe80::2]:7", Number: 4, Peer: "[fe80::2]:7", Version: "v1", Hardware: "H200", ClockError: time.Millisecond},
	}}
	st.Engines[1].Running, st.Engines[1].Generated = 4, 500
	var w exposition
	writeStats(&w, []modelStats{{stats: st}})
	got := scrape(t, w.String())
	for name, want := range map[string]float64{
		`troupe_requests_resumed_total`:                               3,
		`troupe_engine_ready{engine="10.0.0.1:7"}`:                    1,
		`troupe_engine_ready{engine="[fe80::2]:7"}`:                   0,
		`troupe_engine_requests_running{engine="[fe80::2]:7"}`:        4,
		`troupe_engine_sampled_tokens_total{engine="[fe80::2]:7"}`:    500,
		`troupe_engine_prefix_cache_hits_total{engine="[fe80::2]:7"}`: 0,
		`troupe_engine_clock_error_seconds{engine="[fe80::2]:7"}`:     0.001,
	} {
		if v, ok := got[name]; !ok || v != want {
			t.Errorf("%s is %v, want %v", name, v, want)
		}
	}
	m := &servedModel{engine: script()}
	if engines, _ := m.placed(0, st); statsOf(st).Resumed != 3 || len(engines) != 2 || engines[1] != (engineBody{
		Name: "[fe80::2]:7", Number: 4, Host: "fe80::2", State: "ready", Version: "v1", Hardware: "H200", Clock: 0.001, Running: 4, Generated: 500,
	}) {
		t.Errorf("%+v", engines)
	}
}
