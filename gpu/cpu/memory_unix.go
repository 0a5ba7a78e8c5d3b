//go:build unix

package cpu

import "golang.org/x/sys/unix"

// allocate returns n zeroed bytes outside of Go's heap, page aligned, in huge
// pages where the system has them. Memory is used when first written.
func allocate(n int) ([]byte, error) {
	b, err := unix.Mmap(-1, 0, max(n, 1), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_ANON|unix.MAP_PRIVATE)
	if err != nil {
		return nil, err
	}
	hugePages(b)
	return b[:n], nil
}

// release gives allocated memory back.
func release(b []byte) error {
	if cap(b) == 0 {
		return nil
	}
	return unix.Munmap(b[:cap(b)])
}
