package main

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

// The keys of who attacks and of who does not.
const (
	keyAttacker = "attacker-key"
	keyOther    = "other-key"
)

// target is a server under attack.
type target struct {
	cmd    *exec.Cmd
	dir    string // of its files
	group  string // its control group; "": none could be made
	addr   string
	client *http.Client

	mu  sync.Mutex
	got map[string]int // what attackers got; guarded by mu
}

// limit is how much memory the server's control group has.
const limit = 2 << 30

// startServer starts a server and waits until it is ready.
func startServer(binary string, files int, args []string) (*target, error) {
	dir, err := os.MkdirTemp("", "attacks")
	if err != nil {
		return nil, err
	}
	keys := filepath.Join(dir, "keys")
	if err := os.WriteFile(keys, []byte("attacker: "+keyAttacker+"\nother: "+keyOther+"\n"), 0o600); err != nil {
		return nil, err
	}
	t := &target{dir: dir, group: newGroup(), got: map[string]int{}}
	t.client = &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 4096}}
	script := `exec "$@"`
	if t.group != "" {
		script = `echo $$ > ` + t.group + `/cgroup.procs; ` + script
	}
	if files > 0 {
		script = `ulimit -n ` + strconv.Itoa(files) + `; ` + script
	}
	args = append([]string{"-c", script, "sh", binary, "serve", "--port", "0", "--api-key-file", keys, "--log-format", "json"}, args...)
	t.cmd = exec.Command("sh", args...)
	log, err := os.Create(filepath.Join(dir, "log"))
	if err != nil {
		return nil, err
	}
	defer log.Close()
	t.cmd.Stderr = log
	out, err := t.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := t.cmd.Start(); err != nil {
		return nil, err
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	at := strings.LastIndex(line, "http://")
	if err != nil || at < 0 {
		t.stop()
		return nil, fmt.Errorf("it said %q and ended: %w", line, err)
	}
	t.addr = strings.TrimSuffix(strings.TrimSpace(line[at+len("http://"):]), "/v1")
	return t, nil
}

// newGroup makes a control group with a bound of memory; "" where that cannot be.
func newGroup() string {
	for parent, file := range map[string]string{"/sys/fs/cgroup/memory": "memory.limit_in_bytes", "/sys/fs/cgroup": "memory.max"} {
		if _, err := os.Stat(parent + "/cgroup.procs"); err != nil {
			continue
		}
		group := filepath.Join(parent, "troupe-attacks-"+strconv.Itoa(os.Getpid()))
		if err := os.Mkdir(group, 0o755); err != nil && !os.IsExist(err) {
			continue
		}
		if err := os.WriteFile(filepath.Join(group, file), []byte(strconv.Itoa(limit)), 0o644); err == nil {
			return group
		}
		_ = os.Remove(group)
	}
	fmt.Fprintln(os.Stderr, "no control group could be made: memory is not bounded")
	return ""
}

func (t *target) stop() {
	_ = t.cmd.Process.Signal(syscall.SIGTERM)
	ended := make(chan struct{})
	go func() {
		_ = t.cmd.Wait()
		close(ended)
	}()
	select {
	case <-ended:
	case <-time.After(time.Minute):
		_ = t.cmd.Process.Kill()
		<-ended
	}
	if t.group != "" {
		_ = os.Remove(t.group)
	}
	_ = os.RemoveAll(t.dir)
}

// memory is the most that was resident at once, as the system has it.
func (t *target) memory() int64 {
	text, _ := os.ReadFile("/proc/" + strconv.Itoa(t.cmd.Process.Pid) + "/status")
	for line := range strings.Lines(string(text)) {
		if rest, is := strings.CutPrefix(line, "VmHWM:"); is {
			kib, _ := strconv.ParseInt(strings.Fields(rest)[0], 10, 64)
			return kib << 10
		}
	}
	return 0
}

// logged is the size of the log.
func (t *target) logged() int64 {
	if info, err := os.Stat(filepath.Join(t.dir, "log")); err == nil {
		return info.Size()
	}
	return 0
}

// note counts something that attackers got.
func (t *target) note(what string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.got[what]++
}

// counts says what attackers got, and what it wrote into the log.
func (t *target) counts() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	var parts []string
	for _, what := range slices.Sorted(maps.Keys(t.got)) {
		parts = append(parts, fmt.Sprintf("%s: %d", what, t.got[what]))
	}
	return strings.Join(append(parts, fmt.Sprintf("log %d kB", t.logged()/1000)), ", ")
}

// post sends a request and reads its answer, and returns the status; 0 for none.
func (t *target) post(ctx context.Context, path, key string, body []byte) int {
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+t.addr+path, bytes.NewReader(body))
	if err != nil {
		return 0
	}
	r.Header.Set("Authorization", "Bearer "+key)
	resp, err := t.client.Do(r)
	if err != nil {
		return 0
	}
	defer resp.Body.Close()
	if _, err := io.Copy(io.Discard, resp.Body); err != nil {
		return 0
	}
	return resp.StatusCode
}

// dial connects, until the context is done.
func (t *target) dial(ctx context.Context) (net.Conn, error) {
	var d net.Dialer
	c, err := d.DialContext(ctx, "tcp", t.addr)
	if err != nil {
		return nil, err
	}
	context.AfterFunc(ctx, func() { c.Close() })
	return c, nil
}
