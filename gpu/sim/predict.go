package sim

import (
	"strings"
	"time"

	"github.com/troupe-llm/troupe/gpu/batch"
	"github.com/troupe-llm/troupe/gpu/device"
	"github.com/troupe-llm/troupe/gpu/model"
)

// Predict prices the steps of an opened GPU, real or simulated, that runs a model;
// false: it is none of those in hardware.go. Any goroutine may call the function.
func Predict(info *device.Info, m *model.Model) (func(*batch.Step) time.Duration, bool) {
	var o options
	if strings.HasPrefix(info.Name, "sim:") {
		var err error
		if o, err = parse(info.Name); err != nil {
			return nil, false
		}
	} else if o.hw = named(info.Hardware); o.hw.Name == "" {
		return nil, false
	}
	share, err := m.Share(0, max(info.Ranks, 1))
	if err != nil {
		return nil, false
	}
	return newRoofline(&o, share.Config.Program, info, measured).Step, true
}

// Reference is the hardware that the rates were measured on.
const Reference = "H200"

// named is the GPU that a driver calls so, such as "NVIDIA H200 NVL"; zero: unknown.
func named(full string) Hardware {
	for _, word := range strings.FieldsFunc(strings.ToLower(full), func(r rune) bool { return r == ' ' || r == '-' || r == ',' }) {
		for _, h := range hardware {
			if word == h.Name {
				return h
			}
		}
	}
	return Hardware{}
}
