package engine

import (
	"errors"
	"sync"
	"testing"

	"github.com/rs/zerolog"

	"github.com/troupe-llm/troupe/actors/wire"
	"github.com/troupe-llm/troupe/gpu/batch"
)

// tested is an engine with somebody who reads what it delivers.
type tested struct {
	*Local
	t *testing.T

	mu  sync.Mutex
	all []*answered // guarded by mu, by slot; the epoch of all is 0
}

// answered is what an engine has said of a request.
type answered struct {
	ref      wire.Ref
	of       *tested
	tokens   []int32
	logprobs []batch.Logprob
	begun    chan struct{} // closed when it is accepted
	accepted bool
	last     *wire.Output // guarded by of.mu, as all of it is until it has ended
	done     chan struct{}
}

// open opens an engine that is closed with the test.
func open(t *testing.T, cfg Config) *tested {
	t.Helper()
	e := &tested{t: t}
	cfg.Log, cfg.Deliver = zerolog.Nop(), e.take
	var err error
	if e.Local, err = Open(cfg); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := e.Close(); err != nil && !errors.Is(err, ErrInUse) {
			t.Error(err)
		}
	})
	return e
}

// submit gives a request a name and hands it over.
func (e *tested) submit(r *wire.Request) *answered {
	e.mu.Lock()
	a := &answered{ref: wire.Ref{Slot: uint32(len(e.all))}, of: e, begun: make(chan struct{}), done: make(chan struct{})}
	e.all = append(e.all, a)
	e.mu.Unlock()
	r.Ref, r.ID = a.ref, uint64(a.ref.Slot)+1
	e.Submit(r)
	return a
}

// take is what the engine delivers to.
func (e *tested) take(b *wire.Batch) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for i := range b.Outputs {
		o := b.Outputs[i]
		a := e.all[o.Slot]
		switch {
		case a.last != nil:
			e.t.Errorf("request %d has ended, and then came %+v", o.Slot, o)
			continue
		case o.Accepted:
			a.accepted = true
			close(a.begun)
		case o.Token != batch.NoToken:
			if !a.accepted {
				e.t.Errorf("request %d has a token and was not accepted", o.Slot)
			}
			a.tokens = append(a.tokens, o.Token)
			if o.Logprob != nil {
				a.logprobs = append(a.logprobs, *o.Logprob)
			}
		}
		if o.Ends() {
			a.last = &o
			close(a.done)
		}
	}
	b.Release()
}

// end waits for the request's end.
func (a *answered) end() *wire.Output {
	<-a.done
	return a.last
}
