package gang

import (
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/troupe-llm/troupe/gpu/batch"
	"github.com/troupe-llm/troupe/gpu/device"
	"github.com/troupe-llm/troupe/gpu/model"
	"github.com/troupe-llm/troupe/gpu/model/modeltest"
	"github.com/troupe-llm/troupe/gpu/sim"
)

// faulty is a device that goes wrong in the at-th call of a kind.
type faulty struct {
	device.Device
	kind string
	at   int
}

func (f *faulty) due(kind string) error {
	if f.kind != kind && f.kind != kind+" panics" {
		return nil
	}
	if f.at--; f.at != 0 {
		return nil
	}
	if f.kind != kind {
		panic("out of order")
	}
	return errors.New("out of order")
}

func (f *faulty) Launch(s *batch.Step) error {
	if err := f.due("launch"); err != nil {
		return err
	}
	return f.Device.Launch(s)
}

func (f *faulty) Wait(r *batch.Result) error {
	return errors.Join(f.Device.Wait(r), f.due("wait"))
}

func (f *faulty) Mask(m *batch.Masks) error {
	return errors.Join(f.Device.Mask(m), f.due("mask"))
}

// failing opens ranks of which one goes wrong: in a call, or at a meeting.
func failing(rank int, kind string, at int) func(device.Spec) (device.Device, error) {
	return func(spec device.Spec) (device.Device, error) {
		if spec.Rank.Index != rank {
			return openCPU(spec)
		}
		f := &faulty{kind: kind, at: at}
		meet := spec.Rank.Meet
		spec.Rank = &device.Rank{Index: rank, Ranks: spec.Rank.Ranks, Meet: func(mine any, do func([]any)) (time.Duration, error) {
			if err := f.due("meet"); err != nil {
				return 0, err
			}
			return meet(mine, do)
		}}
		d, err := openCPU(spec)
		f.Device = d
		if err != nil {
			return nil, err
		}
		return f, nil
	}
}

// drive runs steps two ahead as a scheduler does, the second of each pair with a
// mask that comes late, until one fails or n are done.
func drive(d device.Device, n int) (done int, err error) {
	launch := func(i int) error {
		s := &batch.Step{Seq: uint64(i + 1), NumTokens: 1, Rows: []batch.Row{{Start: int32(i), Sample: true, Tokens: []int32{5}, Late: i%2 == 1}}}
		if i == 0 {
			s.Slots = []batch.SlotInit{{}}
			s.Pages = []batch.PageEntry{{}, {Index: 1, Page: 1}}
		}
		if err := d.Launch(s); err != nil {
			return err
		}
		if i%2 == 1 {
			return d.Mask(&batch.Masks{Seq: s.Seq, Allow: make([][]uint32, 1)})
		}
		return nil
	}
	var r batch.Result
	for i := range n {
		if i == 0 {
			if err := launch(0); err != nil {
				return 0, err
			}
		}
		if i+1 < n {
			if err := launch(i + 1); err != nil {
				return i, err
			}
		}
		if err := d.Wait(&r); err != nil {
			return i, err
		}
		if r.Seq != uint64(i+1) || len(r.Ranks) < 2 {
			return i, fmt.Errorf("step %d came with %d ranks, want %d", r.Seq, len(r.Ranks), i+1)
		}
	}
	return n, nil
}

// settled waits until as many goroutines are there as before.
func settled(t *testing.T, before int) {
	t.Helper()
	// Those locked to a thread end when the system lets their thread run, however often others yield.
	for since := time.Now(); time.Since(since) < time.Minute; runtime.Gosched() {
		if runtime.NumGoroutine() <= before {
			return
		}
	}
	all := make([]byte, 1<<16)
	t.Errorf("%d goroutines, %d before:\n%s", runtime.NumGoroutine(), before, all[:runtime.Stack(all, true)])
}

func small(t *testing.T) *model.Model { return modeltest.Get(t, "qwen3").Open(t) }

// A fault of any rank, in any call, ends the gang with that rank's words: no one
// hangs, every later call fails, and it closes.
func TestFaultsOfRanks(t *testing.T) {
	m := small(t)
	before := runtime.NumGoroutine()
	const ranks, steps = 4, 6
	for rank := range ranks {
		for _, kind := range []string{"launch", "launch panics", "wait", "wait panics", "mask", "mask panics", "meet", "meet panics"} {
			for _, at := range []int{1, 2, 3, 5} {
				if kind == "mask" || kind == "mask panics" {
					at = min(at, 3)
				}
				name := fmt.Sprintf("rank %d, %s %d", rank, kind, at)
				g, err := Open(device.Spec{Model: m, Slots: 2, NumPages: 8}, slices.Repeat([]string{"cpu"}, ranks), failing(rank, kind, at))
				if kind == "meet" && at == 1 || kind == "meet panics" && at == 1 { // they agree on pages there
					if err == nil || !strings.Contains(err.Error(), fmt.Sprintf("rank %d of 4: ", rank)) {
						t.Errorf("%s: opening: %v", name, err)
					}
					continue
				}
				if err != nil {
					t.Fatalf("%s: %v", name, err)
				}
				done, err := drive(g, steps)
				if err == nil || !strings.Contains(err.Error(), fmt.Sprintf("rank %d of 4: ", rank)) || !strings.Contains(err.Error(), "out of order") {
					t.Errorf("%s: %d steps, %v", name, done, err)
				}
				if err := g.Launch(&batch.Step{Seq: 99}); err == nil || !strings.Contains(err.Error(), "failed before") {
					t.Errorf("%s: launched again: %v", name, err)
				}
				if err := g.Close(); err != nil {
					t.Errorf("%s: %v", name, err)
				}
			}
		}
	}
	settled(t, before)
}

// Wherever in a pass a rank is lost, the others are told.
func TestFaultsWithinSteps(t *testing.T) {
	m := small(t)
	before := runtime.NumGoroutine()
	meetings, done := 0, 0
	for at := 2; done < 3; at++ {
		g, err := Open(device.Spec{Model: m, Slots: 2, NumPages: 8}, []string{"cpu", "cpu"}, failing(1, "meet", at))
		if err != nil {
			t.Fatal(err)
		}
		if done, err = drive(g, 3); err != nil {
			meetings++
		}
		if err := g.Close(); err != nil {
			t.Error(err)
		}
	}
	// Embeddings, twice a layer, logits.
	if want := 3 * (2 + 2*len(m.Config.Program.Caches)); meetings != want {
		t.Errorf("ranks meet %d times in 3 steps, want %d", meetings, want)
	}
	settled(t, before)
}

// Opening fails as a whole when one rank's does, even while others wait for it.
func TestOpeningFails(t *testing.T) {
	m := small(t)
	before := runtime.NumGoroutine()
	_, err := Open(device.Spec{Model: m}, []string{"cpu", "cpu", "cpu", "cpu"}, func(spec device.Spec) (device.Device, error) {
		if spec.Rank.Index == 2 {
			return nil, errors.New("no such GPU")
		}
		return openCPU(spec)
	})
	if err == nil || !strings.Contains(err.Error(), "gang: rank 2 of 4: no such GPU") {
		t.Error(err)
	}
	settled(t, before)
}

// Closing with steps outstanding, one of which waits for masks.
func TestCloseOutstanding(t *testing.T) {
	m := small(t)
	before := runtime.NumGoroutine()
	g, err := Open(device.Spec{Model: m, Slots: 2, NumPages: 8}, []string{"cpu", "cpu"}, openCPU)
	if err != nil {
		t.Fatal(err)
	}
	s := &batch.Step{
		Seq: 1, NumTokens: 2, Slots: []batch.SlotInit{{}}, Pages: []batch.PageEntry{{}},
		Rows: []batch.Row{{Tokens: []int32{1, 2}, Sample: true, Late: true}},
	}
	if err := g.Launch(s); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(g.Close(), g.Close()); err != nil {
		t.Error(err)
	}
	if err := g.Launch(s); err == nil || !strings.Contains(err.Error(), "closed") {
		t.Error(err)
	}
	settled(t, before)
}

// Ranks that draw different tokens are no gang.
type stubborn struct{ device.Device }

func (s stubborn) Wait(r *batch.Result) error {
	err := s.Device.Wait(r)
	r.Tokens[0]++
	return err
}

func TestRanksDrawAlike(t *testing.T) {
	m := small(t)
	g, err := Open(device.Spec{Model: m, Slots: 2, NumPages: 8}, []string{"cpu", "cpu"}, func(spec device.Spec) (device.Device, error) {
		d, err := openCPU(spec)
		if err == nil && spec.Rank.Index == 1 {
			d = stubborn{d}
		}
		return d, err
	})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := drive(g, 2); err == nil || !strings.Contains(err.Error(), "rank 1 of 2: step 1: it drew") {
		t.Error(err)
	}
	if err := g.Close(); err != nil {
		t.Error(err)
	}
}

// Simulated ranks of different speed: a step takes as long as the slowest, and all
// draw what one would.
func TestRanksOfDifferentSpeed(t *testing.T) {
	m, err := model.Open("qwen3-0.6b", true)
	if err != nil {
		t.Fatal(err)
	}
	g, err := Open(device.Spec{Model: m, Slots: 2, NumPages: 8}, []string{"sim:h200,speed=4", "sim:h200,speed=40"}, func(spec device.Spec) (device.Device, error) { return sim.Open(spec) })
	if err != nil {
		t.Fatal(err)
	}
	if i := g.Info(); i.Ranks != 2 || i.Hardware != "2 × simulated NVIDIA H200 SXM" || i.KVBytes != 8*16*114688 {
		t.Errorf("%+v", i)
	}
	s := &batch.Step{
		Seq: 1, NumTokens: 2, Slots: []batch.SlotInit{{}}, Pages: []batch.PageEntry{{}}, Rows: []batch.Row{{Tokens: []int32{1, 2}, Sample: true}},
	}
	var r batch.Result
	if err := errors.Join(g.Launch(s), g.Wait(&r)); err != nil {
		t.Fatal(err)
	}
	slow, fast := r.Ranks[0].Ended-r.Ranks[0].Began, r.Ranks[1].Ended-r.Ranks[1].Began
	if ratio := float64(slow) / float64(fast); ratio < 9.9 || ratio > 10.1 || r.Ended-r.Began < slow || r.Ranks[0].Reducing == 0 {
		t.Errorf("%+v", r)
	}
	if err := g.Close(); err != nil {
		t.Error(err)
	}
}

// Prompts' tokens are scored by all ranks alike.
func TestSharedScores(t *testing.T) {
	m := small(t)
	score := func(ranks int) []batch.Logprob {
		d, err := open(t, m, ranks)
		if err != nil {
			t.Fatal(err)
		}
		s := &batch.Step{
			Seq: 1, NumTokens: 20, Slots: []batch.SlotInit{{Sampling: batch.Sampling{Logprobs: 2}}}, Pages: []batch.PageEntry{{}, {Index: 1, Page: 1}},
			Rows: []batch.Row{{Tokens: make([]int32, 20), Score: make([]int32, 20)}},
		}
		for i := range s.Rows[0].Tokens {
			s.Rows[0].Tokens[i], s.Rows[0].Score[i] = int32(7*i), int32(7*i+7)
		}
		var r batch.Result
		if err := errors.Join(d.Launch(s), d.Wait(&r), d.Close()); err != nil {
			t.Fatal(err)
		}
		return r.Scores
	}
	one, two := score(1), score(2)
	if len(one) != 20 || len(two) != 20 {
		t.Fatal(len(one), len(two))
	}
	for i := range one {
		if d := one[i].Token - two[i].Token; d > tolerance || d < -tolerance || one[i].Top[0].Token != two[i].Top[0].Token {
			t.Errorf("place %d: %+v, shared %+v", i, one[i], two[i])
		}
	}
}

// Progress is of all ranks together, and comes to its end.
func TestTally(t *testing.T) {
	var heard []int64
	tally := newTally(2, func(done, total int64) { heard = append(heard, done, total) })
	tally.of(0)(1, 10)
	tally.of(1)(3, 20)
	tally.of(0)(10, 10)
	tally.of(1)(20, 20)
	if want := []int64{4, 30, 13, 30, 30, 30}; !slices.Equal(heard, want) {
		t.Errorf("heard %v, want %v", heard, want)
	}
	if newTally(2, nil).of(0) != nil {
		t.Error("tells nobody")
	}
}

func TestNames(t *testing.T) {
	for _, c := range []struct {
		device string
		ranks  int
		want   string
	}{
		{"cpu", 0, "[cpu]"},
		{"cpu", 2, "[cpu cpu]"},
		{"sim:h200,speed=2", 2, "[sim:h200,speed=2 sim:h200,speed=2]"},
		{"cuda", 1, "[cuda]"},
		{"cuda:3", 0, "[cuda:3]"},
		{"cuda", 2, "[cuda:0 cuda:1]"},
		{"cuda:0,2", 0, "[cuda:0 cuda:2]"},
		{"cuda:0,2", 2, "[cuda:0 cuda:2]"},
		{"cuda:0,2", 4, `device "cuda:0,2" is 2 GPUs, and 4 are to share the model`},
		{"cuda:1", 2, `device "cuda:1" is one GPU, and 2 are to share the model; give as many, such as "cuda:0,1", or "cuda" for the first 2`},
		{"cuda:0,0", 0, `device "cuda:0,0": GPU 1 of the list is "0"; give numbers, each once, such as "cuda:0,2"`},
		{"cuda:a", 0, `device "cuda:a": GPU 0 of the list is "a"; give numbers, each once, such as "cuda:0,2"`},
	} {
		names, err := Names(c.device, c.ranks)
		got := fmt.Sprint(names)
		if err != nil {
			got = err.Error()
		}
		if got != c.want {
			t.Errorf("%q, %d: %s, want %s", c.device, c.ranks, got, c.want)
		}
	}
}

// hanging does not return from Wait until it is released.
type hanging struct {
	device.Device
	release chan struct{}
}

func (h hanging) Wait(r *batch.Result) error {
	<-h.release
	return h.Device.Wait(r)
}

// Of ranks that hang the gang says which: all others have returned.
func TestLaggingRanks(t *testing.T) {
	m := small(t)
	release := make(chan struct{})
	g, err := Open(device.Spec{Model: m, Slots: 2, NumPages: 8}, []string{"cpu", "cpu", "cpu", "cpu"}, func(spec device.Spec) (device.Device, error) {
		d, err := openCPU(spec)
		if err == nil && spec.Rank.Index%2 == 1 {
			d = hanging{d, release}
		}
		return d, err
	})
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error)
	go func() {
		_, err := drive(g, 1)
		ended <- err
	}()
	for range 10_000_000 {
		if runtime.Gosched(); g.Lagging() == "rank 1 and 3 of 4" {
			break
		}
	}
	if got := g.Lagging(); got != "rank 1 and 3 of 4" {
		t.Errorf("%s hangs, want ranks 1 and 3", got)
	}
	close(release)
	if err := errors.Join(<-ended, g.Close()); err != nil {
		t.Error(err)
	}
}
