package actors

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"

	"github.com/troupe-llm/troupe/actors/internal/shell"
	"github.com/troupe-llm/troupe/actors/plan"
	"github.com/troupe-llm/troupe/gpu/device"
)

// What RELIABILITY.md says a fault costs, in virtual time: a device takes two seconds to be opened
// again, a step half a millisecond, and hangs when it takes 30 s. No request is lost: it says what it
// would have said undisturbed after a pause, or ends with an error that names the cause where nobody
// is left to compute it or it is the one that broke.
func TestRecovery(t *testing.T) {
	const opening, hang, soon = 2 * time.Second, 30 * time.Second, 50 * time.Millisecond
	nth := func(n int, kinds ...string) *planted { // the n-th time that something could happen, it does
		count := 0
		return &planted{device: func(d *simulated) {
			d.doom = func(kind string) bool {
				for _, k := range kinds {
					if k == kind {
						count++
						return count == n
					}
				}
				return false
			}
		}}
	}
	always := func(kinds ...string) *planted { // one after the other
		count := 0
		return &planted{device: func(d *simulated) {
			d.doom = func(kind string) bool {
				if kind != kinds[min(count, len(kinds)-1)] {
					return false
				}
				count++
				return count <= len(kinds)
			}
		}}
	}
	panicking := func(of, kind string) *planted {
		count := 0
		return &planted{handler: func(name string, h shell.Handler) shell.Handler {
			return &stoodIn{Handler: h, handle: func(c shell.Mail, m shell.Message) {
				if actorKind(name) == of && fmt.Sprintf("%T", m) == kind {
					if count++; count == 8 && of != "tokenizer" {
						panic("simulated, number 1")
					} else if count == 8 { // when it is done
						c.Out = &panicsAt{&panics{world: newWorld(0), n: &count}}
					}
				}
				h.Handle(c, m)
			}}
		}}
	}
	for _, c := range []struct {
		fault   string
		bad     *planted
		engines int
		pause   time.Duration // the longest, at most
		errors  bool          // some end with one
	}{
		{"launching fails", nth(20, "launching failed"), 1, opening + soon, false},
		{"a step fails", nth(20, "waiting failed"), 1, opening + soon, false},
		{"masks fail", nth(3, "masking failed"), 1, opening + soon, false},
		{"a step fails, then closing", always("waiting failed", "closing failed"), 1, opening + soon, false},
		{"a step fails, then opening, twice", always("waiting failed", "opening failed", "opening failed"), 1, 3*opening + soon, false},
		{"a step fails, then opening for good", always("waiting failed", "opening failed", "opening failed", "opening failed"), 1, 3*opening + soon, true},
		{"a step fails, then opening for good, of one engine of two", always("waiting failed", "opening failed", "opening failed", "opening failed"), 2, 3*opening + soon, false},
		{"a step hangs", nth(20, "a step hung"), 1, hang + soon, true},
		{"a step hangs, of one engine of two", nth(20, "a step hung"), 2, hang + soon, false},
		{"launching hangs, of one engine of two", nth(20, "launching hung"), 2, hang + soon, false},
		{"a step fails, then closing hangs, of one engine of two", always("waiting failed", "closing hung"), 2, hang + soon, false},
		{"the executor panics", panicking("executor", "*engine.runStep"), 1, opening + soon, false},
		{"the scheduler panics", panicking("scheduler", "*engine.stepDone"), 1, soon, true},
		{"the scheduler panics, of one engine of two", panicking("scheduler", "*engine.stepDone"), 2, soon, false},
		{"the detokenizer panics", panicking("detokenizer", "*front.news"), 1, soon, true},
		{"a tokenizer panics", panicking("tokenizer", "*front.tokenizeJob"), 1, soon, true},
	} {
		set, err := simSet()
		if err != nil {
			t.Fatal(err)
		}
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(7)
			p := &play{world: w, stageSet: set, bad: c.bad, rnd: rand.New(rand.NewPCG(7, 7)), setup: setup{
				cfg:     Config{DP: c.engines, StepTimeout: hang, Tokenizers: 1, Compilers: 1, MaxOpenRequests: 100, Cache: plan.Radix},
				device:  device.Spec{Device: simDevice, Slots: 8, PageSize: 8, NumPages: 200, MaxSeqLen: 160, MaxStepTokens: 64},
				clients: 40, opening: opening,
			}}
			p.run()
			for _, f := range w.faults {
				t.Errorf("%s: %s", c.fault, f)
			}
			pause, failed, refused := time.Duration(0), 0, 0
			for _, client := range p.clients {
				pause = max(pause, client.pause)
				var in *InputError
				switch err := client.got.final.Err; {
				case client.st == nil || errors.As(err, &in):
					refused++
				case err != nil:
					failed++
				}
			}
			t.Logf("%s: of %d requests %d ended with an error, %d were refused; the longest pause was %v", c.fault, len(p.clients), failed, refused, pause)
			if pause > c.pause || pause < c.pause-soon-100*time.Millisecond && c.pause > soon && !c.errors || (failed > 0) != c.errors {
				t.Errorf("%s: a pause of %v and %d errors; want %v at most, errors %v", c.fault, pause, failed, c.pause, c.errors)
			}
		})
	}
}
