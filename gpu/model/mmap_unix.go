//go:build unix

package model

import (
	"errors"
	"fmt"
	"os"
	"unsafe"

	"golang.org/x/sys/unix"
)

// readMapped views a whole file, read only, without reading it: pages come in
// as they are touched and the system may drop them again. The file must not be
// shortened while mapped. unmap ends the view.
func readMapped(path string) (data []byte, unmap func() error, err error) {
	f, err := openRegular(path)
	if err != nil {
		return nil, nil, err
	}
	defer f.Close() // the mapping stays
	info, err := f.Stat()
	if err != nil {
		return nil, nil, err
	}
	if info.Size() == 0 { // cannot be mapped
		return nil, func() error { return nil }, nil
	}
	if int64(int(info.Size())) != info.Size() {
		return nil, nil, fmt.Errorf("%s: %d bytes are more than this machine can address", path, info.Size())
	}
	data, err = unix.Mmap(int(f.Fd()), 0, int(info.Size()), unix.PROT_READ, unix.MAP_SHARED)
	if err != nil {
		return nil, nil, &os.PathError{Op: "mmap", Path: path, Err: err}
	}
	if err := checkPointer(data); err != nil {
		return nil, nil, errors.Join(err, unix.Munmap(data))
	}
	return data, func() error { return unix.Munmap(data) }, nil
}

// Prefetch has the system read a part of a mapped file in the background: faults
// alone read a few pages ahead, which keeps no disk busy. It is mere advice.
func Prefetch(data []byte) {
	if len(data) == 0 {
		return
	}
	first := unsafe.Pointer(&data[0])
	before := int(uintptr(first) % uintptr(os.Getpagesize())) // advice begins at a page
	_ = unix.Madvise(unsafe.Slice((*byte)(unsafe.Add(first, -before)), before+len(data)), unix.MADV_WILLNEED)
}

// drop forgets the whole pages of a part of a mapped file.
func drop(data []byte) {
	if len(data) == 0 {
		return
	}
	size := os.Getpagesize()
	skip := (size - int(uintptr(unsafe.Pointer(&data[0]))%uintptr(size))) % size
	if n := (len(data) - skip) / size * size; n > 0 {
		_ = unix.Madvise(data[skip:skip+n], unix.MADV_DONTNEED)
	}
}
