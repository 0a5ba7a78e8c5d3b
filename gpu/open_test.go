package gpu

import (
	"strings"
	"testing"

	"github.com/troupe-llm/troupe/gpu/device"
	"github.com/troupe-llm/troupe/gpu/model/modeltest"
)

func TestOpenByName(t *testing.T) {
	m := modeltest.Get(t, "qwen3").Open(t)
	for _, name := range []string{"", "auto", "cpu"} {
		d, err := Open(device.Spec{Device: name, Model: m, NumPages: 16})
		if err != nil {
			t.Fatalf("%q: %v", name, err)
		}
		if got := d.Info().Name; got != "cpu" && !(name != "cpu" && hasCUDA()) {
			t.Errorf("%q opened %q", name, got)
		}
		if err := d.Close(); err != nil {
			t.Error(err)
		}
	}
}

func TestOpenSaysWhatThereIs(t *testing.T) {
	for name, want := range map[string]string{
		"tpu":   `unknown device "tpu"; there are "auto"`,
		"cpu:1": `unknown device "cpu:1"`,
	} {
		d, err := Open(device.Spec{Device: name})
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, %v; want an error with %q", name, d, err, want)
		}
		if d != nil {
			t.Errorf("%q: a device beside an error", name)
		}
	}
}
