package http

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"regexp"
	"strings"
	"testing"
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
	if len(parts) != 4 {
		t.Errorf("the page has %d parts, want a style sheet and three scripts", len(parts))
	}
	if found := regexp.MustCompile(`(?:src|href)="(?:https?:|/|[a-z]+\.)[^"]*"|url\(|@import| style="| on[a-z]+="`).FindString(html); found != "" {
		t.Errorf("the page is not self-contained, or its policy forbids a part of it: %s", found)
	}

	tag := resp.header.Get("ETag")
	resp = h.do("GET", "/", "", "If-None-Match: "+tag)
	if status, body := h.read(resp); tag == "" || status != 304 || body != "" || resp.header.Get("ETag") != tag {
		t.Errorf("asked again with %s: %d, %d bytes", tag, status, len(body))
	}
	resp = h.do("HEAD", "/", "")
	if status, body := h.read(resp); status != 200 || body != "" {
		t.Errorf("HEAD: %d, %d bytes", status, len(body))
	}
}

func TestStats(t *testing.T) {
	eng := script()
	eng.info.slots, eng.info.pageSize = 8, 16
	h := start(t, eng, Config{APIKeys: []string{"k"}})
	resp := h.do("GET", "/stats", "")
	status, text := h.read(resp)
	var got struct {
		Uptime   float64 `json:"uptime_seconds"`
		Requests struct{ Running, Waiting, Open, Slots *int }
		Pages    struct{ Used, Cached, Free, Size *int }
		Device   map[string]float64
		Tokens   struct{ Prompt, Cached, Generated *int }
		Actors   []struct {
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
	if len(got.Actors) != 1 || got.Actors[0].Name != "scheduler" || got.Actors[0].Depth != 3 || got.Actors[0].Messages != 2 || got.Actors[0].Delay == nil {
		t.Errorf("its actors are %+v", got.Actors)
	}
}
