package actors_test

import (
	"sync/atomic"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/troupe-llm/troupe/actors"
)

// BenchmarkStreams is what a token costs on its way from the scheduler to the readers of
// 2,000 streams, on a device that takes no time: planning, the messages and the detokenizer,
// on all cores. Readers take what there is when they are woken, as a server's do.
func BenchmarkStreams(b *testing.B) {
	const streams, length = 2000, 400
	s, err := actors.Open(actors.Config{
		Model: "builtin", Device: "sim:h200,speed=inf", MaxRunningRequests: streams, MaxSeqLen: 512, NumPages: 80_000, Log: zerolog.Nop(),
	})
	if err != nil {
		b.Fatal(err)
	}
	defer func() {
		if err := s.Close(); err != nil {
			b.Error(err)
		}
	}()
	var tokens int
	began := time.Now()
	for b.Loop() {
		tokens += serve(b, s, streams, length)
	}
	b.ReportMetric(float64(time.Since(began).Nanoseconds())/float64(tokens), "ns/token")
}

// serve submits so many requests at once and reads all, and returns how many tokens came.
func serve(b *testing.B, s *actors.System, streams, length int) (tokens int) {
	b.Helper()
	all, marked := make([]*actors.Stream, streams), make([]atomic.Bool, streams)
	woken := make(chan int, streams) // each is in it once at most
	for i := range all {
		wake := func() {
			if !marked[i].Swap(true) {
				woken <- i
			}
		}
		st, err := s.Submit(&actors.Request{Tokens: []int32{1, int32(i % 500), int32(i / 500)}, MaxTokens: length, IgnoreEOS: true, Wake: wake})
		if err != nil {
			b.Fatal(err)
		}
		all[i] = st
	}
	var ev actors.Output
	for open := streams; open > 0; {
		i := <-woken
		marked[i].Store(false)
		if all[i] == nil || !all[i].Take(&ev) {
			continue
		}
		tokens += len(ev.Tokens)
		if ev.Final != nil {
			if ev.Final.Err != nil {
				b.Fatal(ev.Final.Err)
			}
			all[i] = nil
			open--
		}
	}
	return tokens
}
