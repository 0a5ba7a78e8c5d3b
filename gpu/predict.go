package gpu

import (
	"strings"
	"time"

	"github.com/troupe-llm/troupe/gpu/batch"
	"github.com/troupe-llm/troupe/gpu/device"
	"github.com/troupe-llm/troupe/gpu/model"
	"github.com/troupe-llm/troupe/gpu/sim"
)

// Predict is a roofline of an opened device's steps, by the model it runs; false:
// nothing is known of its hardware.
func Predict(info *device.Info, m *model.Model) (func(*batch.Step) time.Duration, bool) {
	return sim.Predict(info, m)
}

// Compare tells how steps compare on a device of whose hardware nothing is known: it
// is another's roofline.
func Compare(info *device.Info, m *model.Model) func(*batch.Step) time.Duration {
	like := *info
	like.Name, like.Hardware = "", sim.Reference
	predict, _ := sim.Predict(&like, m)
	return predict
}

// IsGPU reports whether a device is one, real or simulated, not the processor.
func IsGPU(info *device.Info) bool {
	kind, _, _ := strings.Cut(info.Name, ":")
	return kind == "cuda" || kind == "sim"
}
