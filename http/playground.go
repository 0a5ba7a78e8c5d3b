package http

import (
	"crypto/sha256"
	"embed"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"strings"

	"github.com/valyala/fasthttp"
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
