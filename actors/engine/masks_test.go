package engine

import (
	"slices"
	"testing"

	"github.com/troupe-llm/troupe/actors/internal/toy"
	"github.com/troupe-llm/troupe/actors/wire"
	"github.com/troupe-llm/troupe/gpu/batch"
	"github.com/troupe-llm/troupe/gpu/cpu"
	"github.com/troupe-llm/troupe/gpu/device"
	"github.com/troupe-llm/troupe/gpu/model"
	"github.com/troupe-llm/troupe/tokenize"
	"github.com/troupe-llm/troupe/tokenize/grammar"
)

// builtin is an engine of the model inside the program on the processor; prepare has a
// hand in its first device.
func builtin(t *testing.T, cfg Config, sizes device.Spec, prepare func(*toy.Meddler)) *tested {
	t.Helper()
	m, err := model.Open(model.Builtin, false)
	if err != nil {
		t.Fatal(err)
	}
	codec, err := tokenize.Load(m.Files)
	if err != nil {
		t.Fatal(err)
	}
	opened := false
	sizes.Model = m
	cfg.Model, cfg.Codec, cfg.Compilers = m, codec, 1
	cfg.Open = func() (device.Device, error) {
		dev, err := cpu.Open(sizes)
		d := &toy.Meddler{Device: dev}
		if !opened && prepare != nil {
			prepare(d)
		}
		opened = true
		return d, err
	}
	return open(t, cfg)
}

// A request that is cancelled while its row waits for its mask draws something
// that nobody sees, and the others what they would.
func TestCancelBeforeMasks(t *testing.T) {
	var e *tested
	var gone, other *answered
	seen := make(chan struct{})
	e = builtin(t, Config{}, device.Spec{}, func(d *toy.Meddler) {
		launched := make(chan struct{})
		d.BeforeLaunch = func(s *batch.Step) error {
			if s.Seq == 6 {
				e.Cancel(gone.ref) // is in the mailbox before the result of step 5
				close(launched)
			}
			return nil
		}
		d.BeforeWait = func(nth uint64) error {
			switch nth {
			case 1:
				<-seen
			case 5:
				<-launched
			}
			return nil
		}
		d.BeforeMask = func(m *batch.Masks) error {
			if m.Seq == 6 && (len(m.Allow) != 2 || (m.Allow[0] == nil) == (m.Allow[1] == nil)) {
				t.Errorf("masks %v: one of two requests is gone", m.Allow) // an error would keep the step waiting for ever
			}
			return nil
		}
	})
	prompt := e.cfg.Codec.Encode("Once", true)
	ask := func() *answered {
		return e.submit(&wire.Request{Prompt: prompt, Grammar: grammar.Regex("[a-z ]{40}"), MaxTokens: 60})
	}
	gone, other = ask(), ask()
	for _, a := range []*answered{gone, other} {
		<-a.begun
	}
	close(seen)
	if o := gone.end(); o.Reason != wire.Aborted || len(gone.tokens) > 4 {
		t.Errorf("cancelled, it ended with %+v after %d tokens", o, len(gone.tokens))
	}
	alone := ask()
	if o := other.end(); alone.end().Reason != wire.Stop || o.Reason != wire.Stop || !slices.Equal(other.tokens, alone.tokens) {
		t.Errorf("the other drew %v (%+v), alone %v", other.tokens, o, alone.tokens)
	}
}
