// Package pagetest uses the playground as a person does, in a headless
// Chromium, against the built program. It is a module of its own, as it needs
// a browser; without one it skips.
package pagetest

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

const (
	// patience is how long the page may take for what it must do.
	patience = 30 * time.Second
	key      = "test-key"
)

// What all tests share; nil without a browser.
var (
	chrome *browser
	proxy  *httptest.Server
	way    = gate{goOn: make(chan bool)}
)

func TestMain(m *testing.M) {
	status, err := prepare(m.Run)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		status = 1
	}
	os.Exit(status)
}

// checkpoint is a small one: what it says does not matter here.
var checkpoint = filepath.Join("..", "..", "gpu", "model", "testdata", "qwen3")

// prepare builds the program and runs tests beside it and a browser.
// TROUPE_TEST_MODEL names another model than the small one.
func prepare(run func() int) (status int, err error) {
	path := chromium()
	if path == "" {
		return run(), nil
	}
	dir, err := os.MkdirTemp("", "troupe")
	if err != nil {
		return 0, err
	}
	defer os.RemoveAll(dir)
	program := filepath.Join(dir, "troupe")
	build := exec.Command("go", "build", "-o", program, "./cmd/troupe")
	build.Dir = filepath.Join("..", "..")
	if out, err := build.CombinedOutput(); err != nil {
		return 0, fmt.Errorf("go build: %w\n%s", err, out)
	}

	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	server := exec.CommandContext(ctx, program, "serve", "--port", "0", "--api-key", key, "--log-level", "warn",
		"--model", cmp.Or(os.Getenv("TROUPE_TEST_MODEL"), checkpoint))
	server.Stderr = os.Stderr
	stdout, err := server.StdoutPipe()
	if err != nil {
		return 0, err
	}
	if err := server.Start(); err != nil {
		return 0, err
	}
	line, err := bufio.NewReader(stdout).ReadString('\n')
	if err != nil {
		return 0, fmt.Errorf("the server ended before it was ready: %w, %w", err, server.Wait())
	}
	base, err := url.Parse(strings.TrimSuffix(strings.TrimSpace(line[max(0, strings.Index(line, "http://")):]), "/v1"))
	if err != nil {
		return 0, err
	}
	proxy = httptest.NewServer(way.before(base))
	defer proxy.Close()

	if chrome, err = launch(ctx, path, filepath.Join(dir, "profile")); err != nil {
		return 0, err
	}
	status = run()
	if err := chrome.quit(ctx); err != nil {
		return 0, fmt.Errorf("the browser did not end well: %w", err)
	}
	if err := server.Process.Signal(os.Interrupt); err != nil {
		return 0, err
	}
	if err := server.Wait(); err != nil {
		return 0, fmt.Errorf("the server did not end well: %w", err)
	}
	return status, nil
}

// gate stands between the page and the server, to do to a reply what networks
// and devices do.
type gate struct {
	holds  atomic.Bool  // let the beginning of a reply pass, and wait until its reader leaves
	breaks atomic.Bool  // end a reply after its beginning with an error
	left   atomic.Int64 // readers that left a reply that was held
	// says, when not nil, is what a reply is made of: the deltas of its chunks,
	// the last of which is not sent before goOn has a value.
	says atomic.Pointer[[]string]
	goOn chan bool
	// asked is the body of the request that got it.
	asked atomic.Pointer[[]byte]
}

// recite answers in the server's place, as a model would that reasons and
// calls tools.
func (g *gate) recite(w http.ResponseWriter, deltas []string) {
	w.Header().Set("Content-Type", "text/event-stream")
	for i, delta := range deltas {
		if i == len(deltas)-1 {
			_ = http.NewResponseController(w).Flush() // a failure shows in what the page shows
			<-g.goOn
		}
		fmt.Fprintf(w, "data: {\"choices\":[{\"index\":0,\"delta\":%s,\"finish_reason\":null}]}\n\n", delta)
	}
	fmt.Fprint(w, "data: {\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]}\n\ndata: [DONE]\n\n")
}

func (g *gate) before(server *url.URL) http.Handler {
	pass := httputil.NewSingleHostReverseProxy(server)
	pass.FlushInterval = -1
	pass.ErrorHandler = func(w http.ResponseWriter, _ *http.Request, _ error) { w.WriteHeader(http.StatusBadGateway) }
	pass.ModifyResponse = func(r *http.Response) error {
		if strings.HasPrefix(r.Header.Get("Content-Type"), "text/event-stream") && (g.holds.Load() || g.breaks.Load()) {
			r.Body = &heldBody{Closer: r.Body, lines: bufio.NewReader(r.Body), g: g, reader: r.Request.Context()}
		}
		return nil
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		// The body is read before: an answer that comes while the proxy still
		// looks for the body's end would close it, and break the answer off.
		body, err := io.ReadAll(r.Body)
		if err != nil {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		if deltas := g.says.Load(); deltas != nil && r.URL.Path == "/v1/chat/completions" {
			g.asked.Store(&body)
			g.recite(w, *deltas)
			return
		}
		r.Body = io.NopCloser(bytes.NewReader(body))
		pass.ServeHTTP(w, r)
	})
}

// heldBody is a reply of which only the beginning comes.
type heldBody struct {
	io.Closer
	lines  *bufio.Reader
	g      *gate
	reader context.Context
	texts  int // events with text that have passed
}

// Read reads one line, which is shorter than any buffer here.
func (b *heldBody) Read(p []byte) (int, error) {
	if b.texts == 2 { // the first is empty; all others may come as one
		if b.g.breaks.Swap(false) {
			b.texts = math.MinInt
			b.lines.Reset(strings.NewReader(""))
			return copy(p, "\ndata: {\"error\":{\"message\":\"the device failed\"}}\n\ndata: [DONE]\n\n"), nil
		}
		<-b.reader.Done()
		b.g.left.Add(1)
		return 0, b.reader.Err()
	}
	line, err := b.lines.ReadSlice('\n')
	if bytes.Contains(line, []byte(`"content":`)) {
		b.texts++
	}
	return copy(p, line), err
}

// enter opens the playground and, once it asks for one, gives the key.
func enter(t *testing.T, width, height int) *tab {
	t.Helper()
	if chrome == nil {
		t.Skip("no Chromium is installed (CHROMIUM may name one)")
	}
	way.holds.Store(false)
	way.breaks.Store(false)
	way.says.Store(nil)
	p := chrome.open(t, width, height)
	p.prefer("light")
	p.visit(proxy.URL + "/")
	p.until(`!document.querySelector("#key-form").hidden && document.activeElement.id === "key"`)
	p.write(key)
	p.press("Enter")
	p.until(`document.querySelector("#model").textContent !== ""`)
	return p
}

// say writes a message and sends it with the keyboard.
func (p *tab) say(text string) {
	p.t.Helper()
	p.until(`document.activeElement.id === "prompt"`)
	p.write(text)
	p.press("Enter")
}

// limit sets how long replies get.
func (p *tab) limit(tokens string) {
	p.t.Helper()
	p.click("#open-settings")
	p.until(`document.querySelector("#settings").open`)
	p.click("#max_tokens")
	p.write(tokens)
	p.click("#temperature")
	p.write("0")
	p.press("Escape")
	p.until(`!document.querySelector("#settings").open`)
	p.click("#prompt")
}

const (
	answered   = `document.querySelector("#stop").hidden && document.querySelector(".assistant:last-child .foot").textContent.includes("Again")`
	lastReply  = `document.querySelector(".assistant:last-child .text").innerText`
	replyNote  = `document.querySelector(".assistant:last-child .foot").innerText`
	errorShown = `!document.querySelector("#error").hidden`
)

// TestConversation writes, reads, and finds it all again after a reload, also
// with the model: the second question's prompt holds the first.
func TestConversation(t *testing.T) {
	p := enter(t, 1280, 800)
	p.limit("12")
	p.say("Hello <b>there</b>")
	p.until(answered)
	first, note := p.eval(lastReply), p.eval(replyNote).(string)
	if first == "" || !strings.Contains(note, "12 tokens · ") || !strings.Contains(note, " tokens/s · first token after") {
		t.Errorf("the reply is %q, its note %q", first, note)
	}
	if got := p.eval(`document.querySelector(".user .text").textContent`); got != "Hello <b>there</b>" {
		t.Errorf("the message became %q", got)
	}
	p.say("And who are you?")
	p.until(`document.querySelectorAll(".assistant").length === 2 && ` + answered)
	all := p.eval(`document.querySelector("#log").innerText`)

	p.reload()
	p.until(`document.querySelectorAll(".assistant").length === 2`)
	if got := p.eval(`document.querySelector("#log").innerText`); got != all {
		t.Errorf("after a reload the conversation is\n%s\nwant\n%s", got, all)
	}
	p.until(`document.querySelector("#model").textContent !== ""`) // the key is kept as well
	if got := p.eval(`document.querySelector("#max_tokens").value`); got != "12" {
		t.Errorf("max_tokens became %q", got)
	}

	p.click("#clear")
	p.until(`document.querySelectorAll(".turn").length === 0 && !document.querySelector("#empty").hidden`)
	p.reload()
	p.until(`!document.querySelector("#empty").hidden`)
}

// TestThoughtsAndCalls shows reasoning while there is nothing else, then folds
// it; shows the tools that a reply calls, and sends their results.
func TestThoughtsAndCalls(t *testing.T) {
	p := enter(t, 1280, 800)
	p.click("#open-settings")
	p.until(`document.querySelector("#settings").open`)
	p.click("#tools")
	p.write(`[{`)
	if p.eval(`document.querySelector("#tools").checkValidity()`) == true {
		t.Error("half an array is taken for tools")
	}
	p.write(`"type":"function","function":{"name":"weather"}}]`)
	p.press("Escape")
	p.until(`!document.querySelector("#settings").open`)
	p.click("#prompt")

	way.says.Store(&[]string{
		`{"role":"assistant","content":""}`, `{"reasoning_content":"Two "}`, `{"reasoning_content":"places."}`, `{"content":"Let me see."}`,
	})
	const thought = `document.querySelector(".assistant:last-child .thought")`
	p.say("Rain?")
	p.until(thought + `?.open && ` + thought + `.innerText.includes("Thinking") && ` + thought + `.innerText.includes("Two places.")`)
	way.goOn <- true
	p.until(answered)
	if p.eval(thought+`.open`) == true || p.eval(thought+`.querySelector("summary").innerText`) != "Thoughts" || p.eval(lastReply) != "Let me see." {
		t.Errorf("afterwards: %v", p.eval(`document.querySelector(".assistant:last-child").innerText`))
	}
	p.click(".assistant:last-child summary")
	p.until(thought + `.open`)

	way.says.Store(&[]string{
		`{"tool_calls":[{"index":0,"id":"call_1","type":"function","function":{"name":"weather","arguments":""}}]}`,
		`{"tool_calls":[{"index":0,"function":{"arguments":"{\"city\": "}}]}`, `{"tool_calls":[{"index":0,"function":{"arguments":"\"Oslo\"}"}}]}`,
	})
	p.click("#prompt")
	p.say("Well?")
	const calls = `document.querySelector(".assistant:last-child .calls")`
	p.until(calls + `?.innerText.includes("weather") && ` + calls + `.innerText.includes('{"city": ')`)
	way.goOn <- true
	p.until(calls + `.innerText.includes('"city": "Oslo"') && document.querySelector("#result-0") !== null`)

	way.says.Store(&[]string{`{"content":"No rain."}`})
	p.click("#result-0")
	p.write(`{"rain":false}`)
	p.click(".results button")
	way.goOn <- true
	p.until(`document.querySelector(".tool")?.innerText.includes('"rain": false') && ` + answered)
	var request struct {
		Tools    []any
		Messages []struct {
			Role, Content string
			ToolCallID    string `json:"tool_call_id"`
			ToolCalls     []struct {
				ID       string
				Function struct{ Name, Arguments string }
			} `json:"tool_calls"`
		}
	}
	if err := json.Unmarshal(*way.asked.Load(), &request); err != nil {
		t.Fatal(err)
	}
	last := request.Messages[len(request.Messages)-1]
	called := request.Messages[len(request.Messages)-2].ToolCalls
	if len(request.Tools) != 1 || last.Role != "tool" || last.Content != `{"rain":false}` || last.ToolCallID != "call_1" ||
		len(called) != 1 || called[0].ID != "call_1" || called[0].Function.Arguments != `{"city": "Oslo"}` {
		t.Errorf("it sent %s", *way.asked.Load())
	}
	all := p.eval(`document.querySelector("#log").innerText`)
	p.reload()
	p.until(`document.querySelectorAll(".turn").length === 6`)
	if got := p.eval(`document.querySelector("#log").innerText`); !strings.Contains(all.(string), "No rain.") || got.(string) == "" {
		t.Errorf("after a reload the conversation is %q, was %q", got, all)
	}
}

// TestStop stops a reply in its middle, by the button and by the keyboard: what
// came stays, the server learns of it, and the next reply is whole.
func TestStop(t *testing.T) {
	p := enter(t, 390, 844)
	p.limit("8")
	way.holds.Store(true)
	for i, stop := range []func(){func() { p.click("#stop") }, func() { p.press("Escape") }} {
		left := way.left.Load()
		p.say("Tell me a story about a fox")
		p.until(fmt.Sprintf(`document.querySelectorAll(".assistant").length === %d && %s !== "" && !document.querySelector("#stop").hidden`, i+1, lastReply))
		stop()
		p.until(`document.querySelector("#stop").hidden && ` + replyNote + `.includes("stopped")`)
		if p.eval(lastReply) == "" || p.eval(errorShown) == true {
			t.Error("what came is gone, or stopping is taken for an error")
		}
		for way.left.Load() == left { // until its request is cancelled; the test's own time limit bounds this
			p.eval(`new Promise(requestAnimationFrame)`)
		}
	}
	way.holds.Store(false)
	p.say("Once more")
	p.until(`document.querySelectorAll(".assistant").length === 3 && ` + answered)
}

// TestInterrupted reloads while a reply is being written.
func TestInterrupted(t *testing.T) {
	p := enter(t, 390, 844)
	way.holds.Store(true)
	p.say("Tell me a story about a fox")
	p.until(`document.querySelectorAll(".assistant").length === 1 && ` + lastReply + ` !== ""`)
	text := p.eval(lastReply)
	p.reload()
	p.until(replyNote + `.includes("interrupted")`)
	if got := p.eval(lastReply); got != text {
		t.Errorf("of %q there is left %q", text, got)
	}
}

// TestErrors shows what went wrong, and goes on from there.
func TestErrors(t *testing.T) {
	p := enter(t, 390, 844)
	p.limit("8")

	way.breaks.Store(true)
	p.say("Tell me a story about a fox")
	p.until(errorShown + ` && document.querySelector("#error").innerText.includes("the device failed")`)
	if p.eval(lastReply) == "" {
		t.Error("what came before the error is gone")
	}
	p.click("#error button")
	p.until(answered + ` && !(` + errorShown + `)`)
	if n := p.eval(`document.querySelectorAll(".turn").length`); n != 2.0 {
		t.Errorf("after trying again there are %v turns", n)
	}

	p.say(strings.Repeat("far too long ", 3000))
	p.until(errorShown + ` && document.querySelector("#error").innerText.includes("tokens")`)
	p.click("#error button:nth-of-type(2)") // Edit
	p.until(`document.querySelector("#prompt").value.startsWith("far too long") && document.querySelectorAll(".turn").length === 2`)

	p.eval(`sessionStorage.setItem("troupe.key", '"wrong"')`)
	p.reload()
	p.until(errorShown + ` && document.querySelector("#error").innerText.includes("API key") && document.activeElement.id === "key"`)
	p.write(key)
	p.press("Enter")
	p.until(`document.querySelector("#model").textContent !== "" && !(` + errorShown + `)`)
}

// TestBackstage finds every actor at work, and behind a button on a narrow
// screen.
func TestBackstage(t *testing.T) {
	p := enter(t, 1280, 800)
	p.limit("8")
	p.say("Hello")
	p.until(answered)
	for _, name := range []string{"tokenizer 0", "scheduler", "executor", "detokenizer"} {
		p.until(`[...document.querySelectorAll("#actors th")].some((e) => e.textContent === ` + quoted(name) + `)`)
	}
	p.until(`document.querySelector("#health").textContent === "ready"`)
	p.until(`/\d+ tokens a page/.test(document.querySelector("#pages-note").textContent)`)
	p.until(`/^\d/.test(document.querySelector("#rate").textContent)`) // the second look
	p.size(390, 844)
	p.until(`document.querySelector("#live").offsetParent === null`)
	p.click("#toggle-live")
	p.until(`document.querySelector("#live").offsetParent !== null && document.querySelector("main").offsetParent === null`)
}

// TestLooks checks what can be measured of how it looks, at both widths and in
// both schemes: nothing is cut off, every control has a name, text is readable.
// TROUPE_PICTURES names a directory to write pictures to.
func TestLooks(t *testing.T) {
	p := enter(t, 1280, 800)
	p.limit("60")
	p.say("Tell me a story about a fox")
	p.until(answered)
	p.until(`/^\d/.test(document.querySelector("#rate").textContent)`)
	for _, scheme := range []string{"light", "dark"} {
		p.prefer(scheme)
		for _, width := range []int{320, 390, 1280} {
			p.size(width, 844)
			for _, view := range []string{"chat", "live", "settings"} {
				p.eval(fmt.Sprintf(`(() => {
					document.body.classList.toggle("live", %[1]q === "live");
					const d = document.querySelector("#settings");
					if (%[1]q === "settings") d.showModal(); else d.close();
				})()`, view))
				where := fmt.Sprintf("%s-%d-%s", view, width, scheme)
				for _, fault := range p.eval(audit).([]any) {
					t.Errorf("%s: %v", where, fault)
				}
				if dir := os.Getenv("TROUPE_PICTURES"); dir != "" {
					if err := os.WriteFile(filepath.Join(dir, where+".png"), p.picture(), 0o644); err != nil {
						t.Fatal(err)
					}
				}
			}
		}
	}
}

// audit lists faults. Contrast is WCAG 2's, of text on the nearest background
// that is not transparent; colours here have no other transparency.
const audit = `(() => {
	const faults = [];
	if (document.documentElement.scrollWidth > innerWidth) faults.push("wider than the window: " + document.documentElement.scrollWidth);
	const luminance = (c) => c.match(/[\d.]+/g).slice(0, 3).map((v) => v / 255)
		.map((v) => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
		.reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
	const behind = (e) => {
		for (; e; e = e.parentElement) {
			const c = getComputedStyle(e).backgroundColor;
			if (!c.startsWith("rgba(")) return c;
		}
		return "rgb(255, 255, 255)";
	};
	for (const e of document.body.querySelectorAll("*")) {
		if (!e.checkVisibility() || e.disabled) continue;
		const name = e.tagName + (e.id && "#" + e.id);
		if (e.matches("button, input, textarea") && !(e.labels?.length || e.textContent.trim())) faults.push(name + " has no name");
		if (e.matches("button") && e.getBoundingClientRect().height < 24) faults.push(name + " is too small to hit");
		if (![...e.childNodes].some((n) => n.nodeType === 3 && n.data.trim())) continue;
		const [a, b] = [luminance(getComputedStyle(e).color), luminance(behind(e))];
		const contrast = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
		if (contrast < 4.5) faults.push(name + " has a contrast of " + contrast.toFixed(2));
	}
	return faults;
})()`

// TestMarkdown shows what models write as it is meant, and nothing as HTML.
func TestMarkdown(t *testing.T) {
	p := enter(t, 1280, 800)
	for i, c := range []struct{ text, want string }{
		{"Plain\ntwo lines, 2 * 3 * 4, <b>no</b>\n\nMore", "<p>Plain\ntwo lines, 2 * 3 * 4, &lt;b&gt;no&lt;/b&gt;</p><p>More</p>"},
		{"## Head **x**\nText\n---\n> said\n> `so`\nafter", "<h4>Head <strong>x</strong></h4><p>Text</p><hr><blockquote><p>said\n<code>so</code></p></blockquote><p>after</p>"},
		{"Some:\n- one\n  - in *it*\n\n  more\n- **two**\n\nEnd", "<p>Some:</p><ul><li><p>one</p><ul><li><p>in <em>it</em></p></li></ul><p>more</p></li><li><p><strong>two</strong></p></li></ul><p>End</p>"},
		{"3. a\n   ```go\n   x\n   ```\n4. b\n- c", `<ol start="3"><li><p>a</p><pre><code>x</code></pre></li><li><p>b</p></li></ol><ul><li><p>c</p></li></ul>`},
		{"| a | b |\n|---|:-:|\n| `1` | 2 |\n\nIn 2026. It", `<div class="table"><table><thead><tr><th>a</th><th>b</th></tr></thead><tbody><tr><td><code>1</code></td><td>2</td></tr></tbody></table></div><p>In 2026. It</p>`},
		{"```\nopen\n\n  code", "<pre><code>open\n\n  code</code></pre>"},
		{"a | b\n***\n- x\n-\n|", "<p>a | b</p><hr><ul><li><p>x</p></li><li></li></ul><p>|</p>"},
		{strings.Repeat(">", 17), strings.Repeat("<blockquote>", 16) + "<p>&gt;</p>" + strings.Repeat("</blockquote>", 16)},
		{strings.Repeat("- ", 17) + "x", strings.Repeat("<ul><li>", 16) + "<p>- x</p>" + strings.Repeat("</li></ul>", 16)},
	} {
		delta, err := json.Marshal(map[string]string{"content": c.text})
		if err != nil {
			t.Fatal(err)
		}
		way.says.Store(&[]string{string(delta), `{}`})
		p.say("Go on")
		way.goOn <- true
		p.until(fmt.Sprintf(`document.querySelectorAll(".assistant").length === %d && `, i+1) + answered)
		if got := p.eval(`[...document.querySelectorAll(".assistant .text")].at(-1).innerHTML`); got != c.want {
			t.Errorf("%q becomes\n%s\nwant\n%s", c.text, got, c.want)
		}
	}
}
