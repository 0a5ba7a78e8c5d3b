package hub

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// ModelScope lists otherwise, and has files elsewhere; what is done with them is
// the same.
func TestPullFromModelScope(t *testing.T) {
	files := newHub(t, "qwen3").files
	wrong := ""
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		name, isFile := strings.CutPrefix(r.URL.Path, "/models/acme/tiny/resolve/master/")
		switch query := r.URL.Query(); {
		case isFile && files[name] != nil:
			http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(files[name]))
		case r.URL.Path == "/api/v1/models/acme/tiny/repo/files" && query.Get("Recursive") == "true" && query.Get("Revision") == "master":
			rows := []string{`{"Name": "sub", "Path": "sub", "Type": "tree", "Size": 0}`}
			for name, data := range files {
				sum := sha256.Sum256(data)
				if name == wrong {
					sum[0] ^= 1
				}
				rows = append(rows, fmt.Sprintf(`{"Name": %q, "Path": %[1]q, "Type": "blob", "Size": %d, "Sha256": "%x", "Revision": "abc"}`, name, len(data), sum))
			}
			fmt.Fprintf(w, `{"Code": 200, "Success": true, "Data": {"Files": [%s]}}`, strings.Join(rows, ","))
		case strings.HasPrefix(r.URL.Path, "/api/v1/models/acme/shut/"):
			fmt.Fprint(w, `{"Code": 10010205001, "Success": false, "Message": "no permission"}`)
		default:
			http.NotFound(w, r)
		}
	}))
	defer server.Close()
	c := Config{Repo: "acme/tiny", Dir: t.TempDir(), Endpoint: server.URL, ModelScope: true}
	r, err := Pull(t.Context(), c)
	if err != nil || r.Fetched == 0 || r.Commit != "" {
		t.Fatalf("%+v, %v", r, err)
	}
	for _, f := range r.Files {
		if got, err := os.ReadFile(filepath.Join(c.Dir, f.Name)); err != nil || !bytes.Equal(got, files[f.Name]) {
			t.Errorf("%s: %d bytes, %v", f.Name, len(got), err)
		}
	}
	if r, err := Pull(t.Context(), c); err != nil || r.Fetched != 0 {
		t.Errorf("again: %+v, %v", r, err)
	}
	wrong, c.Dir = "config.json", t.TempDir()
	if _, err := Pull(t.Context(), c); err == nil || !strings.Contains(err.Error(), "config.json: wrong content") {
		t.Errorf("with another hash: %v", err)
	}
	for repo, want := range map[string]string{"acme/shut": "ModelScope says: no permission", "acme/none": "no such repository, revision (master) or file"} {
		c.Repo = repo
		if _, err := Pull(t.Context(), c); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", repo, err, want)
		}
	}
	c.Dir, c.Cache = "", t.TempDir()
	if _, err := Pull(t.Context(), c); err == nil || !strings.Contains(err.Error(), "names no commits") {
		t.Errorf("into a cache: %v", err)
	}
}
