package responses

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"
)

// directory has a file for each response: its id with ".json". The files of one
// directory are one process's. Errors after it was opened are told to log: the
// response was given, and what is lost is that it can be continued later.
type directory struct {
	path string
	most int64 // bytes
	keep time.Duration
	log  func(error)

	mu    sync.Mutex
	files []file // the oldest first; guarded by mu
	used  int64  // bytes; guarded by mu
}

type file struct {
	id      string
	size    int64
	written time.Time
}

const extension = ".json"

func openDirectory(path string, most int64, keep time.Duration, log func(error)) (*directory, error) {
	if err := os.MkdirAll(path, 0o700); err != nil {
		return nil, err
	}
	entries, err := os.ReadDir(path)
	if err != nil {
		return nil, err
	}
	d := &directory{path: path, most: most, keep: keep, log: log}
	for _, e := range entries {
		id, is := strings.CutSuffix(e.Name(), extension)
		if !is || !isID(id) || !e.Type().IsRegular() {
			continue
		}
		info, err := e.Info()
		if err != nil {
			return nil, err
		}
		d.files = append(d.files, file{id, info.Size(), info.ModTime()})
		d.used += info.Size()
	}
	slices.SortStableFunc(d.files, func(a, b file) int { return a.written.Compare(b.written) })
	d.mu.Lock()
	defer d.mu.Unlock()
	d.shed(time.Now())
	return d, nil
}

// isID reports whether a text is as this package's ids are, and so names a file
// here and no other.
func isID(id string) bool {
	rest, is := strings.CutPrefix(id, responsePrefix)
	return is && rest != "" && strings.Trim(rest, "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567") == ""
}

func (d *directory) name(id string) string { return filepath.Join(d.path, id+extension) }

// write keeps a response. A file is whole when it has its name.
func (d *directory) write(k *kept, now time.Time) {
	text, err := json.Marshal(recordOf(k))
	if err != nil {
		d.log(err)
		return
	}
	temporary := d.name(k.id) + ".part"
	if err := os.WriteFile(temporary, text, 0o600); err != nil {
		d.log(err)
		return
	}
	if err := os.Rename(temporary, d.name(k.id)); err != nil {
		d.log(err)
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.files = append(d.files, file{k.id, int64(len(text)), now})
	d.used += int64(len(text))
	d.shed(now)
}

// shed removes the oldest files, as long as there is too much or they are too old.
// Called with mu held.
func (d *directory) shed(now time.Time) {
	for len(d.files) > 0 && (d.used > d.most || now.Sub(d.files[0].written) > d.keep) {
		d.drop(0)
	}
}

// drop is called with mu held.
func (d *directory) drop(i int) {
	f := d.files[i]
	d.files = slices.Delete(d.files, i, i+1)
	d.used -= f.size
	if err := os.Remove(d.name(f.id)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		d.log(err)
	}
}

func (d *directory) remove(id string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if i := slices.IndexFunc(d.files, func(f file) bool { return f.id == id }); i >= 0 {
		d.drop(i)
	}
}

// read is a response, nil when there is none of this id.
func (d *directory) read(id string) *kept {
	if !isID(id) {
		return nil
	}
	text, err := os.ReadFile(d.name(id))
	if err != nil {
		if !errors.Is(err, fs.ErrNotExist) {
			d.log(err)
		}
		return nil
	}
	var r record
	if err := json.Unmarshal(text, &r); err != nil {
		d.log(fmt.Errorf("%s: %w", d.name(id), err))
		return nil
	}
	return r.kept(id)
}
