package plan

import (
	"testing"

	"github.com/troupe-llm/troupe/gpu/batch"
)

func TestCheapestToRedo(t *testing.T) {
	p, err := New(Config{Slots: 4, NumPages: 64, PageSize: 4, MaxSeqLen: 64, StepTokens: 64})
	if err != nil {
		t.Fatal(err)
	}
	var all []*Request
	for i, prompt := range [][]int32{{1, 2, 3, 4, 5, 6, 7, 8, 9}, {20, 21, 22, 23}, {30, 31, 32, 33}} {
		r := &Request{ID: uint64(i + 1), Prompt: prompt, MaxTokens: 8}
		if err := p.Add(r); err != nil {
			t.Fatal(err)
		}
		all = append(all, r)
	}
	p.Next()
	want := func(r *Request, why string) {
		t.Helper()
		if got := p.cheapest(); got != r {
			t.Errorf("request %d is cheapest, want %d: %s", got.ID, r.ID, why)
		}
	}
	want(all[2], "as short as 2, and younger")
	all[2].Preemptions = 1
	want(all[1], "3 was preempted before")
	all[1].Preemptions = 2
	want(all[2], "2 was preempted twice")
	all[2].Preemptions = 2
	want(all[0], "the others would be preempted a third time")
	if r := p.cheapest(); p.exclusive(r) != 3 {
		t.Errorf("%d pages would come back, want 3", p.exclusive(r))
	}

	shared := &Request{ID: 9, Prompt: []int32{1, 2, 3, 4, 5, 6, 7, 8, 50}, MaxTokens: 8}
	p.Commit(&batch.Result{Seq: 1, Tokens: []int32{1, 1, 1}})
	if err := p.Add(shared); err != nil {
		t.Fatal(err)
	}
	p.Next()
	if n := p.exclusive(shared); n != 1 {
		t.Errorf("%d pages would come back, want 1: two are shared", n)
	}
	want(shared, "it would find eight of its nine tokens in pages that another holds")
}

// A step with late rows is followed by no other, and committed never, before its
// masks were asked for.
func TestMasksComeFirst(t *testing.T) {
	p, err := New(Config{Slots: 2, NumPages: 8, PageSize: 4, MaxSeqLen: 16, StepTokens: 8, Overlap: true})
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Add(&Request{ID: 1, Prompt: []int32{1, 2}, Constraint: odd{}}); err != nil {
		t.Fatal(err)
	}
	panics := func(what string, f func()) {
		t.Helper()
		defer func() {
			if r := recover(); r == nil {
				t.Error(what, "went through")
			}
		}()
		f()
	}
	first, second := p.Next(), p.Next()
	if first.Late() != 0 || second.Late() != 1 || p.Masks() != nil {
		t.Fatalf("%d and %d late rows, want 0 and 1", first.Late(), second.Late())
	}
	p.Commit(&batch.Result{Seq: 1, Tokens: []int32{3}})
	panics("building step 3", func() { p.Next() })
	panics("committing step 2", func() { p.Commit(&batch.Result{Seq: 2, Tokens: []int32{5}}) })
	if m := p.Masks(); m == nil || m.Check(2, 1, 1000) != nil || p.Masks() != nil {
		t.Errorf("masks %+v", m)
	}
	if third := p.Next(); third == nil || third.Seq != 3 {
		t.Errorf("then %+v", third)
	}
}
