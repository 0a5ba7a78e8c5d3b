// Package hub downloads checkpoints from a Hugging Face hub.
//
// A pull lists the repository at one commit, fetches the small files, asks
// package model whether anything here can run them, and only then fetches the
// weights. Every file is checked against the size and the hash that the hub
// lists; what a broken connection or a stopped program leaves behind is
// resumed where it ended. Read hub.go (the pull), list.go (what there is),
// download.go (one file), dir.go and cache.go (where files go), get.go (what
// is there already).
package hub

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"time"

	"github.com/troupe-llm/troupe/gpu/model"
)

// DefaultEndpoint is the public hub, ModelScopeEndpoint the other one.
const (
	DefaultEndpoint    = "https://huggingface.co"
	ModelScopeEndpoint = "https://modelscope.cn"
)

// Config says what to pull and where to.
type Config struct {
	Repo     string // "owner/name"
	Revision string // branch, tag or commit; "": "main", of ModelScope "master"
	// GGUF is how the GGUF file is quantised that is wanted, "Q4_K_M"; "": safetensors
	// are.
	GGUF     string
	Dir      string // where files go; made when missing
	Cache    string // or, without Dir, a cache that programs share: see cache.go
	Endpoint string // "": DefaultEndpoint or ModelScopeEndpoint
	// ModelScope says that the endpoint speaks ModelScope's API. It names no
	// commits, so what comes from there goes into a Dir.
	ModelScope bool
	Token      string // for gated and private repositories; sent to Endpoint's host only
	Parallel   int    // files at once; 0: 4
	// NoWeights leaves out what a model with random weights does without.
	NoWeights bool
	// Client is the HTTP client; nil: http.DefaultClient. Give it no overall
	// timeout: a file may take hours. Connections that fall silent are noticed.
	Client *http.Client
	// Progress, when set, hears how many of total bytes are there and checked
	// or on their way to it. One call at a time.
	Progress func(done, total int64)
	// Retrying, when set, hears what went wrong before it is tried again, and how
	// soon. One call at a time.
	Retrying func(err error, after time.Duration)
}

// Result is what a pull brought.
type Result struct {
	Dir     string // that model.Open opens; of a GGUF file the file
	Commit  string // the commit that all files are of, "" of ModelScope
	Files   []File
	Fetched int64 // bytes that came over the network
}

// What weights are called, in one file or in parts.
const (
	singleFile = "model.safetensors"
	indexFile  = "model.safetensors.index.json"
)

var (
	repoName     = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]*(/[A-Za-z0-9][A-Za-z0-9._-]*)?$`)
	revisionName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._/-]*$`)
)

// check fills in defaults and reports all faults at once.
func (c *Config) check() error {
	var faults []error
	if !repoName.MatchString(c.Repo) || strings.Contains(c.Repo, "..") {
		faults = append(faults, fmt.Errorf("repository %q, want owner/name", c.Repo))
	}
	c.Revision = cmp.Or(c.Revision, map[bool]string{false: "main", true: "master"}[c.ModelScope])
	if !revisionName.MatchString(c.Revision) || strings.Contains(c.Revision, "..") {
		faults = append(faults, fmt.Errorf("revision %q, want a branch, tag or commit", c.Revision))
	}
	if (c.Dir == "") == (c.Cache == "") {
		faults = append(faults, errors.New("no directory to pull into, or two"))
	}
	if c.ModelScope && c.Cache != "" {
		faults = append(faults, errors.New("ModelScope names no commits, which a cache goes by: want a directory"))
	}
	c.Endpoint = strings.TrimRight(cmp.Or(c.Endpoint, map[bool]string{false: DefaultEndpoint, true: ModelScopeEndpoint}[c.ModelScope]), "/")
	if u, err := url.Parse(c.Endpoint); err != nil || u.Host == "" || (u.Scheme != "http" && u.Scheme != "https") {
		faults = append(faults, fmt.Errorf("endpoint %q, want http(s)://host", c.Endpoint))
	}
	if c.Parallel == 0 {
		c.Parallel = 4
	}
	if c.Parallel < 0 {
		faults = append(faults, fmt.Errorf("%d files at once", c.Parallel))
	}
	if c.Client == nil {
		c.Client = http.DefaultClient
	}
	return errors.Join(faults...)
}

// guarded returns the client, made to keep the token from every other host:
// net/http itself would show it to subdomains.
func guarded(c *http.Client) *http.Client {
	g, check := *c, c.CheckRedirect
	g.CheckRedirect = func(next *http.Request, via []*http.Request) error {
		if next.URL.Host != via[0].URL.Host {
			next.Header.Del("Authorization")
		}
		switch {
		case check != nil:
			return check(next, via)
		case len(via) >= 10:
			return errors.New("more than ten redirects")
		}
		return nil
	}
	return &g
}

// Pull downloads a checkpoint into a directory that model.Open then opens. It
// may be called again after an error, or for a newer revision: files that are
// there and right are kept. Two pulls into one Dir must not run at once; into a
// cache they may, of whatever programs.
func Pull(ctx context.Context, c Config) (*Result, error) {
	if err := c.check(); err != nil {
		return nil, err
	}
	p := newPuller(c, "models")
	r, err := p.pull(ctx)
	if err != nil {
		return nil, fmt.Errorf("pull %s: %w", c.Repo, err)
	}
	return r, nil
}

// puller is one pull.
type puller struct {
	Config
	kind   string // "models" or "datasets"
	source string // what errors call the server
	commit string
	place  func(File) string                                // its path on the server
	store  store                                            // once the commit is known
	tries  int                                              // without a byte of progress
	stall  time.Duration                                    // silence that ends a connection
	wait   func(ctx context.Context, d time.Duration) error // between attempts

	mu      sync.Mutex // guards the rest, and calls of Progress and Retrying
	done    int64      // Invariant: 0 ≤ done ≤ total
	total   int64
	fetched int64
}

// newPuller pulls from a repository of the kind; c has been checked.
func newPuller(c Config, kind string) *puller {
	c.Client = guarded(c.Client)
	p := &puller{Config: c, kind: kind, source: "the hub", stall: time.Minute, tries: attempts, wait: sleep, store: directory(c.Dir)}
	p.place = func(f File) string {
		path := "/" + p.Repo + "/resolve/" + cmp.Or(p.commit, p.Revision)
		if p.kind != "models" || p.ModelScope {
			path = "/" + p.kind + path
		}
		for part := range strings.SplitSeq(f.Name, "/") {
			path += "/" + url.PathEscape(part)
		}
		return path
	}
	return p
}

func (p *puller) pull(ctx context.Context) (*Result, error) {
	l, err := p.list(ctx)
	if err != nil {
		return nil, err
	}
	var small, weights []File
	if p.GGUF != "" {
		weights, err = l.gguf(p.GGUF)
	} else if small, weights, err = l.checkpoint(); p.NoWeights {
		weights = nil
	}
	if err != nil {
		return nil, err
	}
	cache, dir := p.into()
	if p.GGUF != "" { // which tells what it is when all of it is there
		dir = filepath.Join(dir, filepath.FromSlash(weights[0].Name))
	}
	for _, f := range append(small, weights...) {
		p.total += f.Size
	}
	if err := p.store.prepare(weights); err != nil {
		return nil, err
	}
	if err := p.fetchAll(ctx, small); err != nil {
		return nil, err
	}
	if err := opens(dir, true); err != nil && p.GGUF == "" { // before gigabytes come for nothing
		return nil, err
	}
	if err := p.fetchAll(ctx, weights); err != nil {
		return nil, err
	}
	if err := opens(dir, p.NoWeights && p.GGUF == ""); err != nil { // complete?
		return nil, err
	}
	if cache != nil {
		err = cache.done(p.Revision, l.lacks())
	}
	return &Result{Dir: dir, Commit: p.commit, Files: append(small, weights...), Fetched: p.fetched}, err
}

// into is where the commit goes: the cache, nil when it is none, and the
// directory to open.
func (p *puller) into() (*cached, string) {
	if p.Cache == "" {
		return nil, p.Dir
	}
	c := &cached{cache: p.Cache, repo: p.Repo, commit: p.commit, wait: p.wait}
	p.store = c
	return c, c.snapshot()
}

// opens says why a directory is no model.
func opens(dir string, dummy bool) error {
	m, err := model.Open(dir, dummy)
	if err != nil {
		return err
	}
	return m.Close()
}

// fetchAll fetches files, some at once, and stops at the first error.
func (p *puller) fetchAll(ctx context.Context, files []File) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	queue := make(chan File, len(files))
	for _, f := range files {
		queue <- f
	}
	close(queue)
	var wg sync.WaitGroup
	for range min(p.Parallel, len(files)) {
		wg.Go(func() {
			for f := range queue {
				if ctx.Err() != nil {
					return
				}
				if err := p.fetch(ctx, f); err != nil {
					cancel(fmt.Errorf("%s: %w", f.Name, err)) // the first cause counts
					return
				}
			}
		})
	}
	wg.Wait()
	return context.Cause(ctx)
}

// progress moves done; n is negative when bytes turn out to be of no use.
func (p *puller) progress(n int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.done += n
	if p.Progress != nil {
		p.Progress(p.done, p.total)
	}
}

// sleep waits for d or for the end of ctx.
func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
