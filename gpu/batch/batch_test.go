package batch

import "testing"

// The known-answer vectors of Random123 for philox4x32-10 with a zero key and
// counter.
func TestUniformIsPhilox(t *testing.T) {
	if got, want := Uniform(0, 0), float32(0x6627e8d5>>8)/(1<<24); got != want {
		t.Errorf("Uniform(0, 0) = %v, want %v (first word 6627e8d5)", got, want)
	}
}

func TestUniformIsUniformAndIndependent(t *testing.T) {
	const n = 20000
	var mean float64
	for p := range int32(n) {
		u := Uniform(42, p)
		if u < 0 || u >= 1 {
			t.Fatalf("Uniform(42, %d) = %v, want it in [0, 1)", p, u)
		}
		mean += float64(u) / n
	}
	if mean < 0.49 || mean > 0.51 {
		t.Errorf("mean of %d numbers = %v, want about 0.5", n, mean)
	}
	if Uniform(1, 7) == Uniform(2, 7) || Uniform(1, 7) == Uniform(1, 8) {
		t.Error("another seed or position draws the same number")
	}
}

func TestResetKeepsMemoryAndDropsReferences(t *testing.T) {
	s := &Step{Seq: 3, Rows: []Row{{Tokens: []int32{1}}}, Slots: []SlotInit{{Prompt: []int32{1}}}, NumTokens: 1}
	s.Reset()
	if s.Seq != 0 || s.NumTokens != 0 || len(s.Rows) != 0 || cap(s.Rows) != 1 || s.Rows[:1][0].Tokens != nil || s.Slots[:1][0].Prompt != nil {
		t.Errorf("after Reset: %+v", s)
	}
}
