package actors_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	nethttp "net/http"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/troupe-llm/troupe/actors"
	"github.com/troupe-llm/troupe/actors/internal/toy"
	"github.com/troupe-llm/troupe/gpu"
	"github.com/troupe-llm/troupe/gpu/batch"
	"github.com/troupe-llm/troupe/gpu/device"
	"github.com/troupe-llm/troupe/gpu/model"
	"github.com/troupe-llm/troupe/http"
	"github.com/troupe-llm/troupe/tokenize"
)

var (
	soakFor    = flag.Duration("soak", time.Second, "how long TestSoak has traffic")
	soakDevice = flag.String("soak.device", "sim:h200,step=4ms", "the device of TestSoak")
	soakUsers  = flag.Int("soak.users", 16, "how many clients TestSoak has at a time")
)

// Mixed traffic over HTTP, with a device that fails again and again and clients that leave, are slow, or
// send nonsense: no answer is lost or another than undisturbed, and when all is over, memory and
// goroutines are what they were.
func TestSoak(t *testing.T) {
	s := newSoak(t)
	s.learn()
	s.traffic(time.Second + *soakFor/60) // pools and caches fill
	began := s.footprint(0)
	s.failing.Store(true)
	for s.traffic(*soakFor); s.faults.Load() == 0; { // on a machine that is busy otherwise, few steps are made in a second
		s.traffic(*soakFor)
	}
	s.failing.Store(false)
	most := began.goroutines + 8
	ended := s.footprint(most)
	t.Logf("%s, %v with %d clients: %d answers, %d left by their clients, %d refused as they should, %d turned away, 0 lost; the device failed %d times; %v, and before %v",
		*soakDevice, *soakFor, *soakUsers, s.whole.Load(), s.left.Load(), s.refused.Load(), s.busy.Load(), s.faults.Load(), ended, began)
	if s.whole.Load() == 0 {
		t.Error("nothing was tried")
	}
	// Idle connections and pools are a few more or fewer; what leaks with requests is many.
	if ended.goroutines > most || ended.heap > began.heap+began.heap/4+4<<20 {
		t.Errorf("%v are left, and %v were there before", ended, began)
	}
}

// soak is a server, and what its clients found.
type soak struct {
	*testing.T
	system *actors.System
	client *nethttp.Client
	url    string
	want   map[string]string // the undisturbed answers, by path and body

	failing                            atomic.Bool
	whole, left, refused, busy, faults atomic.Int64
}

// newSoak serves the built-in model.
func newSoak(t *testing.T) *soak {
	t.Helper()
	s := &soak{T: t, want: map[string]string{}}
	m, err := model.Open(model.Builtin, false)
	if err != nil {
		t.Fatal(err)
	}
	codec, err := tokenize.Load(m.Files)
	if err != nil {
		t.Fatal(err)
	}
	cfg := actors.Config{Log: zerolog.Nop(), DP: 1, MaxOpenRequests: *soakUsers * 5 / 4, Tokenizers: 2, Compilers: 1}
	if s.system, err = actors.Start(cfg, m, codec, func() (device.Device, error) { return s.open(m) }); err != nil {
		t.Fatal(err)
	}
	server, err := http.New(http.Config{ReadTimeout: time.Hour, StallTimeout: time.Hour}, s.system, zerolog.Nop())
	if err != nil {
		t.Fatal(err)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()
	s.url = "http://" + listener.Addr().String()
	s.client = &nethttp.Client{Transport: &nethttp.Transport{MaxIdleConnsPerHost: *soakUsers}}
	t.Cleanup(func() {
		s.client.CloseIdleConnections()
		if err := errors.Join(server.Shutdown(context.Background()), <-served, s.system.Close()); err != nil {
			t.Error(err)
		}
	})
	return s
}

// open opens a device that fails now and then, if it is time to.
func (s *soak) open(m *model.Model) (device.Device, error) {
	dev, err := gpu.Open(device.Spec{Device: *soakDevice, Model: m, Slots: 12, NumPages: 120, PageSize: 16, MaxSeqLen: 512, MaxStepTokens: 128})
	if err != nil {
		return nil, err
	}
	var steps atomic.Int64
	fails := func() error {
		if !s.failing.Load() || steps.Add(1) < 3 || rand.IntN(400) > 0 {
			return nil
		}
		if s.faults.Add(1)%2 == 0 {
			panic("soaked")
		}
		return errors.New("soaked")
	}
	return &toy.Meddler{
		Device: dev, BeforeLaunch: func(*batch.Step) error { return fails() },
		BeforeMask: func(*batch.Masks) error { return nil }, BeforeWait: func(uint64) error { return fails() },
	}, nil
}

// asks are what clients ask: a path and a body, streamed as well where there is a %s.
var asks = [][2]string{
	{"/v1/chat/completions", `{"messages":[{"role":"user","content":"Tell me a story about a fox"}],"max_tokens":40,"temperature":0%s}`},
	{"/v1/chat/completions", `{"messages":[{"role":"system","content":"Be short."},{"role":"user","content":"Hello"}],"max_tokens":20,"n":2,"temperature":0.8,"seed":3%s}`},
	{"/v1/chat/completions", `{"messages":[{"role":"user","content":"Pick"}],"max_tokens":60,"temperature":0,"structured_outputs":{"regex":"(red|green|blue) [a-z]{3,12}"}%s}`},
	{"/v1/completions", `{"prompt":"Once upon a time","max_tokens":50,"temperature":1,"seed":7,"logprobs":2%s}`},
	{"/v1/completions", `{"prompt":["The fox","The wolf said that"],"max_tokens":25,"stop":["the"],"temperature":0.7,"seed":1%s}`},
	{"/v1/completions", `{"prompt":"One day","max_tokens":120,"temperature":1,"seed":9%s}`},
	{"/v1/messages", `{"model":"","max_tokens":30,"temperature":0,"messages":[{"role":"user","content":"Tell me a story about a bear"}]%s}`},
	{"/v1/responses", `{"input":"Tell me a story about a river","max_output_tokens":30,"temperature":0,"store":false%s}`},
	{"/tokenize", `{"prompt":"Once upon a time there was a fox."}`},
}

// nonsense is refused.
var nonsense = [][2]string{
	{"/v1/chat/completions", `{"messages":`},
	{"/v1/completions", `{"prompt":"x","temperature":-9}`},
	{"/v1/chat/completions", `{"messages":[{"role":"user","content":"x"}],"structured_outputs":{"regex":"("}}`},
	{"/v1/completions", `{"prompt":[999999]}`},
}

// learn has every question answered undisturbed.
func (s *soak) learn() {
	for _, ask := range asks {
		for _, body := range s.bodies(ask) {
			status, text, err := s.ask(context.Background(), ask[0], body, 0)
			if status != 200 || err != nil || text == "" {
				s.Fatalf("%s %s: status %d, %q, %v", ask[0], body, status, text, err)
			}
			s.want[ask[0]+body] = text
		}
	}
}

func (s *soak) bodies(ask [2]string) []string {
	if !strings.Contains(ask[1], "%s") {
		return []string{ask[1]}
	}
	named := strings.ReplaceAll(ask[1], `"model":""`, `"model":"`+s.system.Model().Name+`"`)
	return []string{fmt.Sprintf(named, ""), fmt.Sprintf(named, `,"stream":true`)}
}

// traffic is that of many users for so long.
func (s *soak) traffic(long time.Duration) {
	until := time.Now().Add(long)
	var all sync.WaitGroup
	for i := range *soakUsers {
		rnd := rand.New(rand.NewPCG(uint64(i), uint64(long)))
		all.Go(func() {
			for time.Now().Before(until) && !s.Failed() {
				s.user(rnd)
			}
		})
	}
	all.Wait()
}

// user asks one thing.
func (s *soak) user(rnd *rand.Rand) {
	if rnd.IntN(12) == 0 {
		ask := nonsense[rnd.IntN(len(nonsense))]
		if status, text, err := s.ask(context.Background(), ask[0], ask[1], 0); status/100 != 4 || err != nil {
			s.Errorf("%s: status %d, %q, %v", ask[1], status, text, err)
		}
		s.refused.Add(1)
		return
	}
	ask := asks[rnd.IntN(len(asks))]
	bodies := s.bodies(ask)
	body := bodies[rnd.IntN(len(bodies))]
	ctx, cancel := context.WithTimeout(context.Background(), time.Hour) // however busy the machine is
	defer cancel()
	leaves := rnd.IntN(5) == 0
	if leaves {
		time.AfterFunc(time.Duration(rnd.IntN(int(200*time.Millisecond))), cancel)
	}
	slow := time.Duration(0)
	if rnd.IntN(8) == 0 {
		slow = 5 * time.Millisecond
	}
	status, text, err := s.ask(ctx, ask[0], body, slow)
	want := s.want[ask[0]+body]
	switch {
	case status == 429:
		s.busy.Add(1)
		time.Sleep(20 * time.Millisecond)
	case err != nil && leaves:
		s.left.Add(1)
	case status != 200 || err != nil || text != want:
		s.Errorf("lost: %s %s: status %d, %v, said\n%q, undisturbed\n%q", ask[0], body, status, err, text, want)
	default:
		s.whole.Add(1)
	}
}

// ask sends a request and reads the answer's text, choice by choice, at most a line in so long.
func (s *soak) ask(ctx context.Context, path, body string, slow time.Duration) (status int, text string, err error) {
	req, err := nethttp.NewRequestWithContext(ctx, "POST", s.url+path, strings.NewReader(body))
	if err != nil {
		return 0, "", err
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header["X-Idempotency-Key"] = nil // not sent; it may be sent again when an idle connection was just closed
	resp, err := s.client.Do(req)
	if err != nil {
		return 0, "", err
	}
	defer resp.Body.Close()
	if !strings.HasPrefix(resp.Header.Get("Content-Type"), "text/event-stream") {
		all, err := io.ReadAll(resp.Body)
		if resp.StatusCode != nethttp.StatusOK || path == "/tokenize" {
			return resp.StatusCode, string(all), err
		}
		texts := map[int]string{}
		done, fault := read(texts, all)
		return resp.StatusCode, fmt.Sprint(texts), errors.Join(err, fault, unless(done))
	}
	texts, done := map[int]string{}, false
	lines := bufio.NewScanner(resp.Body)
	for lines.Scan() {
		time.Sleep(slow)
		data, is := bytes.CutPrefix(lines.Bytes(), []byte("data: "))
		if !is || string(data) == "[DONE]" {
			continue
		}
		ends, fault := read(texts, data)
		if fault != nil {
			return resp.StatusCode, fmt.Sprint(texts), fault
		}
		done = done || ends
	}
	return resp.StatusCode, fmt.Sprint(texts), errors.Join(lines.Err(), unless(done))
}

func unless(done bool) error {
	if done {
		return nil
	}
	return errors.New("the answer does not end")
}

// read adds what an answer, or an event of one, says to the texts of its choices, in whichever dialect, and
// reports whether it is the end.
func read(texts map[int]string, data []byte) (ends bool, err error) {
	var e struct {
		Type    string
		Error   json.RawMessage
		Choices []struct {
			Index          int
			Text           string
			Delta, Message struct{ Content string }
			FinishReason   string `json:"finish_reason"`
		}
		Delta      json.RawMessage
		StopReason string `json:"stop_reason"`
		Content    []struct{ Text string }
		Status     string
		Output     []struct{ Content []struct{ Text string } }
	}
	if err := json.Unmarshal(data, &e); err != nil {
		return false, fmt.Errorf("%s: %w", data, err)
	}
	if len(e.Error) > 0 && string(e.Error) != "null" {
		return false, fmt.Errorf("the answer is an error: %s", e.Error)
	}
	for _, c := range e.Choices {
		texts[c.Index] += c.Text + c.Delta.Content + c.Message.Content
		ends = ends || c.FinishReason != ""
	}
	for _, c := range e.Content {
		texts[0] += c.Text
	}
	for _, o := range e.Output {
		for _, c := range o.Content {
			texts[0] += c.Text
		}
	}
	var text string
	var delta struct{ Text string }
	switch {
	case e.Type == "response.output_text.delta" && json.Unmarshal(e.Delta, &text) == nil:
		texts[0] += text
	case e.Type == "content_block_delta" && json.Unmarshal(e.Delta, &delta) == nil:
		texts[0] += delta.Text
	}
	switch e.Type {
	case "message_stop", "response.completed", "response.incomplete":
		ends = true
	}
	return ends || e.StopReason != "" || e.Status == "completed" || e.Status == "incomplete", nil
}

// footprint is what a server takes that has nothing to do.
type footprint struct {
	heap       uint64
	goroutines int
}

func (f footprint) String() string {
	return fmt.Sprintf("%d kB and %d goroutines", f.heap>>10, f.goroutines)
}

// footprint waits until nothing is under way and, for a minute, until there are at most so many goroutines, which on a busy
// machine take long to end; 0: as many as there are. Then it collects garbage.
func (s *soak) footprint(most int) (f footprint) {
	s.client.CloseIdleConnections()
	for end := time.Now().Add(time.Minute); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		now := runtime.NumGoroutine()
		if st := s.system.Stats(); st.OpenRequests == 0 && st.Running == 0 && now == f.goroutines && (most == 0 || now <= most) {
			break
		}
		f.goroutines = now
	}
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	f.heap = m.HeapAlloc
	return f
}
