package http

import (
	"errors"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// fresh is what was read from files, and is read again when one of them has
// changed: looked at when it is asked for, at most once a freshFor.
type fresh[T any] struct {
	files  []string
	read   func() (T, error)
	failed func(error) // told when it could not be read again: the old value stays
	now    func() time.Time

	value atomic.Pointer[T]
	due   atomic.Int64 // nanoseconds of now's time; before, nobody looks
	mu    sync.Mutex
	seen  []os.FileInfo // of files, when they were read last; guarded by mu
	fault string        // told last, since they were; guarded by mu
}

const freshFor = time.Second

// newFresh reads the files for the first time.
func newFresh[T any](read func() (T, error), failed func(error), now func() time.Time, files ...string) (*fresh[T], error) {
	f := &fresh[T]{files: files, read: read, failed: failed, now: now}
	f.due.Store(now().Add(freshFor).UnixNano())
	var err error
	if f.seen, err = stat(files); err != nil {
		return nil, err
	}
	v, err := read()
	f.value.Store(&v)
	return f, err
}

// get returns the value.
func (f *fresh[T]) get() T {
	now, due := f.now(), f.due.Load()
	if now.UnixNano() >= due && f.due.CompareAndSwap(due, now.Add(freshFor).UnixNano()) {
		f.look()
	}
	return *f.value.Load()
}

// look reads the files again if they have changed.
func (f *fresh[T]) look() {
	f.mu.Lock()
	defer f.mu.Unlock()
	// Their state before they are read: what changes meanwhile is seen next time.
	infos, err := stat(f.files)
	if err == nil && slices.EqualFunc(infos, f.seen, same) {
		return
	}
	if err == nil {
		f.seen = infos
		var v T
		if v, err = f.read(); err == nil {
			f.value.Store(&v)
			f.fault = ""
			return
		}
	}
	if f.fault != err.Error() {
		f.fault = err.Error()
		f.failed(err)
	}
}

func stat(files []string) (infos []os.FileInfo, err error) {
	for _, name := range files {
		info, e := os.Stat(name)
		infos, err = append(infos, info), errors.Join(err, e)
	}
	return infos, err
}

func same(a, b os.FileInfo) bool {
	return os.SameFile(a, b) && a.Size() == b.Size() && a.ModTime().Equal(b.ModTime())
}
