package hub

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/troupe-llm/troupe/gpu/model"
)

// get gets acme/tiny from a cache or the hub.
func (h *fakeHub) get(t *testing.T, cache, revision string, edit func(*GetConfig)) (*Got, error) {
	t.Helper()
	c := GetConfig{Config: Config{Repo: "acme/tiny", Revision: revision, Cache: cache, Endpoint: h.front.URL}}
	if edit != nil {
		edit(&c)
	}
	return get(t.Context(), c, func(p *puller) {
		p.wait = func(ctx context.Context, _ time.Duration) error { return ctx.Err() }
	})
}

// down makes the hub unreachable.
func (h *fakeHub) down(c *GetConfig) { c.Endpoint = "http://127.0.0.1:1" }

func linksOrSkip(t *testing.T) {
	if err := os.Symlink("x", filepath.Join(t.TempDir(), "link")); err != nil {
		t.Skip("no links can be made here: ", err)
	}
}

// The layout is huggingface_hub's, to the letter.
func TestCacheLayout(t *testing.T) {
	linksOrSkip(t)
	h, cache := newHub(t, "qwen3"), filepath.Join(t.TempDir(), "hub")
	delete(h.files, "generation_config.json")
	got, err := h.get(t, cache, "", nil)
	if err != nil {
		t.Fatal(err)
	}
	repo := filepath.Join(cache, "models--acme--tiny")
	if want := filepath.Join(repo, "snapshots", commit); got.Dir != want || got.Pulled == nil || got.Pulled.Dir != want || got.Missing != nil {
		t.Errorf("%+v, want %s", got, want)
	}
	if ref, err := os.ReadFile(filepath.Join(repo, "refs", "main")); string(ref) != commit {
		t.Errorf("refs/main is %q (%v)", ref, err)
	}
	sum := fmt.Sprintf("%x", sha256.Sum256(h.files[weights]))
	if to, err := os.Readlink(filepath.Join(got.Dir, weights)); to != filepath.Join("..", "..", "blobs", sum) {
		t.Errorf("the weights are a link to %q (%v)", to, err)
	}
	if _, err := os.Stat(filepath.Join(repo, ".no_exist", commit, "generation_config.json")); err != nil {
		t.Error(err)
	}
	h.want(t, got.Dir)
	if m, err := model.Open(got.Dir, false); err != nil || m.Name != "acme/tiny" {
		t.Errorf("opened as %v, %v", m, err)
	}
	left, err := filepath.Glob(filepath.Join(repo, "blobs", "*incomplete"))
	if err != nil || len(left) != 0 {
		t.Errorf("left over: %v, %v", left, err)
	}
}

// What is there is used without a hub.
func TestGetAsksNobodyForWhatIsThere(t *testing.T) {
	h, cache := newHub(t, "qwen3-sharded"), t.TempDir()
	if _, err := h.get(t, cache, "", nil); err != nil {
		t.Fatal(err)
	}
	asked := h.asked[""]
	for _, revision := range []string{"", "main", commit} {
		got, err := h.get(t, cache, revision, h.down)
		if err != nil || got.Pulled != nil || got.Doubt != nil {
			t.Errorf("%q: %+v, %v", revision, got, err)
		}
	}
	if h.asked[""] != asked {
		t.Error("the hub was asked")
	}
	if _, err := h.get(t, cache, "v1", h.down); err == nil { // another revision is not
		t.Error("v1 came from nowhere")
	}
	if got, err := h.get(t, cache, "v1", nil); err != nil || got.Pulled == nil || got.Pulled.Fetched != 0 {
		t.Errorf("v1, the same commit: %+v, %v; want nothing fetched again", got, err)
	}
}

// Several programs may pull the same at once: each file comes once.
func TestGetsAtOnce(t *testing.T) {
	h, cache := newHub(t, "qwen3-sharded"), t.TempDir()
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			if got, err := h.get(t, cache, "", nil); err != nil || got.Missing != nil {
				t.Errorf("%+v, %v", got, err)
			}
		})
	}
	wg.Wait()
	if runtime.GOOS == "windows" { // there are no locks
		return
	}
	for name, n := range h.asked {
		if name != "" && n != 1 {
			t.Errorf("%s was fetched %d times", name, n)
		}
	}
	left, err := filepath.Glob(filepath.Join(repoDir(cache, "acme/tiny"), "*"+unfinished))
	if err != nil || len(left) != 0 {
		t.Errorf("left over: %v, %v", left, err)
	}
}

// What another program left half is filled up; what it left whole is used.
func TestGetFillsUp(t *testing.T) {
	for _, c := range []struct {
		name    string
		lacks   []string // of what was pulled
		fetched bool     // something is to be
		runs    bool     // without a hub
	}{
		{name: "no weights", lacks: []string{weights}, fetched: true},
		{name: "no configuration", lacks: []string{"config.json"}, fetched: true},
		{name: "perhaps a tokenizer", lacks: []string{"tokenizer.json"}, fetched: true, runs: true},
		{name: "no defaults", lacks: []string{"generation_config.json"}, runs: true},
	} {
		t.Run(c.name, func(t *testing.T) {
			h, cache := newHub(t, "qwen3"), t.TempDir()
			got, err := h.get(t, cache, "", nil)
			if err != nil {
				t.Fatal(err)
			}
			for _, name := range c.lacks {
				blob, err := filepath.EvalSymlinks(filepath.Join(got.Dir, name))
				if err != nil {
					t.Fatal(err)
				}
				if err := os.Remove(blob); err != nil { // a link to nothing is nothing
					t.Fatal(err)
				}
			}
			if got, err := h.get(t, cache, "", h.down); (err == nil) != c.runs || c.runs && (got.Doubt != nil) != c.fetched {
				t.Errorf("without a hub: %+v, %v", got, err)
			}
			offline := func(g *GetConfig) { g.Offline = true }
			if _, err := h.get(t, cache, "", offline); (err == nil) != c.runs || err != nil && !strings.Contains(err.Error(), c.lacks[0]+" is missing") {
				t.Errorf("offline: %v", err)
			}
			if got, err := h.get(t, cache, "", nil); err != nil || (got.Pulled != nil) != c.fetched || got.Missing != nil {
				t.Errorf("with a hub: %+v, %v", got, err)
			}
		})
	}
}

func TestGetFails(t *testing.T) {
	status := func(code int) func(*fakeHub) {
		return func(h *fakeHub) {
			h.fault = func(w http.ResponseWriter, _ *http.Request, _ string, _ int) bool { w.WriteHeader(code); return true }
		}
	}
	for _, c := range []struct {
		name, revision string
		setup          func(*fakeHub)
		edit           func(*GetConfig)
		want           string
	}{
		{name: "no revision", revision: "v9", want: "no such repository, revision (v9) or file"},
		{name: "gated", setup: status(401), want: "give a token (HF_TOKEN)"},
		{name: "gated, with a token", setup: status(403), edit: func(c *GetConfig) { c.Token = "x" }, want: "accept its terms on the hub"},
		{name: "offline", edit: func(c *GetConfig) { c.Offline = true }, want: "is not in "},
		{name: "GGUF", setup: func(h *fakeHub) { delete(h.files, weights); h.files["tiny-Q4_K_M.gguf"] = []byte("GGUF") }, want: "in GGUF files: name one as OWNER/NAME:QUANTISATION; it has Q4_K_M"},
		{name: "wrong content", setup: func(h *fakeHub) {
			h.fault = func(w http.ResponseWriter, _ *http.Request, name string, _ int) bool {
				if name == weights {
					data := slices.Clone(h.files[name])
					data[9] ^= 1
					send(w, data)
				}
				return name == weights
			}
		}, want: "wrong content"},
	} {
		t.Run(c.name, func(t *testing.T) {
			h, cache := newHub(t, "qwen3"), t.TempDir()
			if c.setup != nil {
				c.setup(h)
			}
			_, err := h.get(t, cache, c.revision, c.edit)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%v, want %q", err, c.want)
			}
			if want := strings.HasPrefix(c.name, "no revision") || strings.HasPrefix(c.name, "gated"); errors.Is(err, ErrNotFound) != want {
				t.Errorf("%v is not found: %v", err, !want)
			}
			if _, err := os.Stat(filepath.Join(repoDir(cache, "acme/tiny"), "refs")); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("a revision is named after a failure: %v", err)
			}
		})
	}
}

// A pull that ended half is gone on with, and a model without weights takes none.
func TestGetResumes(t *testing.T) {
	h, cache := newHub(t, "qwen3"), t.TempDir()
	if got, err := h.get(t, cache, "", func(c *GetConfig) { c.NoWeights = true }); err != nil || !slices.Equal(got.Missing, []string{weights}) || h.asked[weights] != 0 {
		t.Fatalf("without weights: %+v, %v", got, err)
	}
	if got, err := h.get(t, cache, "", func(c *GetConfig) { c.NoWeights = true; h.down(c) }); err != nil || got.Pulled != nil {
		t.Fatalf("again: %+v, %v", got, err)
	}
	h.fault = func(w http.ResponseWriter, _ *http.Request, name string, asked int) bool {
		switch {
		case name != weights:
			return false
		case asked > 1:
			http.Error(w, "gone", http.StatusGone)
		default:
			breakOff(w, h.files[name], 100_000)
		}
		return true
	}
	edit := func(p *puller) { p.Dir, p.Cache = "", cache }
	if _, _, err := h.pull(t, "x", edit); err == nil {
		t.Fatal("no error")
	}
	h.fault = nil
	r, _, err := h.pull(t, "x", edit)
	if err != nil || r.Fetched >= int64(len(h.files[weights])) || r.Fetched == 0 {
		t.Errorf("%+v, %v: want the rest alone", r, err)
	}
}

func TestListAndRemove(t *testing.T) {
	linksOrSkip(t)
	h, cache := newHub(t, "qwen3"), t.TempDir()
	if all, err := List(filepath.Join(cache, "none")); err != nil || all != nil {
		t.Errorf("of no cache: %v, %v", all, err)
	}
	for _, revision := range []string{"main", "v1"} {
		if _, err := h.get(t, cache, revision, nil); err != nil {
			t.Fatal(err)
		}
	}
	// Another commit, with the same weights and another configuration.
	other := strings.Repeat("ab", 20)
	h.files["config.json"] = append(slices.Clone(h.files["config.json"]), '\n')
	second := &cached{cache: cache, repo: "acme/tiny", commit: other}
	if err := second.prepare(nil); err != nil {
		t.Fatal(err)
	}
	for name, data := range h.files {
		f := File{Name: name, SHA256: fmt.Sprintf("%x", sha256.Sum256(data))}
		blob, _ := second.paths(f)
		if err := errors.Join(os.WriteFile(blob, data, 0o644), second.placed(f)); err != nil {
			t.Fatal(err)
		}
	}
	if err := second.done("dev", nil); err != nil {
		t.Fatal(err)
	}
	for _, dir := range []string{"datasets--acme--x", "models--acme--tiny/snapshots/nohash"} {
		if err := os.MkdirAll(filepath.Join(cache, filepath.FromSlash(dir)), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	all, err := List(cache)
	if err != nil || len(all) != 2 {
		t.Fatalf("%+v, %v", all, err)
	}
	refs := map[string][]string{}
	for _, s := range all {
		refs[s.Commit] = s.Refs
		if s.Repo != "acme/tiny" || s.Bytes < int64(len(h.files[weights])) || s.Missing != nil || s.Time.IsZero() {
			t.Errorf("%+v", s)
		}
	}
	if want := map[string][]string{commit: {"main", "v1"}, other: {"dev"}}; !reflect.DeepEqual(refs, want) {
		t.Errorf("refs %v, want %v", refs, want)
	}

	freed, err := Remove(cache, "acme/tiny", "dev")
	if err != nil || freed == 0 || freed >= int64(len(h.files[weights])) {
		t.Errorf("%d bytes, %v: want those of small files, since the weights are of both", freed, err)
	}
	if _, err := Remove(cache, "acme/tiny", "dev"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("twice: %v", err)
	}
	if got, err := h.get(t, cache, "", h.down); err != nil || got.Pulled != nil {
		t.Errorf("the other revision after that: %+v, %v", got, err)
	}
	if freed, err := Remove(cache, "acme/tiny", "v1"); err != nil || freed < int64(len(h.files[weights])) {
		t.Errorf("the last revision: %d bytes, %v", freed, err)
	}
	if _, err := os.Stat(repoDir(cache, "acme/tiny")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("something is left: %v", err)
	}
	for _, repo := range []string{"acme/tiny", "../x", "acme/.."} {
		if _, err := Remove(cache, repo, ""); err == nil {
			t.Errorf("%s was removed", repo)
		}
	}
}

// Whoever holds a blob's lock is waited for, and a wait can be ended.
func TestLock(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("there are no locks")
	}
	name := filepath.Join(t.TempDir(), "x.lock")
	release, err := lock(t.Context(), name, nil)
	if err != nil {
		t.Fatal(err)
	}
	waits := 0
	stop := errors.New("enough")
	if _, err := lock(t.Context(), name, func(context.Context, time.Duration) error { waits++; return stop }); !errors.Is(err, stop) || waits != 1 {
		t.Errorf("held by another: %v after %d waits", err, waits)
	}
	second, err := lock(t.Context(), name, func(context.Context, time.Duration) error { release(); return nil })
	if err != nil {
		t.Fatal(err)
	}
	second()
}
