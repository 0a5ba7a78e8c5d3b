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
	for _, one := range f {
		if one.Encoding == e {
			return one.Held, nil
		}
	}
	return model.Encoding{}, fmt.Errorf("weights in %s; the device takes %s", e, f)
}

// String lists them: "bfloat16, float16 as float32".
func (f Formats) String() string {
	var all []string
	for _, one := range f {
		name := one.Encoding.String()
		if one.Held != one.Encoding {
			name += " as " + one.Held.String()
		}
		all = append(all, name)
	}
	return strings.Join(all, ", ")
}

// Check refuses weights of which a tensor is in an encoding that the device does
// not take, or has other than its bytes.
func (f Formats) Check(m *model.Model) error {
	if m.Weights == nil {
		return nil
	}
	for _, w := range m.Config.Program.Weights {
		slot := m.Weights.Of(w)
		if slot == nil || len(slot.Sources) != len(w.Parts) {
			return fmt.Errorf("no tensors for %s", w.Name)
		}
		for i := range slot.Sources {
			t := slot.Sources[i].Tensor
			if _, err := f.Held(t.Encoding); err != nil {
				return fmt.Errorf("tensor %q in %s: %w", t.Name, t.File, err)
			}
			if want := t.Encoding.Bytes(t.Shape); int64(len(t.Data)) != want {
				return fmt.Errorf("tensor %q in %s has %d bytes; %v of %s are %d", t.Name, t.File, len(t.Data), t.Shape, t.Encoding, want)
			}
		}
	}
	return nil
}
