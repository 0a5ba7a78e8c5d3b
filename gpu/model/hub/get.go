package hub

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
)

// GetConfig says which model is wanted, and from where it may come.
type GetConfig struct {
	Config
	// Offline asks no hub: what is not in the cache is an error.
	Offline bool
}

// Got is a model that is there.
type Got struct {
	Snapshot
	Path   string  // that model.Open opens: the snapshot, or its GGUF file that is wanted
	Pulled *Result // nil when it was there before
	// Doubt, when set, is why the hub could not be asked for a tokenizer that
	// the cache does not hold; the model runs without it.
	Doubt error
}

// Get returns a model in the cache, pulled when it is not there. What is there
// is used without asking for anything newer: Pull does that.
func Get(ctx context.Context, c GetConfig) (*Got, error) { return get(ctx, c, nil) }

// get is Get with its puller edited, by a test.
func get(ctx context.Context, c GetConfig, edit func(*puller)) (*Got, error) {
	if err := c.check(); err != nil {
		return nil, err
	}
	there, err := Find(c.Cache, c.Repo, c.Revision)
	path := there.Dir
	if c.GGUF != "" && err == nil {
		path, err = there.gguf(c.GGUF)
		there.Missing = nil // of what a GGUF file does not need
	}
	runs := err == nil && there.Runs()
	whole := err == nil && len(there.Missing) == 0
	if c.NoWeights && c.GGUF == "" {
		whole = err == nil && !slices.Contains(there.Missing, configFile) && !slices.Contains(there.Missing, tokenizerFile)
	}
	switch {
	case err != nil && !errors.Is(err, fs.ErrNotExist):
		return nil, err
	case whole || c.Offline && runs:
		return &Got{Snapshot: there, Path: path}, nil
	case c.Offline:
		return nil, notHere{fmt.Errorf("%s%s at %s is not in %s%s, and HF_HUB_OFFLINE keeps from asking for it", c.Repo, prefixed(":", c.GGUF), c.Revision, c.Cache, there.lacking())}
	}
	p := newPuller(c.Config, "models")
	if edit != nil {
		edit(p)
	}
	if runs {
		p.tries = 1
	}
	r, err := p.pull(ctx)
	switch {
	case err == nil:
		s, err := Find(c.Cache, c.Repo, r.Commit)
		return &Got{Snapshot: s, Path: r.Dir, Pulled: r}, err
	case runs && ctx.Err() == nil:
		return &Got{Snapshot: there, Path: path, Doubt: err}, nil
	}
	return nil, fmt.Errorf("pull %s: %w", c.Repo, err)
}

// notHere marks errors about what is not in the cache, as fs.ErrNotExist.
type notHere struct{ error }

func (notHere) Is(target error) bool { return target == fs.ErrNotExist }

func prefixed(prefix, text string) string {
	if text == "" {
		return ""
	}
	return prefix + text
}

// lacking says what a snapshot that is there lacks.
func (s *Snapshot) lacking() string {
	if s.Dir == "" || len(s.Missing) == 0 {
		return ""
	}
	return " whole (" + s.Missing[0] + " is missing)"
}
