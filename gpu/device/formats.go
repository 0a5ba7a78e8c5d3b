package device

import (
	"fmt"
	"slices"
	"strings"

	"github.com/troupe-llm/troupe/gpu/model"
)

// Format is elements of checkpoints that a device takes, scaled by whatever blocks
// where they are scaled, and how it holds them: as they are, or converted while
// loading.
type Format struct {
	Element model.DType
	Held    model.Encoding
}

// Quantized are the published quantised formats, held as values in an encoding,
// but for some.
func Quantized(held model.Encoding, but ...model.DType) (f Formats) {
	for _, d := range model.Quantized {
		if !slices.Contains(but, d) {
			f = append(f, Format{d, held})
		}
	}
	return f
}

// Formats are all that a device takes. It refuses the others.
type Formats []Format

// Held is how a device holds what a checkpoint has in an encoding; the error
// says what it would take.
func (f Formats) Held(e model.Encoding) (model.Encoding, error) {
	for _, one := range f {
		if one.Element == e.Element {
			return one.Held, nil
		}
	}
	return model.Encoding{}, fmt.Errorf("weights in %s; the device takes %s", e, f)
}

// String lists them: "bfloat16, float32, float16 and float8_e4m3 as bfloat16".
func (f Formats) String() string {
	var asIs, all []string
	converted := map[string][]string{}
	var order []string
	for _, one := range f {
		if one.Held == model.Plain(one.Element) {
			asIs = append(asIs, string(one.Element))
			continue
		}
		held := one.Held.String()
		if converted[held] == nil {
			order = append(order, held)
		}
		converted[held] = append(converted[held], string(one.Element))
	}
	if len(asIs) > 0 {
		all = append(all, strings.Join(asIs, ", "))
	}
	for _, held := range order {
		names, last := converted[held], ""
		if n := len(names) - 1; n > 0 {
			names, last = names[:n], " and "+names[n]
		}
		all = append(all, strings.Join(names, ", ")+last+" as "+held)
	}
	return strings.Join(all, "; ")
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
			if err := t.Check(); err != nil {
				return err
			}
		}
	}
	return nil
}
