package http

import (
	"cmp"
	"compress/gzip"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"io"
	"math"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/troupe-llm/troupe/gpu/batch"
	"github.com/troupe-llm/troupe/http/internal/dialect/conversation"
	"github.com/troupe-llm/troupe/http/internal/dialect/model"
)

// TestPlayground serves the page without a key, with a policy that lets its
// own parts run and nothing else.
func TestPlayground(t *testing.T) {
	h := start(t, script(), Config{APIKeys: []string{"k"}})
	resp := h.do("GET", "/", "")
	status, html := h.read(resp)
	policy := resp.header.Get("Content-Security-Policy")
	for name, want := range map[string]string{
		"Content-Type": "text/html; charset=utf-8", "X-Content-Type-Options": "nosniff",
		"Referrer-Policy": "no-referrer", "Cache-Control": "no-cache",
	} {
		if got := resp.header.Get(name); got != want || status != 200 {
			t.Errorf("%d, %s: got %q, want %q", status, name, got, want)
		}
	}
	for _, want := range []string{"default-src 'none'", "connect-src 'self'", "frame-ancestors 'none'", "base-uri 'none'"} {
		if !strings.Contains(policy, want) {
			t.Errorf("the policy has no %s: %s", want, policy)
		}
	}
	if strings.Contains(policy, "unsafe") {
		t.Errorf("the policy lets anything run: %s", policy)
	}
	parts := regexp.MustCompile(`(?s)<(style|script)[^>]*>(.*?)</(?:style|script)>`).FindAllStringSubmatch(html, -1)
	for _, part := range parts {
		sum := sha256.Sum256([]byte(part[2]))
		if !strings.Contains(policy, "'sha256-"+base64.StdEncoding.EncodeToString(sum[:])+"'") {
			t.Errorf("the policy does not let this %s be: %.60q", part[1], part[2])
		}
	}
	if len(parts) != 2 {
		t.Errorf("the page has %d parts, want a style sheet and a script", len(parts))
	}
	if found := regexp.MustCompile(`(?:src|href)="(?:https?:|/|[a-z]+\.)[^"]*"|url\(|@import| style="| on[a-z]+="`).FindString(html); found != "" {
		t.Errorf("the page is not self-contained, or its policy forbids a part of it: %s", found)
	}

	for _, coding := range []string{"", "gzip"} {
		accept := "Accept-Encoding: " + cmp.Or(coding, "br")
		resp := h.do("GET", "/", "", accept)
		_, body := h.read(resp)
		if got := resp.header.Get("Content-Encoding"); got != coding || resp.header.Get("Vary") != "Accept-Encoding" {
			t.Errorf("%s: came as %q, Vary is %q", accept, got, resp.header.Get("Vary"))
		}
		if coding == "gzip" {
			body = unzipped(t, body)
		}
		if body != html {
			t.Errorf("%s: another page of %d bytes", accept, len(body))
		}
		tag := resp.header.Get("ETag")
		resp = h.do("GET", "/", "", "If-None-Match: "+tag, accept)
		if status, body := h.read(resp); tag == "" || status != 304 || body != "" || resp.header.Get("ETag") != tag {
			t.Errorf("asked again with %s: %d, %d bytes", tag, status, len(body))
		}
	}
	resp = h.do("HEAD", "/", "")
	if status, body := h.read(resp); status != 200 || body != "" {
		t.Errorf("HEAD: %d, %d bytes", status, len(body))
	}
}

// What the model's template takes is what is offered.
func TestSamplingEfforts(t *testing.T) {
	for _, c := range []struct {
		family model.Family
		want   []string
	}{{model.Family{}, []string{}}, {model.Family{Switch: "enable_thinking"}, []string{"none"}}, {model.Family{Efforts: true}, conversation.Efforts}} {
		if got := samplingOf(&batch.Sampling{}, &c.family).Efforts; !slices.Equal(got, c.want) {
			t.Errorf("%+v: got %q, want %q", c.family, got, c.want)
		}
	}
}

func unzipped(t *testing.T, body string) string {
	t.Helper()
	r, err := gzip.NewReader(strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	text, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// A module imports what modules before it export, and all files are in the page.
func TestPlaygroundParts(t *testing.T) {
	files, err := playgroundFiles.ReadDir("playground")
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		if name := f.Name(); name != "page.html" && !slices.Contains(playgroundModules, name) && !slices.Contains(playgroundStyles, name) {
			t.Errorf("%s is in no page", name)
		}
	}
	known := map[string]string{}
	for _, name := range playgroundModules {
		text := playgroundFile(name)
		if got, want := strings.Count(text, "\nimport ")+strings.Count(text[:7], "import "), len(imported.FindAllString(text, -1)); got != want {
			t.Errorf("%s: %d of %d imports are of the form that is understood", name, want, got)
		}
		for _, m := range imported.FindAllStringSubmatch(text, -1) {
			for _, what := range strings.Split(strings.Trim(m[1], "{ }"), ", ") {
				if known[what] != m[2] {
					t.Errorf("%s imports %s of %s.js, which is not exported by a module before it", name, what, m[2])
				}
			}
		}
		if got, want := len(exported.FindAllString(text, -1)), strings.Count(text, "\nexport "); got != want {
			t.Errorf("%s: %d of %d exports are of the form that is understood", name, got, want)
		}
		for _, m := range exported.FindAllStringSubmatch(text, -1) {
			known[m[2]] = strings.TrimSuffix(name, ".js")
		}
	}
}

// README.md states what the page weighs.
func TestPlaygroundWeight(t *testing.T) {
	text, err := os.ReadFile("../README.md")
	if err != nil {
		t.Fatal(err)
	}
	m := regexp.MustCompile(`one page of (\d+) kB, (\d+) compressed`).FindStringSubmatch(string(text))
	if m == nil {
		t.Fatal("README.md does not say what the page weighs")
	}
	p := playground()
	for i, got := range []int{len(p.html), len(p.gzip)} {
		if stated, _ := strconv.Atoi(m[i+1]); math.Abs(float64(got)/1000-float64(stated)) > 5 {
			t.Errorf("README.md says %s kB; it has %d bytes", m[i+1], got)
		}
	}
}

func TestStats(t *testing.T) {
	eng := script()
	eng.info.slots, eng.info.pageSize = 8, 16
	eng.info.sampling = batch.Sampling{Temperature: 0.5, TopK: 7}
	h := start(t, eng, Config{APIKeys: []string{"k"}})
	resp := h.do("GET", "/stats", "")
	status, text := h.read(resp)
	var got struct {
		Uptime   float64 `json:"uptime_seconds"`
		Requests struct{ Running, Waiting, Open, Slots *int }
		Pages    struct{ Used, Cached, Free, Size *int }
		Device   map[string]float64
		Tokens   struct{ Prompt, Cached, Generated *int }
		Sampling struct {
			Temperature float64
			TopP        float64 `json:"top_p"`
			TopK        int     `json:"top_k"`
			Repetition  float64 `json:"repetition_penalty"`
		}
		Request *struct{}
		Actors  []struct {
			Name            string
			Depth, Messages int
			Delay           *float64 `json:"delay_seconds"`
		}
	}
	if err := json.Unmarshal([]byte(text), &got); err != nil || status != 200 || resp.header.Get("Content-Type") != "application/json" {
		t.Fatalf("%d %v: %s", status, err, text)
	}
	if got.Uptime <= 0 || got.Requests.Running == nil || got.Tokens.Generated == nil || *got.Requests.Slots != 8 || *got.Pages.Size != 16 {
		t.Errorf("got %s", text)
	}
	if got.Device["busy_seconds"] != 3 || got.Device["idle_seconds"] != 1 {
		t.Errorf("its device is %v", got.Device)
	}
	if s := got.Sampling; s.Temperature != 0.5 || s.TopP != 1 || s.TopK != 7 || s.Repetition != 1 {
		t.Errorf("its sampling is %+v", s)
	}
	if got.Request != nil {
		t.Errorf("it tells of a request that nobody asked for: %s", text)
	}
	if len(got.Actors) != 1 || got.Actors[0].Name != "scheduler" || got.Actors[0].Depth != 3 || got.Actors[0].Messages != 2 || got.Actors[0].Delay == nil {
		t.Errorf("its actors are %+v", got.Actors)
	}
}
