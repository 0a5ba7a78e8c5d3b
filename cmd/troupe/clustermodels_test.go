package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	nethttp "net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

const otherModel = "../../gpu/model/testdata/qwen3"

// otherTraining is otherModel with other weights.
func otherTraining(t *testing.T) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "qwen3")
	if err := os.CopyFS(dir, os.DirFS(otherModel)); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "model.safetensors")
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	data[len(data)-3] ^= 1
	if err := os.WriteFile(file, data, 0o600); err != nil {
		t.Fatal(err)
	}
	return dir
}

// root is where the server's own paths are.
func (s *served) root(path string) (int, string) {
	s.t.Helper()
	resp, err := nethttp.Get(strings.TrimSuffix(s.url, "/v1") + path)
	if err != nil {
		s.t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	return resp.StatusCode, string(text)
}

// engines are those of a model that are ready, as a front tells.
func (s *served) engines(model string) (ready, lost int) {
	s.t.Helper()
	_, text := s.root("/stats")
	var said struct {
		Engines []struct {
			Model string
			Ready bool
		}
	}
	if err := json.Unmarshal([]byte(text), &said); err != nil {
		s.t.Fatal(err)
	}
	for _, e := range said.Engines {
		if e.Model == model && e.Ready {
			ready++
		} else if e.Model == model {
			lost++
		}
	}
	return ready, lost
}

func (s *served) until(what string, so func() bool) {
	s.t.Helper()
	for deadline := time.Now().Add(patience); !so(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			s.t.Fatalf("%s: not so in time", what)
		}
	}
}

// Two models behind one front, with engines of each: while streams of both are under way an engine of the one is killed,
// one of the other is drained, and others come. All say what each model says alone. An engine of another training
// of a model is not used.
func TestClusterOfModels(t *testing.T) {
	t.Parallel() // it mostly waits
	question := func(model string) string {
		return fmt.Sprintf(`{"model": %q, "prompt": "Once upon a time", "max_tokens": 500, "ignore_eos": true, "seed": 7, "temperature": 1, "stream": true}`, model)
	}
	want := map[string]string{}
	for name, model := range map[string]string{"story": "builtin", "qwen3": otherModel} {
		alone := start(t, "--model", model, "--served-model-name", name, "--max-seq-len", "1024", "--num-pages", "512")
		want[name] = streamed(t, bufio.NewReader(alone.ask("/completions", question(name)).Body), -1)
		alone.signal(syscall.SIGKILL)
	}
	secret := secretFile(t, strings.Repeat("only among us ", 3))
	first, front := freeAddress(t), freeAddress(t)
	killed := member(t, secret, first, "", "--engine-only")
	server := member(t, secret, front, first, "--front-only", "--model", "builtin", "--model", otherModel, "--served-model-name", "builtin=story")
	if status, text := server.root("/v1/models"); status != 200 || !strings.Contains(text, `"id":"story"`) || !strings.Contains(text, `"id":"qwen3"`) {
		t.Errorf("models: %d %s", status, text)
	}
	resp, err := nethttp.Post(server.url+"/completions", "application/json", strings.NewReader(question("qwen3")))
	if err != nil {
		t.Fatal(err)
	}
	if resp.Body.Close(); resp.StatusCode != nethttp.StatusServiceUnavailable || resp.Header.Get("Retry-After") == "" {
		t.Errorf("a model without an engine: %d", resp.StatusCode)
	}
	drained := member(t, secret, freeAddress(t), front, "--engine-only", "--model", otherModel)
	server.until("the other model is there", func() bool { ready, _ := server.engines("qwen3"); return ready == 1 })
	type stream struct {
		model, said string
		rest        *bufio.Reader
	}
	var all []stream
	ask := func() {
		for range 2 {
			for model := range want {
				body := bufio.NewReader(server.ask("/completions", question(model)).Body)
				all = append(all, stream{model, streamed(t, body, 2), body})
			}
		}
	}
	ask()
	member(t, secret, freeAddress(t), front, "--engine-only", "--model", otherTraining(t))
	member(t, secret, freeAddress(t), front, "--engine-only", "--model", otherModel)
	server.until("another engine of the second, and one that is refused", func() bool { ready, lost := server.engines("qwen3"); return ready == 2 && lost == 1 })
	drained.signal(syscall.SIGTERM)
	killed.signal(syscall.SIGKILL)
	member(t, secret, freeAddress(t), front, "--engine-only")
	server.until("another engine of the first", func() bool { ready, _ := server.engines("story"); return ready == 1 })
	ask()
	for i, s := range all {
		if got := s.said + streamed(t, s.rest, -1); got != want[s.model] {
			t.Errorf("stream %d of %s says\n%q, alone\n%q", i, s.model, got, want[s.model])
		}
	}
	drained.end(0)
	server.signal(syscall.SIGTERM)
	server.end(0)
}
