package actors

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/rs/zerolog"

	"github.com/troupe-llm/troupe/gpu"
	"github.com/troupe-llm/troupe/gpu/batch"
	"github.com/troupe-llm/troupe/gpu/device"
	"github.com/troupe-llm/troupe/gpu/model"
	"github.com/troupe-llm/troupe/tokenize"
	"github.com/troupe-llm/troupe/tokenize/grammar"
)

// asked is a request and what it brings when nothing disturbs it.
type asked struct {
	req  Request
	want said
}

// simDevice is what is simulated: every fortieth token ends a sequence, and most are those of
// some before.
const simDevice = "sim:h200,eos=40,repeat=7"

// simModel has no weights, which nobody computes with.
func simModel() (*model.Model, *tokenize.Tokenizer, error) {
	m, err := model.Open(model.Builtin, false)
	if err != nil {
		return nil, nil, err
	}
	codec, err := tokenize.Load(m.Files)
	return &model.Model{Name: "simulated", Config: m.Config, Generation: m.Generation}, codec, err
}

// questions are requests of all kinds, each with what a system says to it that has nothing else to
// do, the largest device, and none of what makes things hard.
func questions(m *model.Model, codec *tokenize.Tokenizer) ([]asked, error) {
	cfg := Config{Log: zerolog.Nop(), NoOverlap: true, Cache: "naive"}
	cfg.fill()
	s, err := start(cfg, m, codec, func() (device.Device, error) {
		return gpu.Open(device.Spec{Device: simDevice + ",speed=inf", Model: m})
	})
	if err != nil {
		return nil, err
	}
	defer s.Close()
	rnd := rand.New(rand.NewPCG(7, 7))
	var all []asked
	for i := range 96 {
		r := question(rnd, i)
		want, err := say(s, r)
		if err != nil {
			return nil, err
		}
		if i%8 == 3 && len(want.text) > 20 { // ends with its own words
			r.Stop = []string{"none", want.text[len(want.text)/2 : len(want.text)/2+6]}
			if want, err = say(s, r); err != nil {
				return nil, err
			}
		}
		if i%8 == 5 && len(want.tokens) > 4 {
			r.StopTokens = want.tokens[len(want.tokens)/2 : len(want.tokens)/2+1]
			if want, err = say(s, r); err != nil {
				return nil, err
			}
		}
		if i%8 == 6 && len(want.text) > 4 { // nearly, but ends otherwise
			r.Stop = []string{want.text[len(want.text)-3:] + "\x00never"}
			before := want
			if want, err = say(s, r); err != nil {
				return nil, err
			}
			if want.text != before.text || want.final.Reason != before.final.Reason {
				return nil, fmt.Errorf("a stop string that does not come makes %q of %q", want.text, before.text)
			}
		}
		if err := want.spelt(codec); err != nil {
			return nil, err
		}
		if i%3 > 0 {
			r.Speculative = NGram
		}
		all = append(all, asked{*r, want})
	}
	return all, nil
}

var simGrammars = []*grammar.Spec{grammar.Regex(`[a-c]{3,9} \d{1,4}`), grammar.Regex(`(yes|no|maybe), [a-z]+\.`), grammar.Regex(`(unclosed`)}

// question makes one up.
func question(rnd *rand.Rand, i int) *Request {
	r := &Request{MaxTokens: 1 + rnd.IntN(40), Client: string(rune('a' + rnd.IntN(3))), Priority: rnd.IntN(3)}
	r.Sampling = &batch.Sampling{Temperature: float32(rnd.IntN(2)), Seed: uint64(i), Logprobs: max(0, rnd.Int32N(6)-3)}
	switch rnd.IntN(4) {
	case 0:
		r.Text = strings.Repeat("Once upon a time there was a fox. ", 1+rnd.IntN(3)) + fmt.Sprint(i%5)
	case 1:
		r.Chat = tokenize.NewChat(tokenize.UserMessage("Tell me a story about " + fmt.Sprint(i%4)))
	default:
		for t := range 1 + rnd.IntN(70) { // which often begin with the same
			r.Tokens = append(r.Tokens, int32(20+(t*t+t/30*i)%300))
		}
	}
	switch i % 8 {
	case 0:
		r.Grammar = simGrammars[rnd.IntN(len(simGrammars))]
		r.Sampling.Logprobs = 0
	case 1:
		r.IgnoreEOS, r.MinTokens = rnd.IntN(2) == 0, r.MaxTokens/2
	case 2:
		r.PromptLogprobs, r.Sampling.Logprobs = true, 1+rnd.Int32N(2)
	case 4:
		if rnd.IntN(3) == 0 {
			r.PromptOnly, r.MaxTokens = true, 0
		}
	}
	return r
}

// say asks and reads the whole answer.
func say(s *System, r *Request) (said, error) {
	again := *r
	st, err := s.Submit(&again)
	if err != nil {
		return said{}, err
	}
	var ev Output
	var got said
	for ev.Final == nil {
		if err := st.Next(context.Background(), &ev); err != nil {
			return got, err
		}
		got.add(&ev)
	}
	return got, nil
}

// spelt holds the text against what its tokens are, read at once, of an answer that no stop string has cut
// and whose tokens all are text.
func (g *said) spelt(codec *tokenize.Tokenizer) error {
	tokens := g.tokens
	switch {
	case g.final.Stop != "" || g.final.Reason == FinishError:
		return nil
	case g.final.Reason == FinishStop: // by its last token
		tokens = tokens[:len(tokens)-1]
	}
	if all := codec.Decode(tokens, true); all != g.text {
		return fmt.Errorf("%v is %q, and was said to be %q", tokens, all, g.text)
	}
	return nil
}

func (g *said) add(ev *Output) {
	g.text += string(ev.Text)
	g.tokens = append(g.tokens, ev.Tokens...)
	for _, l := range ev.Logprobs {
		g.logprobs = append(g.logprobs, batch.Logprob{Token: l.Token, Top: slices.Clone(l.Top)})
	}
	g.scores = append(g.scores, ev.PromptLogprobs...)
	if ev.Final != nil {
		g.final = *ev.Final
	}
}

// simClient asks one thing, reads as slowly as it does, and may leave.
type simClient struct {
	*world
	id     int
	of     *asked
	slow   time.Duration // between looking
	leaves int           // after so many tokens; −1: never
	vanish time.Duration // after that long; 0: never

	st      *Stream
	left    bool
	looking bool // it will look
	got     said
	ended   bool
	started bool
	heard   time.Time     // when there was something last
	pause   time.Duration // the longest between two things
}

// ask submits; a client that is turned away comes again.
func (c *simClient) ask(s *System, gaveUp func(error) bool) {
	again := c.of.req
	again.Wake = c.wakes
	st, err := s.Submit(&again)
	var busy *BusyError
	switch {
	case errors.As(err, &busy):
		c.went("a client was turned away")
		c.after(busy.RetryAfter, func() { c.ask(s, gaveUp) })
		return
	case err != nil:
		if !gaveUp(err) {
			c.fault("request %d: Submit: %v", c.id, err)
		}
		c.ended = true
		return
	}
	c.st = st
	c.look() // of what came before it had its stream
	if c.vanish > 0 {
		c.after(c.vanish, c.leave)
	}
}

// wakes is called by the detokenizer.
func (c *simClient) wakes() {
	if c.looking || c.st == nil {
		return
	}
	c.looking = true
	c.after(c.slow, c.look)
}

func (c *simClient) leave() {
	if !c.left {
		c.left = true
		c.went("a client left")
		c.st.Cancel()
	}
}

func (c *simClient) look() {
	c.looking = false
	var ev Output
	if !c.st.Take(&ev) {
		return
	}
	if c.ended {
		c.fault("request %d: more after its end: %+v", c.id, ev)
	}
	if now := time.Now(); !c.heard.IsZero() {
		c.pause = max(c.pause, now.Sub(c.heard))
	}
	c.heard = time.Now()
	if ev.Started != nil {
		if c.started {
			c.fault("request %d: started twice", c.id)
		}
		c.started = true
	}
	c.got.add(&ev)
	c.check()
	if ev.Final != nil {
		c.ended = true
		c.happened("client", string(ev.Final.Reason), uint64(c.id))
	}
	if c.leaves >= 0 && len(c.got.tokens) >= c.leaves {
		c.leave()
	}
}

// check holds what came so far against the undisturbed answer.
func (c *simClient) check() {
	w, g := &c.of.want, &c.got
	if len(g.tokens) > len(w.tokens) || !slices.Equal(g.tokens, w.tokens[:len(g.tokens)]) {
		c.fault("request %d: got %v, want %v", c.id, g.tokens, w.tokens)
	}
	all := w.text
	if g.final.Reason == FinishAbort || g.final.Reason == FinishError { // what may yet have become the stop string is let go
		all += w.final.Stop
	}
	if !strings.HasPrefix(all, g.text) {
		c.fault("request %d: got %q, want %q", c.id, g.text, w.text)
	}
	if len(g.logprobs) > len(w.logprobs) || !reflect.DeepEqual(g.logprobs, w.logprobs[:len(g.logprobs):len(g.logprobs)]) && len(g.logprobs) > 0 {
		c.fault("request %d: got log-probabilities %v, want %v", c.id, g.logprobs, w.logprobs)
	}
	if len(g.scores) > len(w.scores) || len(g.scores) > 0 && !reflect.DeepEqual(g.scores, w.scores[:len(g.scores)]) {
		c.fault("request %d: got scores %v, want %v", c.id, g.scores, w.scores)
	}
}

// whole checks an answer that has ended as it should, but for when it was cancelled.
func (c *simClient) whole(dead, draining bool) {
	w, g := &c.of.want, &c.got
	switch f := &g.final; {
	case f.Reason == FinishAbort && (c.left || draining):
	case f.Reason == FinishError && dead && errors.Is(f.Err, ErrFailed):
	case f.Reason == FinishError && strings.Contains(f.Err.Error(), "panic: simulated, number"):
	case f.Reason == FinishError && w.final.Err != nil && f.Err.Error() == w.final.Err.Error():
	case f.Reason != w.final.Reason || f.Stop != w.final.Stop || f.StopToken != w.final.StopToken:
		c.fault("request %d ended with %+v, undisturbed with %+v", c.id, f, w.final)
	case g.text != w.text || !slices.Equal(g.tokens, w.tokens) || len(g.logprobs) != len(w.logprobs) || len(g.scores) != len(w.scores):
		c.fault("request %d: said %q (%v, %d, %d), undisturbed %q (%v, %d, %d)", c.id, g.text, g.tokens, len(g.logprobs), len(g.scores), w.text, w.tokens, len(w.logprobs), len(w.scores))
	case f.Usage.PromptTokens != w.final.Usage.PromptTokens || f.Usage.CompletionTokens != w.final.Usage.CompletionTokens || !c.started:
		c.fault("request %d: used %+v, undisturbed %+v; started %v", c.id, f.Usage, w.final.Usage, c.started)
	}
}
