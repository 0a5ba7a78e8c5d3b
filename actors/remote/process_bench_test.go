//go:build unix

package remote

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/troupe-llm/troupe/actors/engine"
	"github.com/troupe-llm/troupe/actors/front"
	"github.com/troupe-llm/troupe/actors/wire"
	"github.com/troupe-llm/troupe/gpu/device"
	"github.com/troupe-llm/troupe/gpu/model"
	"github.com/troupe-llm/troupe/tokenize"
)

const (
	beatStreams = 256
	beatSteps   = 2 * time.Millisecond
	asEngine    = "REMOTE_TEST_IS_ENGINE" // in the environment of a process that is one
)

// metronome is an engine that gives each of its requests a token every so often, once it has them all.
type metronome struct {
	machine
	deliver func(*wire.Batch)
	every   time.Duration
	stop    chan struct{}

	mu   sync.Mutex
	open []wire.Ref // guarded by mu
}

func (m *metronome) Submit(r *wire.Request) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.open = append(m.open, r.Ref); len(m.open) == beatStreams {
		go m.run(m.open)
	}
}

func (m *metronome) Cancel(wire.Ref) {}

func (m *metronome) Info() device.Info {
	return device.Info{Slots: beatStreams, PageSize: 16, Vocab: 512, MaxSeqLen: 1 << 20}
}

func (m *metronome) run(refs []wire.Ref) {
	tick := time.NewTicker(m.every)
	defer tick.Stop()
	for seq := uint64(1); ; seq++ {
		select {
		case <-m.stop:
			return
		case <-tick.C:
		}
		out := wire.NewBatch(seq, len(refs))
		for i, ref := range refs {
			out.Outputs = append(out.Outputs, wire.Output{Ref: ref, Token: 3 + int32(seq+uint64(i)*7)%500})
		}
		m.deliver(out)
	}
}

func TestMain(m *testing.M) {
	if os.Getenv(asEngine) != "" {
		beEngine()
		return
	}
	os.Exit(m.Run())
}

// beEngine is the other process of BenchmarkFrontProcess, until its standard input ends.
func beEngine() {
	m, shared := &metronome{every: beatSteps, stop: make(chan struct{})}, new(Shared)
	m.deliver, shared.Engine = shared.Deliver, m
	m.same = wire.Identity{Version: wire.Version}
	n, err := Start(Config{Listen: "127.0.0.1:0", Secret: secret, Engine: shared, Log: zerolog.Nop()})
	if err != nil {
		panic(err)
	}
	fmt.Println(n.Address())
	_, _ = io.Copy(io.Discard, os.Stdin)
	os.Exit(0)
}

// BenchmarkFrontProcess is the processor's time that a token takes of a front's process, the system's
// included, with steps of 256 tokens every 2 ms: of an engine in it, which takes part of that time, and of one in
// another process, over TLS and gRPC.
func BenchmarkFrontProcess(b *testing.B) {
	m, err := model.Open(model.Builtin, true)
	if err != nil {
		b.Fatal(err)
	}
	codec, err := tokenize.Load(m.Files)
	if err != nil {
		b.Fatal(err)
	}
	cfg := front.Config{Model: m, Codec: codec, MaxOpenRequests: beatStreams, Tokenizers: 1, Log: zerolog.Nop()}
	b.Run("here", func(b *testing.B) {
		cfg := cfg
		src := &metronome{every: beatSteps, stop: make(chan struct{})}
		b.Cleanup(func() { close(src.stop) })
		src.same = front.Identity(m)
		cfg.Engines, cfg.Engine = 1, func(_ uint8, deliver func(*wire.Batch), _ func()) (engine.Engine, error) {
			src.deliver = deliver
			return src, nil
		}
		sys, err := front.Open(cfg)
		if err != nil {
			b.Fatal(err)
		}
		benchmarkProcess(b, sys)
	})
	b.Run("elsewhere", func(b *testing.B) {
		cfg := cfg
		cfg.Info, cfg.Same, cfg.Patience = (&metronome{}).Info(), front.Identity(m), time.Minute
		sys, err := front.Open(cfg)
		if err != nil {
			b.Fatal(err)
		}
		near, err := Start(Config{
			Listen: "127.0.0.1:0", Secret: secret, Log: zerolog.Nop(), Identity: front.Identity(m), miss: patience,
			Found: func(l *Link) { _ = sys.Join(l) }, Left: func(*Link) {},
		})
		if err != nil {
			b.Fatal(err)
		}
		b.Cleanup(near.Close)
		near.Attach(engineProcess(b))
		benchmarkProcess(b, sys)
	})
}

// engineProcess starts one and says where it is.
func engineProcess(b *testing.B) string {
	b.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), asEngine+"=1")
	in, err := cmd.StdinPipe()
	if err != nil {
		b.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		b.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		in.Close()
		_ = cmd.Wait()
	})
	at, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		b.Fatal(err)
	}
	return strings.TrimSpace(at)
}

func benchmarkProcess(b *testing.B, sys *front.System) {
	some := make(chan struct{}, 1)
	wake := func() {
		select {
		case some <- struct{}{}:
		default:
		}
	}
	var all []*front.Stream
	for range beatStreams {
		st, err := sys.Submit(&front.Request{Tokens: []int32{1}, IgnoreEOS: true, Wake: wake})
		if err != nil {
			b.Fatal(err)
		}
		all = append(all, st)
	}
	var ev front.Output
	take := func() (tokens int) {
		<-some
		for _, st := range all {
			if st.Take(&ev) && ev.Final != nil {
				b.Fatal(ev.Final.Err)
			}
			tokens += len(ev.Tokens)
		}
		return tokens
	}
	for take() < beatStreams/2 { // they have begun
	}
	tokens, begun := 0, processorTime(b)
	for b.Loop() {
		for until := tokens + beatStreams; tokens < until; {
			tokens += take()
		}
	}
	b.ReportMetric(float64(processorTime(b)-begun)/float64(tokens), "cpu-ns/token")
}

// processorTime is what this process has had, the system's for it included.
func processorTime(b *testing.B) time.Duration {
	b.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
