package ref

import (
	"math"
	"slices"
	"testing"
)

func near(t *testing.T, got []float32, want ...float64) {
	t.Helper()
	for i, w := range want {
		if len(got) != len(want) || math.Abs(float64(got[i])-w) > 1e-6 {
			t.Fatalf("%v, want %v", got, want)
		}
	}
}

func TestByHand(t *testing.T) {
	third := float32(math.Log(3))
	near(t, RMSNorm([]float32{3, 4, 1, 1}, []float32{1, 2}, 0), 3/math.Sqrt(12.5), 8/math.Sqrt(12.5), 1, 2)
	near(t, SiluMul([]float32{0, 1, 5, 2}, 2), 0, 2/(1+math.Exp(-1)))
	near(t, Turn([]float32{1, 2, 3, 4}, []float64{math.Pi / 2, 0}), -3, 2, 1, 4)
	// Scores 0 and ln 3 at √D = 2: weights 1/4 and 3/4.
	keys := [][]float32{{0, 0, 0, 0}, {float32(2 * math.Log(3)), 0, 0, 0}}
	values := [][]float32{{4, 0, 0, 0}, {0, 4, 0, 8}}
	near(t, Expert([]float32{1, 2}, []float32{0, 0, 2, 0, 5, 5, 1, 1}, 0.5), 0, 3/(1+math.Exp(-2)))
	choice, share := Route([]float32{0, third, 0, 7, 7, 0}, 3, 2, true)
	if !slices.Equal(choice, []int32{1, 0, 0, 1}) {
		t.Errorf("choice %v", choice)
	}
	near(t, share, 0.75, 0.25, 0.5, 0.5)
	_, share = Route([]float32{0, third, 0}, 3, 2, false)
	near(t, share, 0.6, 0.2)
	// Of the second position alone, with 2 more under its 3.
	near(t, Windowed([]float32{1, 0, 0, 0}, 1, 2, math.Log(2), func(p int) []float32 { return keys[p] }, func(p int) []float32 { return values[p][:2] }), 0, 2.4)
	near(t, Rope([]float32{1, 2, 3, 4}, nil, nil, []float32{0, 1}, 0), -2, 1, 3, 4)
	near(t, Attention([]float32{1, 0, 0, 0}, 2, func(p int) []float32 { return keys[p] }, func(p int) []float32 { return values[p] }), 1, 3, 0, 6)
}

func TestGatesByHand(t *testing.T) {
	near(t, Gate([]float32{0, 1, 5, 2}, 2, "gelu"), 0, 2*0.8411919906)
	near(t, Gate([]float32{-1, 9, 9, -1}, 2, "clamped"), -8/(1+math.Exp(1.702)), 0)
}

// Of σ: 1/2, 3/4, 1/4, 2/3; the correction prefers the last group.
func TestScoredRouteByHand(t *testing.T) {
	logits := []float32{0, float32(math.Log(3)), -float32(math.Log(3)), float32(math.Log(2))}
	choice, share := ScoredRoute(logits, 4, 2, Scores{Sigmoid: true, Scale: 2})
	if !slices.Equal(choice, []int32{1, 3}) {
		t.Errorf("choice %v", choice)
	}
	near(t, share, 1.5, 4./3)
	choice, share = ScoredRoute(logits, 4, 1, Scores{Sigmoid: true, Normalize: true, Scale: 1, Groups: 2, GroupsTaken: 1, Correction: []float32{0, 0, 1, 0}})
	if !slices.Equal(choice, []int32{2}) {
		t.Errorf("choice %v", choice)
	}
	near(t, share, 1)
	_, share = ScoredRoute([]float32{0, float32(math.Log(3))}, 2, 1, Scores{Scale: 1})
	near(t, share, 0.75)
}

func TestRecurrentByHand(t *testing.T) {
	y, after := Conv([]float32{1, 2}, []float32{3, 1}, []float32{-1}, 1, 2) // −2 and 5
	near(t, y, -2/(1+math.Exp(2)), 5/(1+math.Exp(-5)))
	near(t, after, 2)
	// Half of the state is forgotten: exp(−softplus(0)) = 1/2.
	state := []float64{4, 0, 0, 8}
	out := Head{}.Delta(state, []float32{0, 3}, []float32{2, 0}, []float32{3, 1}, 0, 0)
	// Sᵀk is (2, 0), δ half of (1, 1).
	for i, want := range []float64{2.5, 0.5, 0, 4} {
		if math.Abs(state[i]-want) > 1e-5 {
			t.Errorf("state %v", state)
		}
	}
	near(t, out, 0, 4/math.Sqrt2)
}

func TestLogprobs(t *testing.T) {
	third := float32(math.Log(3))
	all, top := Logprobs([]float32{0, third, 0, -third}, 3) // of 1, 3, 1 and 1/3
	for i, want := range []float64{3. / 16, 9. / 16, 3. / 16, 1. / 16} {
		if math.Abs(all[i]-math.Log(want)) > 1e-6 {
			t.Errorf("token %d: %v, want ln %v", i, all[i], want)
		}
	}
	if !slices.Equal(top, []int32{1, 0, 2}) {
		t.Errorf("best are %v", top)
	}
}
