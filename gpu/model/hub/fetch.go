package hub

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"time"
)

// PullDataset downloads files of a data set's repository into the directory,
// under the names they have there, as Pull does a checkpoint's: resumed, and
// checked against the hub's listing.
func PullDataset(ctx context.Context, c Config, names []string) (*Result, error) {
	if err := c.check(); err != nil {
		return nil, err
	}
	p := newPuller(c, "datasets")
	r, err := p.pullFiles(ctx, names)
	if err != nil {
		return nil, fmt.Errorf("pull %s: %w", c.Repo, err)
	}
	return r, nil
}

func (p *puller) pullFiles(ctx context.Context, names []string) (*Result, error) {
	l, err := p.list(ctx)
	if err != nil {
		return nil, err
	}
	var files []File
	for _, name := range names {
		if !filepath.IsLocal(name) {
			return nil, fmt.Errorf("file %q, want a path inside the repository", name)
		}
		i := slices.IndexFunc(l.Siblings, func(s sibling) bool { return s.Name == name })
		if i < 0 {
			var others []string
			for _, s := range l.Siblings {
				others = append(others, s.Name)
			}
			return nil, fmt.Errorf("it has no file %s; it has %s", name, some(others))
		}
		f, err := l.Siblings[i].file()
		if err != nil {
			return nil, err
		}
		files = append(files, f)
		p.total += f.Size
		if err := os.MkdirAll(filepath.Dir(filepath.Join(p.Dir, name)), 0o755); err != nil {
			return nil, err
		}
	}
	if err := p.fetchAll(ctx, files); err != nil {
		return nil, err
	}
	return &Result{Commit: p.commit, Files: files, Fetched: p.fetched}, nil
}

// FetchConfig says which file to fetch, from where and where to.
type FetchConfig struct {
	URL    string
	Path   string // of the file; its directory is made when missing
	Size   int64
	SHA256 string // of the content, in hexadecimal
	// Client, Progress and Retrying are as in Config.
	Client   *http.Client
	Progress func(done, total int64)
	Retrying func(err error, after time.Duration)
}

// Fetch downloads one file from a server that need not be a hub. It may be
// called again after an error: what had come is resumed where the server can,
// and a file that is there and right is left alone. It returns how many bytes
// came over the network.
func Fetch(ctx context.Context, c FetchConfig) (fetched int64, err error) {
	p, f, err := c.puller()
	if err != nil {
		return 0, fmt.Errorf("fetch %s: %w", c.URL, err)
	}
	if err := p.fetchAll(ctx, []File{f}); err != nil {
		return 0, fmt.Errorf("fetch %w", err) // it names the file
	}
	return p.fetched, nil
}

// puller is one that fetches a single file.
func (c *FetchConfig) puller() (*puller, File, error) {
	u, err := url.Parse(c.URL)
	switch {
	case err != nil || u.Host == "" || (u.Scheme != "http" && u.Scheme != "https"):
		return nil, File{}, errors.New("want http(s)://host/path")
	case c.Size < 0 || !isHex(c.SHA256, sha256.Size):
		return nil, File{}, fmt.Errorf("%d bytes with SHA-256 %q are nothing to check a file by", c.Size, c.SHA256)
	}
	dir, name := filepath.Split(c.Path)
	if name == "" {
		return nil, File{}, fmt.Errorf("path %q names no file", c.Path)
	}
	if dir == "" {
		dir = "."
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, File{}, err
	}
	client := c.Client
	if client == nil {
		client = http.DefaultClient
	}
	p := &puller{
		Config: Config{Dir: dir, Endpoint: u.Scheme + "://" + u.Host, Parallel: 1, Client: client, Progress: c.Progress, Retrying: c.Retrying},
		source: u.Host, stall: time.Minute, tries: attempts, wait: sleep, total: c.Size, store: directory(dir),
		place: func(File) string { return u.RequestURI() },
	}
	return p, File{Name: name, Size: c.Size, SHA256: c.SHA256}, nil
}
