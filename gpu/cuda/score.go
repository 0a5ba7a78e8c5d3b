//go:build cuda

package cuda

import "github.com/troupe-llm/troupe/gpu/kernel"

// score says what the pass that was just enqueued makes of the tokens that rows
// ask for, as many at a time as there are rows of logits: all of a long prompt's
// would take gigabytes. What it says goes to memory of the host.
func (e *engine) score(u *upload, scores kernel.Ptr) error {
	for done := 0; done < u.scores; done += e.info.Draws() {
		n := min(u.scores-done, e.info.Draws())
		if err := e.head(u.follows.Plus(int64(4*done)), n); err != nil {
			return err
		}
		if err := kernel.ScoreTokens(e.queue, kernel.ScoreArgs{
			Logits: e.values[e.logits], Targets: u.targets.Plus(int64(8 * done)), Slots: e.slots, Scores: scores.Plus(int64(kernel.ScoreBytes(done))),
			Vocab: int32(e.info.Vocab), Ld: int32(columns(e.logits)),
		}, n); err != nil {
			return err
		}
	}
	return nil
}
