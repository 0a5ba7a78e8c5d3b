package http

import (
	"encoding/json"
	nethttp "net/http"
	"strings"
	"testing"

	"github.com/troupe-llm/troupe/actors"
)

// Behind a proxy that serves it below a path all is the same, whether that is taken
// off by the proxy or not.
func TestRootPath(t *testing.T) {
	h := start(t, script(
		[]actors.Output{started("ab"), says("x"), ends("stop", 2, 1)},
		[]actors.Output{started("ab"), says("x"), ends("stop", 2, 1)},
	), Config{RootPath: "/apis/llm", APIKeys: []string{"sesame"}})
	const key = "Authorization: Bearer sesame"
	for _, root := range []string{"", "/apis/llm"} {
		for path, want := range map[string]int{"/": 200, "/health": 200, "/stats?request=x": 200, "/v1/models": 200, "/nowhere": 404, "/apis/llmx/health": 404, "//health": 404} {
			if status, body := h.read(h.do("GET", root+path, "", key)); status != want {
				t.Errorf("%s%s: %d %s, want %d", root, path, status, body, want)
			}
		}
		if status, _ := h.read(h.do("POST", root+"/v1/completions", `{"prompt":"ab"}`, key)); status != 200 {
			t.Errorf("%s: %d", root, status)
		}
		if status, _ := h.read(h.do("POST", root+"/v1/completions", `{"prompt":"ab"}`)); status != 401 {
			t.Errorf("%s without a key: %d", root, status)
		}
	}
	h.client.CheckRedirect = func(*nethttp.Request, []*nethttp.Request) error { return nethttp.ErrUseLastResponse }
	if resp := h.do("GET", "/apis/llm", ""); resp.status != 308 || resp.header.Get("Location") != "/apis/llm/" {
		t.Errorf("%d to %q", resp.status, resp.header.Get("Location"))
	}
	var d struct{ Servers []struct{ URL string } }
	if _, body := h.read(h.do("GET", "/openapi.json", "")); json.Unmarshal([]byte(body), &d) != nil || len(d.Servers) != 1 || d.Servers[0].URL != "/apis/llm" {
		t.Errorf("it is described at %+v", d)
	}
	for _, bad := range []string{"llm", "/", "/llm/", "/a//b", "/a?b", "/a b"} {
		if err := (Config{RootPath: bad}).Check(); err == nil || !strings.Contains(err.Error(), "RootPath") {
			t.Errorf("%q: %v", bad, err)
		}
	}
}
