package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/troupe-llm/troupe/actors"
	"github.com/troupe-llm/troupe/bench"
	"github.com/troupe-llm/troupe/gpu/batch"
	"github.com/troupe-llm/troupe/http"
)

// What tracing costs, at 256 running requests: the processor time of this
// process for a token, recording and paused in short turns, one after the other,
// so that both see the same machine. An iteration is four pairs of turns:
//
//	go test ./cmd/troupe -run '^$' -bench TraceCost -benchtime 80x
//
// "on_%" is how much more a turn takes that records than its neighbour that does
// not, the mean of the middle half of all pairs; with 95% confidence it lies from
// "low_%" to "high_%" (bootstrap over pairs). What is done beside tracing is the
// smallest there is: the built-in model's text, a simulated device that computes
// nothing, and over HTTP clients that look at nothing.
func BenchmarkTraceCost(b *testing.B) {
	for name, read := range map[string]func(context.Context, *actors.System) error{"actors": readStreams, "http": readEvents} {
		b.Run(name, func(b *testing.B) { traceCost(b, read) })
	}
}

const (
	costRequests = 256
	costTokens   = 1500
	costSteps    = 25 // of a turn: 100 ms
	costPairs    = 4  // of turns, an iteration
)

func traceCost(b *testing.B, read func(context.Context, *actors.System) error) {
	trace := actors.NewTrace(1 << 16)
	system, err := actors.Open(actors.Config{
		Device: "sim:h200,speed=inf,step=4ms", MaxRunningRequests: costRequests, MaxPrefillLength: 8192, Trace: trace, Log: zerolog.Nop(),
	})
	if err != nil {
		b.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	var load sync.WaitGroup
	load.Go(func() {
		if err := read(ctx, system); err != nil && !errors.Is(err, context.Canceled) {
			b.Error(err)
		}
	})
	steps := func(n uint64) actors.Stats {
		end := system.Stats().Steps + n
		for {
			if st := system.Stats(); st.Steps >= end {
				return st
			}
			time.Sleep(2 * time.Millisecond)
		}
	}
	turn := func(record bool) float64 { // ns a token
		if trace.Pause(); record {
			trace.Resume()
		}
		began := steps(1) // what is left of the last turn
		used := bench.ProcessorTime()
		ended := steps(costSteps)
		return float64(bench.ProcessorTime()-used) / float64(ended.Generated-began.Generated)
	}
	steps(100)
	var off, more []float64
	for b.Loop() {
		for i := range costPairs {
			first := i%2 == 1 // who goes first changes: off, on, on, off
			x, y := turn(first), turn(!first)
			if first {
				x, y = y, x
			}
			off, more = append(off, x), append(more, y/x-1)
		}
	}
	stop()
	load.Wait()
	if err := system.Close(); err != nil {
		b.Fatal(err)
	}
	low, high := confidence(more)
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(middle(off), "off_ns/token")
	b.ReportMetric(100*middle(more), "on_%")
	b.ReportMetric(100*low, "low_%")
	b.ReportMetric(100*high, "high_%")
}

// middle is the mean of the middle half, which it sorts.
func middle(v []float64) (mean float64) {
	slices.Sort(v)
	half := v[len(v)/4 : len(v)-len(v)/4]
	for _, x := range half {
		mean += x / float64(len(half))
	}
	return mean
}

// confidence is the interval in which middle lies with 95% confidence.
func confidence(v []float64) (low, high float64) {
	random := rand.New(rand.NewPCG(1, 2))
	var means []float64
	drawn := make([]float64, len(v))
	for range 1000 {
		for i := range drawn {
			drawn[i] = v[random.IntN(len(v))]
		}
		means = append(means, middle(drawn))
	}
	slices.Sort(means)
	return means[25], means[974]
}

// readStreams keeps requests running and reads them where they come out of the
// actors.
func readStreams(ctx context.Context, system *actors.System) error {
	var readers sync.WaitGroup
	var failed atomic.Pointer[error]
	for i := range costRequests {
		readers.Go(func() {
			for n := 0; ctx.Err() == nil; n++ {
				st, err := system.Submit(&actors.Request{Tokens: []int32{1, int32(2 + i), int32(2 + n%100)}, MaxTokens: costTokens, IgnoreEOS: true})
				for ev := (actors.Output{}); err == nil && ev.Final == nil; {
					err = st.Next(ctx, &ev)
					if ev.Receipt.Wanted() {
						at := batch.Now()
						ev.Receipt.Written(at, at)
					}
				}
				if err != nil {
					failed.Store(&err)
					return
				}
			}
		})
	}
	readers.Wait()
	if err := failed.Load(); err != nil {
		return *err
	}
	return nil
}

// readEvents is the same over HTTP: each request on a connection of its own,
// whose bytes nobody looks at.
func readEvents(ctx context.Context, system *actors.System) (err error) {
	server, err := http.New(http.Config{}, system, zerolog.Nop())
	if err != nil {
		return err
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()
	var clients sync.WaitGroup
	for i := range costRequests {
		clients.Go(func() {
			for n := 0; ctx.Err() == nil; n++ {
				body := fmt.Sprintf(`{"prompt":[1,%d,%d],"max_tokens":%d,"ignore_eos":true,"stream":true,"temperature":0}`, 2+i, 2+n%100, costTokens)
				conn, err := net.Dial("tcp", listener.Addr().String())
				if err != nil {
					return
				}
				stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
				_, _ = fmt.Fprintf(conn, "POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s", len(body), body)
				_, _ = io.CopyBuffer(struct{ io.Writer }{io.Discard}, struct{ io.Reader }{conn}, make([]byte, 16<<10))
				stop()
				_ = conn.Close()
			}
		})
	}
	clients.Wait()
	now, cancel := context.WithCancel(context.Background())
	cancel()
	if err := server.Shutdown(now); err != nil && !errors.Is(err, context.Canceled) {
		return err
	}
	return <-served
}
