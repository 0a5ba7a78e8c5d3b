package cpu

import (
	"reflect"
	"strings"
	"testing"

	"github.com/troupe-llm/troupe/gpu/batch"
)

// only is a mask of a few tokens of the tiny model's.
func only(tokens ...int) []uint32 {
	mask := make([]uint32, 4)
	for _, t := range tokens {
		mask[t/32] |= 1 << (t % 32)
	}
	return mask
}

// A step whose masks come after its launch, with the step before still computing
// or long after, brings what it brings with them from the beginning.
func TestLateMasks(t *testing.T) {
	allow := [][]uint32{only(3, 50, 99), nil, only(7)}
	run := func(late bool) (all []*batch.Result) {
		r := newRig(t, tinySpec(t), choose(), 2)
		s := &batch.Step{Seq: 1}
		for slot, sampling := range []batch.Sampling{{Logprobs: 3}, {Temperature: 1, Seed: 4}, {Temperature: 1, Seed: 5, Repetition: 1.5}} {
			r.give(s, int32(slot), sampling, nil)
			r.row(s, int32(slot), 0, []int32{1, 2, int32(slot)}, true)
		}
		r.launch(s)
		for i := range 3 {
			next := &batch.Step{Seq: uint64(i + 2)}
			r.give(next, 3, batch.Sampling{Logprobs: 2}, nil)
			for slot := range int32(3) {
				r.row(next, slot, 3+int32(i), nil, true)
			}
			r.row(next, 3, 0, []int32{5, 6, 7}, i == 1)
			next.Rows[3].Score = []int32{6, 7}
			masks := &batch.Masks{Seq: next.Seq}
			for slot, a := range allow {
				if late && (i+slot)%2 == 0 {
					next.Rows[slot].Late = true
					masks.Allow = append(masks.Allow, a)
				} else {
					next.Rows[slot].Allow = a
				}
			}
			r.launch(next)
			if i == 1 { // the step before is over
				all = append(all, r.wait())
			}
			if late {
				if err := r.d.Mask(masks); err != nil {
					t.Fatal(err)
				}
			}
			if i != 1 {
				all = append(all, r.wait())
			}
		}
		all = append(all, r.wait())
		for _, res := range all {
			if waited := res.Resumed - res.Stalled; waited < 0 || waited > 0 && (res.Stalled < res.Began || res.Resumed > res.Ended || !late) {
				t.Errorf("step %d ran from %d to %d and stood still from %d to %d", res.Seq, res.Began, res.Ended, res.Stalled, res.Resumed)
			}
			res.Began, res.Ended, res.Stalled, res.Resumed = 0, 0, 0, 0
		}
		return all
	}
	want, got := run(false), run(true)
	if !reflect.DeepEqual(got, want) {
		t.Errorf("late: %+v\nearly: %+v", got, want)
	}
	if tokens := got[2].Tokens; tokens[2] != 7 {
		t.Errorf("drawn %v, of which the third can only be 7", tokens)
	}
}

// lateStep is a step that waits for the masks of two of its three rows, on a device
// of its own.
func lateStep(t *testing.T) *rig {
	r := newRig(t, tinySpec(t), choose(), 1)
	s := &batch.Step{}
	for slot := range int32(3) {
		r.give(s, slot, batch.Sampling{}, nil)
		r.row(s, slot, 0, []int32{1, 2}, true)
		s.Rows[slot].Late = slot != 1
	}
	r.launch(s)
	return r
}

// Masks that do not fit are refused to whoever hands them over, and to whoever
// waits.
func TestMasksThatDoNotFit(t *testing.T) {
	r := lateStep(t)
	const want = "3 masks for step 1; 2 of its rows"
	for who, err := range []error{r.d.Mask(&batch.Masks{Seq: 1, Allow: make([][]uint32, 3)}), r.d.Wait(&batch.Result{})} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", []string{"Mask", "Wait"}[who], err, want)
		}
	}
	r = lateStep(t)
	next := &batch.Step{Seq: 2}
	r.row(next, 0, 2, nil, true)
	if err := r.d.Launch(next); err == nil || !strings.Contains(err.Error(), "before step 1 was given its masks") {
		t.Errorf("a launch before the masks: %v", err)
	}
	if err := r.d.Mask(&batch.Masks{Seq: 1, Allow: make([][]uint32, 2)}); err != nil {
		t.Error(err)
	}
	r.wait()
	if err := r.d.Mask(&batch.Masks{Seq: 1}); err == nil || !strings.Contains(err.Error(), "no step waits") {
		t.Errorf("masks twice: %v", err)
	}
}

// A device is closed while a step waits for masks: the rig does it.
func TestCloseBeforeMasks(t *testing.T) { lateStep(t) }
