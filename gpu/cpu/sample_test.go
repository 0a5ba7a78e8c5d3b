package cpu

import (
	"cmp"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/troupe-llm/troupe/gpu/batch"
)

// distribution is the slow definition of sampling: the probability of every
// token, by sorting all of them.
func distribution(logits []float32, s *batch.Sampling) []float64 {
	type entry struct {
		id int
		p  float64
		z  float32
	}
	var list []entry
	top := math.Inf(-1)
	for _, z := range logits {
		top = max(top, float64(z))
	}
	total := 0.0
	for i, z := range logits {
		p := math.Exp((float64(z) - top) / float64(s.Temperature))
		list = append(list, entry{i, p, z})
	}
	slices.SortFunc(list, func(a, b entry) int { return cmp.Or(cmp.Compare(b.z, a.z), cmp.Compare(a.id, b.id)) })
	if s.TopK > 0 && int(s.TopK) < len(list) {
		list = list[:s.TopK]
	}
	for _, e := range list {
		total += e.p
	}
	if s.TopP > 0 && s.TopP < 1 {
		sum := 0.0
		for i, e := range list {
			if sum += e.p; sum >= float64(s.TopP)*total {
				list = list[:i+1]
				break
			}
		}
	}
	for i, e := range list {
		if e.p < float64(s.MinP)*list[0].p {
			list = list[:i]
			break
		}
	}
	out := make([]float64, len(logits))
	total = 0
	for _, e := range list {
		total += e.p
	}
	for _, e := range list {
		out[e.id] = e.p / total
	}
	return out
}

func newDrawer(k *kernels) *drawer { return &drawer{kernels: k} }

// settings are the filters alone and together.
func settings() []batch.Sampling {
	var list []batch.Sampling
	for _, t := range []float32{0.3, 1, 1.7} {
		for _, k := range []int32{0, 1, 2, 7, 50, 10000} {
			for _, p := range []float32{0, 0.05, 0.5, 0.9, 0.99, 1} {
				for _, m := range []float32{0, 0.02, 0.3} {
					list = append(list, batch.Sampling{Temperature: t, TopK: k, TopP: p, MinP: m})
				}
			}
		}
	}
	return list
}

// The token drawn with u must be the one in whose share of the unit interval,
// tokens side by side by id, u lies.
func TestSampleAgainstSorting(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	d := newDrawer(choose())
	shapes := map[string][]float32{
		"flat":   make([]float32, 300),
		"normal": random(r, 3000),
		"peaked": random(r, 2000),
		"ties":   random(r, 500),
		"one":    {3},
	}
	for i := range shapes["peaked"] {
		shapes["peaked"][i] *= 9
	}
	for i := range shapes["ties"] {
		shapes["ties"][i] = float32(math.Round(float64(shapes["ties"][i] * 2)))
	}
	rounds := 12
	if raceDetector {
		rounds = 1
	}
	for name, logits := range shapes {
		for _, s := range settings() {
			want := distribution(logits, &s)
			for range rounds {
				u := float32(r.IntN(1<<24)) / (1 << 24)
				got := d.sample(slices.Clone(logits), &s, u)
				low := 0.0
				for _, p := range want[:got] {
					low += p
				}
				high := low + want[got]
				if slack := 1e-5; want[got] == 0 || float64(u) < low-slack || float64(u) > high+slack {
					t.Fatalf("%s, %+v: u = %v drew token %d, whose share is [%v, %v]", name, s, u, got, low, high)
				}
			}
		}
	}
}

// Over many positions the seeded draws must follow the distribution: χ² below
// its 99.9% quantile. Seeds are fixed, so is the outcome.
func TestSampleStatistics(t *testing.T) {
	const draws = 20000
	r := rand.New(rand.NewPCG(7, 8))
	logits := random(r, 60)
	d := newDrawer(choose())
	for i, s := range []batch.Sampling{
		{Temperature: 1},
		{Temperature: 0.5},
		{Temperature: 1, TopK: 10},
		{Temperature: 1.3, TopP: 0.7},
		{Temperature: 1, MinP: 0.1},
		{Temperature: 0.8, TopK: 30, TopP: 0.9, MinP: 0.02},
	} {
		s.Seed = uint64(100 + i)
		want := distribution(logits, &s)
		counts := make([]float64, len(logits))
		sl := &slot{sampling: s}
		for p := range int32(draws) {
			counts[d.token(slices.Clone(logits), sl, nil, p, nil)]++
		}
		chi, degrees := 0.0, -1.0
		for j, p := range want {
			if p == 0 && counts[j] > 0 {
				t.Fatalf("%+v: token %d drawn, which is filtered", s, j)
			}
			if e := p * draws; e > 0 {
				chi += (counts[j] - e) * (counts[j] - e) / e
				degrees++
			}
		}
		// Wilson and Hilferty's approximation of the quantile; z = 3.09.
		w := 2 / (9 * degrees)
		if limit := degrees * math.Pow(1-w+3.09*math.Sqrt(w), 3); chi > limit {
			t.Errorf("%+v: χ² = %.1f with %v degrees of freedom, limit %.1f", s, chi, degrees, limit)
		}
	}
}

func TestShape(t *testing.T) {
	inf := float32(math.Inf(-1))
	for name, c := range map[string]struct {
		slot     slot
		allow    []uint32
		position int32
		want     []float32
	}{
		"nothing":  {slot{}, nil, 5, []float32{2, -1, 0.5, 4}},
		"bias":     {slot{sampling: batch.Sampling{Bias: []batch.TokenBias{{Token: 1, Bias: 3}, {Token: 3, Bias: -1}}}}, nil, 5, []float32{2, 2, 0.5, 3}},
		"suppress": {slot{sampling: batch.Sampling{Suppress: []int32{0, 2}, SuppressBelow: 6}}, nil, 5, []float32{inf, -1, inf, 4}},
		"not now":  {slot{sampling: batch.Sampling{Suppress: []int32{0, 2}, SuppressBelow: 5}}, nil, 5, []float32{2, -1, 0.5, 4}},
		"repetition": {
			slot{sampling: batch.Sampling{Repetition: 2}, seen: map[int32]int32{0: 0, 1: 3}}, nil, 5, []float32{1, -2, 0.5, 4},
		},
		"output only": {
			slot{sampling: batch.Sampling{Presence: 1, Frequency: 0.5}, seen: map[int32]int32{0: 0, 1: 1, 3: 4}}, nil, 5, []float32{2, -2.5, 0.5, 1},
		},
		"all penalties": {
			slot{sampling: batch.Sampling{Presence: 1, Frequency: 0.5, Repetition: 4}, seen: map[int32]int32{3: 2}}, nil, 5, []float32{2, -1, 0.5, -1},
		},
		"allow": {slot{}, []uint32{0b1010}, 5, []float32{inf, -1, inf, 4}},
	} {
		got := []float32{2, -1, 0.5, 4}
		shape(got, &c.slot, c.allow, c.position)
		if !slices.Equal(got, c.want) {
			t.Errorf("%s: %v, want %v", name, got, c.want)
		}
	}
}

func TestGreedyTiesAndImpossibleTokens(t *testing.T) {
	inf := float32(math.Inf(-1))
	for _, c := range []struct {
		logits []float32
		want   int32
	}{
		{[]float32{1, 3, 3, 2}, 1}, {[]float32{inf, inf, -9}, 2}, {[]float32{inf, inf}, batch.NoToken},
	} {
		for _, temperature := range []float32{0, 1e-9, 1e-3} {
			d := newDrawer(choose())
			sl := &slot{sampling: batch.Sampling{Temperature: temperature, TopK: 1}}
			if got := d.token(slices.Clone(c.logits), sl, nil, 3, nil); got != c.want {
				t.Errorf("temperature %v, %v: token %d, want %d", temperature, c.logits, got, c.want)
			}
		}
	}
	// Whatever the random number, an impossible token is not drawn.
	d := newDrawer(choose())
	for _, u := range []float32{0, 0.5, 1 - 0x1p-24} {
		if got := d.sample([]float32{inf, 0, inf, 0, inf}, &batch.Sampling{Temperature: 1}, u); got != 1 && got != 3 {
			t.Errorf("u = %v: token %d", u, got)
		}
	}
}

// Log-probabilities are the model's own: no bias, mask or temperature in them.
func TestLogprobs(t *testing.T) {
	logits := random(rand.New(rand.NewPCG(9, 10)), 3000)
	logits[17], logits[4] = 6, 6
	total := 0.0
	for _, z := range logits {
		total += math.Exp(float64(z))
	}
	logp := func(i int32) float64 { return float64(logits[i]) - math.Log(total) }
	sl := &slot{sampling: batch.Sampling{
		Temperature: 0.7, Logprobs: 4, Seed: 1,
		Bias: []batch.TokenBias{{Token: 1234, Bias: 100}},
	}}
	var lp batch.Logprob
	d := newDrawer(choose())
	if got := d.token(slices.Clone(logits), sl, nil, 9, &lp); got != 1234 {
		t.Fatalf("drew %d in spite of the bias", got)
	}
	if math.Abs(float64(lp.Token)-logp(1234)) > 1e-5 {
		t.Errorf("log-probability %v, want %v", lp.Token, logp(1234))
	}
	if len(lp.Top) != 3 || lp.Top[0].Token != 4 || lp.Top[1].Token != 17 {
		t.Fatalf("top %+v, want three, first 4 and 17", lp.Top)
	}
	for _, e := range lp.Top {
		if math.Abs(float64(e.Logprob)-logp(e.Token)) > 1e-5 {
			t.Errorf("token %d: %v, want %v", e.Token, e.Logprob, logp(e.Token))
		}
	}
}

// Penalties through the device: what a slot draws counts at once, so that a
// request that was preempted and given its history again goes on alike.
func TestPenaltiesCountWhatWasDrawn(t *testing.T) {
	sampling := batch.Sampling{Temperature: 0.8, Seed: 3, Presence: 0.7, Frequency: 0.4, Repetition: 1.3}
	ids := prompt(9, 101, 2)
	run := func(breakAt int) []int32 {
		r := newRig(t, tinySpec(t), choose(), 1)
		all := slices.Clone(ids)
		s := &batch.Step{Slots: []batch.SlotInit{{Slot: 0, Sampling: sampling, Prompt: ids}}}
		r.row(s, 0, 0, ids, true)
		for len(all) < 22 {
			all = append(all, r.run(s).Tokens[0])
			s = &batch.Step{}
			if len(all) == breakAt {
				r.forget()
				s.Slots = []batch.SlotInit{{Slot: 0, Sampling: sampling, Prompt: ids, Output: slices.Clone(all[len(ids):])}}
				r.row(s, 0, 0, slices.Clone(all), true)
			} else {
				r.row(s, 0, int32(len(all)-1), nil, true)
			}
		}
		return all
	}
	want := run(-1)
	for at := 10; at <= 16; at += 3 {
		if got := run(at); !slices.Equal(got, want) {
			t.Errorf("preempted at %d: %v, want %v", at, got, want)
		}
	}
}

// Result.Logprobs has an entry per row if anyone asked, else none; Allow and
// rows that draw nothing go through the device.
func TestResultOfMixedRows(t *testing.T) {
	r := newRig(t, tinySpec(t), choose(), 2)
	for _, asked := range []int32{0, 3} {
		s := &batch.Step{}
		r.forget()
		r.give(s, 0, batch.Sampling{}, nil)
		r.give(s, 1, batch.Sampling{Logprobs: asked}, nil)
		r.give(s, 2, batch.Sampling{Temperature: 1}, nil)
		r.row(s, 0, 0, []int32{1, 2}, false)
		r.row(s, 1, 0, []int32{3}, true)
		r.row(s, 2, 0, []int32{4, 5, 6}, true)
		s.Rows[2].Allow = []uint32{0, 0, 1 << 6, 0}
		res := r.run(s)
		if res.Tokens[0] != batch.NoToken || res.Tokens[1] < 0 || res.Tokens[2] != 70 {
			t.Errorf("tokens %v, want none, any, 70", res.Tokens)
		}
		if asked == 0 && len(res.Logprobs) != 0 {
			t.Errorf("unasked log-probabilities %v", res.Logprobs)
		}
		if asked > 0 && (len(res.Logprobs) != 3 || len(res.Logprobs[1].Top) != 2 || res.Logprobs[1].Top[0].Logprob != res.Logprobs[1].Token || res.Logprobs[2].Top != nil) {
			t.Errorf("log-probabilities %+v", res.Logprobs)
		}
	}
}

func BenchmarkSample(b *testing.B) {
	logits := random(rand.New(rand.NewPCG(1, 1)), 151936)
	for i := range logits {
		logits[i] *= 3
	}
	for _, s := range []batch.Sampling{{}, {Temperature: 1}, {Temperature: 0.7, TopK: 20, TopP: 0.95}, {Temperature: 0.7, TopP: 0.95}, {Temperature: 1, Logprobs: 6}} {
		b.Run(fmt.Sprintf("t=%v,k=%d,p=%v,logprobs=%d", s.Temperature, s.TopK, s.TopP, s.Logprobs), func(b *testing.B) {
			d, sl, position := newDrawer(choose()), &slot{sampling: s}, int32(0)
			var lp *batch.Logprob
			if s.Logprobs > 0 {
				lp = &batch.Logprob{}
			}
			for b.Loop() {
				position++
				if lp != nil {
					lp.Top = lp.Top[:0]
				}
				d.token(logits, sl, nil, position, lp)
			}
		})
	}
}

// Where a model computes nothing but NaN no token is drawn, with a temperature and without, whatever else
// the request asks for: it fails with the cause, and does not go on with noise.
func TestNothingIsDrawnOfNaN(t *testing.T) {
	for _, k := range variants() {
		for _, n := range []int{1, 5, 64, 1000} {
			for _, s := range []batch.Sampling{{}, {Temperature: 0.6, TopK: 20, TopP: 0.9}, {Temperature: 1}, {Temperature: 1, SuppressBelow: 9, Suppress: []int32{0}}} {
				logits := slices.Repeat([]float32{float32(math.NaN())}, n)
				if got := newDrawer(k).token(logits, &slot{sampling: s}, nil, 3, nil); got != batch.NoToken {
					t.Errorf("%s: of %d that are no number %d is drawn with %+v", k.name, n, got, s)
				}
			}
		}
	}
}
