package remote

import (
	"fmt"
	"time"

	"github.com/troupe-llm/troupe/actors/wire"
)

// How often who is there says so, and when who does not is taken for gone. A client sees a pause of
// silence and what it takes to compute its request's tokens again, at most.
const (
	beatEvery = 250 * time.Millisecond
	silence   = 1500 * time.Millisecond
	// frontSilence is longer: an engine that drops a front's requests too early makes work, one that
	// does so late makes none that others wait for.
	frontSilence = 5 * time.Second
)

// session is one side of a session. It does not lock: its owner does.
type session struct {
	id      uint64
	out, in uint64 // frames sent and received
	heard   int64  // when the last one came, as batch.Now
}

// number is a frame as this session's next.
func (s *session) number(f *wire.Frame) *wire.Frame {
	s.out++
	f.Session, f.Seq = s.id, s.out
	return f
}

// take counts a frame that came, or says that others did not.
func (s *session) take(f *wire.Frame, now int64) error {
	if f.Seq != s.in+1 {
		return fmt.Errorf("frame %d came after frame %d", f.Seq, s.in)
	}
	s.in, s.heard = f.Seq, now
	return nil
}

// silentFor is how long nothing has come.
func (s *session) silentFor(now int64) time.Duration { return time.Duration(now - s.heard) }

// excuse does not hold a silence against the other side that was this side's.
func (s *session) excuse(paused int64) { s.heard += paused }
