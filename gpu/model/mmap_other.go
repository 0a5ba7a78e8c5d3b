//go:build !unix

package model

import "os"

// readMapped reads the whole file: systems without mmap hold it in memory
// until the last reference goes.
func readMapped(path string) (data []byte, unmap func() error, err error) {
	data, err = os.ReadFile(path)
	return data, func() error { return nil }, err
}

// Prefetch does nothing: all is in memory.
func Prefetch([]byte) {}
