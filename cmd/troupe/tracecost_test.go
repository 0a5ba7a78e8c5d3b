package main

import (
	"context"
	"errors"
	"fmt"
	"io"
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
// process for a token, recording and paused in turns of 100 steps, so that both
// see the same machine. An iteration is a pair of turns:
//
//	go test ./cmd/troupe -run '^$' -bench TraceCost -benchtime 40x
//
// "on_%" is how much more the median of the pairs is, "spread_%" half of what
// lies between their quartiles; "least_%" compares the fastest tenths of the
// turns, which other programs disturbed least. What is done beside tracing is the smallest
// there is: the built-in model's text, a simulated device that computes
// nothing, and over HTTP clients that look at nothing.
func BenchmarkTraceCost(b *testing.B) {
	for name, read := range map[string]func(context.Context, *actors.System) error{"actors": readStreams, "http": readEvents} {
		b.Run(name, func(b *testing.B) { traceCost(b, read) })
	}
}

const (
	costRequests = 256
	costTokens   = 1500
	costSteps    = 100
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
	turn := func() float64 { // ns a token
		began, used := system.Stats(), bench.ProcessorTime()
		var st actors.Stats
		for st = system.Stats(); st.Steps < began.Steps+costSteps; st = system.Stats() {
			time.Sleep(5 * time.Millisecond)
		}
		return float64(bench.ProcessorTime()-used) / float64(st.Generated-began.Generated)
	}
	turn()
	var off, on, ratios []float64
	for i := 0; b.Loop(); i++ {
		var pair [2]float64
		for k := range 2 {
			record := (i+k)%2 == 1 // who goes first changes
			if record {
				trace.Resume()
				pair[1] = turn()
			} else {
				trace.Pause()
				pair[0] = turn()
			}
		}
		off, on, ratios = append(off, pair[0]), append(on, pair[1]), append(ratios, pair[1]/pair[0])
	}
	stop()
	load.Wait()
	if err := system.Close(); err != nil {
		b.Fatal(err)
	}
	at := func(v []float64, q float64) float64 {
		slices.Sort(v)
		return v[int(q*float64(len(v)-1))]
	}
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(at(off, .1), "off_ns/token")
	b.ReportMetric(at(on, .1)-at(off, .1), "more_ns/token")
	b.ReportMetric(100*(at(on, .1)/at(off, .1)-1), "least_%")
	b.ReportMetric(100*(at(ratios, .5)-1), "on_%")
	b.ReportMetric(50*(at(ratios, .75)-at(ratios, .25)), "spread_%")
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
				for ev := (actors.Event{}); err == nil && ev.Final == nil; {
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
				_, _ = fmt.Fprintf(conn, "POST /v1/completions HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s", len(body), body)
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
