package cuda

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/troupe-llm/troupe/gpu/model"
	"github.com/troupe-llm/troupe/gpu/model/modeltest"
	"github.com/troupe-llm/troupe/gpu/program"
)

// families are the configurations of the families that stand beside the
// repository, whatever their weights' encodings.
func families(t *testing.T) map[string]*program.Program {
	t.Helper()
	dir, ok := modeltest.Fixtures()
	if !ok {
		t.Skip("../shared/fixtures is not there")
	}
	found, err := filepath.Glob(filepath.Join(dir, "families", "*", "config.json"))
	if err != nil || len(found) == 0 {
		t.Fatalf("no families in %s: %v", dir, err)
	}
	programs := map[string]*program.Program{}
	for _, path := range found {
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		name := filepath.Base(filepath.Dir(path))
		c, err := model.ParseConfig(data, path)
		if errors.Is(err, model.ErrUnsupported) {
			t.Logf("left out: %v", err)
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		programs[name] = c.Program
	}
	return programs
}

// withoutAttention leaves out what turns, stores and looks at keys. In the place of
// Attend stands what reads and writes as it does.
func withoutAttention(p *program.Program) *program.Program {
	rest := *p
	rest.Ops = nil
	for _, op := range p.Ops {
		switch o := op.(type) {
		case *program.Rope, *program.Store:
			continue
		case *program.Attend:
			op = &program.CopyHeads{
				In: program.Heads{Value: o.Query, Width: 8, Stride: o.Cache.KeyDim}, Out: program.Heads{Value: o.Out, Width: 8, Stride: o.Cache.ValueDim},
			}
		}
		rest.Ops = append(rest.Ops, op)
	}
	return &rest
}

// Every op of every family has a kernel, those of attention aside, which may
// refuse some, and its values one layout for passes of any size.
func TestFamiliesCompile(t *testing.T) {
	for name, p := range families(t) {
		rest := withoutAttention(p)
		if _, err := compile(rest, &machine{shape: shapeOf(rest)}); err != nil {
			t.Errorf("%s without attention: %v", name, err)
		}
		for _, p := range []*program.Program{p, rest} {
			if _, err := layOut(p, wide); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
		_, err := compile(p, &machine{shape: shapeOf(p)})
		if err == nil {
			continue
		}
		t.Logf("%s: %v", name, err)
		if !strings.Contains(err.Error(), "rope") && !strings.Contains(err.Error(), "(store)") && !strings.Contains(err.Error(), "(attention)") {
			t.Errorf("%s is refused for other than its attention: %v", name, err)
		}
	}
}

// What is launched for the ops of families, in the order of its first launch, of
// decode rows alone and beside others. copy_rows stands for attention, too.
func TestFamilyKernels(t *testing.T) {
	all := families(t)
	for _, tc := range []struct {
		family          string
		tokens, decodes int
		want            string
	}{
		{"gemma3", 8, 8, "embed decode_plan skinny_norm_8 rms_norm_heads copy_rows 16×128·128 add_rows gelu_mul 16×128·256 |"},
		{"gpt-oss", 40, 40, "embed decode_plan rms_norm 48×512·128 add_bias copy_rows 48×128·256 add_rows 48×8·128 moe_choose moe_group moe_plain_32 clamped_mul moe_down_32 moe_combine | 48×640·128"},
		{"olmo3", 40, 40, "embed decode_plan copy_rows 48×256·128 rms_norm_heads 48×128·128 add_rows 48×512·128 silu_mul 48×128·256 | rms_norm 48×640·128"},
		{"granite", 8, 8, "embed decode_plan skinny_norm_8 copy_rows 16×128·128 add_rows skinny_gate_8 16×128·256 | scale_rows"},
		{"ministral3", 8, 8, "embed decode_plan skinny_norm_8 scale_rows copy_rows skinny_add_8 skinny_gate_8 |"},
		{"qwen3.5", 40, 40, "embed decode_plan rms_norm 48×392·128 conv delta rms_norm_heads multiply_rows +48×128·128 48×512·128 silu_mul +48×128·256 48×768·128 copy_rows | 48×640·128"},
		{"qwen3.5", 40, 3, "embed decode_plan rms_norm 48×392·128 conv conv_spans conv_keep delta rms_norm_heads multiply_rows +48×128·128 48×512·128 silu_mul +48×128·256 48×768·128 copy_rows | 48×640·128"},
		{
			"qwen3.5-moe", 300, 300, "embed decode_plan rms_norm 320×392·128 conv delta rms_norm_heads multiply_rows +320×128·128 320×128·128 silu_mul 320×128·64 320×1·128/4 320×8·128 " +
				"moe_choose moe_group moe_up_64 moe_down_64 moe_combine add_rows 320×768·128 copy_rows +320×128·256 | 320×640·128",
		},
		{
			"deepseek-v3", 40, 40, "embed rms_norm 48×48·128 rms_norm_heads 48×192·48 48×80·128 copy_rows head_product +48×128·128 48×512·128 silu_mul +48×128·256 48×8·128 " +
				"moe_choose_scored moe_group moe_up_32 moe_down_32 moe_combine 48×128·128 +48×128·64 add_rows | 48×640·128",
		},
		{
			"glm4-moe", 8, 8, "embed decode_plan skinny_norm_8 add_bias rms_norm_heads copy_rows skinny_add_8 skinny_gate_8 rms_norm 16×8·128 " +
				"moe_choose_scored moe_group moe_up_16 moe_down_16 moe_combine 16×128·128 silu_mul add_rows |",
		},
	} {
		p, r := withoutAttention(all[tc.family]), &recorder{}
		plans, err := compile(p, r.machine(p))
		if err != nil {
			t.Fatal(err)
		}
		w := &work{tokens: tc.tokens, decodes: tc.decodes, sampled: tc.tokens}
		if tc.tokens > tc.decodes {
			w.nspans = 2
		}
		var got []string
		for name := range strings.SplitSeq(r.run(t, plans, w), " ") {
			if !slices.Contains(got, name) {
				got = append(got, name)
			}
		}
		if got := strings.Join(got, " "); got != tc.want {
			t.Errorf("%s, %d tokens:\n got %s\nwant %s", tc.family, tc.tokens, got, tc.want)
		}
	}
}
