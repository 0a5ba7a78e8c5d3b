//go:build !amd64

package cpu

// pause is a moment of waiting for another core.
func pause() {
	for range 32 {
		nothing()
	}
}

//go:noinline
func nothing() {}
