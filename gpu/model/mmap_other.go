//go:build !unix

package model

import "io"

// readMapped reads the whole file: systems without mmap hold it in memory
// until the last reference goes.
func readMapped(path string) (data []byte, unmap func() error, err error) {
	f, err := openRegular(path)
	if err != nil {
		return nil, nil, err
	}
	defer f.Close()
	if data, err = io.ReadAll(f); err == nil {
		err = checkPointer(data)
	}
	return data, func() error { return nil }, err
}

// Prefetch does nothing: all is in memory.
func Prefetch([]byte) {}

func drop([]byte) {}
