package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.etcd.io/etcd/server/v3/embed"
)

const longest = 60 * time.Second // that a test waits for what takes little, where a machine is not busy

// etcdServer starts one and says where it is.
func etcdServer(t *testing.T) string {
	t.Helper()
	cfg := embed.NewConfig()
	cfg.Dir, cfg.LogLevel, cfg.LogOutputs = t.TempDir(), "panic", []string{"/dev/null"}
	client, peer := freeURL(t), freeURL(t)
	cfg.ListenClientUrls, cfg.AdvertiseClientUrls = []url.URL{client}, []url.URL{client}
	cfg.ListenPeerUrls, cfg.AdvertisePeerUrls = []url.URL{peer}, []url.URL{peer}
	cfg.InitialCluster = cfg.InitialClusterFromName(cfg.Name)
	server, err := embed.StartEtcd(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.Close)
	select {
	case <-server.Server.ReadyNotify():
	case <-time.After(longest):
		t.Fatal("etcd does not become ready")
	}
	return client.Host
}

func freeURL(t *testing.T) url.URL {
	t.Helper()
	return url.URL{Scheme: "http", Host: freeAddress(t)}
}

func freeAddress(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// host runs one until it is left, and returns what it is told of.
func host(t *testing.T, where, self string) (told <-chan string, leave func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	out := make(chan string, 16)
	var running sync.WaitGroup
	running.Go(func() {
		if err := run(ctx, []string{where, self}, lines(out)); err != nil && ctx.Err() == nil {
			t.Error(err)
		}
	})
	return out, func() {
		cancel()
		running.Wait()
	}
}

// lines are what is printed.
type lines chan<- string

func (l lines) Write(b []byte) (int, error) {
	l <- strings.TrimSpace(string(b))
	return len(b), nil
}

func expect(t *testing.T, told <-chan string, want ...string) {
	t.Helper()
	var got []string
	for range want {
		select {
		case at := <-told:
			got = append(got, at)
		case <-time.After(longest):
			t.Fatalf("told of %q, want %q", got, want)
		}
	}
	if slices.Sort(got); !slices.Equal(got, want) {
		t.Errorf("told of %q, want %q", got, want)
	}
}

// Hosts are told of those that are there and those that come, each once, of no other cluster's, and of none that has left.
func testRegistry(t *testing.T, scheme string) {
	first, leaveFirst := host(t, scheme+"/home", "10.0.0.1:7946")
	defer leaveFirst()
	second, leaveSecond := host(t, scheme+"/home", "10.0.0.2:7946")
	defer leaveSecond()
	expect(t, first, "10.0.0.2:7946")
	expect(t, second, "10.0.0.1:7946")
	stranger, leave := host(t, scheme+"/away", "10.0.0.9:7946")
	defer leave()
	third, leaveThird := host(t, scheme+"/home", "[fd00::3]:7946")
	expect(t, third, "10.0.0.1:7946", "10.0.0.2:7946")
	expect(t, first, "[fd00::3]:7946")
	expect(t, second, "[fd00::3]:7946")
	leaveThird()
	fourth, leaveFourth := host(t, scheme+"/home", "10.0.0.4:7946")
	defer leaveFourth()
	expect(t, fourth, "10.0.0.1:7946", "10.0.0.2:7946")
	expect(t, first, "10.0.0.4:7946")
	for _, told := range []<-chan string{first, second, third, fourth, stranger} {
		select {
		case at := <-told:
			if at != "10.0.0.4:7946" && at != "[fd00::3]:7946" {
				t.Errorf("told of %s again", at)
			}
		default:
		}
	}
}

func TestEtcd(t *testing.T) { testRegistry(t, "etcd://"+etcdServer(t)) }

// Consul is not to be had where this was written: its agent is played, with the four requests that are made of it.
func TestConsul(t *testing.T) { testRegistry(t, "consul://"+consulAgent(t)) }

// agent plays Consul's: services by what they are called, and an index that counts changes.
type agent struct {
	mu       sync.Mutex
	changed  *sync.Cond
	services map[string]entry // guarded by mu, by id
	index    uint64           // guarded by mu
}

type entry struct {
	ID, Name, Address string
	Port              int
	Check             struct{ TTL, DeregisterCriticalServiceAfter string }
}

func consulAgent(t *testing.T) string {
	t.Helper()
	a := &agent{services: map[string]entry{}, index: 1}
	a.changed = sync.NewCond(&a.mu)
	mux := http.NewServeMux()
	mux.HandleFunc("PUT /v1/agent/service/register", func(w http.ResponseWriter, r *http.Request) {
		var e entry
		if err := json.NewDecoder(r.Body).Decode(&e); err != nil || e.Check.TTL != "15s" || e.Check.DeregisterCriticalServiceAfter != "1m0s" {
			http.Error(w, fmt.Sprintf("%+v, %v", e, err), http.StatusBadRequest)
			return
		}
		a.change(func() { a.services[e.ID] = e })
	})
	mux.HandleFunc("PUT /v1/agent/service/deregister/{id}", func(_ http.ResponseWriter, r *http.Request) {
		a.change(func() { delete(a.services, r.PathValue("id")) })
	})
	mux.HandleFunc("PUT /v1/agent/check/update/{id}", func(w http.ResponseWriter, r *http.Request) {
		a.mu.Lock()
		defer a.mu.Unlock()
		if _, ok := a.services[strings.TrimPrefix(r.PathValue("id"), "service:")]; !ok {
			http.Error(w, "unknown check", http.StatusNotFound)
		}
	})
	mux.HandleFunc("GET /v1/health/service/{name}", a.health)
	server := httptest.NewServer(mux)
	t.Cleanup(func() {
		a.change(func() {})
		server.CloseClientConnections()
		server.Close()
	})
	return strings.TrimPrefix(server.URL, "http://")
}

func (a *agent) change(do func()) {
	a.mu.Lock()
	defer a.mu.Unlock()
	do()
	a.index++
	a.changed.Broadcast()
}

// health answers when there is something new since the index that is asked for.
func (a *agent) health(w http.ResponseWriter, r *http.Request) {
	defer context.AfterFunc(r.Context(), func() { a.change(func() {}) })()
	a.mu.Lock()
	defer a.mu.Unlock()
	for r.URL.Query().Get("index") == fmt.Sprint(a.index) && r.Context().Err() == nil {
		a.changed.Wait()
	}
	all := []map[string]any{}
	for _, e := range a.services {
		if e.Name == r.PathValue("name") {
			all = append(all, map[string]any{"Node": map[string]any{"Address": "10.9.9.9"}, "Service": e})
		}
	}
	w.Header().Set("X-Consul-Index", fmt.Sprint(a.index))
	_ = json.NewEncoder(w).Encode(all)
}

// What cannot be is said with what would be right; a registry that is not there ends the program.
func TestRefused(t *testing.T) {
	nobody := freeAddress(t)
	for _, c := range []struct {
		want string
		args []string
	}{
		{"usage: ", nil},
		{"usage: ", []string{"etcd://a:1/home"}},
		{"must be an address and a port", []string{"etcd://a:1/home", "10.0.0.1"}},
		{"must be an address and a port", []string{"etcd://a:1/home", "10.0.0.1:0"}},
		{"names no cluster", []string{"etcd://a:1", "10.0.0.1:1"}},
		{"neither etcd:// nor consul://", []string{"zookeeper://a:1/home", "10.0.0.1:1"}},
		{"neither etcd:// nor consul://", []string{"etcd:///home", "10.0.0.1:1"}},
		{"entering 10.0.0.1:1 into etcd", []string{"etcd://" + nobody + "/home", "10.0.0.1:1"}},
		{"entering 10.0.0.1:1 into Consul", []string{"consul://" + nobody + "/home", "10.0.0.1:1"}},
	} {
		if err := run(t.Context(), c.args, io.Discard); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%q: %v, want %q", c.args, err, c.want)
		}
	}
}

// Two hosts of a cluster that know of each other by etcd alone serve a request together.
func TestServe(t *testing.T) {
	dir := t.TempDir()
	for name, from := range map[string]string{"troupe": "../..", "troupe-members": "."} {
		pkg := map[string]string{"troupe": "./cmd/troupe", "troupe-members": "."}[name]
		build := exec.Command("go", "build", "-o", filepath.Join(dir, name), pkg)
		build.Dir = from
		if out, err := build.CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
	}
	secret := filepath.Join(dir, "secret")
	if err := os.WriteFile(secret, []byte(strings.Repeat("only among us ", 3)), 0o600); err != nil {
		t.Fatal(err)
	}
	command := filepath.Join(dir, "troupe-members") + " etcd://" + etcdServer(t) + "/home"
	port := ""
	for _, kind := range []string{"--engine-only", "--front-only"} {
		listen := freeAddress(t)
		_, port, _ = net.SplitHostPort(freeAddress(t))
		cmd := exec.Command(filepath.Join(dir, "troupe"), "serve", kind, "--port", port, "--until-eof", "--cluster", "home", "--cluster-secret", "@"+secret,
			"--cluster-listen", listen, "--join-command", command, "--max-seq-len", "256", "--num-pages", "64", "--log-level", "error")
		in, err := cmd.StdinPipe()
		if err != nil {
			t.Fatal(err)
		}
		cmd.Stderr = os.Stderr
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			in.Close()
			_ = cmd.Wait()
		})
	}
	ask := func() (string, error) {
		resp, err := http.Post("http://127.0.0.1:"+port+"/v1/completions", "application/json", strings.NewReader(`{"prompt": "Once", "max_tokens": 8}`))
		if err != nil {
			return "", err
		}
		defer resp.Body.Close()
		body, err := io.ReadAll(resp.Body)
		if resp.StatusCode != http.StatusOK {
			return "", fmt.Errorf("%s: %s", resp.Status, body)
		}
		return string(body), err
	}
	again := time.NewTicker(50 * time.Millisecond)
	defer again.Stop()
	var err error
	for end := time.After(longest); ; {
		var said string
		if said, err = ask(); err == nil {
			if !strings.Contains(said, `"completion_tokens":8`) {
				t.Errorf("it says %s", said)
			}
			return
		}
		select {
		case <-again.C:
		case <-end:
			t.Fatal(err)
		}
	}
}
