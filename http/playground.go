package http

import (
	"crypto/sha256"
	"embed"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/valyala/fasthttp"

	"github.com/troupe-llm/troupe/actors"
)

// The playground is one page at "/": a conversation, and the actors at work.
// Its sources are a page with a style sheet and three modules beside it, which
// are put inside it here, so that it comes whole and asks for nothing else but
// the API and /stats.

//go:embed playground
var playgroundFiles embed.FS

var playground = assemblePlayground()

// page is a document and what is said with it.
type page struct {
	html   []byte
	policy string // Content-Security-Policy
	tag    string // ETag
}

// playgroundParts are the lines of page.html that a file takes the place of.
var playgroundParts = []struct{ line, file, element, directive string }{
	{`<link rel="stylesheet" href="style.css">`, "style.css", "style", "style-src"},
	{`<script type="module" src="markdown.js"></script>`, "markdown.js", `script type="module"`, "script-src"},
	{`<script type="module" src="chat.js"></script>`, "chat.js", `script type="module"`, "script-src"},
	{`<script type="module" src="live.js"></script>`, "live.js", `script type="module"`, "script-src"},
}

// assemblePlayground puts the parts into the page. The policy lets exactly
// them run, by their hashes.
func assemblePlayground() page {
	html := playgroundFile("page.html")
	hashes := map[string]string{}
	for _, p := range playgroundParts {
		text := "\n" + playgroundFile(p.file)
		if strings.Count(html, p.line) != 1 {
			panic(fmt.Sprintf("playground/page.html must have the line %s once", p.line))
		}
		name, _, _ := strings.Cut(p.element, " ")
		html = strings.Replace(html, p.line, "<"+p.element+">"+text+"</"+name+">", 1)
		sum := sha256.Sum256([]byte(text))
		hashes[p.directive] += " 'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'"
	}
	sum := sha256.Sum256([]byte(html))
	return page{
		html: []byte(html),
		policy: "default-src 'none'; connect-src 'self'; img-src data:; script-src" + hashes["script-src"] +
			"; style-src" + hashes["style-src"] + "; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
		tag: `"` + hex.EncodeToString(sum[:8]) + `"`,
	}
}

func playgroundFile(name string) string {
	text, err := playgroundFiles.ReadFile("playground/" + name)
	if err != nil {
		panic(err)
	}
	return string(text)
}

// playgroundPage serves the page. It holds no secrets, so that who has no key
// yet can enter one.
func playgroundPage(x *exchange) *Error {
	h := &x.ctx.Response.Header
	h.Set("Content-Security-Policy", playground.policy)
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set(fasthttp.HeaderCacheControl, "no-cache") // ask again, by the tag
	h.Set(fasthttp.HeaderETag, playground.tag)
	if strings.Contains(string(x.ctx.Request.Header.Peek(fasthttp.HeaderIfNoneMatch)), playground.tag) {
		x.ctx.SetStatusCode(fasthttp.StatusNotModified)
		return nil
	}
	x.ctx.SetContentType("text/html; charset=utf-8")
	x.ctx.SetBody(playground.html)
	return nil
}

// statsBody is what /stats says: how things stand, and counters since the
// start. Rates are left to the reader, who knows when it asked.
type statsBody struct {
	Uptime float64 `json:"uptime_seconds"`
	Ready  bool    `json:"ready"` // requests are taken and computed

	Requests struct {
		Open      int    `json:"open"`      // accepted and not ended
		Waiting   int    `json:"waiting"`   // to be computed
		Running   int    `json:"running"`   // computed by the steps under way
		Slots     int    `json:"slots"`     // as many may run
		Preempted uint64 `json:"preempted"` // put back because pages ran out
	} `json:"requests"`
	Pages struct { // of KV memory
		Used    int    `json:"used"`    // held by requests
		Cached  int    `json:"cached"`  // hold a prefix no request uses now
		Free    int    `json:"free"`    // hold nothing
		Size    int    `json:"size"`    // tokens a page
		Evicted uint64 `json:"evicted"` // cached ones given up for others
	} `json:"pages"`
	Steps struct {
		Decode      uint64 `json:"decode"`      // with decode rows alone
		Prefill     uint64 `json:"prefill"`     // with prefill rows alone
		Mixed       uint64 `json:"mixed"`       // with both
		Outstanding int    `json:"outstanding"` // launched and not yet done
	} `json:"steps"`
	Device struct { // time while there were requests
		Busy float64 `json:"busy_seconds"` // computing steps
		Idle float64 `json:"idle_seconds"` // waiting for a step
	} `json:"device"`
	Tokens struct {
		Prompt    uint64 `json:"prompt"`    // of admitted requests
		Cached    uint64 `json:"cached"`    // of those, found in the prefix cache
		Computed  uint64 `json:"computed"`  // prompts' and answers'
		Decoded   uint64 `json:"decoded"`   // of those, in decode rows
		Generated uint64 `json:"generated"` // drawn
		Wasted    uint64 `json:"wasted"`    // computed for requests that had just ended
	} `json:"tokens"`
	Actors []actorBody `json:"actors"`
}

// actorBody is one actor and its mailbox.
type actorBody struct {
	Name     string  `json:"name"`
	Depth    int     `json:"depth"`         // messages waiting now
	Messages int64   `json:"messages"`      // handled
	Delay    float64 `json:"delay_seconds"` // what those waited, together
	Busy     float64 `json:"busy_seconds"`  // what handling them took
}

// stats answers with the engine's numbers as JSON; /metrics has more of them,
// for machines that keep them.
func stats(x *exchange) *Error {
	st := x.s.engine.Stats()
	body := statsOf(&st)
	body.Uptime = time.Since(x.s.began).Seconds()
	body.Requests.Slots, body.Pages.Size = x.s.info.slots, x.s.info.pageSize
	text, err := json.Marshal(body)
	if err != nil {
		return asError(err)
	}
	x.ctx.Response.Header.Set(fasthttp.HeaderCacheControl, "no-store")
	x.send(text)
	return nil
}

func statsOf(st *actors.Stats) *statsBody {
	b := &statsBody{Ready: st.Ready}
	r, p, s, t := &b.Requests, &b.Pages, &b.Steps, &b.Tokens
	r.Open, r.Waiting, r.Running, r.Preempted = st.OpenRequests, st.Waiting, st.Running, st.Preempted
	p.Used, p.Cached, p.Free, p.Evicted = st.PagesUsed, st.PagesCached, st.PagesFree, st.Evicted
	s.Decode, s.Prefill, s.Mixed, s.Outstanding = st.DecodeSteps, st.PrefillSteps, st.MixedSteps, st.Outstanding
	b.Device.Busy, b.Device.Idle = st.Device.Busy.Seconds(), st.Device.Idle.Seconds()
	t.Prompt, t.Cached, t.Computed, t.Decoded, t.Generated, t.Wasted = st.PromptTokens, st.CachedTokens, st.Computed, st.Decoded, st.Generated, st.Wasted
	b.Actors = make([]actorBody, len(st.Actors))
	for i := range st.Actors {
		a := &st.Actors[i]
		b.Actors[i] = actorBody{Name: a.Name, Depth: a.Depth, Messages: a.Messages, Delay: a.DelaySum, Busy: a.BusySum}
	}
	return b
}
