package engine

import (
	"testing"
	"time"

	"github.com/troupe-llm/troupe/actors/wire"
	"github.com/troupe-llm/troupe/gpu/device"
	"github.com/troupe-llm/troupe/tokenize/grammar"
)

// A request that waits for its first step longer than it may is failed, whatever it
// waits for, and others are not; what was begun with goes on as long as it takes.
func TestMaxWait(t *testing.T) {
	e := on(t, "sim:h200,speed=inf", Config{}, device.Spec{Slots: 1, NumPages: 4096})
	runs := e.submit(&wire.Request{Prompt: []int32{1}, MaxTokens: 1 << 20, IgnoreEOS: true, MaxWait: time.Hour})
	<-runs.begun // has the only seat
	long := e.submit(&wire.Request{Prompt: []int32{2}, MaxTokens: 3, IgnoreEOS: true, MaxWait: time.Hour})
	forever := e.submit(&wire.Request{Prompt: []int32{3}, MaxTokens: 3, IgnoreEOS: true})
	for _, r := range []*wire.Request{
		{Prompt: []int32{4}, MaxWait: 1},
		{Prompt: []int32{5}, MaxWait: time.Millisecond},
		{Prompt: []int32{6}, MaxWait: 1, Grammar: grammar.Regex("(a|b){3,900}c")},
	} {
		if o := e.submit(r).end(); o.Fault == nil || o.Fault.Kind != wire.Waited {
			t.Errorf("%+v: %+v", r, o.Fault)
		}
	}
	select {
	case <-long.begun:
		t.Error("one that waits is said to be begun with")
	default:
	}
	<-forever.begun // only that it will be
	e.Cancel(runs.ref)
	for _, a := range []*answered{runs, long, forever} {
		if o := a.end(); o.Fault != nil {
			t.Errorf("%+v", o.Fault)
		}
	}
	if len(long.tokens) != 3 || len(forever.tokens) != 3 {
		t.Errorf("%d and %d tokens, want 3 of each", len(long.tokens), len(forever.tokens))
	}
	if st := e.Stats(); st.Waiting != 0 {
		t.Errorf("%d still wait", st.Waiting)
	}
}
