//go:build unix && !linux

package http

// hungUp cannot be told here.
func hungUp(uintptr) bool { return false }
