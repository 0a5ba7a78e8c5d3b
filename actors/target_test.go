package actors

import (
	"testing"
	"time"

	"github.com/rs/zerolog"
)

// How prompts are cut so that tokens come evenly changes no reply, wherever what is
// predicted of steps comes from.
func TestTargetITLChangesNoReply(t *testing.T) {
	for _, on := range []string{"cpu", "sim:h200,speed=inf"} {
		requests := several(24)
		if on != "cpu" {
			for _, r := range requests {
				r.Grammar = nil // a simulation writes no text
			}
		}
		run := func(target time.Duration) ([]said, Stats) {
			s, err := Open(Config{Model: "builtin", Device: on, MaxRunningRequests: 8, MaxPrefillLength: 64, TargetITL: target, Log: zerolog.Nop()})
			if err != nil {
				t.Fatal(err)
			}
			defer closeSystem(t, s)
			return together(t, s, requests), s.Stats()
		}
		want, whole := run(0)
		got, cut := run(time.Nanosecond)
		same(t, on, got, want)
		if cut.MixedSteps <= whole.MixedSteps {
			t.Errorf("%s: %d steps have prompts beside decode rows, and %d without a target: nothing was cut", on, cut.MixedSteps, whole.MixedSteps)
		}
	}
}
