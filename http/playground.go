package http

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"embed"
	"encoding/base64"
	"encoding/hex"
	"regexp"
	"strings"
	"sync"

	"github.com/valyala/fasthttp"
)

// The playground is one page at "/": conversations, and the actors at work.
// Its sources are a page, style sheets and modules, which are put together
// here when it is first asked for, so that it comes whole and asks for nothing
// else but the API and /stats.

//go:embed playground
var playgroundFiles embed.FS

// page is a document and what is said with it.
type page struct {
	html   []byte
	gzip   []byte // the same, compressed
	policy string // Content-Security-Policy
	tag    string // of the ETag; that of the compressed one ends in -gzip
}

// The parts, in the order in which they are put into the page. A module stands
// after those that it imports.
var (
	playgroundStyles  = []string{"style.css", "turns.css", "backstage.css", "print.css"}
	playgroundModules = []string{
		"dom.js", "highlight.js", "math.js", "inline.js", "markdown.js", "writer.js", "tree.js", "align.js", "api.js",
		"store.js", "parameters.js", "files.js", "probabilities.js", "turn.js", "chat.js", "list.js", "journey.js", "cluster.js", "live.js", "keys.js",
	}
)

const (
	playgroundStyle  = `<link rel="stylesheet" href="style.css">`
	playgroundScript = `<script type="module" src="keys.js"></script>`
)

// A module imports by lines of the one form and exports what it declares. Its
// comments are for who works on it, and an eighth of the page.
var (
	remark   = regexp.MustCompile(`(?m)^ *//.*\n`)
	imported = regexp.MustCompile(`(?m)^import (\{[^}]*\}) from "\./([a-z]+)\.js";$`)
	exported = regexp.MustCompile(`(?m)^export ((?:async )?(?:const|class|function\*?) ([$\w]+))`)
)

// playground is the page, put together once.
var playground = sync.OnceValue(assemblePlayground)

// assemblePlayground puts the parts into the page. The policy lets exactly
// them run, by their hashes.
func assemblePlayground() page {
	html := playgroundFile("page.html")
	css := "\n"
	for _, name := range playgroundStyles {
		css += playgroundFile(name)
	}
	var scripts strings.Builder
	for _, name := range playgroundModules {
		scripts.WriteString(asFunction(name))
	}
	js := "\n" + scripts.String()
	html = strings.Replace(html, playgroundStyle, "<style>"+css+"</style>", 1)
	html = strings.Replace(html, playgroundScript, `<script type="module">`+js+"</script>", 1)
	sum := sha256.Sum256([]byte(html))
	return page{
		html: []byte(html),
		gzip: gzipped(html),
		policy: "default-src 'none'; connect-src 'self'; img-src data:; script-src " + hashOf(js) + "; style-src " + hashOf(css) +
			"; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
		tag: hex.EncodeToString(sum[:8]),
	}
}

// asFunction is a module as a function that is called at once, with a scope of
// its own, and returns what it exports.
func asFunction(name string) string {
	module := strings.TrimSuffix(name, ".js")
	text := remark.ReplaceAllString(playgroundFile(name), "")
	text = imported.ReplaceAllString(text, "const $1 = ${2}_js;")
	var names []string
	for _, m := range exported.FindAllStringSubmatch(text, -1) {
		names = append(names, m[2])
	}
	text = exported.ReplaceAllString(text, "$1")
	return "const " + module + "_js = (() => {\n" + text + "return { " + strings.Join(names, ", ") + " };\n})();\n"
}

func playgroundFile(name string) string {
	text, err := playgroundFiles.ReadFile("playground/" + name)
	if err != nil {
		panic(err)
	}
	return string(text)
}

// hashOf is how a policy names a part that may run.
func hashOf(text string) string {
	sum := sha256.Sum256([]byte(text))
	return "'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'"
}

func gzipped(text string) []byte {
	var out bytes.Buffer
	w, err := gzip.NewWriterLevel(&out, gzip.BestCompression)
	if err != nil {
		panic(err) // the level is one
	}
	_, _ = w.Write([]byte(text)) // a buffer takes everything
	_ = w.Close()
	return out.Bytes()
}

// playgroundPage serves the page. It holds no secrets, so that who has no key
// yet can enter one.
func playgroundPage(x *exchange) *Error {
	p := playground()
	body, tag := p.html, `"`+p.tag+`"`
	h := &x.ctx.Response.Header
	if x.ctx.Request.Header.HasAcceptEncoding("gzip") {
		body, tag = p.gzip, `"`+p.tag+`-gzip"`
		h.SetContentEncoding("gzip")
	}
	h.Add(fasthttp.HeaderVary, fasthttp.HeaderAcceptEncoding)
	h.Set("Content-Security-Policy", p.policy)
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set(fasthttp.HeaderCacheControl, "no-cache") // ask again, by the tag
	h.Set(fasthttp.HeaderETag, tag)
	if strings.Contains(string(x.ctx.Request.Header.Peek(fasthttp.HeaderIfNoneMatch)), tag) {
		h.Del(fasthttp.HeaderContentEncoding)
		x.ctx.SetStatusCode(fasthttp.StatusNotModified)
		return nil
	}
	x.ctx.SetContentType("text/html; charset=utf-8")
	x.ctx.SetBody(body)
	return nil
}
