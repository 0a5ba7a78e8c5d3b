package front

import (
	"sync/atomic"
	"testing"

	"github.com/troupe-llm/troupe/actors/trace"
	"github.com/troupe-llm/troupe/gpu/batch"
)

// Receipts are handed in together, and a stream that nobody traces wants none.
func TestReceipts(t *testing.T) {
	tr := trace.New(1 << 10)
	var several Receipts
	for i := range uint64(3) {
		several.Sign(&Receipt{tr, 8 + i, 10, 1}, 20, 30)
	}
	several.Sign(&Receipt{}, 1, 2) // of an untraced stream
	before, _ := tr.Spans()
	several.HandIn()
	several.HandIn() // none are left
	if after, _ := tr.Spans(); len(after) != len(before)+3 {
		t.Errorf("%d receipts were handed in, want 3", len(after)-len(before))
	}
	var ev Output
	untraced := newStream("x", nil)
	untraced.start(&Started{})
	if !untraced.Take(&ev) || ev.Receipt.Wanted() {
		t.Errorf("an untraced stream wants receipts: %+v", ev)
	}
}

// What an event costs on its way through a stream, when whoever writes it knows
// what time it is.
func BenchmarkTraceEvent(b *testing.B) {
	paused := trace.New(1 << 12)
	paused.Pause()
	for _, c := range []struct {
		name  string
		trace *trace.Trace
	}{{"none", nil}, {"paused", paused}, {"on", trace.New(1 << 12)}} {
		b.Run(c.name, func(b *testing.B) {
			s := newStream("x", nil)
			s.trace = c.trace
			var ev Output
			for i := 0; b.Loop(); i++ {
				var now int64
				if i%clockEvery == 0 {
					now = c.trace.Now()
				}
				s.add(1, 0, max(now, 1), nil, nil)
				s.Take(&ev)
				at := batch.Now() // which is read without a trace, too
				ev.Receipt.Written(at, at)
			}
		})
	}
}

// What an event costs, in time by the clock, where all cores write and hand
// receipts in by eights: times the cores is what it takes of a processor.
func BenchmarkTraceReceipts(b *testing.B) {
	paused := trace.New(1 << 16)
	paused.Pause()
	for _, c := range []struct {
		name  string
		trace *trace.Trace
	}{{"paused", paused}, {"on", trace.New(1 << 16)}} {
		b.Run(c.name, func(b *testing.B) {
			var ids atomic.Uint64
			b.RunParallel(func(pb *testing.PB) {
				var streams [128]*Stream
				for i := range streams {
					streams[i] = newStream("x", nil)
					streams[i].trace, streams[i].id = c.trace, ids.Add(1)
				}
				var ev Output
				var signed Receipts
				for i := 0; pb.Next(); i++ {
					s := streams[i%len(streams)]
					s.add(1, 0, 1, nil, nil)
					s.Take(&ev)
					at := batch.Now()
					if signed.Sign(&ev.Receipt, at, at); i%8 == 7 {
						signed.HandIn()
					}
				}
			})
		})
	}
}
