package cuda

import (
	"encoding/binary"
	"math"
	"slices"
	"strings"
	"testing"
	"unsafe"

	"github.com/troupe-llm/troupe/gpu/batch"
	"github.com/troupe-llm/troupe/gpu/device"
	"github.com/troupe-llm/troupe/gpu/kernel"
	"github.com/troupe-llm/troupe/gpu/model"
)

func TestAlikeRows(t *testing.T) {
	kinds := map[int]bool{}
	for n := 1; n <= 8192; n++ {
		rows, alike := productRows(n), alikeRows(n)
		if rows < n || alike < rows || alike > max(rows, rows+rows/8) {
			t.Fatalf("%d rows are multiplied as %d, as %d are", n, rows, alike)
		}
		if alikeRows(rows) != alike || alikeRows(alike) != alike || alike != productRows(alike) {
			t.Fatalf("%d rows are like %d, which are like %d", n, alike, alikeRows(alike))
		}
		kinds[alike] = true
	}
	if len(kinds) > 64 {
		t.Errorf("%d numbers of rows to ask about", len(kinds))
	}
}

func TestGraphSizes(t *testing.T) {
	if got := graphSizes(0); got != nil {
		t.Errorf("none: %v", got)
	}
	if got, want := graphSizes(20), []int{1, 2, 4, 8, 16, 20}; !slices.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
	for _, most := range []int{1, 2, 7, 64, 256, 512} {
		sizes := graphSizes(most)
		for n := 1; n <= most; n++ {
			g := graphFor(sizes, n)
			if g < n {
				t.Fatalf("to %d: %d rows get a graph of %d", most, n, g)
			}
			if n >= 8 && float64(g) > 1.9*float64(n) {
				t.Errorf("to %d: %d rows are padded to %d", most, n, g)
			}
		}
		if g := graphFor(sizes, most+1); g != 0 {
			t.Errorf("to %d: one row more gets a graph of %d", most, g)
		}
	}
}

// Steps follow each other on the host's clock as on the device's, within what
// the host saw.
func TestClock(t *testing.T) {
	var c clock
	for i, s := range []struct{ gap, lasted, launched, seen, began, ended int64 }{
		{0, 100, 1000, 1200, 1000, 1100}, // nothing before: begins when launched
		{5, 100, 1050, 1300, 1105, 1205},
		{50, 100, 1400, 1600, 1400, 1500}, // the device was idle: no earlier than the launch
		{10, 100, 1450, 1600, 1500, 1600}, // seen to be over sooner than reckoned
	} {
		began, ended := c.step(s.gap, s.lasted, s.launched, s.seen)
		if began != s.began || ended != s.ended {
			t.Errorf("step %d: %d to %d, want %d to %d", i, began, ended, s.began, s.ended)
		}
	}
}

func TestSizes(t *testing.T) {
	c := model.Config{Layers: 2, Hidden: 64, Intermediate: 128, KVHeads: 2, HeadDim: 64, Vocab: 100, MaxPositions: 4096}
	info, err := settle(&device.Spec{Model: &model.Model{Config: c}})
	if want := (device.Info{DType: model.BFloat16, Slots: 256, PageSize: 16, MaxSeqLen: 4096, MaxStepTokens: 8192, Vocab: 100, Scores: true}); err != nil || info != want {
		t.Errorf("%+v, %v\nwant %+v", info, err, want)
	}
	for want, change := range map[string]func(*device.Spec, *model.Config){
		"kernels take bfloat16": func(s *device.Spec, _ *model.Config) { s.DType = model.Float32 },
		`weights of type "int8"; the kernels take bfloat16, the processor ("cpu") float32 and int8`: func(s *device.Spec, _ *model.Config) { s.DType = model.Int8 },
		"slots is -1":    func(s *device.Spec, _ *model.Config) { s.Slots = -1 },
		"hidden size 60": func(_ *device.Spec, c *model.Config) { c.Hidden = 60 },
		"experts of intermediate size 12": func(_ *device.Spec, c *model.Config) {
			c.MoE = &model.MoE{Experts: 8, PerToken: 2, Intermediate: 12}
		},
		"17 of 64 experts": func(_ *device.Spec, c *model.Config) {
			c.MoE = &model.MoE{Experts: 64, PerToken: 17, Intermediate: 16}
		},
	} {
		s := device.Spec{Model: &model.Model{Config: c}}
		change(&s, &s.Model.Config)
		if _, err := settle(&s); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want an error with %q", err, want)
		}
	}
	for _, s := range []struct{ dim, shared, want int }{{128, 227 << 10, 3}, {64, 227 << 10, 3}, {128, 99 << 10, 2}} {
		if got := stages(s.dim, s.shared); got != s.want {
			t.Errorf("heads of %d, %d bytes: %d stages, want %d", s.dim, s.shared, got, s.want)
		}
	}
}

func TestReadResult(t *testing.T) {
	const most = 4
	m := make([]byte, kernel.ResultBytes(most))
	put := func(at int, v uint32) { binary.LittleEndian.PutUint32(m[at:], v) }
	put(0, 7)
	put(4, 99) // row 1 drew nothing: not to be read
	put(8, math.MaxUint32)
	put(16, math.Float32bits(-0.5))
	put(32, 7)
	put(36, math.Float32bits(-0.5))
	put(40, 3)
	put(44, math.Float32bits(-1.5))
	var r batch.Result
	readResult(&r, m, []launched{{true, 3, 0}, {false, 1, 0}, {true, 0, 0}}, most)
	if !slices.Equal(r.Tokens, []int32{7, batch.NoToken, batch.NoToken}) {
		t.Errorf("tokens %v", r.Tokens)
	}
	want := batch.Logprob{Token: -0.5, Top: []batch.TokenLogprob{{Token: 7, Logprob: -0.5}, {Token: 3, Logprob: -1.5}}}
	if len(r.Logprobs) != 3 || r.Logprobs[0].Token != want.Token || !slices.Equal(r.Logprobs[0].Top, want.Top) || r.Logprobs[1].Top != nil {
		t.Errorf("log-probabilities %+v", r.Logprobs)
	}
	r.Reset()
	readResult(&r, m, []launched{{true, 0, 0}}, most)
	if len(r.Logprobs) != 0 {
		t.Errorf("unasked: %+v", r.Logprobs)
	}
}

// Scores of rows that ask for different numbers of alternatives, one of them for
// more than there are.
func TestReadScores(t *testing.T) {
	const n = 5
	written := make([]kernel.Score, n)
	for i := range written {
		written[i].Logprob = -float32(i)
		for j := range written[i].Top {
			written[i].Top[j] = kernel.Alternative{Token: int32(100*i + j), Logprob: -float32(j)}
		}
	}
	memory := unsafe.Slice((*byte)(unsafe.Pointer(&written[0])), kernel.ScoreBytes(n))
	var r batch.Result
	readScores(&r, memory, []launched{{true, 3, 2}, {true, 5, 0}, {false, 0, 1}, {false, 1, 1}, {false, 99, 1}})
	if len(r.Scores) != n {
		t.Fatalf("%d scores, want %d", len(r.Scores), n)
	}
	for i, k := range []int{2, 2, 0, 0, kernel.MaxTop} {
		l := r.Scores[i]
		if l.Token != -float32(i) || len(l.Top) != k {
			t.Errorf("score %d: %+v, want %d and %d alternatives", i, l, -i, k)
		}
		for j, a := range l.Top {
			if a != (batch.TokenLogprob{Token: int32(100*i + j), Logprob: -float32(j)}) {
				t.Errorf("score %d: alternative %d is %+v", i, j, a)
			}
		}
	}
	r.Reset()
	readScores(&r, nil, []launched{{true, 3, 0}})
	if len(r.Scores) != 0 {
		t.Errorf("unasked: %+v", r.Scores)
	}
}
