package hub

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/troupe-llm/troupe/gpu/model"
	"github.com/troupe-llm/troupe/gpu/model/modeltest"
)

// newGGUFHub has a model in four GGUF files, one of them split and in a directory of its
// own, and what else such repositories have.
func newGGUFHub(t *testing.T) *fakeHub {
	t.Helper()
	h := newHub(t, "llama3")
	clear(h.files)
	c := modeltest.Get(t, "llama3")
	whole := c.GGUF(t, nil).Bytes()
	for _, name := range []string{"tiny-Q8_0.gguf", "tiny-Q4_K_M.gguf", "other-F16.gguf", "tiny-F16.gguf"} {
		h.files[name] = append(slices.Clone(whole), name...) // no two alike
	}
	first := c.GGUF(t, nil)
	second := &modeltest.GGUF{}
	for i, g := range []*modeltest.GGUF{first, second} {
		g.Set("split.no", uint16(i))
		g.Set("split.count", uint16(2))
	}
	h.files["UD-Q2_K_XL/tiny-UD-Q2_K_XL-00001-of-00002.gguf"] = first.Bytes()
	h.files["UD-Q2_K_XL/tiny-UD-Q2_K_XL-00002-of-00002.gguf"] = second.Bytes()
	h.files["tiny-Q6_K-00001-of-00002.gguf"] = []byte("without its other half")
	h.files["mmproj-Q8_0.gguf"] = []byte("of images")
	h.files["README.md"] = []byte("read me")
	return h
}

func quantised(as string) func(*GetConfig) { return func(c *GetConfig) { c.GGUF = as } }

// A quantisation is pulled alone, into the cache, and used from there.
func TestGetGGUF(t *testing.T) {
	linksOrSkip(t)
	h, cache := newGGUFHub(t), t.TempDir()
	for _, c := range []struct{ as, file, name string }{
		{"Q4_K_M", "tiny-Q4_K_M.gguf", "acme/tiny:Q4_K_M"},
		{"q8_0", "tiny-Q8_0.gguf", "acme/tiny:Q8_0"},
		{"UD-Q2_K_XL", "UD-Q2_K_XL/tiny-UD-Q2_K_XL-00001-of-00002.gguf", "acme/tiny:UD-Q2_K_XL"},
	} {
		got, err := h.get(t, cache, "", quantised(c.as))
		if err != nil {
			t.Fatal(err)
		}
		if want := filepath.Join(got.Dir, filepath.FromSlash(c.file)); got.Path != want || got.Pulled == nil {
			t.Errorf("%s: %+v, want %s", c.as, got, want)
		}
		m, err := model.Open(got.Path, false)
		if err != nil {
			t.Fatal(err)
		}
		if m.Name != c.name {
			t.Errorf("it is called %s, want %s", m.Name, c.name)
		}
		if err := m.Close(); err != nil {
			t.Error(err)
		}
		again, err := h.get(t, cache, "", func(g *GetConfig) { g.GGUF = c.as; h.down(g) })
		if err != nil || again.Pulled != nil || again.Path != got.Path {
			t.Errorf("again, without a hub: %+v, %v", again, err)
		}
	}
	for _, name := range []string{"other-F16.gguf", "README.md", "mmproj-Q8_0.gguf"} {
		if h.asked[name] != 0 {
			t.Errorf("%s was pulled", name)
		}
	}
}

func TestGetGGUFFails(t *testing.T) {
	for _, c := range []struct {
		as, want string
		offline  bool
	}{
		{"Q5_K_M", "it has no GGUF file in Q5_K_M; it has F16, Q4_K_M, Q8_0, UD-Q2_K_XL", false},
		{"Q6_K", "it has no GGUF file in Q6_K", false},
		{"F16", "it has several models in F16: other-F16.gguf and tiny-F16.gguf", false},
		{"", "the repository has its weights in GGUF files: name one as OWNER/NAME:QUANTISATION; it has F16, Q4_K_M, Q8_0, UD-Q2_K_XL", false},
		{"Q8_0", "acme/tiny:Q8_0 at main is not in ", true},
	} {
		h := newGGUFHub(t)
		_, err := h.get(t, t.TempDir(), "", func(g *GetConfig) { g.GGUF, g.Offline = c.as, c.offline })
		if err == nil || !strings.Contains(err.Error(), c.want) || errors.Is(err, fs.ErrNotExist) != c.offline {
			t.Errorf("%s: %v, want %s", c.as, err, c.want)
		}
	}
	h := newGGUFHub(t)
	h.files["tiny-Q8_0.gguf"] = []byte("GGUF\x03\x00\x00\x00")
	if _, err := h.get(t, t.TempDir(), "", quantised("Q8_0")); err == nil || !strings.Contains(err.Error(), "truncated") {
		t.Errorf("no GGUF file: %v", err)
	}
}

// A plain directory holds the file, and is a model.
func TestPullGGUF(t *testing.T) {
	h, dir := newGGUFHub(t), filepath.Join(t.TempDir(), "tiny")
	r, _, err := h.pull(t, dir, func(p *puller) { p.GGUF = "UD-Q2_K_XL" })
	if err != nil || r.Dir != filepath.Join(dir, "UD-Q2_K_XL", "tiny-UD-Q2_K_XL-00001-of-00002.gguf") || len(r.Files) != 2 {
		t.Fatalf("%+v, %v", r, err)
	}
	if m, err := model.Open(filepath.Join(dir, "UD-Q2_K_XL"), true); err != nil || m.Name != "tiny-UD-Q2_K_XL" {
		t.Errorf("%v, %v", m, err)
	}
}

func TestListAndRemoveGGUF(t *testing.T) {
	linksOrSkip(t)
	h, cache := newGGUFHub(t), t.TempDir()
	for _, as := range []string{"Q8_0", "UD-Q2_K_XL"} {
		if _, err := h.get(t, cache, "", quantised(as)); err != nil {
			t.Fatal(err)
		}
	}
	list := func() []GGUF {
		all, err := List(cache)
		if err != nil || len(all) != 1 || all[0].Runs() {
			t.Fatalf("%+v, %v", all, err)
		}
		found, err := all[0].GGUFs()
		if err != nil {
			t.Fatal(err)
		}
		return found
	}
	found := list()
	if len(found) != 2 || found[0].Quantisation != "Q8_0" || found[0].Bytes != int64(len(h.files["tiny-Q8_0.gguf"])) || len(found[1].Files) != 2 {
		t.Errorf("%+v", found)
	}
	if _, err := RemoveGGUF(cache, "acme/tiny", "main", "Q4_K_M"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("what is not there: %v", err)
	}
	if freed, err := RemoveGGUF(cache, "acme/tiny", "main", "UD-Q2_K_XL"); err != nil || freed != found[1].Bytes {
		t.Errorf("%d bytes, %v, want %d", freed, err, found[1].Bytes)
	}
	if left := list(); len(left) != 1 {
		t.Errorf("left: %+v", left)
	}
	if freed, err := RemoveGGUF(cache, "acme/tiny", "main", "Q8_0"); err != nil || freed < found[0].Bytes {
		t.Errorf("%d bytes, %v", freed, err)
	}
	if _, err := os.Stat(repoDir(cache, "acme/tiny")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("something is left: %v", err)
	}
}
