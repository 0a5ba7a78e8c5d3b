package main

import (
	"bufio"
	"context"
	"io"
	"net"
	nethttp "net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

// A load balancer sees that a server is about to end before it does, and what
// it still sends is answered.
func TestServeRetiresBeforeItDrains(t *testing.T) {
	s := start(t, append(slow, "--lame-duck", "1h")...)
	s.signal(syscall.SIGTERM)
	s.awaitLog("retiring")
	root := strings.TrimSuffix(s.url, "/v1")
	for ready := true; ready; { // the log's line comes just before
		resp, err := nethttp.Get(root + "/ready")
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		ready = resp.StatusCode != nethttp.StatusServiceUnavailable
	}
	s.ask("/completions", strings.Replace(reply, "20000", "2", 1))
	s.signal(syscall.SIGTERM)
	s.end(130)
}

// Over a Unix socket a server is the same; a supervisor hears when it is ready
// and when it stops.
func TestServeOnASocket(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("supervisors' sockets are Linux's")
	}
	dir := t.TempDir()
	name, notify := filepath.Join(dir, "s"), filepath.Join(dir, "n")
	heard, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: notify, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer heard.Close()
	hear := func(want string) {
		t.Helper()
		b := make([]byte, 100)
		if n, err := heard.Read(b); err != nil || string(b[:n]) != want {
			t.Errorf("heard %q, %v; want %q", b[:n], err, want)
		}
	}
	// What a process left that was killed.
	left, err := net.ListenUnix("unix", &net.UnixAddr{Name: name, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	left.SetUnlinkOnClose(false)
	left.Close()

	t.Setenv("NOTIFY_SOCKET", notify)
	s := start(t, append(slow, "--uds", name)...)
	hear("READY=1")
	client := nethttp.Client{Transport: &nethttp.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", name)
	}}}
	resp, err := client.Post("http://localhost/v1/completions", "application/json", strings.NewReader(strings.Replace(reply, "20000", "2", 1)))
	if err != nil {
		t.Fatal(err)
	}
	events, _ := io.ReadAll(resp.Body)
	resp.Body.Close()
	if !strings.Contains(string(events), `"finish_reason":"length"`) {
		t.Errorf("%d %s", resp.StatusCode, events)
	}
	if _, err := listenUnix(name); err == nil || !strings.Contains(err.Error(), "in use") {
		t.Errorf("a second server: %v, want that it is in use", err)
	}
	client.CloseIdleConnections()
	s.signal(syscall.SIGTERM)
	hear("STOPPING=1")
	s.end(0)
	if _, err := os.Lstat(name); err == nil {
		t.Error("the socket is still there")
	}
	if err := os.WriteFile(name, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := listenUnix(name); err == nil || !strings.Contains(err.Error(), "no socket") {
		t.Errorf("in place of a file: %v, want that it is no socket", err)
	}
}

// Who passes sockets means this process, and passes one.
func TestActivated(t *testing.T) {
	env := map[string]string{"LISTEN_FDS": "1", "LISTEN_PID": "1"}
	getenv := func(name string) string { return env[name] }
	if l, err := activated(getenv); l != nil || err != nil {
		t.Errorf("another process's: %v, %v", l, err)
	}
	env["LISTEN_PID"], env["LISTEN_FDS"] = strconv.Itoa(os.Getpid()), "2"
	if _, err := activated(getenv); err == nil || !strings.Contains(err.Error(), "ListenStream=") {
		t.Errorf("two sockets: %v", err)
	}
}

// A socket that was opened for the server is the one that it serves.
func TestServeWhatWasPassed(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("no descriptors are passed there")
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	f, err := l.(*net.TCPListener).File()
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	name, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, "sh", "-c", `LISTEN_PID=$$ LISTEN_FDS=1 exec "$0" serve --model Qwen3-0.6B --dummy-weights --device sim:h200`, name)
	cmd.ExtraFiles = []*os.File{f}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil || !strings.Contains(line, l.Addr().String()) {
		t.Errorf("it said %q, %v; want %s", line, err, l.Addr())
	}
	_ = cmd.Process.Signal(syscall.SIGTERM)
	if err := cmd.Wait(); err != nil {
		t.Error(err)
	}
}
