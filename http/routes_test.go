package http

import (
	"strings"
	"testing"
)

// HEAD says of every path what GET does, and leaves the body out.
func TestHead(t *testing.T) {
	h := start(t, script(), Config{APIKeys: []string{"k"}, Profiling: true})
	paths := []string{"/nothing", "/v1/models/another"}
	for _, path := range h.main.router.List()["GET"] {
		paths = append(paths, strings.NewReplacer("{model:*}", "fake", "{profile:*}", "cmdline").Replace(path))
	}
	if len(paths) < 12 {
		t.Fatalf("only %v", paths)
	}
	for _, path := range paths {
		for _, key := range []string{"Authorization: Bearer k", "Authorization: Bearer x"} {
			get, head := h.do("GET", path, "", key), h.do("HEAD", path, "", key)
			_, full := h.read(get)
			status, body := h.read(head)
			if status != get.status || body != "" || full == "" {
				t.Errorf("%s, %s: %d and %d bytes, GET %d and %d", path, key, status, len(body), get.status, len(full))
			}
			for name := range get.header {
				given, want := head.header.Get(name), get.header.Get(name)
				switch {
				case name == "Date", given == want:
				case name == "Content-Length" && (path == "/stats" || path == "/metrics") && given != "": // both have been counted
				default:
					t.Errorf("%s, %s: %s is %q, GET's %q", path, key, name, given, want)
				}
			}
		}
	}
}
