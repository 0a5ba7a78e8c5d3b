//go:build !unix

package cpu

import "unsafe"

// allocate returns n zeroed bytes, aligned to a cache line.
func allocate(n int) ([]byte, error) {
	b := make([]byte, n+63)
	skip := -int(uintptr(unsafe.Pointer(unsafe.SliceData(b)))) & 63
	return b[skip:][:n:n], nil
}

func release([]byte) error { return nil }
