package batch

import (
	"reflect"
	"testing"
)

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

func TestCopyReusesMemory(t *testing.T) {
	from := &Result{Seq: 3, Tokens: []int32{1, 2}, Logprobs: []Logprob{{Token: -1}}, Began: 4, Ended: 9, Stalled: 5, Resumed: 6}
	to := &Result{Seq: 2, Tokens: []int32{7, 8, 9}, Scores: []Logprob{{Token: -2}}}
	memory := &to.Tokens[0]
	to.Copy(from)
	if to.Scores = nil; !reflect.DeepEqual(to, from) || &to.Tokens[0] != memory {
		t.Errorf("%+v, want %+v", to, from)
	}
	if from.Tokens[0] = 9; to.Tokens[0] != 1 {
		t.Error("a copy changes with what it is of")
	}
}

func TestMasksThatDoNotFit(t *testing.T) {
	whole := []uint32{1, 2, 3, 4}
	for want, c := range map[string]struct {
		masks Masks
		late  int
	}{
		"": {Masks{Seq: 4, Allow: [][]uint32{whole, nil}}, 2},
		"masks for step 4: no step waits for any":               {Masks{Seq: 4}, 0},
		"masks for step 5; step 4 waits for them":               {Masks{Seq: 5, Allow: make([][]uint32, 2)}, 2},
		"3 masks for step 4; 2 of its rows wait for one":        {Masks{Seq: 4, Allow: make([][]uint32, 3)}, 2},
		"mask 1 for step 4 has 3 words; the vocabulary needs 4": {Masks{Seq: 4, Allow: [][]uint32{nil, whole[:3]}}, 2},
	} {
		if err := c.masks.Check(4, c.late, 101); err == nil != (want == "") || err != nil && err.Error() != want {
			t.Errorf("%v, want %q", err, want)
		}
	}
}
