package hub

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// store is where a pull puts files: a plain directory, or a cache.
type store interface {
	// prepare makes directories, or says why the weights cannot go there.
	prepare(weights []File) error
	// paths are the file's own, and where its bytes arrive.
	paths(f File) (name, part string)
	// hold keeps others off the file until release is called.
	hold(ctx context.Context, f File) (release func(), err error)
	// placed is told that the file is there and right.
	placed(f File) error
}

// directory is a plain one. Two pulls into one must not run at once.
type directory string

// prepare makes the directory, and refuses one whose old weights would win over
// those that come.
func (d directory) prepare(weights []File) error {
	if err := errors.Join(os.MkdirAll(string(d), 0o755), makeDirs(string(d), weights)); err != nil {
		return err
	}
	if _, err := os.Stat(filepath.Join(string(d), singleFile)); err == nil && len(weights) > 0 && weights[0].Name != singleFile && !isGGUF(weights[0].Name) {
		return fmt.Errorf("%s holds %s, this revision has shards: pull into another directory, or remove it", string(d), singleFile)
	}
	return nil
}

// makeDirs makes the directories that files are in.
func makeDirs(root string, files []File) (err error) {
	for _, f := range files {
		err = errors.Join(err, os.MkdirAll(filepath.Dir(filepath.Join(root, filepath.FromSlash(f.Name))), 0o755))
	}
	return err
}

// paths have bytes arrive in NAME.HASH.partial, so that what is resumed is of
// the same content.
func (d directory) paths(f File) (name, part string) {
	name = filepath.Join(string(d), f.Name)
	_, sum := f.hasher()
	return name, name + "." + sum[:12] + ".partial"
}

func (d directory) hold(context.Context, File) (release func(), err error) { return func() {}, nil }

// placed removes what pulls of other revisions left of the file.
func (d directory) placed(f File) error {
	dir, base := filepath.Split(filepath.Join(string(d), f.Name))
	entries, err := os.ReadDir(dir)
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), base+".") && strings.HasSuffix(e.Name(), ".partial") {
			err = errors.Join(err, os.Remove(filepath.Join(dir, e.Name())))
		}
	}
	return err
}
