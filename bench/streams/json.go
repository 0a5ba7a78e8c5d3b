package streams

import (
	"time"

	"github.com/troupe-llm/troupe/bench"
)

// Report is the run in the form that every benchmark writes. When a stream's
// first token came is not measured here.
func (r *Report) Report(e bench.Environment) *bench.Report {
	user, system := r.Cost()
	last := &r.Samples[len(r.Samples)-1]
	elapsed := r.Elapsed.Seconds()
	delivered := func(q float64) float64 {
		bound, _ := r.Delivery(q)
		return ms(bound)
	}
	return &bench.Report{
		Schema: bench.Schema, Kind: "streams", Requests: r.Replies, TotalOutputTokens: int(r.Tokens), ElapsedS: elapsed,
		RequestThroughput: float64(r.Replies) / elapsed, OutputThroughput: float64(r.Tokens) / elapsed, TotalThroughput: float64(r.Tokens) / elapsed,
		ITL: bench.Distribution{
			Mean: 1000 * elapsed * float64(r.Streams) / float64(max(1, r.Tokens)), P50: ms(r.Gaps.quantile(0.5)), P90: ms(r.Gaps.quantile(0.9)),
			P99: ms(r.Gaps.quantile(0.99)), Max: ms(r.Gaps.longest),
		},
		Streams: &bench.StreamsDetail{
			Streams: r.Streams, ServerUserUS: micro(user), ServerSystemUS: micro(system), ClientUS: micro(r.Client) / float64(max(1, r.Tokens)),
			Delivered: bench.Distribution{P50: delivered(0.5), P90: delivered(0.9), P99: delivered(0.99)},
			Resident:  [3]int64{r.Idle.Resident, r.Samples[0].Resident, last.Resident},
			GoneMS:    [3]float64{ms(r.Gone.Requests), ms(r.Gone.Pages), ms(r.Gone.Goroutines)},
		},
		Environment: e,
	}
}

func ms(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }
