package cuda

import (
	"strings"
	"testing"

	"github.com/troupe-llm/troupe/gpu/model"
)

// A step of one decode row is one kernel on Hopper where all layers are as it takes them, and
// nothing else is.
func TestOnePass(t *testing.T) {
	for name, want := range map[string]string{
		"qwen3-0.6b":    "embed decode_pass_6",
		"qwen3-14b":     "embed decode_pass_5",
		"qwen2.5-7b":    "embed decode_pass_5",
		"llama-3.1-8b":  "embed decode_pass_5",
		"qwen3-30b-a3b": "",
		"gemma-3-12b":   "",
		"gpt-oss-20b":   "",
		"qwen3.5-9b":    "",
	} {
		m, err := model.Open(name, true)
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range []struct {
			hopper, page       int
			fp8, deterministic bool
			w                  work
			takes              bool
		}{
			{132, 16, false, false, work{tokens: 1, decodes: 1}, true},
			{132, 16, false, false, work{tokens: 1}, false}, // a prompt's
			{132, 16, false, false, work{tokens: 2, decodes: 2}, false},
			{132, 16, true, false, work{tokens: 1, decodes: 1}, false},
			{132, 16, false, true, work{tokens: 1, decodes: 1}, false},
			{0, 16, false, false, work{tokens: 1, decodes: 1}, false},
			{132, 32, false, false, work{tokens: 1, decodes: 1}, true},
			{132, 8, false, false, work{tokens: 1, decodes: 1}, false}, // 16 positions are copied at once
		} {
			r := &recorder{}
			machine := r.machine(m.Config.Program)
			machine.shape.Hopper, machine.shape.PageSize, machine.deterministic = c.hopper, c.page, c.deterministic
			if c.fp8 {
				machine.held = m.HeldInFP8(model.HeldAs(model.BFloat16), true)
			}
			plans, err := compile(m.Config.Program, machine)
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			takes := c.takes && want != ""
			if got := plans.isAlone(&c.w); got != takes {
				t.Errorf("%s, %+v: one kernel %v, want %v", name, c, got, takes)
			}
			if !takes {
				continue
			}
			for _, s := range plans.body(&c.w) {
				if err := s.run(&c.w); err != nil {
					t.Error(err)
				}
			}
			if got := strings.Join(r.names, " "); got != want || !plans.alone.logits {
				t.Errorf("%s: %s, want %s; logits: %v", name, got, want, plans.alone.logits)
			}
		}
	}
}
