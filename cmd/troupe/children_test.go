//go:build unix

package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// engineReady reads logs up to the next engine that is ready, and returns which and its process.
func (s *served) engineReady() (engine, pid int) {
	s.t.Helper()
	for {
		line, err := s.logs.ReadString('\n')
		if err != nil {
			s.t.Fatalf("the logs ended without another engine: %v", err)
		}
		var said struct {
			Message     string
			Engine, PID int
		}
		if json.Unmarshal([]byte(line), &said) == nil && said.Message == "an engine is ready" {
			return said.Engine, said.PID
		}
	}
}

// waitGone waits until there is no such process.
func waitGone(t *testing.T, pid int) {
	t.Helper()
	for deadline := time.Now().Add(patience); !errors.Is(syscall.Kill(pid, 0), syscall.ESRCH); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("process %d is still there", pid)
		}
	}
}

// Engines of --dp are processes: what becomes of one is a pause for its streams, another is started in its
// place, and all end with the server, however that ends.
func TestEnginesAreProcesses(t *testing.T) {
	t.Parallel() // it mostly waits
	alone := start(t, "--max-seq-len", "1024", "--num-pages", "512")
	want := streamed(t, bufio.NewReader(alone.ask("/completions", longStory).Body), -1)
	alone.signal(syscall.SIGKILL)

	s := start(t, "--dp", "2", "--device", "cpu", "--max-seq-len", "1024", "--num-pages", "512")
	pids := map[int]int{}
	for range 2 {
		engine, pid := s.engineReady()
		pids[engine] = pid
	}
	var bodies []*bufio.Reader
	got := make([]string, 4)
	for i := range got {
		bodies = append(bodies, bufio.NewReader(s.ask("/completions", longStory).Body))
		got[i] = streamed(t, bodies[i], 5)
	}
	if err := syscall.Kill(pids[0], syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	for i, body := range bodies {
		if got[i] += streamed(t, body, -1); got[i] != want {
			t.Errorf("stream %d says\n%q, alone\n%q", i, got[i], want)
		}
	}
	engine, pid := s.engineReady()
	if engine != 0 || pid == pids[0] {
		t.Errorf("engine %d was started again, as process %d", engine, pid)
	}
	s.signal(syscall.SIGTERM)
	s.end(0)
	waitGone(t, pid)
	waitGone(t, pids[1])

	s = start(t, "--dp", "2", "--device", "sim:h200")
	_, pid = s.engineReady()
	s.signal(syscall.SIGKILL)
	waitGone(t, pid)
}

// Where no engine can be started, there is no server, and it says why.
func TestEnginesThatFail(t *testing.T) {
	name, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command(name, "serve", "--dp", "2", "--device", "sim:h200,speed=never", "--port", "0").CombinedOutput()
	if text := string(out); err == nil || !strings.Contains(text, "of --dp has ended before it was ready") || !strings.Contains(text, "speed=never") {
		t.Errorf("%v: %s", err, text)
	}
}

// GPUs are shared out in their order.
func TestShares(t *testing.T) {
	for _, c := range []struct {
		device string
		tp, dp int
		want   string
	}{
		{"cpu", 2, 2, "cpu cpu"},
		{"sim:h200", 0, 3, "sim:h200 sim:h200 sim:h200"},
		{"cuda", 0, 2, "cuda:0 cuda:1"},
		{"cuda", 2, 2, "cuda:0,1 cuda:2,3"},
		{"cuda:3,1", 0, 2, "cuda:3 cuda:1"},
		{"cuda:4,5,6,7", 0, 2, "cuda:4,5 cuda:6,7"},
		{"cuda:4,5,6,7", 2, 2, "cuda:4,5 cuda:6,7"},
		{"cuda:4,5,6", 0, 2, "3 GPUs cannot be shared out among 2 engines of 1"},
		{"cuda:1", 0, 2, "1 GPUs cannot"},
		{"cuda:0,1", 2, 2, "2 GPUs cannot be shared out among 2 engines of 2"},
	} {
		got, err := shares(c.device, c.tp, c.dp)
		if text := strings.Join(got, " "); text != c.want && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%+v: %s, %v", c, text, err)
		}
	}
}

// A child hears nothing of what this process was told by its environment.
func TestChildEnv(t *testing.T) {
	got := childEnv([]string{"HOME=/h", "TROUPE_PORT=1", "NOTIFY_SOCKET=x", "LISTEN_FDS=1", "TROUPE_CONFIG=f"}, "s")
	if !slices.Equal(got, []string{"HOME=/h", "TROUPE_CLUSTER_SECRET=s"}) {
		t.Errorf("%q", got)
	}
}
