// Package otlp sends spans to an OpenTelemetry collector: OTLP over HTTP with
// JSON bodies, protocol version 1 (opentelemetry.io/docs/specs/otlp). It also
// reads the traceparent header of W3C's Trace Context.
//
// Read otlp.go (what a span is, how it is queued and sent), json.go (how it is
// written), context.go (whose child it is), environment.go (what OpenTelemetry's
// variables say).
//
// OpenTelemetry's own exporter (otlptracehttp 1.47 with its SDK) was tried: it
// made the program 43.6 MB instead of 31.0 and brought 110 packages, gRPC among
// them, for what is 200 lines here.
package otlp

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rs/zerolog"
)

// Span is one thing done, at a place in a trace.
type Span struct {
	Trace  TraceID
	ID     SpanID
	Parent SpanID // zero: none
	State  string // the caller's tracestate header
	Name   string
	Kind   Kind
	Began  time.Time
	Ended  time.Time
	Attrs  []Attr
	Error  string // not "" makes the span's status an error
}

// Kind is what a span is to its parent; the values are OTLP's.
type Kind int

// The kinds used.
const (
	Internal Kind = 1
	Server   Kind = 2
	Client   Kind = 3
)

// Attr is an attribute: its value is a string, int64, float64 or []string.
type Attr struct {
	Key   string
	Value any
}

// Config says where spans go and whose they are.
type Config struct {
	// Endpoint is the collector's URL, such as http://127.0.0.1:4318; without
	// a path it is given /v1/traces.
	Endpoint string
	// Resource describes this process: service.name, service.version, …
	Resource []Attr
	// Headers go with each request, a collector's key for one.
	Headers map[string]string
	Log     zerolog.Logger

	// Interval is how long spans are collected before they are sent. Default: 1 s.
	Interval time.Duration
	// Backoff is how long to wait before a request is tried again, doubled each
	// time, at most 4 times. Default: 1 s.
	Backoff time.Duration
}

const (
	tracesPath = "/v1/traces"
	maxQueued  = 4096 // batches given to Send that wait; more are dropped
	maxRequest = 512  // spans
	tries      = 5
	timeout    = 10 * time.Second // of one try
)

// Exporter sends spans. Its methods may be called from any goroutine.
type Exporter struct {
	cfg     Config
	client  http.Client
	queue   chan []Span
	dropped atomic.Int64 // spans
	closing chan struct{}
	once    sync.Once
	done    chan struct{}
	ctx     context.Context // of requests; ends when Close gives up
	abandon context.CancelFunc
}

// New makes an exporter and starts it; Close must follow.
func New(cfg Config) (*Exporter, error) {
	var err error
	if cfg.Endpoint, err = Endpoint(cfg.Endpoint); err != nil {
		return nil, err
	}
	if cfg.Interval == 0 {
		cfg.Interval = time.Second
	}
	if cfg.Backoff == 0 {
		cfg.Backoff = time.Second
	}
	e := &Exporter{cfg: cfg, client: http.Client{Timeout: timeout}, queue: make(chan []Span, maxQueued), closing: make(chan struct{}), done: make(chan struct{})}
	e.ctx, e.abandon = context.WithCancel(context.Background())
	go e.run()
	return e, nil
}

// Endpoint is where spans are posted to a collector of this URL.
func Endpoint(text string) (string, error) {
	u, err := url.Parse(text)
	if err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Host == "" {
		return "", fmt.Errorf("%q is no URL of a collector; it must be like http://127.0.0.1:4318", text)
	}
	if strings.Trim(u.Path, "/") == "" {
		u.Path = tracesPath
	}
	return u.String(), nil
}

// Send queues spans. It never blocks: when the collector cannot keep up, spans
// are dropped, and the log says how many.
func (e *Exporter) Send(spans []Span) {
	select {
	case e.queue <- spans:
	default:
		e.dropped.Add(int64(len(spans)))
	}
}

// Close sends what is queued, as long as ctx lasts. Nothing may be sent after.
func (e *Exporter) Close(ctx context.Context) error {
	e.once.Do(func() { close(e.closing) })
	defer e.abandon()
	select {
	case <-e.done:
		return nil
	case <-ctx.Done():
		e.abandon()
		<-e.done
		return fmt.Errorf("spans were not sent to %s: %w", e.cfg.Endpoint, ctx.Err())
	}
}

// run collects spans and sends them until closed.
func (e *Exporter) run() {
	defer close(e.done)
	tick := time.NewTicker(e.cfg.Interval)
	defer tick.Stop()
	var batch []Span
	flush := func() {
		if n := e.dropped.Swap(0); n > 0 {
			e.cfg.Log.Warn().Int64("spans", n).Msg("spans were dropped: the collector is too slow")
		}
		if len(batch) > 0 {
			e.deliver(batch)
			batch = batch[:0]
		}
	}
	for {
		select {
		case spans := <-e.queue:
			if batch = append(batch, spans...); len(batch) >= maxRequest {
				flush()
			}
		case <-tick.C:
			flush()
		case <-e.closing:
			for len(e.queue) > 0 {
				if batch = append(batch, <-e.queue...); len(batch) >= maxRequest {
					flush()
				}
			}
			flush()
			return
		}
	}
}

// deliver posts spans, again if that may help.
func (e *Exporter) deliver(spans []Span) {
	body, err := json.Marshal(request(e.cfg.Resource, spans))
	if err != nil {
		e.cfg.Log.Error().Err(err).Msg("spans cannot be written") // an attribute that is no number
		return
	}
	wait := e.cfg.Backoff
	for i := 1; ; i++ {
		again, err := e.post(body)
		if err == nil {
			return
		}
		if !again || i == tries || e.ctx.Err() != nil {
			e.cfg.Log.Warn().Err(err).Int("spans", len(spans)).Str("endpoint", e.cfg.Endpoint).Msg("spans were not sent")
			return
		}
		timer := time.NewTimer(wait)
		select {
		case <-timer.C:
		case <-e.closing: // one last try at once
			i = max(i, tries-1)
		case <-e.ctx.Done():
		}
		timer.Stop()
		wait *= 2
	}
}

// post sends one request and says, when that failed, whether to try again: what
// the specification calls retryable.
func (e *Exporter) post(body []byte) (again bool, err error) {
	req, err := http.NewRequestWithContext(e.ctx, http.MethodPost, e.cfg.Endpoint, bytes.NewReader(body))
	if err != nil {
		return false, err
	}
	for name, value := range e.cfg.Headers {
		req.Header.Set(name, value)
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := e.client.Do(req)
	if err != nil {
		return true, err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(io.LimitReader(resp.Body, 64<<10))
	if err != nil {
		return true, err
	}
	switch resp.StatusCode {
	case http.StatusOK:
		e.partial(text)
		return false, nil
	case http.StatusTooManyRequests, http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		return true, errors.New(resp.Status)
	}
	return false, fmt.Errorf("%s: %.200q", resp.Status, text)
}

// partial logs what the collector did not take of a request.
func (e *Exporter) partial(text []byte) {
	var r struct {
		Partial struct {
			Rejected json.Number `json:"rejectedSpans"` // a string, as 64-bit numbers are
			Message  string      `json:"errorMessage"`
		} `json:"partialSuccess"`
	}
	if json.Unmarshal(text, &r) == nil && (r.Partial.Message != "" || strings.Trim(r.Partial.Rejected.String(), "0") != "") {
		e.cfg.Log.Warn().Str("rejected", r.Partial.Rejected.String()).Str("message", r.Partial.Message).Msg("the collector did not take every span")
	}
}
