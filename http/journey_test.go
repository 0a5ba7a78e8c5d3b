package http

import (
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/troupe-llm/troupe/actors"
	"github.com/troupe-llm/troupe/gpu/batch"
)

// Of an answer that engines elsewhere computed it is told which, and how long the way there took.
func TestJourneyElsewhere(t *testing.T) {
	us := func(n int64) int64 { return n * 1000 }
	one := &journey{
		times:    actors.Times{Submitted: us(1), Queued: us(9), Started: us(12), First: us(20), Ended: us(40)},
		attempts: []actors.Attempt{{Peer: "a:1", Handed: us(4), Left: us(25), Tokens: 2, Lost: true}, {Engine: 3, Handed: us(26), Left: us(40), Tokens: 5, ClockError: time.Millisecond}},
	}
	s := &Server{}
	one.begun, one.ended = s.wall(0), s.wall(us(50))
	b := one.body(s)
	var stages []string
	for _, st := range b.Stages {
		stages = append(stages, fmt.Sprintf("%s %s %.0f", st.Actor, st.Name, 1e6*(st.Ended-st.Began)))
	}
	if got, want := strings.Join(stages, ", "), "http read 1, tokenizer tokenize 3, front forward 5, scheduler queue 3, executor prefill 8, executor decode 20, http write 10"; got != want {
		t.Errorf("its stages are %s, want %s", got, want)
	}
	want := []attemptBody{{"a:1", 4e-6, 25e-6, true, 2, 0}, {"3", 26e-6, 40e-6, false, 5, 0.001}}
	if !slices.Equal(b.Engines, want) {
		t.Errorf("its engines are %+v, want %+v", b.Engines, want)
	}
}

// TestJourney follows one answer: /stats tells by its id when each of its
// stages was, from when the request came.
func TestJourney(t *testing.T) {
	h := start(t, builtin(t), Config{})
	resp := h.do("POST", "/v1/chat/completions", `{"messages":[{"role":"user","content":"Tell me a story"}],"max_tokens":100,"ignore_eos":true}`)
	if status, body := h.read(resp); status != 200 {
		t.Fatalf("%d: %s", status, body)
	}
	_, text := h.read(h.do("GET", "/stats?request="+resp.header.Get("X-Request-Id"), ""))
	var got struct{ Request *journeyBody }
	if err := json.Unmarshal([]byte(text), &got); err != nil || got.Request == nil {
		t.Fatalf("%v: %s", err, text)
	}
	r := got.Request
	if r.Finish != "length" || r.Completion != 100 || r.Prompt == 0 || r.ID != resp.header.Get("X-Request-Id") {
		t.Errorf("got %+v", r)
	}
	var names []string
	end := 0.0
	for _, s := range r.Stages {
		names = append(names, s.Actor+" "+s.Name)
		if s.Ended < s.Began || math.Abs(s.Began-end) > 1e-9 {
			t.Errorf("%s is from %g to %g, after one that ended at %g", s.Name, s.Began, s.Ended, end)
		}
		end = s.Ended
	}
	if got, want := strings.Join(names, ", "), "http read, tokenizer tokenize, scheduler queue, executor prefill, executor decode, http write"; got != want {
		t.Errorf("its stages are %s, want %s", got, want)
	}
	if end != r.Took {
		t.Errorf("it ended at %g and took %g", end, r.Took)
	}
	last := markBody{}
	for _, m := range r.Tokens {
		if m.Number <= last.Number || m.Computed < last.Computed || m.Taken < m.Computed || m.Taken > r.Took {
			t.Errorf("after %+v comes %+v", last, m)
		}
		last = m
	}
	if n := len(r.Tokens); n < 2 || r.Tokens[0].Number != 1 {
		t.Errorf("%d tokens are marked", n)
	}
	if _, text := h.read(h.do("GET", "/stats?request=another", "")); strings.Contains(text, `"request":`) {
		t.Errorf("there is a journey of no request: %s", text)
	}
}

// Marks are evenly spaced, half as many as there is room for at least, whatever
// the number of tokens.
func TestMarks(t *testing.T) {
	for _, n := range []int{1, 5, 64, 65, 1000, 5000} {
		var m marks
		for i := 1; i <= n; i++ {
			m.add(1, int64(i), int64(2*i))
		}
		if m.n > len(m.kept) || m.n < min(n, len(m.kept)/2) {
			t.Errorf("of %d tokens %d are marked", n, m.n)
		}
		for i, k := range m.kept[:m.n] {
			if want := 1 + i*m.stride; k.number != want || k.computed != int64(want) || k.taken != int64(2*want) {
				t.Errorf("of %d tokens mark %d is %+v, want token %d", n, i, k, want)
			}
		}
	}
}

// Of many journeys the last are kept.
func TestJourneysForget(t *testing.T) {
	s := &Server{epoch: epoch()}
	var all journeys
	for i := range 100 {
		all.keep(&journey{id: fmt.Sprint(i), ended: s.wall(batch.Now()), times: actors.Times{Submitted: batch.Now()}})
	}
	for id, want := range map[string]bool{"99": true, "68": true, "67": false, "0": false, "": false} {
		if got := all.find(s, id) != nil; got != want {
			t.Errorf("request %q is kept: %v", id, got)
		}
	}
}
