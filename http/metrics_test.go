package http

import (
	"math"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/troupe-llm/troupe/actors"
	"github.com/troupe-llm/troupe/http/dialect"
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
		[]actors.Event{started("ab"), says("xyz"), ends("stop", 2, 3)},
		[]actors.Event{started("ab"), says("x"), says("y"), ends("length", 2, 2)},
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
	s, err := newServer(Config{}, script([]actors.Event{started("ab"), says("xyz"), says("x"), ends("stop", 2, 5)}), zerologNop)
	if err != nil {
		t.Fatal(err)
	}
	a := s.newAnswer(&dialect.Call{Requests: []*actors.Request{{}}, PerPrompt: 1}, time.Now())
	if err := a.begin(); err != nil {
		t.Fatal(err)
	}
	for i, want := range [][2]int64{{2, 0}, {2, 3}, {2, 4}, {2, 5}} {
		if _, err := a.next(); err != nil {
			t.Fatal(err)
		}
		if got := [2]int64{s.metrics.promptTokens.Load(), s.metrics.outputTokens.Load()}; got != want {
			t.Errorf("after event %d prompts and output have %v tokens, want %v", i, got, want)
		}
	}
}

// A token of which nothing is written is not delivered.
func TestDeliveryIsOfWhatIsWritten(t *testing.T) {
	h := start(t, script([]actors.Event{started("ab"), {Tokens: []int32{1, 2}}, says("x"), ends("stop", 2, 3)}), Config{})
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
