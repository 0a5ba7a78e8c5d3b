package front

import (
	"strings"
	"testing"

	"github.com/troupe-llm/troupe/actors/internal/shell"
	"github.com/troupe-llm/troupe/actors/wire"
)

// breaks is a detokenizer that panics at a message, when told to.
type breaks struct {
	shell.Handler
	at func(shell.Message) bool
}

func (b *breaks) Handle(c shell.Mail, m shell.Message) {
	if b.at(m) {
		panic("broken")
	}
	b.Handler.Handle(c, m)
}

// Whatever message the detokenizer panics at, the jobs it was about end once, with what went wrong, and
// their engine hears of it; others go on.
func TestPanicsOfTheDetokenizer(t *testing.T) {
	s := newStage(t, 1)
	var broken func(shell.Message) bool
	s.actors.Replace(func(h shell.Handler) shell.Handler {
		if _, is := h.(*detokenizer); !is {
			return h
		}
		return &breaks{h, func(m shell.Message) bool { return broken(m) }}
	})
	broken = func(m shell.Message) bool { n, is := m.(*news); return is && n.batch.Seq == 5 }
	var streams []*Stream
	var refs []wire.Ref
	for i := range int32(3) {
		streams = append(streams, submit(t, s.System, &Request{Tokens: []int32{i}, MaxTokens: 9}))
		refs = append(refs, (<-s.engines[0].got).Ref)
		s.tells(0, refs[i], accepted, drawn(i))
	}
	s.say[0](&wire.Batch{Seq: 5, Outputs: []wire.Output{{Ref: refs[0], Token: 7}, {Ref: refs[2], Token: 8, Reason: wire.Length}}})
	for _, i := range []int{0, 2} {
		if got, f := collect(t, streams[i]); f.Reason != FinishError || !strings.Contains(f.Err.Error(), "reading an engine's news: panic: broken") || len(got) != 1 {
			t.Errorf("request %d: %v, %+v", i, got, f)
		}
		if ref := <-s.engines[0].canceled; ref != refs[i] {
			t.Errorf("%+v was cancelled, want %+v", ref, refs[i])
		}
	}
	s.tells(0, refs[0], drawn(9), wire.Output{Token: 9, Reason: wire.Aborted}) // nobody hears
	s.tells(0, refs[1], wire.Output{Token: 4, Reason: wire.Length})
	if got, f := collect(t, streams[1]); len(got) != 2 || f.Reason != FinishLength {
		t.Errorf("another: %v, %+v", got, f)
	}
}
