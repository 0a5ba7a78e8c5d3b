package engine

import (
	"testing"

	"github.com/troupe-llm/troupe/gpu/device"
	"github.com/troupe-llm/troupe/gpu/model"
)

// Engines that may say other words than each other for the same request are not the same.
func TestDeterministicEnginesAreOthers(t *testing.T) {
	m, err := model.Open(model.Builtin, false)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = m.Close() }()
	info := device.Info{DType: model.BFloat16, KVDType: model.BFloat16}
	a := identify(m, &info)
	info.Deterministic = true
	if b := identify(m, &info); a == b || b != identify(m, &info) {
		t.Errorf("%+v, deterministic %+v", a, b)
	}
}
