package hub

import (
	"cmp"
	"context"
	"crypto/sha1"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// A cache is a directory that programs share, as Hugging Face's huggingface_hub
// lays it out:
//
//	models--OWNER--NAME/
//	    blobs/HASH              a file's content; SHA-256, or Git's SHA-1 of small ones
//	    refs/REVISION           the commit that a branch or tag was, when last asked
//	    snapshots/COMMIT/NAME   a link to its blob, ../../blobs/HASH
//	    .no_exist/COMMIT/NAME   empty: the commit has no such file
//	.locks/models--OWNER--NAME/HASH.lock   held (flock) while the blob is written
//
// Where links cannot be made (Windows without the right), the file itself stands
// in the snapshot, as huggingface_hub has it then.

const (
	repoPrefix = "models--"
	noExist    = ".no_exist"
	// unfinished ends a blob that is on its way. Other programs name theirs
	// otherwise and keep off it.
	unfinished = ".troupe.incomplete"
)

// repoDir is a repository's directory in a cache.
func repoDir(cache, repo string) string {
	return filepath.Join(cache, repoPrefix+strings.ReplaceAll(repo, "/", "--"))
}

// Snapshot is one commit of a repository in a cache.
type Snapshot struct {
	Repo   string
	Commit string
	Refs   []string // branches and tags that were this commit when last asked
	Dir    string
	Bytes  int64     // of its files; snapshots may share them
	Time   time.Time // of the newest
	// Missing are files that a model needs and that are not here: config.json,
	// one of the weights, and tokenizer.json unless the commit is known to have
	// none. Other programs fetch files one by one.
	Missing []string
}

// Find looks for a revision in a cache; that it is not there is fs.ErrNotExist.
func Find(cache, repo, revision string) (Snapshot, error) {
	s := Snapshot{Repo: repo, Commit: revision}
	if !isHex(revision, sha1.Size) {
		data, err := os.ReadFile(filepath.Join(repoDir(cache, repo), "refs", filepath.FromSlash(revision)))
		if err != nil {
			return s, err
		}
		if s.Commit = strings.TrimSpace(string(data)); !isHex(s.Commit, sha1.Size) {
			return s, fmt.Errorf("%s of %s in the cache is %q, want a commit", revision, repo, s.Commit)
		}
	}
	s.Dir = filepath.Join(repoDir(cache, repo), "snapshots", s.Commit)
	if _, err := os.Stat(s.Dir); err != nil {
		return s, err
	}
	s.look(filepath.Join(repoDir(cache, repo), noExist, s.Commit))
	return s, nil
}

// Runs reports whether there are a configuration and weights, though perhaps no
// tokenizer.
func (s *Snapshot) Runs() bool {
	return !slices.ContainsFunc(s.Missing, func(name string) bool { return name != tokenizerFile })
}

const (
	configFile    = "config.json"
	tokenizerFile = "tokenizer.json"
)

// look finds out what is missing. absent is where what the commit lacks is
// marked.
func (s *Snapshot) look(absent string) {
	has := func(name string) bool {
		info, err := os.Stat(filepath.Join(s.Dir, name)) // of what a link is to
		return err == nil && info.Mode().IsRegular()
	}
	if !has(configFile) {
		s.Missing = append(s.Missing, configFile)
	}
	if !has(singleFile) {
		s.Missing = append(s.Missing, s.missingShard(has)...)
	}
	if _, err := os.Stat(filepath.Join(absent, tokenizerFile)); err != nil && !has(tokenizerFile) {
		s.Missing = append(s.Missing, tokenizerFile)
	}
}

// missingShard is the first part of the weights that is not here, or nothing.
func (s *Snapshot) missingShard(has func(string) bool) []string {
	data, err := os.ReadFile(filepath.Join(s.Dir, indexFile))
	var index struct {
		Files map[string]string `json:"weight_map"`
	}
	if err != nil || json.Unmarshal(data, &index) != nil || len(index.Files) == 0 {
		return []string{singleFile}
	}
	for _, name := range slices.Sorted(maps.Values(index.Files)) {
		if !filepath.IsLocal(name) || !has(name) {
			return []string{name}
		}
	}
	return nil
}

// List returns the snapshots of models in a cache, by name. A cache that does
// not exist yet is empty.
func List(cache string) ([]Snapshot, error) {
	entries, err := os.ReadDir(cache)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	var all []Snapshot
	for _, e := range entries {
		name, is := strings.CutPrefix(e.Name(), repoPrefix)
		if !is || !e.IsDir() {
			continue
		}
		found, listErr := snapshots(cache, strings.Replace(name, "--", "/", 1))
		all, err = append(all, found...), errors.Join(err, listErr)
	}
	slices.SortFunc(all, func(a, b Snapshot) int { return cmp.Or(strings.Compare(a.Repo, b.Repo), b.Time.Compare(a.Time)) })
	return all, err
}

// snapshots are those of a repository.
func snapshots(cache, repo string) (all []Snapshot, err error) {
	dir := repoDir(cache, repo)
	entries, err := os.ReadDir(filepath.Join(dir, "snapshots"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	refs := readRefs(dir)
	for _, e := range entries {
		if !isHex(e.Name(), sha1.Size) {
			continue
		}
		s, err := Find(cache, repo, e.Name())
		if err != nil {
			return nil, err
		}
		s.Refs = refs[s.Commit]
		if err := s.measure(); err != nil {
			return nil, err
		}
		all = append(all, s)
	}
	return all, nil
}

// readRefs are a repository's branches and tags, by commit.
func readRefs(dir string) map[string][]string {
	root, refs := filepath.Join(dir, "refs"), map[string][]string{}
	_ = filepath.WalkDir(root, func(path string, e fs.DirEntry, err error) error { // what cannot be read names nothing
		if err == nil && !e.IsDir() {
			data, readErr := os.ReadFile(path)
			if name, relErr := filepath.Rel(root, path); readErr == nil && relErr == nil {
				commit := strings.TrimSpace(string(data))
				refs[commit] = append(refs[commit], filepath.ToSlash(name))
			}
		}
		return nil
	})
	return refs
}

// measure finds the size and the age of the files.
func (s *Snapshot) measure() error {
	return filepath.WalkDir(s.Dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		info, err := os.Stat(path)
		if errors.Is(err, fs.ErrNotExist) { // a link to a blob that is gone
			return nil
		}
		if err != nil {
			return err
		}
		s.Bytes += info.Size()
		if info.ModTime().After(s.Time) {
			s.Time = info.ModTime()
		}
		return nil
	})
}

// Remove takes a model out of a cache: one revision, with the blobs that no
// other needs, or with "" all of the repository. It returns how many bytes that
// frees. What is not there is fs.ErrNotExist.
func Remove(cache, repo, revision string) (freed int64, err error) {
	if !repoName.MatchString(repo) || strings.Contains(repo, "..") {
		return 0, fmt.Errorf("repository %q, want owner/name", repo)
	}
	dir := repoDir(cache, repo)
	if revision == "" {
		if _, err := os.Stat(dir); err != nil {
			return 0, err
		}
		return blobBytes(dir, nil), errors.Join(os.RemoveAll(dir), os.RemoveAll(lockDir(cache, repo)))
	}
	s, err := Find(cache, repo, revision)
	if err != nil {
		return 0, err
	}
	others, err := snapshots(cache, repo)
	if err != nil {
		return 0, err
	}
	others = slices.DeleteFunc(others, func(o Snapshot) bool { return o.Commit == s.Commit })
	if len(others) == 0 {
		return Remove(cache, repo, "")
	}
	kept := map[string]bool{}
	for _, o := range others {
		linked(o.Dir, kept)
	}
	return s.remove(dir, kept)
}

// linked notes the blobs that a snapshot's links are to.
func linked(dir string, blobs map[string]bool) {
	_ = filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error { // what cannot be read keeps nothing
		if to, err := os.Readlink(path); err == nil {
			blobs[filepath.Base(to)] = true
		}
		return nil
	})
}

// remove takes the snapshot away, what names it, and its blobs but those kept.
func (s *Snapshot) remove(dir string, kept map[string]bool) (freed int64, err error) {
	mine := map[string]bool{}
	linked(s.Dir, mine)
	for _, ref := range readRefs(dir)[s.Commit] {
		err = errors.Join(err, os.Remove(filepath.Join(dir, "refs", filepath.FromSlash(ref))))
	}
	err = errors.Join(err, os.RemoveAll(s.Dir), os.RemoveAll(filepath.Join(dir, noExist, s.Commit)))
	freed, gone := removeBlobs(dir, mine, kept)
	return freed, errors.Join(err, gone)
}

// removeBlobs takes blobs away, but those that are kept.
func removeBlobs(dir string, mine, kept map[string]bool) (freed int64, err error) {
	for blob := range mine {
		if kept[blob] {
			delete(mine, blob)
		}
	}
	freed = blobBytes(dir, mine)
	for blob := range mine {
		if gone := os.Remove(filepath.Join(dir, "blobs", blob)); !errors.Is(gone, fs.ErrNotExist) {
			err = errors.Join(err, gone)
		}
	}
	return freed, err
}

// blobBytes is the size of blobs, of all when none are named, and of files that
// stand in snapshots themselves.
func blobBytes(dir string, of map[string]bool) (n int64) {
	_ = filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error { // what cannot be read frees nothing
		if err == nil && e.Type().IsRegular() && (of == nil || of[e.Name()]) {
			if info, err := e.Info(); err == nil {
				n += info.Size()
			}
		}
		return nil
	})
	return n
}

// cached is where a pull into a cache puts files.
type cached struct {
	cache, repo string
	commit      string
	wait        func(ctx context.Context, d time.Duration) error
}

func (c *cached) dir() string { return repoDir(c.cache, c.repo) }

func (c *cached) snapshot() string { return filepath.Join(c.dir(), "snapshots", c.commit) }

func (c *cached) prepare(weights []File) error {
	err := errors.Join(os.MkdirAll(filepath.Join(c.dir(), "blobs"), 0o755), os.MkdirAll(c.snapshot(), 0o755), os.MkdirAll(lockDir(c.cache, c.repo), 0o755))
	return errors.Join(err, makeDirs(c.snapshot(), weights))
}

// paths are a blob's, or those of the file in the snapshot where links cannot
// be made.
func (c *cached) paths(f File) (name, part string) {
	_, sum := f.hasher()
	blob := filepath.Join(c.dir(), "blobs", strings.ToLower(sum))
	if info, err := os.Lstat(filepath.Join(c.snapshot(), f.Name)); err == nil && info.Mode().IsRegular() {
		return filepath.Join(c.snapshot(), f.Name), blob + unfinished
	}
	return blob, blob + unfinished
}

// hold keeps other programs from writing the blob meanwhile.
func (c *cached) hold(ctx context.Context, f File) (release func(), err error) {
	_, sum := f.hasher()
	return lock(ctx, filepath.Join(lockDir(c.cache, c.repo), strings.ToLower(sum)+".lock"), c.wait)
}

// placed makes the link of a blob that is there.
func (c *cached) placed(f File) error {
	link := filepath.Join(c.snapshot(), f.Name)
	blob, _ := c.paths(f)
	if blob == link {
		return nil
	}
	to, err := filepath.Rel(filepath.Dir(link), blob)
	if err != nil {
		return err
	}
	if was, err := os.Readlink(link); err == nil && was == to {
		return nil
	}
	if err := os.Remove(link); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if os.Symlink(to, link) == nil {
		return nil
	}
	return os.Rename(blob, link)
}

// done marks what the commit lacks, and at last which commit the revision is.
func (c *cached) done(revision string, lacks []string) error {
	absent := filepath.Join(c.dir(), noExist, c.commit)
	for _, name := range lacks {
		if err := c.write(filepath.Join(absent, name), nil); err != nil {
			return err
		}
	}
	if revision == c.commit {
		return nil
	}
	return c.write(filepath.Join(c.dir(), "refs", filepath.FromSlash(revision)), []byte(c.commit))
}

// write writes a file at once: who reads it sees all or nothing of it, and
// others may write the same.
func (c *cached) write(name string, data []byte) error {
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		return err
	}
	part, err := os.CreateTemp(c.dir(), "*"+unfinished)
	if err != nil {
		return err
	}
	_, err = part.Write(data)
	if err = errors.Join(err, part.Chmod(0o644), part.Close()); err == nil {
		err = os.Rename(part.Name(), name)
	}
	if err != nil {
		return errors.Join(err, os.Remove(part.Name()))
	}
	return nil
}

func lockDir(cache, repo string) string {
	return filepath.Join(cache, ".locks", filepath.Base(repoDir(cache, repo)))
}
