//go:build !cuda

package gpu

import (
	"strings"
	"testing"

	"github.com/troupe-llm/troupe/gpu/device"
)

func TestOpenWithoutCUDA(t *testing.T) {
	for _, name := range []string{"cuda", "cuda:3"} {
		d, err := Open(device.Spec{Device: name})
		if err == nil || !strings.Contains(err.Error(), "built without CUDA") || d != nil {
			t.Errorf("%q: %v, %v", name, d, err)
		}
	}
}
