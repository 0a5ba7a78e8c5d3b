package cuda

import (
	"testing"

	"github.com/troupe-llm/troupe/gpu/device"
	"github.com/troupe-llm/troupe/gpu/model"
)

// Every published configuration is taken: its sizes, and every op of its program.
func TestPublishedSettle(t *testing.T) {
	for _, name := range model.Published() {
		m, err := model.Open(name, true)
		if err != nil {
			t.Fatal(err)
		}
		info, err := settle(&device.Spec{Model: m}, hopper)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		s := shapeOf(m.Config.Program)
		s.PageSize, s.Stages = info.PageSize, 2
		if err := s.Check(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}
