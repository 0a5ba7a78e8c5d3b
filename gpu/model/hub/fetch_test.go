package hub

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// fileServer serves one file, with ranges, and notes what is asked of it.
type fileServer struct {
	*httptest.Server
	data  []byte
	fault func(w http.ResponseWriter, r *http.Request, asked int) bool // handles the request when it returns true

	mu     sync.Mutex
	asked  int
	ranges []string
}

func newFileServer(t *testing.T) *fileServer {
	s := &fileServer{data: bytes.Repeat([]byte("0123456789abcdef"), 20_000)}
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		s.asked++
		asked := s.asked
		s.ranges = append(s.ranges, r.Header.Get("Range"))
		s.mu.Unlock()
		if r.URL.RequestURI() != "/dir/trace.jsonl?a=b" {
			http.NotFound(w, r)
			return
		}
		if s.fault == nil || !s.fault(w, r, asked) {
			http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(s.data))
		}
	}))
	t.Cleanup(s.Close)
	return s
}

func (s *fileServer) config(t *testing.T) FetchConfig {
	return FetchConfig{
		URL: s.URL + "/dir/trace.jsonl?a=b", Path: filepath.Join(t.TempDir(), "new", "trace.jsonl"),
		Size: int64(len(s.data)), SHA256: fmt.Sprintf("%x", sha256.Sum256(s.data)),
	}
}

// fetch is Fetch with pauses that take no time.
func (s *fileServer) fetch(t *testing.T, c FetchConfig) (int64, error) {
	t.Helper()
	p, f, err := c.puller()
	if err != nil {
		t.Fatal(err)
	}
	p.wait = func(context.Context, time.Duration) error { return nil }
	err = p.fetchAll(t.Context(), []File{f})
	return p.fetched, err
}

// want fails unless exactly the file is there.
func (s *fileServer) want(t *testing.T, c FetchConfig) {
	t.Helper()
	if got, err := os.ReadFile(c.Path); err != nil || !bytes.Equal(got, s.data) {
		t.Errorf("%d bytes (%v), want %d as served", len(got), err, len(s.data))
	}
	if all, err := os.ReadDir(filepath.Dir(c.Path)); err != nil || len(all) != 1 {
		t.Errorf("files %v (%v), want one", all, err)
	}
}

// A host that does not exist is asked for once.
func TestFetchFromNowhere(t *testing.T) {
	s := newFileServer(t)
	c, asked := s.config(t), 0
	c.Client = &http.Client{Transport: &http.Transport{DialContext: func(context.Context, string, string) (net.Conn, error) {
		asked++
		return nil, &net.OpError{Op: "dial", Err: &net.DNSError{Err: "no such host", Name: "nowhere", IsNotFound: true}}
	}}}
	if _, err := s.fetch(t, c); err == nil || asked != 1 || !strings.Contains(err.Error(), "no such host") || strings.Contains(err.Error(), "attempts") {
		t.Errorf("after %d attempts: %v", asked, err)
	}
}

func TestFetch(t *testing.T) {
	s := newFileServer(t)
	c := s.config(t)
	var done, total int64
	c.Progress = func(d, n int64) { done, total = d, n }
	if n, err := Fetch(t.Context(), c); err != nil || n != c.Size || done != n || total != n {
		t.Errorf("%d bytes, %v; progress %d of %d", n, err, done, total)
	}
	s.want(t, c)
	if n, err := Fetch(t.Context(), c); err != nil || n != 0 || s.asked != 1 {
		t.Errorf("again: %d bytes, %v, %d requests: want what is there left alone", n, err, s.asked)
	}
}

// A truncated body is gone on with, where the server can.
func TestFetchResumes(t *testing.T) {
	for _, ranges := range []bool{true, false} {
		s := newFileServer(t)
		c := s.config(t)
		s.fault = func(w http.ResponseWriter, r *http.Request, asked int) bool {
			switch {
			case asked <= 2 && r.Header.Get("Range") == "":
				breakOff(w, s.data, 100_000)
			case !ranges:
				w.Header().Set("Content-Length", fmt.Sprint(len(s.data)))
				send(w, s.data)
			default:
				return false
			}
			return true
		}
		if n, err := s.fetch(t, c); err != nil || (ranges && n != c.Size) {
			t.Errorf("ranges %v: %d bytes, %v", ranges, n, err)
		}
		s.want(t, c)
		if s.asked < 2 || s.ranges[1] == "" {
			t.Errorf("ranges %v: asked for %q, want the rest alone", ranges, s.ranges)
		}
	}
}

// Bytes damaged on the way are noticed, and are not kept to be resumed.
func TestFetchChecks(t *testing.T) {
	s := newFileServer(t)
	c := s.config(t)
	bad := bytes.Clone(s.data)
	bad[len(bad)/2] ^= 1
	s.fault = func(w http.ResponseWriter, r *http.Request, _ int) bool {
		http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(bad))
		return true
	}
	if _, err := s.fetch(t, c); err == nil || !strings.Contains(err.Error(), "wrong content") || !strings.Contains(err.Error(), c.SHA256) {
		t.Errorf("a damaged body: %v", err)
	}
	if all, err := os.ReadDir(filepath.Dir(c.Path)); err != nil || len(all) != 0 {
		t.Errorf("a damaged body leaves %v (%v)", all, err)
	}

	// What an earlier run left is damaged: once more, from nothing.
	part := c.Path + "." + c.SHA256[:12] + ".partial"
	if err := os.WriteFile(part, bad[:len(bad)/2+1], 0o644); err != nil {
		t.Fatal(err)
	}
	s.fault = nil
	if n, err := s.fetch(t, c); err != nil || n < c.Size {
		t.Errorf("after a damaged part: %d bytes, %v", n, err)
	}
	s.want(t, c)
}

func TestFetchFails(t *testing.T) {
	s := newFileServer(t)
	c := s.config(t)
	c.URL = s.URL + "/other"
	host := strings.TrimPrefix(s.URL, "http://")
	if _, err := s.fetch(t, c); err == nil || !strings.Contains(err.Error(), host+" answers 404 Not Found: no such file") {
		t.Errorf("%v", err)
	}
	s.fault = func(w http.ResponseWriter, _ *http.Request, _ int) bool {
		send(w, []byte("version https://git-lfs.github.com/spec/v1\n"))
		return true
	}
	c = s.config(t)
	if _, err := s.fetch(t, c); err == nil || !strings.Contains(err.Error(), "sends 43 bytes, want 320000") {
		t.Errorf("a pointer in place of the file: %v", err)
	}
	for _, bad := range []FetchConfig{
		{URL: "ftp://x/y", Path: "y", SHA256: c.SHA256},
		{URL: "http://x/y", Path: "y", SHA256: "12"},
		{URL: "http://x/y", Path: t.TempDir() + "/", SHA256: c.SHA256},
		{URL: ":", Path: "y", SHA256: c.SHA256},
	} {
		if _, err := Fetch(t.Context(), bad); err == nil {
			t.Errorf("%+v: no error", bad)
		}
	}
}

func TestPullDataset(t *testing.T) {
	const name = "data/train-00000-of-00086.parquet"
	data := bytes.Repeat([]byte("PAR1"), 5000)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/api/datasets/acme/chats/revision/main":
			fmt.Fprintf(w, `{"sha": %q, "siblings": [{"rfilename": "README.md"},
				{"rfilename": %q, "size": %d, "lfs": {"sha256": "%x", "size": %[3]d}}]}`, commit, name, len(data), sha256.Sum256(data))
		case "/datasets/acme/chats/resolve/" + commit + "/" + name:
			http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(data))
		default:
			http.NotFound(w, r)
		}
	}))
	defer server.Close()
	c := Config{Repo: "acme/chats", Dir: t.TempDir(), Endpoint: server.URL}
	for _, fetched := range []int64{int64(len(data)), 0} {
		r, err := PullDataset(t.Context(), c, []string{name})
		if err != nil || r.Fetched != fetched || r.Commit != commit {
			t.Fatalf("%+v, %v; want %d bytes fetched", r, err, fetched)
		}
	}
	if got, err := os.ReadFile(filepath.Join(c.Dir, filepath.FromSlash(name))); err != nil || !bytes.Equal(got, data) {
		t.Errorf("%d bytes, %v", len(got), err)
	}
	for asked, want := range map[string]string{"data/other.parquet": "it has README.md", "README.md": "without a size", "../x": "inside the repository"} {
		if _, err := PullDataset(t.Context(), c, []string{asked}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", asked, err, want)
		}
	}
}
