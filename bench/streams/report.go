package streams

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"strconv"
	"text/tabwriter"
	"time"
)

// Report is what a run showed. That it exists says that no token was lost,
// doubled or reordered.
type Report struct {
	Streams int
	Elapsed time.Duration
	Tokens  int64         // that came in that time
	Replies int           // that came to their end in it
	Client  time.Duration // processor time of this process in it
	Gaps    histogram     // between a stream's events, by token
	Idle    Sample        // before the streams
	Samples []Sample      // of every second
	Closing time.Duration // what closing all connections took
	Gone    Gone
}

// Gone is when nothing was left of the clients that went away, from the first
// one's going on. Zero: something still is.
type Gone struct{ Requests, Pages, Goroutines time.Duration }

func (g *Gone) left() bool { return g.Requests == 0 || g.Pages == 0 || g.Goroutines == 0 }

// spareGoroutines are what may come and go apart from streams: of scrapes, of
// the garbage collector.
const spareGoroutines = 8

func (g *Gone) note(s, idle *Sample, since time.Duration) {
	for _, x := range []struct {
		at   *time.Duration
		gone bool
	}{
		{&g.Requests, s.Open == 0},
		{&g.Pages, s.PagesUsed == 0},
		{&g.Goroutines, s.Goroutines <= idle.Goroutines+spareGoroutines},
	} {
		if x.gone && *x.at == 0 {
			*x.at = since
		}
	}
}

// Cost is processor time the server used for a token.
func (r *Report) Cost() (user, system time.Duration) {
	first, last := &r.Samples[0], &r.Samples[len(r.Samples)-1]
	n := time.Duration(max(1, last.Delivered-first.Delivered))
	return (last.User - first.User) / n, (last.System - first.System) / n
}

// Delivery is the time that share q of the tokens took from the device's end
// of their step to their being written, at most: the bound of a bucket. ok is
// false when it is above all of them.
func (r *Report) Delivery(q float64) (bound time.Duration, ok bool) {
	first, last := r.Samples[0].Delivery, r.Samples[len(r.Samples)-1].Delivery
	type bucket struct{ bound, n float64 }
	var all []bucket
	for text := range last {
		if b, err := strconv.ParseFloat(text, 64); err == nil && text != "+Inf" {
			all = append(all, bucket{b, last[text] - first[text]})
		}
	}
	slices.SortFunc(all, func(a, b bucket) int { return cmp.Compare(a.bound, b.bound) })
	for _, b := range all {
		if b.n >= q*(last["+Inf"]-first["+Inf"]) {
			return time.Duration(b.bound * float64(time.Second)), true
		}
	}
	return 0, false
}

// WriteText writes the report for people.
func (r *Report) WriteText(w io.Writer) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	line := func(name, format string, args ...any) { fmt.Fprintf(t, name+"\t"+format+"\n", args...) }
	rate := float64(r.Tokens) / r.Elapsed.Seconds()
	line("streams", "%d, for %.1f s; %d replies came to their end meanwhile", r.Streams, r.Elapsed.Seconds(), r.Replies)
	line("tokens", "%d, none lost, doubled or out of order; %.0f a second, %.1f of each stream", r.Tokens, rate, rate/float64(r.Streams))
	user, system := r.Cost()
	line("server's processor time", "%.2f µs a token: %.2f of the program, %.2f of the kernel", micro(user+system), micro(user), micro(system))
	line("client's", "%.2f µs a token", micro(r.Client)/float64(max(1, r.Tokens)))
	for _, q := range []float64{0.5, 0.9, 0.99, 0.999} {
		name := fmt.Sprintf("written after the device's step, p%g", 100*q)
		if bound, ok := r.Delivery(q); ok {
			line(name, "≤ %v", bound)
		} else {
			line(name, "more than the largest bucket")
		}
	}
	line("between a stream's events, as the client read them", "p50 %v, p99 %v, longest %v", r.Gaps.quantile(0.5), r.Gaps.quantile(0.99), r.Gaps.longest)
	first, middle, last := &r.Samples[0], &r.Samples[len(r.Samples)/2], &r.Samples[len(r.Samples)-1]
	line("server's memory", "%s before, %s at the beginning, %s half-way, %s in the end; Go's heap %s, %s, %s",
		mib(r.Idle.Resident), mib(first.Resident), mib(middle.Resident), mib(last.Resident), mib(first.Heap), mib(middle.Heap), mib(last.Heap))
	line("server's goroutines", "%d before, %d with the streams", r.Idle.Goroutines, last.Goroutines)
	line("all clients gone", "within %v; no request of theirs after %v, no page after %v, no goroutine after %v",
		r.Closing.Round(time.Millisecond), r.Gone.Requests.Round(time.Millisecond), r.Gone.Pages.Round(time.Millisecond), r.Gone.Goroutines.Round(time.Millisecond))
	return t.Flush()
}

func micro(d time.Duration) float64 { return float64(d) / float64(time.Microsecond) }

func mib(bytes int64) string { return fmt.Sprintf("%.0f MiB", float64(bytes)/(1<<20)) }

// histogram counts durations by tenths of milliseconds, up to a second.
type histogram struct {
	counts  [10000]int64 // the last one is for all that are longer
	n       int64
	longest time.Duration
}

const tick = 100 * time.Microsecond

func (h *histogram) add(d time.Duration, n int) {
	h.counts[min(int(d/tick), len(h.counts)-1)] += int64(n)
	h.n += int64(n)
	h.longest = max(h.longest, d.Round(tick))
}

// quantile is an upper bound of share q of the durations.
func (h *histogram) quantile(q float64) time.Duration {
	var seen int64
	for i, n := range h.counts {
		if seen += n; float64(seen) >= q*float64(h.n) && seen > 0 {
			return time.Duration(i+1) * tick
		}
	}
	return 0
}
