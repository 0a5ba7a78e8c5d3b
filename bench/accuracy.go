package bench

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"net/http"
	"strconv"
	"sync"
	"time"
)

// Accuracy measures the client: against a server that emits tokens at times it
// keeps, by the same clock.
//
// The server notes when each request came (by the kernel's stamp, where there
// is one) and when it writes each token. What a client on a perfect machine
// would measure is the difference; what ours adds is the error.
type Accuracy struct {
	Streams  int // open at once
	Tokens   int // a stream
	First    time.Duration
	Interval time.Duration // between a stream's tokens
	// Together has all streams' tokens written at the same moments, one after
	// the other, as an engine's steps make them; else they are spread evenly.
	Together bool
	// OwnClock is the Client's.
	OwnClock    bool
	Progress    func(Progress)
	Environment Environment
}

// AccuracyDetail compares what the client measured with what was.
type AccuracyDetail struct {
	Streams    int     `json:"streams"`
	IntervalMS float64 `json:"interval_ms"`
	Together   bool    `json:"together"` // written in bursts
	// TrueTTFT and TrueITL are by the server's book.
	TrueTTFT Distribution `json:"true_ttft_ms"`
	TrueITL  Distribution `json:"true_itl_ms"`
	// TTFTError and ITLError are of the figures reported: how far the worst of
	// mean, p50, p90, p99 is from the truth.
	TTFTError float64 `json:"ttft_error_ms"`
	ITLError  float64 `json:"itl_error_ms"`
	// EachTTFT and EachITL are the sizes of the errors of single times.
	EachTTFT Distribution `json:"each_ttft_error_ms"`
	EachITL  Distribution `json:"each_itl_error_ms"`
	// WriteLag is how late the server itself was: it does not count.
	WriteLag Distribution `json:"write_lag_ms"`
}

// Run measures until every stream has ended.
func (a *Accuracy) Run(ctx context.Context) (*Report, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	e := &emitter{Accuracy: a, books: make([]book, a.Streams)}
	server := e.server()
	served := make(chan error, 1)
	go func() { served <- server.Serve(stampedListener{listener}) }()
	client := NewClient("http://"+listener.Addr().String(), "", "emitter", a.Streams)
	client.OwnClock = a.OwnClock
	r, err := a.measure(ctx, client, e)
	client.Close()
	if closing := errors.Join(server.Close(), <-served); !errors.Is(closing, http.ErrServerClosed) {
		err = errors.Join(err, closing)
	}
	return r, err
}

func (a *Accuracy) measure(ctx context.Context, client *Client, e *emitter) (*Report, error) {
	prompts := make([]Prompt, a.Streams)
	for i := range prompts {
		prompts[i] = Prompt{Tokens: []int32{int32(i)}, MaxTokens: a.Tokens}
	}
	r := &Report{Schema: Schema, Kind: "accuracy", Environment: a.Environment, Work: workOf(prompts)}
	// Streams begin over a while: what is measured is many open, not a
	// thousand connections opened at once.
	ramp := min(time.Second, a.Interval*time.Duration(a.Tokens)/4)
	rate := float64(a.Streams) / ramp.Seconds()
	o := Online{Client: client, Arrivals: Paced(prompts, rate, false, 0)}
	var count tally
	watch := watchClient(false)
	stop := count.watch(progressOf(prompts), a.Progress, nil)
	began := time.Now()
	r.Environment.Time = began
	sent, timings, lags, _ := o.play(ctx, began, &count)
	elapsed := time.Since(began)
	r.Timeline = stop()
	cost := watch(int(count.tokens.Load()))
	if err := ctx.Err(); err != nil {
		return nil, count.interrupted(len(prompts), err)
	}
	if err := r.add(sent, timings, began, elapsed); err != nil {
		return nil, err
	}
	cost.read(timings)
	r.Online = &OnlineDetail{URL: client.Base, Arrival: fmt.Sprintf("spread over %v", ramp), SendLag: distribution(lags), Client: cost, CountedBy: ByServer}
	r.Accuracy = e.compare(r, timings)
	return r, nil
}

// book is what the server keeps of one stream.
type book struct {
	asked time.Time

	mu      sync.Mutex
	written []time.Time     // guarded by mu: each token's writing
	lag     []time.Duration // guarded by mu: of that after its plan
}

func (b *book) write(now, due time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.written, b.lag = append(b.written, now), append(b.lag, now.Sub(due))
}

// emitter is the server.
type emitter struct {
	*Accuracy
	books []book // each its stream's alone
}

func (e *emitter) server() *http.Server {
	return &http.Server{
		Handler: http.HandlerFunc(e.serve),
		ConnContext: func(ctx context.Context, c net.Conn) context.Context {
			return context.WithValue(ctx, connKey{}, c)
		},
	}
}

type connKey struct{}

// stampedListener accepts connections that know when requests came.
type stampedListener struct{ net.Listener }

func (l stampedListener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return stamped(c), nil
}

// serve answers a completion. It writes to the connection itself: a token is
// one system call, and the book says when that was.
func (e *emitter) serve(w http.ResponseWriter, r *http.Request) {
	var body completion
	err := json.NewDecoder(r.Body).Decode(&body)
	if err == nil {
		_, err = io.Copy(io.Discard, r.Body) // to its end, so that the stamp is the last byte's
	}
	if err != nil || len(body.Prompt) != 1 || int(body.Prompt[0]) >= len(e.books) {
		http.Error(w, fmt.Sprintf("a prompt of one token, the stream's number: %v", err), http.StatusBadRequest)
		return
	}
	i := int(body.Prompt[0])
	b := &e.books[i]
	b.asked = time.Now()
	if c, is := r.Context().Value(connKey{}).(came); is {
		b.asked = c.came()
	}
	conn, out, err := w.(http.Hijacker).Hijack()
	if err != nil {
		return
	}
	defer conn.Close()
	if err := e.emit(conn, out, b, i, body.MaxTokens); err != nil {
		return // the client is gone, and knows
	}
}

// Events as an OpenAI-compatible server sends them.
const (
	emitHead  = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n"
	emitToken = `data: {"id":"cmpl-1","object":"text_completion","created":1,"model":"emitter","choices":[{"index":0,"text":" token","logprobs":null,"finish_reason":null,"token_ids":[5]}]}` + "\n\n"
	emitEnd   = `data: {"choices":[{"index":0,"text":"","finish_reason":"length"}]}` + "\n\ndata: [DONE]\n\n"
)

func (e *emitter) emit(conn net.Conn, out *bufio.ReadWriter, b *book, i, tokens int) error {
	if _, err := out.WriteString(emitHead); err != nil {
		return err
	}
	if err := out.Flush(); err != nil {
		return err
	}
	token, end := httpChunk(emitToken), append(httpChunk(emitEnd), "0\r\n\r\n"...)
	due := b.asked.Add(e.First)
	if e.Together { // at whole intervals of a clock that all streams share
		past := due.Sub(epochOf) % e.Interval
		due = due.Add(e.Interval - past)
	} else {
		due = due.Add(e.Interval * time.Duration(i) / time.Duration(e.Streams))
	}
	for k := range tokens {
		time.Sleep(time.Until(due))
		bytes := token
		if k == tokens-1 {
			bytes = append(append([]byte(nil), token...), end...)
		}
		b.write(time.Now(), due)
		if _, err := conn.Write(bytes); err != nil {
			return err
		}
		due = due.Add(e.Interval)
	}
	return nil
}

// epochOf is what bursts are counted from.
var epochOf = time.Now()

// httpChunk frames bytes for chunked transfer.
func httpChunk(text string) []byte {
	return []byte(strconv.FormatInt(int64(len(text)), 16) + "\r\n" + text + "\r\n")
}

// compare sets the client's times against the books.
func (e *emitter) compare(r *Report, timings []timing) *AccuracyDetail {
	d := &AccuracyDetail{Streams: e.Streams, IntervalMS: ms(e.Interval), Together: e.Together}
	var ttft, itl, ttftErrors, itlErrors, lags []time.Duration
	for i := range timings {
		t, b := &timings[i], &e.books[i]
		b.mu.Lock() // which also orders reading asked after its writing
		defer b.mu.Unlock()
		lags = append(lags, b.lag...)
		if t.err != nil || len(b.written) == 0 {
			continue
		}
		first := b.written[0].Sub(b.asked)
		ttft = append(ttft, first)
		ttftErrors = append(ttftErrors, (t.first - first).Abs())
		for k := 1; k < len(b.written); k++ {
			gap := b.written[k].Sub(b.written[k-1])
			itl = append(itl, gap)
			if k-1 < len(t.between) {
				itlErrors = append(itlErrors, (t.between[k-1] - gap).Abs())
			}
		}
	}
	d.TrueTTFT, d.TrueITL = distribution(ttft), distribution(itl)
	d.EachTTFT, d.EachITL, d.WriteLag = distribution(ttftErrors), distribution(itlErrors), distribution(lags)
	d.TTFTError, d.ITLError = worst(r.TTFT, d.TrueTTFT), worst(r.ITL, d.TrueITL)
	return d
}

// worst is how far apart two distributions are, in the figure that is furthest.
// Single extremes are left to the errors of single times.
func worst(a, b Distribution) float64 {
	most := 0.0
	for _, p := range [][2]float64{{a.Mean, b.Mean}, {a.P50, b.P50}, {a.P90, b.P90}, {a.P99, b.P99}} {
		most = max(most, math.Abs(p[0]-p[1]))
	}
	return most
}

// WriteText writes the comparison for people.
func (d *AccuracyDetail) WriteText(w io.Writer, r *Report) error {
	kind := "spread evenly"
	if d.Together {
		kind = "in bursts"
	}
	_, err := fmt.Fprintf(w, `streams        %d, a token every %g ms each, %s: %.0f tokens/s
times by       the %s's clock
TTFT           reported %.3f ms in the mean, p50 %.3f, p90 %.3f, p99 %.3f; by the server's book %.3f, %.3f, %.3f, %.3f: %.3f ms off at most
ITL            reported %.3f ms in the mean, p50 %.3f, p90 %.3f, p99 %.3f; by the server's book %.3f, %.3f, %.3f, %.3f: %.3f ms off at most
single times   TTFT off by p50 %.3f ms, p99 %.3f, max %.3f; ITL by p50 %.3f, p99 %.3f, max %.3f
the client     read p50 %.3f ms late, p99 %.3f; woke p50 %.3f late, p99 %.3f; the server wrote p50 %.3f late, p99 %.3f (in its book)
`, d.Streams, d.IntervalMS, kind, r.OutputThroughput, r.Online.Client.Stamps,
		r.TTFT.Mean, r.TTFT.P50, r.TTFT.P90, r.TTFT.P99, d.TrueTTFT.Mean, d.TrueTTFT.P50, d.TrueTTFT.P90, d.TrueTTFT.P99, d.TTFTError,
		r.ITL.Mean, r.ITL.P50, r.ITL.P90, r.ITL.P99, d.TrueITL.Mean, d.TrueITL.P50, d.TrueITL.P90, d.TrueITL.P99, d.ITLError,
		d.EachTTFT.P50, d.EachTTFT.P99, d.EachTTFT.Max, d.EachITL.P50, d.EachITL.P99, d.EachITL.Max,
		r.Online.Client.ReadLag.P50, r.Online.Client.ReadLag.P99, r.Online.Client.WakeLag.P50, r.Online.Client.WakeLag.P99, d.WriteLag.P50, d.WriteLag.P99)
	return err
}
