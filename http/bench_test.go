package http

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"sync"
	"testing"

	"github.com/rs/zerolog"

	"github.com/troupe-llm/troupe/actors"
	"github.com/troupe-llm/troupe/gpu/batch"
	"github.com/troupe-llm/troupe/http/internal/dialect"
	"github.com/troupe-llm/troupe/http/internal/dialect/chat"
	"github.com/troupe-llm/troupe/http/internal/dialect/model"
	"github.com/troupe-llm/troupe/tokenize/reply"
)

var zerologNop = zerolog.Nop()

// tap is a stream that has a token whenever it is asked, n times over. Its
// memory is its reader's, as with a real stream.
type tap struct {
	n     int
	wake  func()        // set by Submit
	token chan struct{} // when not nil, each token needs a value from it
}

func (s *tap) Cancel() {}

func (s *tap) Take(ev *actors.Output) bool {
	if s.token != nil {
		select {
		case <-s.token:
		default:
			return false
		}
	}
	*ev = actors.Output{Text: append(ev.Text[:0], " token"...), Tokens: append(ev.Tokens[:0], 7)}
	if s.n--; s.n < 0 {
		ev.Final = &actors.Final{Reason: actors.FinishStop, StopToken: batch.NoToken}
	}
	return true
}

// tapEngine is an engine of one stream.
type tapEngine struct {
	*fakeEngine
	streams chan *tap
}

func (e tapEngine) Submit(r *actors.Request) (stream, error) {
	t := <-e.streams
	t.wake = r.Wake
	return t, nil
}

// benchmarkWriter is the writer of a chat that is streamed, which has begun, and
// its answer.
func benchmarkWriter(b *testing.B) (dialect.StreamWriter, *dialect.Answer) {
	m := &model.Model{Names: []string{"model"}, MaxChoices: 1, Tokenizer: byteTokenizer{}, Family: model.NewFamily("none", "none", byteTokenizer{})}
	c, fault := chat.Dialect{}.Decode(&dialect.Request{Model: m, ID: "0123456789", Body: []byte(`{"stream":true,` + withHi + `}`)})
	if fault != nil {
		b.Fatal(fault)
	}
	a := &dialect.Answer{Choices: make([]dialect.Choice, 1), PerPrompt: 1}
	c.Stream.Delta(nil, a, &dialect.Delta{Parts: []reply.Part{{Text: []byte("a")}}})
	return c.Stream, a
}

// BenchmarkChunk is a token's way from an event to bytes.
func BenchmarkChunk(b *testing.B) {
	w, a := benchmarkWriter(b)
	d := &dialect.Delta{Parts: []reply.Part{{Text: []byte(" token")}}, Tokens: []int32{7}}
	var buf []byte
	b.ReportAllocs()
	for b.Loop() {
		buf = w.Delta(buf[:0], a, d)
	}
}

// BenchmarkParsedChunk is the same where reasoning and tool calls are looked for.
func BenchmarkParsedChunk(b *testing.B) {
	w, a := benchmarkWriter(b)
	parser := reply.NewParser(reply.Options{Reasoning: reply.FindReasoning("think"), Format: reply.FindFormat("hermes", "")})
	parser.Add([]byte("<think>"))
	token := []byte(" token")
	d := &dialect.Delta{Tokens: []int32{7}}
	var buf []byte
	b.ReportAllocs()
	for b.Loop() {
		d.Parts = parser.Add(token)
		buf = w.Delta(buf[:0], a, d)
	}
}

// BenchmarkStreamedToken is a token's whole cost here, over loopback: waking
// up, its chunk, the write, and a client that reads it. Tokens of the streams
// are due at the same time, as a step's are.
func BenchmarkStreamedToken(b *testing.B) {
	for _, streams := range []int{1, 64} {
		b.Run(fmt.Sprintf("streams=%d", streams), func(b *testing.B) { benchmarkStreams(b, streams) })
	}
}

func benchmarkStreams(b *testing.B, streams int) {
	eng := tapEngine{script(), make(chan *tap, 1)}
	s, err := newServer(Config{}, eng, zerologNop)
	if err != nil {
		b.Fatal(err)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	go func() { _ = s.Serve(ln) }()
	defer ln.Close()

	var taps []*tap
	var read sync.WaitGroup // of one round's tokens
	var over sync.WaitGroup
	for range streams {
		t := &tap{n: b.N, token: make(chan struct{}, 1)}
		taps = append(taps, t)
		eng.streams <- t
		c, err := net.Dial("tcp", ln.Addr().String())
		if err != nil {
			b.Fatal(err)
		}
		t.step() // the event that lets the header out
		read.Add(1)
		over.Add(1)
		fmt.Fprintf(c, "POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n%s", len(streamed), streamed)
		go func() {
			defer over.Done()
			r := bufio.NewReader(c)
			for {
				line, err := r.ReadSlice('\n')
				if err == io.EOF {
					return
				}
				if len(line) > 6 && line[0] == 'd' && line[6] == '{' {
					read.Done()
				}
				if len(line) > 6 && line[6] == '[' {
					c.Close()
					return
				}
			}
		}()
	}
	read.Wait()
	b.ReportAllocs()
	b.ResetTimer()
	for i := range b.N {
		n := 1
		if i == b.N-1 {
			n = 2 // the last event has a token and the end
		}
		read.Add(n * streams)
		for _, t := range taps {
			t.step()
		}
		read.Wait()
	}
	b.StopTimer()
	b.ReportMetric(float64(b.Elapsed().Microseconds())/float64(b.N*streams), "µs/token")
	over.Wait()
}

// step makes one token available.
func (s *tap) step() {
	s.token <- struct{}{}
	if s.wake != nil {
		s.wake()
	}
}
