package pagetest

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

// browser is a headless Chromium, spoken to by the DevTools protocol over two
// pipes: JSON messages, each ended by a zero byte.
type browser struct {
	in      *os.File
	process *exec.Cmd

	mu      sync.Mutex
	lastID  int                     // guarded by mu
	waiting map[int]chan<- response // guarded by mu; nil: it has ended
}

type response struct {
	ID     int             `json:"id"`
	Result json.RawMessage `json:"result"`
	Error  *struct {
		Message string `json:"message"`
	} `json:"error"`
}

var errEnded = errors.New("the browser ended")

// chromium is the path of one that is installed, or "".
func chromium() string {
	for _, name := range []string{os.Getenv("CHROMIUM"), "chromium", "chromium-headless-shell", "chromium-browser", "google-chrome", "google-chrome-stable"} {
		if name == "" {
			continue
		}
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	return ""
}

// launch starts a browser whose profile is in dir.
func launch(ctx context.Context, path, dir string) (*browser, error) {
	itsIn, in, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	out, itsOut, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(ctx, path, "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
		"--no-first-run", "--no-default-browser-check", "--disable-extensions", "--disable-background-networking",
		"--disable-component-update", "--hide-scrollbars", "--lang=en", "--remote-debugging-pipe", "--user-data-dir="+dir, "about:blank")
	cmd.ExtraFiles = []*os.File{itsIn, itsOut} // 3 and 4
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	_ = itsIn.Close()
	_ = itsOut.Close()
	b := &browser{in: in, process: cmd, waiting: map[int]chan<- response{}}
	go b.listen(out)
	return b, nil
}

// listen hands answers to those who wait for them. Events are not needed.
func (b *browser) listen(out *os.File) {
	defer func() {
		_ = out.Close()
		b.mu.Lock()
		defer b.mu.Unlock()
		for _, c := range b.waiting {
			close(c)
		}
		b.waiting = nil
	}()
	r := bufio.NewReader(out)
	for {
		message, err := r.ReadBytes(0)
		if err != nil {
			return
		}
		var answer response
		if json.Unmarshal(bytes.TrimSuffix(message, []byte{0}), &answer) != nil || answer.ID == 0 {
			continue
		}
		b.mu.Lock()
		if c := b.waiting[answer.ID]; c != nil {
			c <- answer
			delete(b.waiting, answer.ID)
		}
		b.mu.Unlock()
	}
}

// call asks the browser, or a page of it when session is not "". into may be
// nil.
func (b *browser) call(ctx context.Context, session, method string, params, into any) error {
	answered := make(chan response, 1)
	b.mu.Lock()
	if b.waiting == nil {
		b.mu.Unlock()
		return errEnded
	}
	b.lastID++
	message, err := json.Marshal(struct {
		ID      int    `json:"id"`
		Session string `json:"sessionId,omitempty"`
		Method  string `json:"method"`
		Params  any    `json:"params,omitempty"`
	}{b.lastID, session, method, params})
	if err == nil {
		b.waiting[b.lastID] = answered
		_, err = b.in.Write(append(message, 0))
	}
	b.mu.Unlock()
	if err != nil {
		return err
	}
	select {
	case <-ctx.Done():
		return fmt.Errorf("%s: %w", method, ctx.Err())
	case a, ok := <-answered:
		switch {
		case !ok:
			return fmt.Errorf("%s: %w", method, errEnded)
		case a.Error != nil:
			return fmt.Errorf("%s: %s", method, a.Error.Message)
		case into == nil:
			return nil
		}
		return json.Unmarshal(a.Result, into)
	}
}

// quit ends the browser.
func (b *browser) quit(ctx context.Context) error {
	if err := b.call(ctx, "", "Browser.close", nil, nil); err != nil && !errors.Is(err, errEnded) {
		return errors.Join(err, b.process.Process.Kill())
	}
	return b.process.Wait()
}

// tab is a page under test. Its methods fail the test.
type tab struct {
	t       *testing.T
	b       *browser
	session string
	of      string // its browser context
}

type args map[string]any

// open opens a page with a profile of its own: nothing is kept between tests.
func (b *browser) open(t *testing.T, width, height int) *tab {
	t.Helper()
	p := &tab{t: t, b: b}
	var made struct {
		BrowserContextID, TargetID, SessionID string
	}
	p.ask("", "Target.createBrowserContext", nil, &made)
	of := made.BrowserContextID
	t.Cleanup(func() {
		if err := b.call(context.Background(), "", "Target.disposeBrowserContext", args{"browserContextId": of}, nil); err != nil {
			t.Error(err)
		}
	})
	p.ask("", "Target.createTarget", args{"url": "about:blank", "browserContextId": of}, &made)
	p.ask("", "Target.attachToTarget", args{"targetId": made.TargetID, "flatten": true}, &made)
	p.session, p.of = made.SessionID, of
	p.size(width, height)
	return p
}

func (p *tab) ask(session, method string, params, into any) {
	p.t.Helper()
	if err := p.b.call(p.t.Context(), session, method, params, into); err != nil {
		p.t.Fatal(err)
	}
}

func (p *tab) size(width, height int) {
	p.t.Helper()
	p.ask(p.session, "Emulation.setDeviceMetricsOverride", args{"width": width, "height": height, "deviceScaleFactor": 1, "mobile": false}, nil)
}

// prefer sets what the page's media queries see, as "light" or "dark", on a
// screen; onPaper has them see a printer.
func (p *tab) prefer(scheme string) { p.media("screen", scheme) }
func (p *tab) onPaper()             { p.media("print", "light") }

func (p *tab) media(media, scheme string) {
	p.t.Helper()
	p.ask(p.session, "Emulation.setEmulatedMedia", args{"media": media, "features": []args{
		{"name": "prefers-color-scheme", "value": scheme}, {"name": "prefers-reduced-motion", "value": "reduce"},
	}}, nil)
}

// visit loads an address; reload loads the present one again.
func (p *tab) visit(url string) {
	p.t.Helper()
	p.ask(p.session, "Page.navigate", args{"url": url}, nil)
	p.until(`document.readyState === "complete" && location.href === ` + quoted(url))
}

func (p *tab) reload() {
	p.t.Helper()
	p.eval(`window.isOld = true`)
	p.ask(p.session, "Page.reload", nil, nil)
	p.until(`document.readyState === "complete" && !window.isOld`)
}

// eval is the value of an expression, awaited.
func (p *tab) eval(expression string) any {
	p.t.Helper()
	v, err := p.try(expression)
	if err != nil {
		p.t.Fatal(err)
	}
	return v
}

func (p *tab) try(expression string) (any, error) {
	var got struct {
		Result           struct{ Value any }
		ExceptionDetails *struct {
			Text      string
			Exception struct{ Description string }
		}
	}
	err := p.b.call(p.t.Context(), p.session, "Runtime.evaluate",
		args{"expression": expression, "awaitPromise": true, "returnByValue": true, "userGesture": true}, &got)
	if e := got.ExceptionDetails; err == nil && e != nil {
		err = fmt.Errorf("%s: %s %s", expression, e.Text, e.Exception.Description)
	}
	return got.Result.Value, err
}

// until waits for a condition. A page that is being left may take the question
// with it; then the next one is asked.
func (p *tab) until(condition string) {
	p.t.Helper()
	question := fmt.Sprintf(`new Promise((yes) => {
		const end = performance.now() + %d;
		(function look() {
			let is = false;
			try { is = Boolean(%s); } catch {}
			if (is || performance.now() > end) yes(is); else setTimeout(look, 10);
		})();
	})`, patience.Milliseconds(), condition)
	for range 3 {
		switch is, err := p.try(question); {
		case err != nil:
			continue
		case is == true:
			return
		}
		break
	}
	p.t.Fatalf("%s did not come true; the page says:\n%v", condition, p.eval(`document.body.innerText`))
}

// write types text where the focus is.
func (p *tab) write(text string) {
	p.t.Helper()
	p.ask(p.session, "Input.insertText", args{"text": text}, nil)
}

// press presses a key, named as KeyboardEvent.code has it, with what is held
// down: "Ctrl+Alt+KeyN".
func (p *tab) press(keys string) {
	p.t.Helper()
	held := strings.Split(keys, "+")
	code := held[len(held)-1]
	modifiers := 0
	for _, m := range held[:len(held)-1] {
		modifiers |= map[string]int{"Alt": 1, "Ctrl": 2, "Shift": 8}[m]
	}
	named := map[string]struct {
		code int
		text string
	}{"Enter": {13, "\r"}, "Escape": {27, ""}, "Tab": {9, ""}, "ArrowUp": {38, ""}, "ArrowDown": {40, ""}, "ArrowRight": {39, ""}, "Backspace": {8, ""}}[code]
	for _, kind := range []string{"keyDown", "keyUp"} {
		p.ask(p.session, "Input.dispatchKeyEvent", args{
			"type": kind, "key": strings.TrimPrefix(code, "Key"), "code": code, "windowsVirtualKeyCode": named.code, "text": named.text, "modifiers": modifiers,
		}, nil)
	}
}

// click clicks into the middle of an element, as a mouse does: what is covered
// or out of sight is not hit.
func (p *tab) click(selector string) {
	p.t.Helper()
	at, _ := p.eval(fmt.Sprintf(`(() => {
		const e = document.querySelector(%s);
		e.scrollIntoView({ block: "nearest" });
		const r = e.getBoundingClientRect();
		return [r.x + r.width / 2, r.y + r.height / 2];
	})()`, quoted(selector))).([]any)
	for _, kind := range []string{"mousePressed", "mouseReleased"} {
		p.ask(p.session, "Input.dispatchMouseEvent", args{"type": kind, "x": at[0], "y": at[1], "button": "left", "clickCount": 1}, nil)
	}
}

// point moves the mouse to a place of the window.
func (p *tab) point(x, y any) {
	p.t.Helper()
	p.ask(p.session, "Input.dispatchMouseEvent", args{"type": "mouseMoved", "x": x, "y": y}, nil)
}

// choose gives a field for files one.
func (p *tab) choose(selector, path string) {
	p.t.Helper()
	var got struct{ Result struct{ ObjectID string } }
	p.ask(p.session, "Runtime.evaluate", args{"expression": "document.querySelector(" + quoted(selector) + ")"}, &got)
	p.ask(p.session, "DOM.setFileInputFiles", args{"objectId": got.Result.ObjectID, "files": []string{path}}, nil)
}

// downloaded does what downloads a file, and returns what is in it.
func (p *tab) downloaded(do func()) []byte {
	p.t.Helper()
	dir := p.t.TempDir()
	p.ask("", "Browser.setDownloadBehavior", args{"behavior": "allow", "downloadPath": dir, "browserContextId": p.of}, nil)
	do()
	for {
		p.eval(`new Promise(requestAnimationFrame)`) // the test's own time limit bounds this
		files, err := filepath.Glob(filepath.Join(dir, "*.json"))
		if err != nil {
			p.t.Fatal(err)
		}
		if len(files) == 0 {
			continue
		}
		text, err := os.ReadFile(files[0])
		if err != nil {
			p.t.Fatal(err)
		}
		return text
	}
}

// picture is what the page looks like, as a PNG.
func (p *tab) picture() []byte {
	p.t.Helper()
	var got struct{ Data []byte }
	p.ask(p.session, "Page.captureScreenshot", args{"format": "png"}, &got)
	return got.Data
}

func quoted(s string) string {
	text, _ := json.Marshal(s) // a string always is
	return string(text)
}
