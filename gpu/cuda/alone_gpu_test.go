//go:build cuda

package cuda

import (
	"fmt"
	"math"
	"math/rand/v2"
	"runtime"
	"slices"
	"testing"

	"github.com/troupe-llm/troupe/gpu/batch"
	"github.com/troupe-llm/troupe/gpu/device"
	"github.com/troupe-llm/troupe/gpu/model"
)

// A decode row alone, whose layers are one kernel, has the log-probabilities that the kernels of few
// rows give it to the roundings of bfloat16, the same bits every time.
func TestAloneLikeRows(t *testing.T) {
	require(t)
	for _, name := range []string{"qwen3-0.6b", "qwen2.5-7b"} {
		t.Run(name, func(t *testing.T) {
			m, err := model.Open(name, true)
			if err != nil {
				t.Fatal(err)
			}
			r := openCUDA(t, device.Spec{Model: m, Slots: 2, MaxSeqLen: 4096, NumPages: 300, GraphRows: -1})
			e, tokens := r.d.(*Device).engine, rand.New(rand.NewPCG(1, 2))
			one := e.plans.alone
			if one.stages == nil {
				t.Skip("no kernel for a row alone")
			}
			sum, n, most := 0.0, 0, 0.0
			for _, length := range []int{1, 2, 15, 16, 17, 100, 127, 128, 129, 511, 900, 1900, 3100} {
				prompt := make([]int32, length)
				for i := range prompt {
					prompt[i] = tokens.Int32N(1000)
				}
				var got [3][]*batch.Result
				for i := range got {
					if e.plans.alone = one; i == 2 {
						e.plans.alone = onePass{}
					}
					r.prefill([][]int32{prompt}, batch.Sampling{Logprobs: 5}, 2048)
					got[i] = r.decode([][]int32{prompt}, 4, i == 1)
				}
				for k, a := range got[0] {
					b, c := got[1][k], got[2][k]
					if fmt.Sprint(a.Tokens, a.Logprobs) != fmt.Sprint(b.Tokens, b.Logprobs) {
						t.Fatalf("behind %d tokens, token %d differs from run to run", length, k)
					}
					for j, x := range a.Logprobs[0].Top {
						for _, y := range c.Logprobs[0].Top[j:] {
							if x.Token == y.Token {
								d := math.Abs(float64(x.Logprob - y.Logprob))
								sum, n, most = sum+d, n+1, max(most, d)
							}
						}
					}
					if a.Tokens[0] != c.Tokens[0] {
						break
					}
				}
			}
			t.Logf("log-probabilities differ by %.4f at most, %.4f in the mean of %d", most, sum/float64(n), n)
			if mean := sum / float64(n); n < 100 || mean > 0.02 || most > 0.25 {
				t.Errorf("%d log-probabilities differ by %.4f at most, %.4f in the mean", n, most, mean)
			}
		})
	}
}

// BenchmarkAlone is a step of one decode row, as a graph of one kernel for all layers and of those
// for few rows: the microseconds of the device in the median.
func BenchmarkAlone(b *testing.B) {
	for _, name := range []string{"qwen3-0.6b", "qwen3-14b"} {
		b.Run(name, func(b *testing.B) {
			m, err := model.Open(name, true)
			if err != nil {
				b.Fatal(err)
			}
			r := openCUDA(b, device.Spec{Model: m, Slots: 1, MaxSeqLen: 33000, NumPages: 2100})
			e := r.d.(*Device).engine
			one := e.plans.alone
			for _, context := range []int{100, 200, 400, 600, 2000, 8000, 32000} {
				for _, alone := range []bool{false, true} {
					if e.plans.alone = (onePass{}); alone {
						e.plans.alone = one
					}
					if err := e.captureGraphs([]int{1}, nil); err != nil {
						b.Fatal(err)
					}
					b.Run(fmt.Sprintf("%d/%v", context, alone), func(b *testing.B) {
						runtime.LockOSThread() // a benchmark has a goroutine of its own
						defer runtime.UnlockOSThread()
						if err := e.attach(); err != nil {
							b.Fatal(err)
						}
						var times []int64
						for i := 0; b.Loop(); i++ {
							s := &batch.Step{}
							if i == 0 {
								r.give(s, 0, batch.Sampling{})
								r.row(s, 0, int32(context), []int32{1}, true)
							} else {
								r.row(s, 0, int32(context+i), nil, true)
							}
							r.launch(s)
							if res := r.wait(); i > 1 {
								times = append(times, res.Ended-res.Began)
							}
						}
						slices.Sort(times)
						b.ReportMetric(float64(times[len(times)/2])/1e3, "us-gpu/op")
					})
				}
			}
		})
	}
}
