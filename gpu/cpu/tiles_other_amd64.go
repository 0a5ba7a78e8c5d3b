//go:build !linux

package cpu

// permitTiles: no other system is known to save them.
func permitTiles() bool { return false }
