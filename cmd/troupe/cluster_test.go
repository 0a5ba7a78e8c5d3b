package main

import (
	"bufio"
	"encoding/json"
	"flag"
	"io"
	"net"
	nethttp "net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// chaosFor is for TestClusterUnderLosses, and how long servers of tests may live besides.
var chaosFor = flag.Duration("chaos", 9*time.Second, "how long engines of a cluster are lost")

// freeAddress is one to listen on.
func freeAddress(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// member starts a host of a cluster whose secret is in the file.
func member(t *testing.T, secret, listen, join string, args ...string) *served {
	t.Helper()
	return memberIn(t, nil, secret, listen, join, args...)
}

// memberIn is member with more in the environment.
func memberIn(t *testing.T, env []string, secret, listen, join string, args ...string) *served {
	t.Helper()
	args = append([]string{"--cluster", "test", "--cluster-secret", "@" + secret, "--cluster-listen", listen, "--max-seq-len", "1024", "--num-pages", "512", "--log-level", "error"}, args...)
	if join != "" {
		args = append(args, "--join", join)
	}
	return startIn(t, env, args...)
}

func secretFile(t *testing.T, text string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(file, []byte(text+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// streamed reads a stream of completions to its end, or until so many chunks have come.
func streamed(t *testing.T, from *bufio.Reader, chunks int) (text string) {
	t.Helper()
	for n := 0; n != chunks; {
		line, err := from.ReadString('\n')
		if err != nil {
			t.Fatalf("after %q: %v", text, err)
		}
		data, is := strings.CutPrefix(strings.TrimSpace(line), "data: ")
		switch {
		case !is:
			continue
		case data == "[DONE]":
			return text
		}
		var chunk struct {
			Choices []struct{ Text string }
			Error   any
		}
		if err := json.Unmarshal([]byte(data), &chunk); err != nil || chunk.Error != nil {
			t.Fatalf("%s: %v", data, err)
		}
		for _, c := range chunk.Choices {
			text += c.Text
		}
		n++
	}
	return text
}

const longStory = `{"prompt": "Once upon a time", "max_tokens": 600, "ignore_eos": true, "seed": 7, "temperature": 1, "stream": true}`

// A host without a device has requests computed by one that has. When that is killed, the stream goes on
// where another one is, with the text that it would have had; who does not know the secret is none.
func TestClusterGoesOn(t *testing.T) {
	t.Parallel() // it mostly waits
	alone := start(t, "--max-seq-len", "1024", "--num-pages", "512")
	want := streamed(t, bufio.NewReader(alone.ask("/completions", longStory).Body), -1)
	alone.signal(syscall.SIGKILL)

	secret := secretFile(t, strings.Repeat("only among us ", 3))
	first, second, front := freeAddress(t), freeAddress(t), freeAddress(t)
	engine := member(t, secret, first, "", "--engine-only")
	resp, err := nethttp.Get(strings.TrimSuffix(engine.url, "/v1") + "/v1/models")
	if err != nil {
		t.Fatal(err)
	}
	if resp.Body.Close(); resp.StatusCode != nethttp.StatusNotFound {
		t.Errorf("an engine alone answers /v1/models with status %d", resp.StatusCode)
	}
	member(t, secretFile(t, strings.Repeat("something else ", 3)), freeAddress(t), first, "--engine-only")
	server := member(t, secret, front, first, "--front-only")
	body := bufio.NewReader(server.ask("/completions", longStory).Body)
	got := streamed(t, body, 20)
	engine.signal(syscall.SIGKILL)
	another := member(t, secret, second, front, "--engine-only")
	got += streamed(t, body, -1)
	if got != want {
		t.Errorf("the stream says\n%q, alone\n%q", got, want)
	}
	stats, err := nethttp.Get(strings.TrimSuffix(server.url, "/v1") + "/stats")
	if err != nil {
		t.Fatal(err)
	}
	defer stats.Body.Close()
	text, err := io.ReadAll(stats.Body)
	if err != nil {
		t.Fatal(err)
	}
	type about struct {
		Name  string
		Ready bool
	}
	var said struct {
		Resumed int
		Engines []about
	}
	if err := json.Unmarshal(text, &said); err != nil {
		t.Fatal(err)
	}
	if said.Resumed != 1 || !slices.Contains(said.Engines, about{second, true}) || !strings.Contains(string(text), "scheduler@"+second) {
		t.Errorf("/stats says nothing of the engine at %s:\n%s", second, text)
	}
	if n := strings.Count(string(text), "scheduler@"); n > 2 { // the first may still be remembered
		t.Errorf("%d engines are known", n)
	}
	another.signal(syscall.SIGTERM)
	another.end(0)
	server.signal(syscall.SIGTERM)
	server.end(0)
}

// A host that has both computes its own requests and those of others.
func TestClusterOfBoth(t *testing.T) {
	t.Parallel() // it mostly waits
	secret := secretFile(t, strings.Repeat("only among us ", 3))
	first, second := freeAddress(t), freeAddress(t)
	a := member(t, secret, first, "")
	b := member(t, secret, second, first)
	var all []*bufio.Reader
	for range 4 {
		for _, s := range []*served{a, b} {
			all = append(all, bufio.NewReader(s.ask("/completions", longStory).Body))
		}
	}
	want := streamed(t, all[0], -1)
	for _, one := range all[1:] {
		if got := streamed(t, one, -1); got != want {
			t.Errorf("one says\n%q, another\n%q", got, want)
		}
	}
	// One that ends as it should computes to the end what the other has there.
	var mid []*bufio.Reader
	var got []string
	for range 4 {
		body := bufio.NewReader(b.ask("/completions", longStory).Body)
		got, mid = append(got, streamed(t, body, 3)), append(mid, body)
	}
	a.signal(syscall.SIGTERM)
	for i, one := range mid {
		if got[i] += streamed(t, one, -1); got[i] != want {
			t.Errorf("while another ends, one says\n%q, want\n%q", got[i], want)
		}
	}
	a.end(0)
	b.signal(syscall.SIGTERM)
	b.end(0)
}
