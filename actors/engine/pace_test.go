package engine

import (
	"math"
	"testing"
	"time"

	"github.com/troupe-llm/troupe/gpu/batch"
)

// paceStep has rows that decode and a prompt of so many tokens.
func paceStep(seq uint64, decodes, prompt int) *batch.Step {
	s := &batch.Step{Seq: seq, NumDecode: decodes, NumTokens: decodes + prompt, Rows: make([]batch.Row, decodes)}
	if prompt > 0 {
		s.Rows = append(s.Rows, batch.Row{Tokens: make([]int32, prompt)})
	}
	return s
}

// A roofline that is wrong by other factors for decode rows and for prompts is soon
// corrected, whether it was thought to be right or another device's.
func TestPaceLearns(t *testing.T) {
	predicted := func(s *batch.Step) time.Duration {
		return time.Duration(1000 + 10*s.NumDecode + 5*(s.NumTokens-s.NumDecode))
	}
	actual := func(s *batch.Step) time.Duration {
		d := replying(s)
		alone := time.Duration(0)
		if s.NumDecode > 0 {
			alone = predicted(&d)
		}
		return 3*alone + 40*(predicted(s)-alone)
	}
	for _, foreign := range []bool{false, true} {
		p := &pace{roofline: predicted, foreign: foreign}
		if got := p.stepTime(paceStep(1, 8, 100)); foreign && got < math.MaxInt64/4 {
			t.Errorf("a prompt of 100 tokens on a device of which nothing is known is predicted to take %d", got)
		} else if !foreign && got != 1580 {
			t.Errorf("the roofline says 1580, and the prediction %d", got)
		}
		if got := p.stepTime(paceStep(1, 8, paceFirst)); got != int64(predicted(paceStep(1, 8, paceFirst))) {
			t.Errorf("%d tokens are predicted to take %d", paceFirst, got)
		}
		shapes := []struct{ decodes, prompt int }{{1, 0}, {8, 0}, {0, 500}, {8, 64}, {16, 300}}
		for i := range 200 {
			shape := shapes[i%len(shapes)]
			s := paceStep(uint64(i+2), shape.decodes, shape.prompt)
			took := int64(actual(s))
			r := &batch.Result{Began: 70, Ended: 70 + took}
			if i%3 == 0 { // it waited for masks
				r.Ended, r.Stalled, r.Resumed = r.Ended+5000, 100, 5100
			}
			p.ran(s, r)
		}
		for i, shape := range append(shapes, struct{ decodes, prompt int }{200, 4000}) {
			s := paceStep(uint64(1000+i), shape.decodes, shape.prompt)
			if got, want := float64(p.stepTime(s)), float64(actual(s)); math.Abs(got-want) > 0.02*want {
				t.Errorf("foreign %v: a step of %d decode rows and %d tokens is predicted to take %v, want %v", foreign, shape.decodes, shape.prompt, got, want)
			}
		}
	}
}

// What drafts cost is learned by itself, beside decode rows and prompts, be it that extra rows
// are nearly free or that they cost more than was thought.
func TestPaceLearnsOfDrafts(t *testing.T) {
	predicted := func(s *batch.Step) time.Duration { return time.Duration(1000 + s.NumTokens) }
	for _, foreign := range []bool{false, true} {
		for _, each := range []int64{0, 30, 700} {
			p := &pace{roofline: predicted, foreign: foreign}
			step := func(seq uint64, drafts int) *batch.Step {
				s := paceStep(seq, 2, 0)
				s.Rows = append(s.Rows, batch.Row{Tokens: make([]int32, 1+drafts), Drafts: int32(drafts)})
				s.NumTokens += 1 + drafts
				return s
			}
			took := func(drafts int) int64 { return 2000 + each*int64(drafts) }
			for i := range 300 {
				s, n := step(uint64(i+1), 4), 4
				if i%4 == 0 {
					s, n = paceStep(uint64(i+1), 3, 0), 0
				}
				p.ran(s, &batch.Result{Began: 70, Ended: 70 + took(n)})
			}
			for _, n := range []int{1, 4, 8} {
				if got, want := p.stepTime(step(1000, n)), took(n); math.Abs(float64(got-want)) > 0.03*float64(want) {
					t.Errorf("foreign %v, %d each: %d drafts are predicted to take %d, want %d", foreign, each, n, got, want)
				}
			}
			// A prompt beside them is on top.
			s := step(2000, 4)
			s.Rows = append(s.Rows, batch.Row{Tokens: make([]int32, 50)})
			s.NumTokens += 50
			if got, want := p.stepTime(s), took(4)+50; math.Abs(float64(got-want)) > 0.03*float64(want) {
				t.Errorf("foreign %v, %d each: with a prompt it is predicted to take %d, want %d", foreign, each, got, want)
			}
		}
	}
}

// A single step that took long for other reasons changes little.
func TestPaceForgives(t *testing.T) {
	p := &pace{roofline: func(s *batch.Step) time.Duration { return time.Duration(100 * s.NumTokens) }}
	for i := range 50 {
		p.ran(paceStep(uint64(i+1), 4, 0), &batch.Result{Ended: 400})
	}
	p.ran(paceStep(60, 4, 0), &batch.Result{Ended: 4e9})
	if got := p.stepTime(paceStep(61, 4, 0)); got > 500 {
		t.Errorf("after a step that hung for seconds the next is predicted to take %d, want about 400", got)
	}
}

// For how long the device stands idle before steps with drafts is learned from these alone, and
// a request that comes after an hour does not count for one.
func TestPaceLearnsOfIdling(t *testing.T) {
	p, now := &pace{roofline: func(*batch.Step) time.Duration { return 1000 }}, int64(0)
	ran := func(seq uint64, drafts int, idle int64) {
		s := paceStep(seq, 2, 0)
		if drafts > 0 {
			s.Rows = append(s.Rows, batch.Row{Tokens: make([]int32, 1+drafts), Drafts: int32(drafts)})
			s.NumTokens += 1 + drafts
		}
		p.ran(s, &batch.Result{Began: now + idle, Ended: now + idle + 5000})
		now += idle + 5000
	}
	ran(1, 0, 0)
	ran(2, 0, 70)
	if got := p.idled(); got != 0 {
		t.Errorf("without drafts: %d", got)
	}
	for seq := uint64(3); seq < 60; seq++ {
		ran(seq, int(seq%3), map[uint64]int64{0: 3, 1: 400, 2: 400}[seq%3])
	}
	if got := p.idled(); got < 390 || got > 400 {
		t.Errorf("with drafts: %d, want 400", got)
	}
	ran(60, 4, 3600e9)
	if got := p.idled(); got > 800 {
		t.Errorf("after an hour: %d", got)
	}
	ran(99, 4, 900) // steps between were not looked at
	if got := p.idled(); got > 800 {
		t.Errorf("after others: %d", got)
	}
	for seq := uint64(100); seq < 3000; seq++ {
		ran(seq, 0, 0)
	}
	if got := p.idled(); got > 10 {
		t.Errorf("long after: %d", got)
	}
}
