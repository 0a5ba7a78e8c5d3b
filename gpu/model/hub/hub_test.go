package hub

import (
	"bytes"
	"context"
	"crypto/sha1"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/troupe-llm/troupe/gpu/model"
)

const commit = "0123456789abcdef0123456789abcdef01234567"

// fakeHub serves one repository, acme/tiny, like a hub: a listing, and files
// by redirect to a second host.
type fakeHub struct {
	files   map[string][]byte
	listing func() string                                                             // when set, in place of the true one
	fault   func(w http.ResponseWriter, r *http.Request, name string, asked int) bool // handles the request when it returns true
	front   *httptest.Server
	store   *httptest.Server

	mu        sync.Mutex
	asked     map[string]int // requests by file
	ranges    []string       // "file range" of ranged requests
	strangers []string       // what the second host was shown of the token
}

func newHub(t *testing.T, checkpoint string) *fakeHub {
	t.Helper()
	h := &fakeHub{files: map[string][]byte{}, asked: map[string]int{}}
	dir := filepath.Join("..", "testdata", checkpoint)
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		data, err := os.ReadFile(filepath.Join(dir, e.Name()))
		if err != nil {
			t.Fatal(err)
		}
		h.files[e.Name()] = data
	}
	h.store = httptest.NewServer(http.HandlerFunc(h.content))
	h.front = httptest.NewServer(http.HandlerFunc(h.serve))
	t.Cleanup(func() { h.front.Close(); h.store.Close() })
	return h
}

func (h *fakeHub) serve(w http.ResponseWriter, r *http.Request) {
	switch name, isFile := strings.CutPrefix(r.URL.Path, "/acme/tiny/resolve/"+commit+"/"); {
	case isFile && h.files[name] != nil:
		http.Redirect(w, r, h.store.URL+"/"+name, http.StatusFound)
	case strings.HasPrefix(r.URL.Path, "/api/models/acme/tiny/revision/") && slices.Contains([]string{"main", "v1", commit}, path.Base(r.URL.Path)) && r.URL.Query().Get("blobs") == "true":
		h.mu.Lock()
		h.asked[""]++
		asked := h.asked[""]
		h.mu.Unlock()
		if h.fault == nil || !h.fault(w, r, "", asked) {
			fmt.Fprint(w, h.list())
		}
	default:
		http.NotFound(w, r)
	}
}

func (h *fakeHub) list() string {
	if h.listing != nil {
		return h.listing()
	}
	var rows []string
	for name, data := range h.files {
		row := fmt.Sprintf(`{"rfilename": %q, "size": %d, "blobId": "%x"`, name, len(data), sha1.Sum(fmt.Appendf(nil, "blob %d\x00%s", len(data), data)))
		if strings.HasSuffix(name, ".safetensors") {
			row += fmt.Sprintf(`, "lfs": {"sha256": "%x", "size": %d, "pointerSize": 135}`, sha256.Sum256(data), len(data))
		}
		rows = append(rows, row+"}")
	}
	return fmt.Sprintf(`{"sha": %q, "siblings": [%s]}`, commit, strings.Join(rows, ", "))
}

func (h *fakeHub) content(w http.ResponseWriter, r *http.Request) {
	name := r.URL.Path[1:]
	h.mu.Lock()
	h.asked[name]++
	asked := h.asked[name]
	if v := r.Header.Get("Range"); v != "" {
		h.ranges = append(h.ranges, name+" "+v)
	}
	if v := r.Header.Get("Authorization"); v != "" {
		h.strangers = append(h.strangers, v)
	}
	h.mu.Unlock()
	if h.fault == nil || !h.fault(w, r, name, asked) {
		http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(h.files[name]))
	}
}

// pull pulls acme/tiny; pauses takes no time, and their lengths are returned.
func (h *fakeHub) pull(t *testing.T, dir string, edit func(*puller)) (*Result, []time.Duration, error) {
	t.Helper()
	c := Config{Repo: "acme/tiny", Dir: dir, Endpoint: h.front.URL + "/"}
	if err := c.check(); err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	var pauses []time.Duration
	p := newPuller(c, "models")
	p.wait = func(_ context.Context, d time.Duration) error {
		mu.Lock()
		defer mu.Unlock()
		pauses = append(pauses, d)
		return nil
	}
	if edit != nil {
		edit(p)
	}
	r, err := p.pull(context.Background())
	return r, pauses, err
}

// want fails unless dir holds exactly what a checkpoint needs, as served.
func (h *fakeHub) want(t *testing.T, dir string) {
	t.Helper()
	n := 0
	for name, data := range h.files {
		if !slices.Contains(smallFiles, name) && !shard.MatchString(name) {
			continue
		}
		n++
		if got, err := os.ReadFile(filepath.Join(dir, name)); err != nil || !bytes.Equal(got, data) {
			t.Errorf("%s: %d bytes (%v), want %d as served", name, len(got), err, len(data))
		}
	}
	if entries, err := os.ReadDir(dir); err != nil || len(entries) != n {
		t.Errorf("%d files (%v), want %d: %v", len(entries), err, n, entries)
	}
}

const weights = "model.safetensors"

func TestPull(t *testing.T) {
	for _, name := range []string{"qwen3", "qwen3-sharded", "llama3"} {
		h, dir := newHub(t, name), filepath.Join(t.TempDir(), "new", "dir")
		var last, total int64
		r, pauses, err := h.pull(t, dir, func(p *puller) {
			p.Progress = func(d, n int64) { last, total = d, n }
		})
		if err != nil {
			t.Fatal(err)
		}
		h.want(t, dir)
		var sum int64
		for _, f := range r.Files {
			sum += f.Size
		}
		if r.Commit != commit || r.Fetched != sum || last != sum || total != sum || len(pauses) != 0 {
			t.Errorf("%s: commit %s, %d bytes fetched, progress %d of %d, %d pauses; want all of %d", name, r.Commit, r.Fetched, last, total, len(pauses), sum)
		}
	}
}

func TestPullAgainFetchesOnlyWhatChanged(t *testing.T) {
	h, dir := newHub(t, "qwen3"), t.TempDir()
	if _, _, err := h.pull(t, dir, nil); err != nil {
		t.Fatal(err)
	}
	r, _, err := h.pull(t, dir, nil)
	if err != nil || r.Fetched != 0 {
		t.Errorf("the second pull fetched %d bytes (%v)", r.Fetched, err)
	}

	h.files[weights] = slices.Clone(h.files[weights])
	h.files[weights][len(h.files[weights])-1] ^= 1 // another revision, of the same size
	if err := os.WriteFile(filepath.Join(dir, weights+".0123456789ab.partial"), []byte("of a third one"), 0o644); err != nil {
		t.Fatal(err)
	}
	r, _, err = h.pull(t, dir, nil)
	if err != nil || r.Fetched != int64(len(h.files[weights])) {
		t.Errorf("after a change of one byte in the weights %v (%v) bytes were fetched, want the weights alone", r, err)
	}
	h.want(t, dir)
}

func TestPullResumesAcrossRuns(t *testing.T) {
	h, dir := newHub(t, "qwen3"), t.TempDir()
	size := len(h.files[weights])
	h.fault = func(w http.ResponseWriter, r *http.Request, name string, asked int) bool {
		if name != weights {
			return false
		}
		if asked > 1 {
			http.Error(w, "gone", http.StatusGone) // ends the first run for good
			return true
		}
		breakOff(w, h.files[name], 100_000)
		return true
	}
	if _, _, err := h.pull(t, dir, nil); err == nil || !strings.Contains(err.Error(), weights+": the hub answers 410 Gone") {
		t.Fatalf("got %v", err)
	}
	part, err := filepath.Glob(filepath.Join(dir, weights+".*.partial"))
	if err != nil || len(part) != 1 {
		t.Fatalf("parts %v, %v", part, err)
	}
	info, err := os.Stat(part[0])
	if err != nil {
		t.Fatal(err)
	}

	h.fault = nil
	r, _, err := h.pull(t, dir, nil)
	if err != nil {
		t.Fatal(err)
	}
	h.want(t, dir)
	if want := fmt.Sprintf("%s bytes=%d-", weights, info.Size()); !slices.Contains(h.ranges, want) || info.Size() == 0 {
		t.Errorf("asked for ranges %q, want %q", h.ranges, want)
	}
	if want := int64(size) - info.Size(); r.Fetched != want {
		t.Errorf("%d bytes fetched, want the %d missing", r.Fetched, want)
	}
}

// send writes to a client that may be gone.
func send(w http.ResponseWriter, data []byte) { _, _ = w.Write(data) }

// breakOff promises all of data and hangs up after n bytes.
func breakOff(w http.ResponseWriter, data []byte, n int) {
	w.Header().Set("Content-Length", fmt.Sprint(len(data)))
	send(w, data[:n])
	w.(http.Flusher).Flush()
	panic(http.ErrAbortHandler)
}

func TestPullWithstands(t *testing.T) {
	for _, tc := range []struct {
		name   string
		edit   func(*puller)
		before func(t *testing.T, h *fakeHub, dir string)
		fault  func(h *fakeHub, w http.ResponseWriter, r *http.Request, name string, asked int) bool
		pauses []time.Duration
	}{
		{
			name: "a connection that breaks", pauses: []time.Duration{time.Second, time.Second, time.Second},
			fault: func(h *fakeHub, w http.ResponseWriter, r *http.Request, name string, asked int) bool {
				if name != weights || asked > 3 {
					return false
				}
				var start int
				if v := r.Header.Get("Range"); v != "" {
					if _, err := fmt.Sscanf(v, "bytes=%d-", &start); err != nil {
						t.Error(err)
					}
				}
				data := h.files[name]
				if start > 0 {
					w.Header().Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", start, len(data)-1, len(data)))
					w.WriteHeader(http.StatusPartialContent)
				}
				send(w, data[start:start+50_000])
				return true
			},
		},
		{
			name: "an overloaded hub", pauses: []time.Duration{time.Second, 7 * time.Second, time.Minute},
			fault: func(h *fakeHub, w http.ResponseWriter, r *http.Request, name string, asked int) bool {
				if name != "" || asked > 3 {
					return false
				}
				w.Header().Set("Retry-After", []string{"", "7", "86400"}[asked-1])
				w.WriteHeader([]int{503, 429, 502}[asked-1])
				return true
			},
		},
		{
			name: "no ranges", pauses: []time.Duration{time.Second},
			fault: func(h *fakeHub, w http.ResponseWriter, r *http.Request, name string, asked int) bool {
				if name != weights {
					return false
				}
				if asked == 1 {
					breakOff(w, h.files[name], 50_000)
				}
				send(w, h.files[name])
				return true
			},
		},
		{
			name: "silence", edit: func(p *puller) { p.stall = 500 * time.Millisecond }, pauses: []time.Duration{time.Second, time.Second},
			fault: func(h *fakeHub, w http.ResponseWriter, r *http.Request, name string, asked int) bool {
				if name != weights || asked > 2 {
					return false
				}
				if asked == 2 { // after some bytes; the first time at once
					w.Header().Set("Content-Range", fmt.Sprintf("bytes 0-%d/%d", len(h.files[name])-1, len(h.files[name])))
					send(w, h.files[name][:1000])
					w.(http.Flusher).Flush()
				}
				<-r.Context().Done()
				return true
			},
		},
		{
			name: "a damaged part",
			before: func(t *testing.T, h *fakeHub, dir string) {
				part := fmt.Sprintf("%s.%.12x.partial", weights, sha256.Sum256(h.files[weights]))
				if err := os.WriteFile(filepath.Join(dir, part), make([]byte, 5000), 0o644); err != nil {
					t.Fatal(err)
				}
			},
		},
		{
			name: "a part too long",
			before: func(t *testing.T, h *fakeHub, dir string) {
				part := fmt.Sprintf("%s.%.12x.partial", weights, sha256.Sum256(h.files[weights]))
				if err := os.WriteFile(filepath.Join(dir, part), make([]byte, len(h.files[weights])+1), 0o644); err != nil {
					t.Fatal(err)
				}
			},
		},
		{
			name: "a part that lacks only its name",
			before: func(t *testing.T, h *fakeHub, dir string) {
				part := fmt.Sprintf("%s.%.12x.partial", weights, sha256.Sum256(h.files[weights]))
				if err := os.WriteFile(filepath.Join(dir, part), h.files[weights], 0o644); err != nil {
					t.Fatal(err)
				}
			},
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			h, dir := newHub(t, "qwen3"), t.TempDir()
			if tc.before != nil {
				tc.before(t, h, dir)
			}
			if tc.fault != nil {
				h.fault = func(w http.ResponseWriter, r *http.Request, name string, asked int) bool {
					return tc.fault(h, w, r, name, asked)
				}
			}
			var last, total int64
			var told []time.Duration
			_, pauses, err := h.pull(t, dir, func(p *puller) {
				p.Progress = func(d, n int64) { last, total = d, n }
				p.Retrying = func(err error, after time.Duration) {
					if told = append(told, after); err == nil {
						t.Error("nothing went wrong, and it is tried again")
					}
				}
				if tc.edit != nil {
					tc.edit(p)
				}
			})
			if err != nil {
				t.Fatal(err)
			}
			h.want(t, dir)
			if !slices.Equal(pauses, tc.pauses) || !slices.Equal(told, tc.pauses) {
				t.Errorf("pauses %v, told %v, want %v", pauses, told, tc.pauses)
			}
			if last != total || total == 0 {
				t.Errorf("progress ended at %d of %d", last, total)
			}
		})
	}
}

func TestPullFails(t *testing.T) {
	answer := func(code int) func(*fakeHub, http.ResponseWriter, string) bool {
		return func(_ *fakeHub, w http.ResponseWriter, name string) bool {
			w.WriteHeader(code)
			return true
		}
	}
	list := func(text string) func(*fakeHub) {
		return func(h *fakeHub) { h.listing = func() string { return text } }
	}
	for _, tc := range []struct {
		name  string
		setup func(*fakeHub)
		fault func(h *fakeHub, w http.ResponseWriter, name string) bool
		edit  func(*puller)
		want  string
	}{
		{name: "no such repository", edit: func(p *puller) { p.Repo = "acme/none" }, want: "404 Not Found: no such repository, revision (main) or file"},
		{name: "gated", fault: answer(401), want: "401 Unauthorized: the repository does not exist, or is gated or private: give a token"},
		{name: "gated, with a token", fault: answer(403), edit: func(p *puller) { p.Token = "secret" }, want: "accept its terms on the hub"},
		{name: "always overloaded", fault: answer(503), want: "503 Service Unavailable (after 6 attempts)"},
		{name: "listing no JSON", setup: list("<html>"), want: "the hub's listing: "},
		{name: "listing without a commit", setup: list("{}"), want: "names no commit for revision main"},
		{name: "listing without files", setup: list(`{"sha": "` + commit + `"}`), want: "no config.json"},
		{
			name: "listing without hashes", setup: list(`{"sha": "` + commit + `", "siblings": [{"rfilename": "config.json", "size": 5}]}`),
			want: "lists config.json without a size and a hash",
		},
		{
			name: "listing without sizes", setup: list(`{"sha": "` + commit + `", "siblings": [{"rfilename": "config.json", "blobId": "` + commit + `"}]}`),
			want: "lists config.json without a size and a hash",
		},
		{
			name: "other weights only", setup: func(h *fakeHub) { delete(h.files, weights); h.files["pytorch_model.bin"] = []byte("x") },
			want: "no safetensors weights; it has ",
		},
		{name: "wrong content", fault: func(h *fakeHub, w http.ResponseWriter, name string) bool {
			if name != weights {
				return false
			}
			data := slices.Clone(h.files[name])
			data[0] ^= 1
			send(w, data)
			return true
		}, want: weights + ": wrong content: "},
		{name: "another size", fault: func(h *fakeHub, w http.ResponseWriter, name string) bool {
			if name != weights {
				return false
			}
			send(w, h.files[name][:1000])
			return true
		}, want: weights + ": the hub sends 1000 bytes, want "},
		{name: "another range", fault: func(h *fakeHub, w http.ResponseWriter, name string) bool {
			if name != weights {
				return false
			}
			w.Header().Set("Content-Range", "bytes 5-9/10")
			w.WriteHeader(http.StatusPartialContent)
			return true
		}, want: `sends range "bytes 5-9/10", want "bytes 0-`},
	} {
		t.Run(tc.name, func(t *testing.T) {
			h, dir := newHub(t, "qwen3"), t.TempDir()
			if tc.setup != nil {
				tc.setup(h)
			}
			if tc.fault != nil {
				h.fault = func(w http.ResponseWriter, r *http.Request, name string, asked int) bool { return tc.fault(h, w, name) }
			}
			_, _, err := h.pull(t, dir, tc.edit)
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("error %v, want %q", err, tc.want)
			}
			if _, err := os.Stat(filepath.Join(dir, weights)); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("weights in place after a failure: %v", err)
			}
		})
	}
}

// A model that nothing here runs costs its small files only.
func TestPullAsksWhetherItRunsBeforeFetchingWeights(t *testing.T) {
	h := newHub(t, "qwen3")
	h.files["config.json"] = bytes.ReplaceAll(h.files["config.json"], []byte("Qwen3ForCausalLM"), []byte("OtherForCausalLM"))
	_, _, err := h.pull(t, t.TempDir(), nil)
	if !errors.Is(err, model.ErrUnsupported) || h.asked[weights] != 0 {
		t.Errorf("%v after %d requests for the weights", err, h.asked[weights])
	}
}

func TestPullRefusesADirectoryWithOtherWeights(t *testing.T) {
	h, dir := newHub(t, "qwen3-sharded"), t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, weights), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if _, _, err := h.pull(t, dir, nil); err == nil || !strings.Contains(err.Error(), "this revision has shards") {
		t.Errorf("got %v", err)
	}
}

func TestPullPrefersASingleFile(t *testing.T) {
	h, dir := newHub(t, "qwen3"), t.TempDir()
	h.files["model-00001-of-00001.safetensors"] = []byte("x")
	h.files["model.safetensors.index.json"] = []byte("{}")
	r, _, err := h.pull(t, dir, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range r.Files {
		if strings.Contains(f.Name, "00001") || strings.Contains(f.Name, "index") {
			t.Errorf("%s was fetched beside %s", f.Name, weights)
		}
	}
}

func TestTokenStaysWithTheHub(t *testing.T) {
	h := newHub(t, "qwen3")
	var seen string
	h.fault = func(w http.ResponseWriter, r *http.Request, name string, _ int) bool {
		if name == "" {
			seen = r.Header.Get("Authorization")
		}
		return false
	}
	if _, _, err := h.pull(t, t.TempDir(), func(p *puller) { p.Token = "secret" }); err != nil {
		t.Fatal(err)
	}
	if seen != "Bearer secret" || len(h.strangers) != 0 {
		t.Errorf("the hub was shown %q, the other host %q", seen, h.strangers)
	}
}

func TestPullEndsWithItsContext(t *testing.T) {
	h := newHub(t, "qwen3")
	ctx, cancel := context.WithCancel(context.Background())
	h.fault = func(w http.ResponseWriter, r *http.Request, name string, _ int) bool {
		if name == weights {
			cancel()
			<-r.Context().Done()
		}
		return name == weights
	}
	if _, err := Pull(ctx, Config{Repo: "acme/tiny", Dir: t.TempDir(), Endpoint: h.front.URL}); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

func TestConfigFaultsAtOnce(t *testing.T) {
	_, err := Pull(t.Context(), Config{Repo: "../etc", Revision: "a b", Endpoint: "ftp://x", Parallel: -1})
	for _, want := range []string{`"../etc"`, `"a b"`, "no directory", "ftp://x", "-1 files"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v lacks %q", err, want)
		}
	}
}
