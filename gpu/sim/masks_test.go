package sim

import (
	"slices"
	"strings"
	"testing"

	"github.com/troupe-llm/troupe/gpu/batch"
	"github.com/troupe-llm/troupe/gpu/device"
)

func opened(t *testing.T, name string) *Device {
	t.Helper()
	d, err := Open(device.Spec{Device: name, Model: published(t, "qwen3-0.6b"), Slots: 4, PageSize: 4, NumPages: 64, MaxSeqLen: 64, MaxStepTokens: 32})
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// A late mask allows what an early one does, and a step ends no sooner than its
// drawing after the masks; whoever waits for it meanwhile is woken.
func TestLateMasks(t *testing.T) {
	mask := make([]uint32, batch.MaskWords(151936))
	mask[100/32] |= 1 << (100 % 32)
	run := func(name string, late bool) (all []batch.Result) {
		d := opened(t, name)
		launched, results := make(chan struct{}, 3), make(chan batch.Result)
		go func() {
			defer close(results)
			for range launched {
				var r batch.Result
				if err := d.Wait(&r); err != nil {
					t.Error(err)
				}
				results <- r
			}
		}()
		first := prefill(1, 0, 0, []int32{0, 1}, []int32{5, 6, 7})
		first.Slots[0].Sampling.Logprobs = 2
		second, third := decode(2, 0, 3), decode(3, 0, 4)
		if second.Rows[0].Late = late; !late {
			second.Rows[0].Allow = mask
		}
		launch := func(s *batch.Step) {
			if err := d.Launch(s); err != nil {
				t.Fatal(err)
			}
			launched <- struct{}{}
		}
		launch(first)
		launch(second)
		all = append(all, <-results)
		if late {
			if err := d.Launch(third); err == nil || !strings.Contains(err.Error(), "2 was given its masks") {
				t.Errorf("step 3 launched: %v", err)
			}
			if err := d.Mask(&batch.Masks{Seq: 2, Allow: [][]uint32{mask}}); err != nil {
				t.Fatal(err)
			}
		}
		launch(third)
		close(launched)
		for r := range results {
			all = append(all, r)
		}
		return all
	}
	early, late := run("sim:h200", false), run("sim:h200", true)
	for i := range early {
		if !slices.Equal(early[i].Tokens, late[i].Tokens) || len(late[i].Logprobs) != 1 || early[i].Logprobs[0].Token != late[i].Logprobs[0].Token {
			t.Errorf("step %d: %+v, with its mask late %+v", i+1, early[i], late[i])
		}
	}
	if late[1].Tokens[0] != 100 {
		t.Errorf("drew %d; it can only be 100", late[1].Tokens[0])
	}
	// So fast a device waits for them always.
	for _, r := range run("sim:h200,speed=inf", true)[1:2] {
		if r.Stalled >= r.Resumed || r.Stalled < r.Began || r.Resumed > r.Ended {
			t.Errorf("from %d to %d, and stood still from %d to %d", r.Began, r.Ended, r.Stalled, r.Resumed)
		}
	}
}

// Wrong masks condemn the device, also to whoever waits; where none are awaited
// there is nobody to tell.
func TestMasksThatDoNotFit(t *testing.T) {
	d := opened(t, "sim:h200")
	if err := d.Mask(&batch.Masks{Seq: 1}); err == nil || !strings.Contains(err.Error(), "no step waits") {
		t.Errorf("masks for nothing: %v", err)
	}
	s := prefill(1, 0, 0, []int32{0}, []int32{5, 6, 7})
	s.Rows[0].Late = true
	if err := d.Launch(s); err != nil {
		t.Fatal(err)
	}
	for who, err := range []error{d.Mask(&batch.Masks{Seq: 1}), d.Wait(&batch.Result{})} {
		if err == nil || !strings.Contains(err.Error(), "0 masks for step 1; 1 of its rows") {
			t.Errorf("%s: %v", []string{"Mask", "Wait"}[who], err)
		}
	}
	s = prefill(1, 0, 0, []int32{0}, []int32{5, 6, 7})
	s.Rows[0].Late, s.Rows[0].Sample = true, false
	if err := opened(t, "sim:h200").Launch(s); err == nil || !strings.Contains(err.Error(), "draws nothing") {
		t.Errorf("a late row that draws nothing: %v", err)
	}
}
