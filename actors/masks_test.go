package actors

import (
	"errors"
	"regexp"
	"strings"
	"testing"

	"github.com/troupe-llm/troupe/gpu/batch"
	"github.com/troupe-llm/troupe/tokenize/grammar"
)

// TestGrammars runs requests with grammars and without in one batch, in so
// little memory that some are preempted: each keeps to its own, and draws the
// tokens that it draws alone.
func TestGrammars(t *testing.T) {
	const expr = `[a-z]{20,30} \d{1,9}é{3}\n`
	request := func(i int) *Request {
		r := &Request{Text: "Once upon a time", MaxTokens: 60, Sampling: batch.Sampling{Temperature: 1, Seed: uint64(i)}}
		switch i % 3 {
		case 0:
			r.Grammar = grammar.Regex(expr)
		case 1:
			r.Grammar = grammar.Sequence(grammar.Literal(strings.Repeat("x", i)), grammar.Choice(grammar.Regex(expr), grammar.JSONObject()))
		}
		return r
	}
	alone := openSystem(t, Config{MaxRunningRequests: 1})
	for _, cfg := range []Config{{MaxRunningRequests: 12, NumPages: 24, PageSize: 8, MaxPrefillLength: 24}, {NoOverlap: true}} {
		s := openSystem(t, cfg)
		var streams []*Stream
		for i := range 12 {
			streams = append(streams, submit(t, s, request(i)))
		}
		whole := regexp.MustCompile("^" + expr + "$")
		for i, st := range streams {
			got, want := read(t, st), read(t, submit(t, alone, request(i)))
			if got.text != want.text || got.final.Reason != want.final.Reason {
				t.Errorf("%d: said %q (%s), alone %q (%s)", i, got.text, got.final.Reason, want.text, want.final.Reason)
			}
			if i%3 == 0 && (got.final.Reason != FinishStop || !whole.MatchString(got.text)) {
				t.Errorf("%d: %q does not match %s", i, got.text, expr)
			}
			if i%3 == 1 && !strings.HasPrefix(got.text, strings.Repeat("x", i)) {
				t.Errorf("%d: %q", i, got.text)
			}
		}
	}
}

// TestGrammarFails ends a request whose grammar turns out to be too much when
// it is well under way, and no other.
func TestGrammarFails(t *testing.T) {
	s := openSystem(t, Config{})
	other := submit(t, s, &Request{Text: "Once upon a time", MaxTokens: 80, IgnoreEOS: true})
	later := grammar.Repeat(grammar.Choice(grammar.Without("x"), grammar.Without("y"), grammar.Repeat(grammar.Without("z"), 0, 1000)), 0, 1000)
	st := submit(t, s, &Request{Text: "Once", Grammar: grammar.Sequence(grammar.Literal(strings.Repeat("fox ", 30)), later).At("regex")})
	var fault *InputError
	if got := read(t, st); !errors.As(got.final.Err, &fault) || fault.Param != "regex" || !strings.HasPrefix(got.text, "fox fox ") {
		t.Errorf("got %+v after %q", got.final, got.text)
	}
	if got := read(t, other); got.final.Reason != FinishLength || len(got.tokens) != 80 {
		t.Errorf("another ended with %+v", got.final)
	}
	for param, r := range map[string]*Request{
		"regex":      {Text: "a", Grammar: grammar.Regex("(").At("regex")},
		"ignore_eos": {Text: "a", Grammar: grammar.AnyText(), IgnoreEOS: true},
		"min_tokens": {Text: "a", Grammar: grammar.AnyText(), MinTokens: 1},
	} {
		st, err := s.Submit(r)
		if err == nil {
			err = read(t, st).final.Err
		}
		if fault = nil; !errors.As(err, &fault) || fault.Param != param {
			t.Errorf("%s: %v", param, err)
		}
	}
	// Prompts that come as tokens are kept to a grammar, too.
	if got := read(t, submit(t, s, &Request{Tokens: s.Tokenizer().Encode("Once", true), Grammar: grammar.Regex("a{5}b")})); got.text != "aaaaab" {
		t.Errorf("said %q, %+v", got.text, got.final)
	}
}
