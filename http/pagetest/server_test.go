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
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

const (
	// sources is where the page's modules are served each by itself.
	sources = "/sources/"
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
	hides  atomic.Bool  // have no /stats, as where only who runs the server has it
	left   atomic.Int64 // readers that left a reply that was held
	// says, when not nil, is what a reply is made of: the deltas of its chunks,
	// the last of which is not sent before goOn has a value.
	says atomic.Pointer[[]string]
	goOn chan bool
	// also, when not nil, is what /stats says besides: a JSON object.
	also atomic.Pointer[string]
	// models, when not nil, is the same of /v1/models.
	models atomic.Pointer[string]
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
		if strings.HasPrefix(delta, `{"delta"`) { // a whole choice, with probabilities
			fmt.Fprintf(w, "data: {\"choices\":[%s]}\n\n", delta)
			continue
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
		if also := g.also.Load(); also != nil && r.Request.URL.Path == "/stats" {
			return overlay(r, *also)
		}
		if models := g.models.Load(); models != nil && r.Request.URL.Path == "/v1/models" {
			return overlay(r, *models)
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
		if strings.HasPrefix(r.URL.Path, sources) {
			http.StripPrefix(sources, http.FileServer(http.Dir(filepath.Join("..", "playground")))).ServeHTTP(w, r)
			return
		}
		if g.hides.Load() && r.URL.Path == "/stats" {
			http.NotFound(w, r)
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

// overlay puts the members of an object over those of an answer's.
func overlay(r *http.Response, also string) error {
	said := map[string]any{}
	err := json.NewDecoder(r.Body).Decode(&said)
	if err = errors.Join(err, r.Body.Close(), json.Unmarshal([]byte(also), &said)); err != nil {
		return err
	}
	text, err := json.Marshal(said)
	r.Body, r.ContentLength = io.NopCloser(bytes.NewReader(text)), int64(len(text))
	r.Header.Set("Content-Length", strconv.Itoa(len(text)))
	return err
}

// hasText matches an event that has some: the first has none, nor one of tokens alone.
var hasText = regexp.MustCompile(`"content":"[^"]`)

// heldBody is a reply of which only the beginning comes.
type heldBody struct {
	io.Closer
	lines  *bufio.Reader
	rest   []byte // of a line
	g      *gate
	reader context.Context
	told   bool // an event with text has passed
}

// Read reads a line, or as much of one as there is room for.
func (b *heldBody) Read(p []byte) (int, error) {
	if len(b.rest) > 0 {
		n := copy(p, b.rest)
		b.rest = b.rest[n:]
		return n, nil
	}
	if b.told { // all text may come in one
		if b.g.breaks.Swap(false) {
			b.told = false
			b.lines.Reset(strings.NewReader(""))
			return copy(p, "\ndata: {\"error\":{\"message\":\"the device failed\"}}\n\ndata: [DONE]\n\n"), nil
		}
		<-b.reader.Done()
		b.g.left.Add(1)
		return 0, b.reader.Err()
	}
	line, err := b.lines.ReadBytes('\n')
	b.told = b.told || hasText.Match(line)
	n := copy(p, line)
	if b.rest = line[n:]; len(b.rest) > 0 {
		err = nil // until that has been read
	}
	return n, err
}
