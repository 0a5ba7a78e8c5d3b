package actors

import (
	"errors"
	"math/rand/v2"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/rs/zerolog"

	"github.com/troupe-llm/troupe/actors/internal/toy"
	"github.com/troupe-llm/troupe/gpu/batch"
	"github.com/troupe-llm/troupe/gpu/cpu"
	"github.com/troupe-llm/troupe/gpu/device"
	"github.com/troupe-llm/troupe/gpu/model"
	"github.com/troupe-llm/troupe/tokenize"
	"github.com/troupe-llm/troupe/tokenize/grammar"
)

// TestGrammars runs requests with grammars and without in one batch, in so
// little memory that some are preempted: each keeps to its own, and draws the
// tokens that it draws alone.
func TestGrammars(t *testing.T) {
	const expr = `[a-z]{20,30} \d{1,9}é{3}\n`
	request := func(i int) *Request {
		r := &Request{Text: "Once upon a time", MaxTokens: 60, Sampling: &batch.Sampling{Temperature: 1, Seed: uint64(i)}}
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

// meddled is a system on meddlers, the first of which is prepared; those opened
// after it are left alone.
func meddled(t *testing.T, cfg Config, prepare func(*toy.Meddler)) (*System, *[]*toy.Meddler) {
	t.Helper()
	m, err := model.Open("builtin", false)
	if err != nil {
		t.Fatal(err)
	}
	codec, err := tokenize.Load(m.Files)
	if err != nil {
		t.Fatal(err)
	}
	all := new([]*toy.Meddler)
	cfg.Log = zerolog.Nop()
	cfg.fill()
	s, err := start(cfg, m, codec, func() (device.Device, error) {
		dev, err := cpu.Open(device.Spec{Model: m, Slots: cfg.MaxRunningRequests, NumPages: cfg.NumPages, PageSize: cfg.PageSize, MaxStepTokens: cfg.MaxPrefillLength})
		d := &toy.Meddler{Device: dev}
		if *all = append(*all, d); len(*all) == 1 && prepare != nil {
			prepare(d)
		}
		return d, err
	})
	if err != nil {
		t.Fatal(err)
	}
	return s, all
}

func closeSystem(t *testing.T, s *System) {
	t.Helper()
	if err := s.Close(); err != nil {
		t.Error(err)
	}
}

// Requests of all kinds draw the same tokens, with the same log-probabilities,
// whether their masks come with the step or late; and under overlap they do come
// late: a request alone has a row in every step.
func TestLateMasksChangeNothing(t *testing.T) {
	rnd := rand.New(rand.NewPCG(7, 8))
	formats := []*grammar.Spec{
		nil, grammar.Regex(`[a-z]{20,30} \d{1,9}é{3}\n`), grammar.JSONObject(), grammar.Regex(`(ab|ba|c){1,40}`), grammar.Literal("The fox ran home. The end."),
		grammar.Sequence(grammar.Literal("{\"n\": "), grammar.Regex(`-?[1-9]\d{0,30}`), grammar.Literal("}")),
	}
	var requests []*Request
	for i := range 24 {
		r := &Request{Text: []string{"Once upon a time", "Hello", "A fox said that"}[rnd.IntN(3)], MaxTokens: 5 + rnd.IntN(50), Grammar: formats[rnd.IntN(len(formats))]}
		r.Sampling = &batch.Sampling{Temperature: float32(rnd.IntN(3)) / 2, Seed: uint64(i), Logprobs: rnd.Int32N(3)}
		if rnd.IntN(3) == 0 {
			r.Sampling.Repetition, r.Sampling.Frequency = 1.2, 0.3
		}
		requests = append(requests, r)
	}
	run := func(cfg Config) (all []said, late int) {
		s, devs := meddled(t, cfg, nil)
		var streams []*Stream
		for _, r := range requests {
			again := *r
			streams = append(streams, submit(t, s, &again))
		}
		for _, st := range streams {
			all = append(all, read(t, st))
		}
		closeSystem(t, s)
		return all, (*devs)[0].Late
	}
	want, late := run(Config{NoOverlap: true})
	if late > 0 {
		t.Errorf("without overlap %d steps had late rows", late)
	}
	for _, cfg := range []Config{{}, {MaxRunningRequests: 9, NumPages: 26, PageSize: 8, MaxPrefillLength: 20}, {Schedule: "prefill-first", MaxRunningRequests: 5}} {
		got, late := run(cfg)
		if late == 0 {
			t.Errorf("%+v: no step had late rows", cfg)
		}
		for i := range got {
			g, w := got[i], want[i]
			if g.text != w.text || !slices.Equal(g.tokens, w.tokens) || g.final.Reason != w.final.Reason || !reflect.DeepEqual(g.logprobs, w.logprobs) {
				t.Errorf("%+v, request %d: %q (%s), without overlap %q (%s)", cfg, i, g.text, g.final.Reason, w.text, w.final.Reason)
			}
		}
	}

	s, devs := meddled(t, Config{}, nil)
	got := read(t, submit(t, s, &Request{Text: "Once", Grammar: grammar.Regex("(ab){20}c")}))
	closeSystem(t, s)
	if n := len(got.tokens); (*devs)[0].Late != n || got.text != strings.Repeat("ab", 20)+"c" {
		t.Errorf("alone it drew %d tokens, %q, with %d steps with late rows; all but the first are to be, and one is too many", n, got.text, (*devs)[0].Late)
	}
}

// However a device is lost with a step that waits for its masks, no request is.
func TestLostDeviceWithLateMasks(t *testing.T) {
	request := func(i int) *Request {
		return &Request{Text: "Once", Grammar: grammar.Regex("[a-z ]{30}"), MaxTokens: 60, Sampling: &batch.Sampling{Temperature: 1, Seed: uint64(i)}}
	}
	alone := openSystem(t, Config{NoOverlap: true})
	for name, prepare := range map[string]func(*toy.Meddler){
		"Mask fails": func(d *toy.Meddler) {
			d.BeforeMask = func(m *batch.Masks) error {
				if m.Seq < 5 {
					return nil
				}
				return errors.New("meddled with")
			}
		},
		"Mask panics, once": func(d *toy.Meddler) {
			d.BeforeMask = func(m *batch.Masks) error {
				if m.Seq == 5 {
					d.BeforeMask = nil
					panic("meddled with")
				}
				return nil
			}
		},
		"Wait fails": func(d *toy.Meddler) {
			launched := make(chan struct{})
			d.BeforeLaunch = func(s *batch.Step) error {
				if s.Seq == 6 {
					close(launched)
				}
				return nil
			}
			d.BeforeWait = func(seq uint64) error {
				if seq == 5 {
					<-launched // step 6 is on the device, and waits
					return errors.New("meddled with")
				}
				return nil
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			s, devs := meddled(t, Config{}, func(d *toy.Meddler) {
				prepare(d)
				inner := d.BeforeMask
				if inner == nil {
					return
				}
				d.BeforeMask = func(m *batch.Masks) error {
					err := inner(m)
					if err != nil { // a device that fails lets its waiter go
						_ = d.Device.Mask(m)
					}
					return err
				}
			})
			defer closeSystem(t, s)
			var streams []*Stream
			for i := range 4 {
				streams = append(streams, submit(t, s, request(i)))
			}
			for i, st := range streams {
				if got, want := read(t, st), read(t, submit(t, alone, request(i))); got.text != want.text || got.final.Reason != FinishStop {
					t.Errorf("%d: said %q (%+v), alone %q", i, got.text, got.final, want.text)
				}
			}
			if len(*devs) != 2 {
				t.Errorf("%d devices were opened, want 2", len(*devs))
			}
		})
	}
}

// A system can be closed while a step waits for its masks, which nobody is left
// to hand over.
func TestCloseBeforeMasks(t *testing.T) {
	launched, masked := make(chan struct{}), make(chan struct{})
	s, _ := meddled(t, Config{}, func(d *toy.Meddler) {
		d.BeforeLaunch = func(s *batch.Step) error {
			if s.Late() > 0 {
				close(launched)
			}
			return nil
		}
		// The result of the step before comes after the masks, which it is not
		// known from: so these come from closing.
		d.BeforeWait = func(uint64) error { <-masked; return nil }
		d.BeforeMask = func(m *batch.Masks) error {
			if m.Allow[0] != nil {
				t.Errorf("a mask of %d words, and no token is known", len(m.Allow[0]))
			}
			close(masked)
			return nil
		}
	})
	st := submit(t, s, &Request{Text: "Once", Grammar: grammar.Regex("[a-z]{9}")})
	<-launched
	closeSystem(t, s)
	if got := read(t, st); got.final.Reason != FinishAbort || len(got.tokens) > 0 {
		t.Errorf("ended with %+v after %q", got.final, got.text)
	}
}
