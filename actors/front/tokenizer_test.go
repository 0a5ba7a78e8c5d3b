package front

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/troupe-llm/troupe/actors/engine"
	"github.com/troupe-llm/troupe/actors/internal/shell"
	"github.com/troupe-llm/troupe/actors/internal/toy"
	"github.com/troupe-llm/troupe/actors/plan"
	"github.com/troupe-llm/troupe/actors/wire"
	"github.com/troupe-llm/troupe/gpu/model/modeltest"
	"github.com/troupe-llm/troupe/tokenize"
)

// textSystem serves a toy with a tokenizer.
func textSystem(t testing.TB, tokenizers int, codec *tokenize.Tokenizer) *System {
	t.Helper()
	d, m := toy.New(), toy.Model()
	d.Sizes.Vocab = codec.Vocab()
	s, err := Open(Config{
		Model: m, Codec: codec, MaxOpenRequests: 4096, Tokenizers: tokenizers, Log: zerolog.Nop(),
		Engines: 1, Engine: func(_ uint8, deliver func(*wire.Batch), lost func()) (engine.Engine, error) {
			return engine.Open(engine.Config{
				Open: toy.Opener(d), Model: m, Codec: codec, Cache: plan.Naive, Compilers: 1, Log: zerolog.Nop(), Deliver: deliver, Lost: lost,
			})
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// letters is a tokenizer of the letters a to z, and echoes chats.
func letters(t testing.TB) *tokenize.Tokenizer {
	t.Helper()
	codec, err := toy.Letters()
	if err != nil {
		t.Fatal(err)
	}
	return codec
}

// submit is Submit, which must take the request.
func submit(t testing.TB, s *System, r *Request) *Stream {
	t.Helper()
	st, err := s.Submit(r)
	if err != nil {
		t.Fatal(err)
	}
	return st
}

// collect reads a stream to its end.
func collect(t testing.TB, st *Stream) (tokens []int32, f *Final) {
	t.Helper()
	var ev Output
	for f == nil {
		if err := st.Next(context.Background(), &ev); err != nil {
			t.Fatal(err)
		}
		tokens = append(tokens, ev.Tokens...)
		f = ev.Final
	}
	return tokens, f
}

// gate stands before a tokenizer and holds up the first prompts.
type gate struct {
	shell.Handler
	n    uint64          // how many of them
	held chan<- struct{} // told of each that is held
	open <-chan struct{} // closed to let them go on
}

func (g *gate) Handle(c shell.Mail, m shell.Message) {
	if r, ok := m.(*tokenizeJob); ok && r.job.id <= g.n {
		g.held <- struct{}{}
		<-g.open
	}
	g.Handler.Handle(c, m)
}

// A long prompt that a tokenizer does not get done with holds up no other: they
// go to the rest of the pool, though they came later. It is held at a gate, so
// the order does not depend on speed.
func TestLongPromptHoldsUpNoOther(t *testing.T) {
	long := strings.Repeat("a", 1<<20)
	chat := func(text string) *Request {
		return &Request{Chat: &tokenize.Chat{Messages: []tokenize.Message{tokenize.UserMessage(text)}}, MaxTokens: 2, IgnoreEOS: true}
	}
	plain := func(text string) *Request { return &Request{Text: text, MaxTokens: 2, IgnoreEOS: true} }
	for name, request := range map[string]func(string) *Request{"text": plain, "chat": chat} {
		t.Run(name, func(t *testing.T) {
			s := textSystem(t, 2, letters(t))
			held, open := make(chan struct{}), make(chan struct{})
			s.actors.Replace(func(h shell.Handler) shell.Handler { // no message has been sent yet
				if _, ok := h.(*tokenizer); ok {
					return &gate{h, 1, held, open}
				}
				return h
			})
			first := submit(t, s, request(long))
			<-held
			var wg sync.WaitGroup
			for i := range 200 {
				wg.Go(func() {
					got, f := collect(t, submit(t, s, request(strings.Repeat("b", 1+i%40))))
					if f.Reason != FinishLength || len(got) != 2 {
						t.Errorf("a short prompt: %d tokens, %+v; want 2", len(got), f)
					}
				})
			}
			wg.Wait() // all of them ended while the long one stands at the gate
			close(open)
			if _, f := collect(t, first); f.Reason != FinishError { // longer than the toy's context
				t.Errorf("the long prompt: %+v, want its length refused", f)
			}
		})
	}
}

// Who sends many prompts delays another's by one of them: each client's turn comes.
func TestPromptsTakeTurns(t *testing.T) {
	s := textSystem(t, 1, letters(t))
	held, open := make(chan struct{}, 1), make(chan struct{})
	var order []string // in which they are encoded
	s.actors.Replace(func(h shell.Handler) shell.Handler {
		if _, ok := h.(*tokenizer); ok {
			return &noted{&gate{h, 1, held, open}, &order}
		}
		return h
	})
	var all []*Stream
	ask := func(client string, n int) {
		for i := range n {
			all = append(all, submit(t, s, &Request{ID: fmt.Sprint(client, i), Client: client, Text: "ab", MaxTokens: 1, IgnoreEOS: true}))
		}
	}
	ask("flood", 20)
	<-held
	ask("one", 1)
	ask("two", 2)
	close(open)
	for _, st := range all {
		collect(t, st)
	}
	if want := []string{"flood0", "flood1", "one0", "two0", "flood2", "two1", "flood3"}; len(order) != 23 || !slices.Equal(order[:len(want)], want) {
		t.Errorf("prompts were encoded in the order %v, want %v and the rest", order, want)
	}
}

// noted writes down whose prompts a tokenizer encodes.
type noted struct {
	shell.Handler
	order *[]string
}

func (n *noted) Handle(c shell.Mail, m shell.Message) {
	if r, ok := m.(*tokenizeJob); ok {
		*n.order = append(*n.order, r.job.req.ID)
	}
	n.Handler.Handle(c, m)
}

// BenchmarkShortBesideLong is how long a short prompt takes from Submit to its
// last token, alone and while another client sends prompts of a megabyte
// without pause. The toy device computes nothing: what is measured is the way
// there and back. The vocabulary is Qwen3's where the fixtures are.
func BenchmarkShortBesideLong(b *testing.B) {
	codec := letters(b)
	dir, _ := modeltest.Fixtures()
	if qwen, err := tokenize.Load(os.DirFS(filepath.Join(dir, "tokenizers", "qwen3"))); err == nil {
		codec = qwen
	}
	long := strings.Repeat("the quick brown fox jumps over the lazy dog ", 1<<20/44)
	for _, beside := range []bool{false, true} {
		b.Run(map[bool]string{false: "alone", true: "beside"}[beside], func(b *testing.B) {
			s := textSystem(b, max(2, min(runtime.NumCPU(), 8)), codec)
			ctx, stop := context.WithCancel(context.Background())
			defer stop()
			var wg sync.WaitGroup
			longs := 0
			if beside {
				wg.Go(func() {
					for ; ctx.Err() == nil; longs++ {
						collect(b, submit(b, s, &Request{Text: long, MaxTokens: 1}))
					}
				})
			}
			var took []time.Duration
			for b.Loop() {
				at := time.Now()
				collect(b, submit(b, s, &Request{Text: "hello there", MaxTokens: 1, IgnoreEOS: true}))
				took = append(took, time.Since(at))
			}
			stop()
			wg.Wait()
			slices.SortFunc(took, func(x, y time.Duration) int { return cmp.Compare(x, y) })
			b.ReportMetric(float64(took[len(took)/2].Microseconds()), "median-µs")
			b.ReportMetric(float64(took[len(took)*99/100].Microseconds()), "p99-µs")
			b.ReportMetric(float64(longs), "longs")
		})
	}
}
