package model

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

// The largest files that are read whole: the tokenizer and the index of weights, and
// all others. Published ones have up to 33 MB and up to 2 MB.
const (
	maxTables = 256 << 20
	maxFile   = 16 << 20
)

// directory is a checkpoint's directory as a file system whose files can be trusted to
// end: opening what is no regular file, is a link to nowhere, stands for another file
// (a Git LFS pointer) or is absurdly large fails with the reason. Whoever reads a
// model's files, here or through Model.Files, reads them so.
type directory struct{ root string }

// openRegular opens a regular file. Anything else is not even opened, which may block
// (a pipe) or have effects (a device).
func openRegular(path string) (*os.File, error) {
	if err := checkRegular(path); err != nil {
		return nil, err
	}
	return os.Open(path)
}

func checkRegular(path string) error {
	info, err := os.Stat(path)
	if err != nil {
		if link, lerr := os.Readlink(path); lerr == nil && errors.Is(err, fs.ErrNotExist) {
			return &fs.PathError{Op: "open", Path: path, Err: fmt.Errorf("it is a link to %s, which is not there", link)}
		}
		return err
	}
	if what := irregular(info.Mode()); what != "" {
		return &fs.PathError{Op: "open", Path: path, Err: errors.New("it is " + what + ", want a regular file")}
	}
	return nil
}

// irregular says what a file is that is none to read.
func irregular(m fs.FileMode) string {
	switch {
	case m.IsRegular():
		return ""
	case m.IsDir():
		return "a directory"
	case m&fs.ModeNamedPipe != 0:
		return "a pipe"
	case m&fs.ModeDevice != 0:
		return "a device"
	case m&fs.ModeSocket != 0:
		return "a socket"
	}
	return "none of the kinds that hold data"
}

// pointerHead is how a Git LFS pointer begins: a few lines that stand for a file
// which was not fetched.
const pointerHead = "version https://git-lfs.github.com/spec/"

func checkPointer(data []byte) error {
	if !bytes.HasPrefix(data, []byte(pointerHead)) || len(data) > 1024 {
		return nil
	}
	return errors.New("it is a Git LFS pointer and not the file itself, which was not fetched: git lfs pull does that")
}

func (d directory) path(name string) (string, error) {
	if !fs.ValidPath(name) {
		return "", &fs.PathError{Op: "open", Path: name, Err: fs.ErrInvalid}
	}
	return filepath.Join(d.root, filepath.FromSlash(name)), nil
}

// Open opens a regular file, or a directory to list it.
func (d directory) Open(name string) (fs.File, error) {
	path, err := d.path(name)
	if err != nil {
		return nil, err
	}
	if info, err := os.Stat(path); err == nil && info.IsDir() {
		return os.Open(path)
	}
	return openRegular(path)
}

// ReadFile reads a whole file of a bounded size.
func (d directory) ReadFile(name string) ([]byte, error) {
	path, err := d.path(name)
	if err != nil {
		return nil, err
	}
	f, err := openRegular(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	most := int64(maxFile)
	if name == "tokenizer.json" || name == indexFile {
		most = maxTables
	}
	data, err := readBounded(f, most)
	if err != nil {
		return nil, &fs.PathError{Op: "read", Path: path, Err: bare(err)}
	}
	return data, nil
}

func readBounded(f *os.File, most int64) ([]byte, error) {
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if info.Size() > most {
		return nil, fmt.Errorf("it has %d bytes, more than the %d that are read", info.Size(), most)
	}
	data := make([]byte, info.Size())
	if _, err := io.ReadFull(f, data); err != nil {
		return nil, err
	}
	return data, checkPointer(data)
}

// Stat describes also what cannot be opened, so that whoever opens it is told why.
func (d directory) Stat(name string) (fs.FileInfo, error) {
	path, err := d.path(name)
	if err != nil {
		return nil, err
	}
	info, err := os.Stat(path)
	if err != nil {
		return os.Lstat(path)
	}
	return info, nil
}
