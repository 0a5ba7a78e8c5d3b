package device

import (
	"fmt"
	"strings"

	"github.com/troupe-llm/troupe/gpu/model"
)

// Format is an encoding of checkpoints that a device takes, and how it holds it:
// as it is, or converted while loading.
type Format struct{ Encoding, Held model.Encoding }

// Formats are all that a device takes. It refuses the others.
type Formats []Format

// Held is how a device holds what a checkpoint has in an encoding; the error
// says what it would take.
func (f Formats) Held(e model.Encoding) (model.Encoding, error) {
	var all []string
	for _, one := range f {
		if one.Encoding == e {
			return one.Held, nil
		}
		name := one.Encoding.String()
		if one.Held != one.Encoding {
			name += " as " + one.Held.String()
		}
		all = append(all, name)
	}
	return model.Encoding{}, fmt.Errorf("weights in %s; the device takes %s", e, strings.Join(all, ", "))
}

// Check refuses weights of which a tensor is in an encoding that the device does
// not take.
func (f Formats) Check(m *model.Model) error {
	if m.Weights == nil {
		return nil
	}
	for _, w := range m.Config.Program.Weights {
		slot := m.Weights.Of(w)
		if slot == nil {
			return fmt.Errorf("no tensors for %s", w.Name)
		}
		for i := range slot.Sources {
			t := slot.Sources[i].Tensor
			if _, err := f.Held(t.Encoding); err != nil {
				return fmt.Errorf("tensor %q: %w", t.Name, err)
			}
		}
	}
	return nil
}
