package otlp

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rs/zerolog"
)

// collector is a stub that answers with statuses in turn, the last for ever.
type collector struct {
	*httptest.Server
	statuses []int
	reply    string

	mu     sync.Mutex
	bodies [][]byte
	head   chan http.Header // when not nil, gets each request's
	asked  chan struct{}    // has a value for each request
}

// headers are those of requests to come.
func (c *collector) headers() <-chan http.Header {
	c.head = make(chan http.Header, 10)
	return c.head
}

func collect(t *testing.T, statuses ...int) *collector {
	t.Helper()
	c := &collector{statuses: statuses, reply: "{}", asked: make(chan struct{}, 1000)}
	c.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil || r.URL.Path != "/v1/traces" || r.Method != http.MethodPost || r.Header.Get("Content-Type") != "application/json" {
			t.Errorf("%s %s of type %q: %v", r.Method, r.URL.Path, r.Header.Get("Content-Type"), err)
		}
		c.mu.Lock()
		n := min(len(c.bodies), len(c.statuses)-1)
		c.bodies = append(c.bodies, body)
		c.mu.Unlock()
		if c.head != nil {
			c.head <- r.Header
		}
		w.WriteHeader(c.statuses[n])
		_, _ = io.WriteString(w, c.reply)
		c.asked <- struct{}{}
	}))
	t.Cleanup(c.Close)
	return c
}

// decoded is what the specification says a body holds, read strictly.
type decoded struct {
	ResourceSpans []struct {
		Resource   struct{ Attributes []decodedAttr }
		ScopeSpans []struct {
			Scope struct{ Name string }
			Spans []decodedSpan
		}
	}
}

type decodedSpan struct {
	TraceID, SpanID, ParentSpanID, TraceState, Name string
	Kind                                            int
	StartTimeUnixNano, EndTimeUnixNano              string
	Attributes                                      []decodedAttr
	Status                                          struct {
		Code    int
		Message string
	}
}

type decodedAttr struct {
	Key   string
	Value struct {
		StringValue *string
		IntValue    *string
		DoubleValue *float64
		ArrayValue  *struct {
			Values []struct{ StringValue string }
		}
	}
}

func (c *collector) decode(t *testing.T) (all []decoded) {
	t.Helper()
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, body := range c.bodies {
		d := json.NewDecoder(bytes.NewReader(body))
		d.DisallowUnknownFields()
		var one decoded
		if err := d.Decode(&one); err != nil {
			t.Fatalf("%v in %s", err, body)
		}
		all = append(all, one)
	}
	return all
}

func exporter(t *testing.T, url string, log io.Writer) *Exporter {
	t.Helper()
	e, err := New(Config{
		Endpoint: url, Resource: []Attr{{"service.name", "troupe"}}, Log: zerolog.New(log),
		Interval: time.Hour, Backoff: time.Millisecond, // a test decides when
	})
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func closed(t *testing.T, e *Exporter) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if err := e.Close(ctx); err != nil {
		t.Fatal(err)
	}
}

func TestSpansReachTheCollector(t *testing.T) {
	c := collect(t, 200)
	e := exporter(t, c.URL, io.Discard)
	began := time.Unix(1_700_000_000, 123456789)
	whole := Span{
		Trace: TraceID{0xab, 15: 1}, ID: SpanID{1, 7: 0xff}, State: "x=y", Name: "POST /v1", Kind: Server, Began: began, Ended: began.Add(time.Second),
		Attrs: []Attr{{"s", "a\"ä"}, {"i", int64(-3)}, {"f", 2.5}, {"l", []string{"p", "q"}}}, Error: "it broke",
	}
	e.Send([]Span{whole, {Trace: whole.Trace, ID: SpanID{2}, Parent: whole.ID, Name: "queue", Kind: Internal, Began: began, Ended: began}})
	e.Send([]Span{{Name: "another"}})
	closed(t, e)
	all := c.decode(t)
	if len(all) != 1 || len(all[0].ResourceSpans) != 1 || len(all[0].ResourceSpans[0].ScopeSpans) != 1 {
		t.Fatalf("%d requests: %+v", len(all), all)
	}
	rs := all[0].ResourceSpans[0]
	if a := rs.Resource.Attributes; len(a) != 1 || a[0].Key != "service.name" || *a[0].Value.StringValue != "troupe" {
		t.Errorf("resource %+v", a)
	}
	spans := rs.ScopeSpans[0].Spans
	if len(spans) != 3 || spans[2].Name != "another" {
		t.Fatalf("%+v", spans)
	}
	s := spans[0]
	if s.TraceID != "ab000000000000000000000000000001" || s.SpanID != "01000000000000ff" || s.ParentSpanID != "" || s.TraceState != "x=y" ||
		s.Name != "POST /v1" || s.Kind != 2 || s.StartTimeUnixNano != "1700000000123456789" || s.EndTimeUnixNano != "1700000001123456789" ||
		s.Status.Code != 2 || s.Status.Message != "it broke" {
		t.Errorf("%+v", s)
	}
	a := s.Attributes
	if len(a) != 4 || *a[0].Value.StringValue != "a\"ä" || *a[1].Value.IntValue != "-3" || *a[2].Value.DoubleValue != 2.5 ||
		len(a[3].Value.ArrayValue.Values) != 2 || a[3].Value.ArrayValue.Values[1].StringValue != "q" {
		t.Errorf("attributes %+v", a)
	}
	if child := spans[1]; child.ParentSpanID != s.SpanID || child.TraceID != s.TraceID || child.Kind != 1 || child.Status.Code != 0 {
		t.Errorf("child %+v", child)
	}
}

// What may pass is tried again; what will not is told once.
func TestFailuresAreTriedAgain(t *testing.T) {
	for _, c := range []struct {
		statuses []int
		requests int
		log      string
	}{
		{[]int{200}, 1, ""},
		{[]int{503, 429, 200}, 3, ""},
		{[]int{400}, 1, "400 Bad Request"},
		{[]int{502}, tries, "502 Bad Gateway"},
	} {
		var log bytes.Buffer
		stub := collect(t, c.statuses...)
		e := exporter(t, stub.URL, &log)
		many := make([]Span, maxRequest) // enough to be sent at once
		e.Send(many)
		for range c.requests {
			<-stub.asked
		}
		closed(t, e)
		if n := len(stub.decode(t)); n != c.requests {
			t.Errorf("%v: %d requests, want %d", c.statuses, n, c.requests)
		}
		if text := log.String(); !strings.Contains(text, c.log) || (c.log == "") != (text == "") {
			t.Errorf("%v: logged %q, want %q in it", c.statuses, text, c.log)
		}
	}
}

func TestWhatACollectorRefusesIsLogged(t *testing.T) {
	var log bytes.Buffer
	c := collect(t, 200)
	c.reply = `{"partialSuccess":{"rejectedSpans":"2","errorMessage":"too old"}}`
	e := exporter(t, c.URL, &log)
	e.Send([]Span{{Name: "a"}})
	closed(t, e)
	if !strings.Contains(log.String(), "too old") {
		t.Errorf("logged %q", &log)
	}
}

// A collector that does not answer costs spans, never time.
func TestASlowCollectorHoldsUpNobody(t *testing.T) {
	hang := make(chan struct{})
	asked := make(chan struct{}, 1)
	stub := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		asked <- struct{}{}
		select {
		case <-hang:
		case <-r.Context().Done():
		}
	}))
	defer stub.Close()
	defer close(hang)
	e := exporter(t, stub.URL, io.Discard)
	e.Send(make([]Span, maxRequest))
	<-asked // run is busy from here on
	for range maxQueued + 10 {
		e.Send(make([]Span, 2))
	}
	if n := e.dropped.Load(); n != 20 {
		t.Errorf("%d spans were dropped, want 20", n)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := e.Close(ctx); err == nil || !strings.Contains(err.Error(), "were not sent") {
		t.Errorf("closed with %v", err)
	}
}

func TestEndpoints(t *testing.T) {
	for endpoint, want := range map[string]string{
		"http://h:4318": "http://h:4318/v1/traces", "https://h/": "https://h/v1/traces", "http://h/otlp/v1/traces": "http://h/otlp/v1/traces",
	} {
		e, err := New(Config{Endpoint: endpoint})
		if err != nil {
			t.Fatal(err)
		}
		if e.cfg.Endpoint != want {
			t.Errorf("%s becomes %s, want %s", endpoint, e.cfg.Endpoint, want)
		}
		closed(t, e)
	}
	for _, endpoint := range []string{"", "h:4318", "grpc://h:4317", "http://", ":"} {
		if _, err := New(Config{Endpoint: endpoint}); err == nil || !strings.Contains(err.Error(), "4318") {
			t.Errorf("%q: %v", endpoint, err)
		}
	}
}

func TestTracesAreContinued(t *testing.T) {
	const trace, parent = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
	for _, c := range []struct {
		header             string
		continued, sampled bool
	}{
		{"00-" + trace + "-" + parent + "-01", true, true},
		{"00-" + trace + "-" + parent + "-00", true, false},
		{"00-" + trace + "-" + parent + "-03", true, true},
		{"cc-" + trace + "-" + parent + "-01-what-comes", true, true}, // a later version
		{"", false, true},
		{"00-" + trace + "-" + parent + "-01-more", false, true},
		{"ff-" + trace + "-" + parent + "-01", false, true},
		{"00-" + strings.ToUpper(trace) + "-" + parent + "-01", false, true},
		{"00-" + strings.Repeat("0", 32) + "-" + parent + "-01", false, true},
		{"00-" + trace + "-" + strings.Repeat("0", 16) + "-01", false, true},
		{"00-" + trace[1:] + "-" + parent + "-01", false, true},
		{"00-" + trace + "-" + parent, false, true},
		{"00-" + trace + "-" + parent + "-x1", false, true},
	} {
		got := Continue(c.header, "a=b")
		if got.Sampled != c.sampled || (got.Trace[0] == 0x4b && got.Parent[7] == 0xb7) != c.continued || (got.State == "a=b") != c.continued {
			t.Errorf("%q: %+v", c.header, got)
		}
		if !c.continued && (got.Trace == (TraceID{}) || got.Parent != (SpanID{})) {
			t.Errorf("%q begins %+v", c.header, got)
		}
	}
	ids := []SpanID{NewSpanID(), NewSpanID(), NewSpanID()}
	if slices.Contains(ids, SpanID{}) || ids[0] == ids[1] {
		t.Errorf("ids %v", ids)
	}
}
