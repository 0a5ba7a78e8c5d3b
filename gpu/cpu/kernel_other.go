//go:build !amd64 && !arm64

package cpu

import "runtime"

func choose() *kernels { return &portable }

func variants() []*kernels { return []*kernels{&portable} }

func features() []string { return nil }

func why() string { return "there are no vector kernels for " + runtime.GOARCH }
