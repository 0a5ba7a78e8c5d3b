//go:build !amd64

package cpu

import "runtime"

func choose() *kernels { return &portable }

func variants() []*kernels { return []*kernels{&portable} }

func features() []string { return nil }

func why() string { return "there are no vector kernels for " + runtime.GOARCH }

// pause is a moment of waiting for another core.
func pause() {
	for range 32 {
		nothing()
	}
}

//go:noinline
func nothing() {}
