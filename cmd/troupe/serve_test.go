package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	nethttp "net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/troupe-llm/troupe/gpu/model/modeltest"
)

// patience is how long a test waits for what takes milliseconds.
const patience = time.Minute

var binaryDir string // removed in the end

// binary builds the program once.
var binary = sync.OnceValues(func() (name string, err error) {
	if binaryDir, err = os.MkdirTemp("", "troupe"); err != nil {
		return "", err
	}
	name = filepath.Join(binaryDir, "troupe")
	if out, err := exec.Command("go", "build", "-o", name, ".").CombinedOutput(); err != nil {
		return "", fmt.Errorf("go build: %w\n%s", err, out)
	}
	return name, nil
})

func TestMain(m *testing.M) {
	status := m.Run()
	os.RemoveAll(binaryDir)
	os.Exit(status)
}

// served is a server in a process of its own.
type served struct {
	t      *testing.T
	cmd    *exec.Cmd
	url    string        // as its line says
	stdout *bufio.Reader // what follows that line
	logs   *bufio.Reader
}

// start runs troupe serve on a free port and waits until it is ready.
func start(t *testing.T, args ...string) *served {
	t.Helper()
	return startIn(t, nil, args...)
}

// startIn is start with more in the environment.
func startIn(t *testing.T, env []string, args ...string) *served {
	t.Helper()
	if runtime.GOOS == "windows" {
		t.Skip("signals cannot be sent on Windows")
	}
	name, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 2*patience+*chaosFor)
	t.Cleanup(cancel)
	s := &served{t: t, cmd: exec.CommandContext(ctx, name, append([]string{"serve", "--port", "0", "--log-format", "json"}, args...)...)}
	s.cmd.Env = append(os.Environ(), env...)
	stdout, err1 := s.cmd.StdoutPipe()
	stderr, err2 := s.cmd.StderrPipe()
	if err1 != nil || err2 != nil {
		t.Fatal(err1, err2)
	}
	s.stdout, s.logs = bufio.NewReader(stdout), bufio.NewReader(stderr)
	if err := s.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.cmd.Process.Kill() }) // when the test failed before it ended
	line, err := s.stdout.ReadString('\n')
	if err != nil {
		logs, _ := io.ReadAll(s.logs)
		t.Fatalf("it ended before it was ready: %v\n%s", err, logs)
	}
	at := strings.LastIndex(line, "http")
	if at < 0 || !strings.HasPrefix(line, "Ready: ") {
		t.Fatalf("it said %q, want Ready: … at http://…", line)
	}
	s.url = strings.TrimSpace(line[at:])
	return s
}

// ask sends a request and waits for the head of the answer.
func (s *served) ask(path, body string) *nethttp.Response {
	s.t.Helper()
	resp, err := nethttp.Post(s.url+path, "application/json", strings.NewReader(body))
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { resp.Body.Close() })
	if resp.StatusCode != nethttp.StatusOK {
		data, _ := io.ReadAll(resp.Body)
		s.t.Fatalf("status %d: %s", resp.StatusCode, data)
	}
	return resp
}

func (s *served) signal(sig os.Signal) {
	s.t.Helper()
	if err := s.cmd.Process.Signal(sig); err != nil {
		s.t.Fatal(err)
	}
}

// awaitLog reads logs up to a line with this text.
func (s *served) awaitLog(text string) {
	s.t.Helper()
	for {
		line, err := s.logs.ReadString('\n')
		if strings.Contains(line, text) {
			return
		}
		if err != nil {
			s.t.Fatalf("the logs ended without %q: %v", text, err)
		}
	}
}

// end waits for the process and checks its status and that it said no more.
func (s *served) end(status int) {
	s.t.Helper()
	rest, err := io.ReadAll(s.stdout)
	if err != nil || len(rest) > 0 {
		s.t.Errorf("after its line it said %q (%v), want nothing", rest, err)
	}
	logs, _ := io.ReadAll(s.logs)
	_ = s.cmd.Wait() // the status says it
	if got := s.cmd.ProcessState.ExitCode(); got != status {
		s.t.Errorf("it ended with status %d, want %d\n%s", got, status, logs)
	}
}

func TestServeStreamsAndDrains(t *testing.T) {
	s := start(t, "--model", modeltest.Get(t, "qwen3").Dir, "--device", "cpu", "--served-model-name", "tiny")
	resp, err := nethttp.Get(strings.TrimSuffix(s.url, "/v1") + "/health")
	if err != nil || resp.StatusCode != nethttp.StatusOK {
		t.Fatalf("health: %v, %v", resp, err)
	}
	resp.Body.Close()

	resp = s.ask("/chat/completions", `{"model":"tiny","stream":true,"max_tokens":50,"ignore_eos":true,"messages":[{"role":"user","content":"hello"}]}`)
	if kind := resp.Header.Get("Content-Type"); !strings.HasPrefix(kind, "text/event-stream") {
		t.Errorf("content type %q", kind)
	}
	// Its head has come, so it runs: it must end well though the server stops.
	s.signal(syscall.SIGTERM)
	events, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{`"role":"assistant"`, `"finish_reason":"length"`, "data: [DONE]\n\n"} {
		if !strings.Contains(string(events), want) {
			t.Errorf("no %s in the stream:\n%s", want, events)
		}
	}
	s.end(0)
	if conn, err := net.Dial("tcp", strings.TrimSuffix(strings.TrimPrefix(s.url, "http://"), "/v1")); err == nil {
		conn.Close()
		t.Error("it still listens")
	}
}

// A simulated device takes as long as a real one, so these replies take
// minutes.
var (
	slow  = []string{"--model", "Qwen3-14B", "--dummy-weights", "--device", "sim:h200", "--num-pages", "4096"}
	reply = `{"stream":true,"prompt":[1,2,3],"max_tokens":20000,"ignore_eos":true,"return_token_ids":true}`
)

func TestServeDrainsNoLongerThanToldTo(t *testing.T) {
	for _, sig := range []os.Signal{os.Interrupt, syscall.SIGHUP} {
		s := start(t, append(slow, "--drain-timeout", "50ms")...)
		resp := s.ask("/completions", reply)
		s.signal(sig)
		events, _ := io.ReadAll(resp.Body) // however the connection ends
		if strings.Contains(string(events), `"finish_reason":"length"`) {
			t.Errorf("%v: the reply was finished, which takes minutes", sig)
		}
		if !strings.Contains(string(events), `"code":"shutting_down"`) {
			t.Errorf("%v: the cut stream does not say why", sig)
		}
		s.end(0)
	}
}

func TestServeStopsAtOnceAtTheSecondSignal(t *testing.T) {
	s := start(t, append(slow, "--drain-timeout", "1h")...)
	s.ask("/completions", reply)
	s.signal(syscall.SIGTERM)
	s.awaitLog("draining")
	s.signal(syscall.SIGTERM)
	s.end(130)
}

// A server whose device is lost to its process becomes another process, which
// listens where it did; after some that lived briefly it gives up.
func TestServeRestartsWhenTheDeviceIsLost(t *testing.T) {
	s := start(t, "--model", "Qwen3-0.6B", "--dummy-weights", "--device", "sim:h200,speed=inf,lost=5", "--num-pages", "4096")
	short := strings.Replace(reply, "20000", "2", 1)
	for round := range 4 {
		resp := s.ask("/completions", short)
		if events, _ := io.ReadAll(resp.Body); !strings.Contains(string(events), `"finish_reason":"length"`) {
			t.Fatalf("server %d: %s", round, events)
		}
		resp = s.ask("/completions", reply)
		if events, _ := io.ReadAll(resp.Body); !strings.Contains(string(events), "could not be reopened") {
			t.Fatalf("server %d: %s", round, events)
		}
		if round == 3 {
			break
		}
		if line, err := s.stdout.ReadString('\n'); err != nil || !strings.Contains(line, s.url) {
			t.Fatalf("the next said %q, %v; want %s", line, err, s.url)
		}
	}
	s.end(1)
}

// So does one whose device hangs.
func TestServeRestartsWhenTheDeviceHangs(t *testing.T) {
	s := start(t, "--model", "Qwen3-0.6B", "--dummy-weights", "--device", "sim:h200,speed=inf,hang=5", "--num-pages", "4096", "--step-timeout", "500ms")
	resp := s.ask("/completions", reply)
	if events, _ := io.ReadAll(resp.Body); !strings.Contains(string(events), "has not returned within 500ms") {
		t.Fatalf("%s", events)
	}
	if line, err := s.stdout.ReadString('\n'); err != nil || !strings.Contains(line, s.url) {
		t.Fatalf("the next said %q, %v; want %s", line, err, s.url)
	}
	s.ask("/completions", strings.Replace(reply, "20000", "2", 1))
}

func TestServeSaysThatThePortIsInUse(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	_, port, _ := net.SplitHostPort(l.Addr().String())
	status, stdout, stderr := invoke(t, "", "serve", "--port", port)
	if want := "port " + port + " of 127.0.0.1 is in use"; status != 1 || stdout != "" || !strings.Contains(stderr, want) {
		t.Errorf("status %d, %q, %q; want 1 and %q", status, stdout, stderr, want)
	}
}

// An IPv4 literal means IPv4, and the address that is told says so.
func TestListenKeepsToTheFamily(t *testing.T) {
	l, err := listen(&Server{Host: "0.0.0.0"})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if got := l.Addr().String(); !strings.HasPrefix(got, "0.0.0.0:") {
		t.Errorf("it listens on %s, want 0.0.0.0", got)
	}
}
