package cuda

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/troupe-llm/troupe/gpu/device"
	"github.com/troupe-llm/troupe/gpu/kernel"
	"github.com/troupe-llm/troupe/gpu/kernel/lower"
	"github.com/troupe-llm/troupe/gpu/model"
	"github.com/troupe-llm/troupe/gpu/model/modeltest"
	"github.com/troupe-llm/troupe/gpu/program"
)

// recorder is a queue that takes down what is launched.
type recorder struct{ names []string }

func (r *recorder) Launch(l kernel.Launch) error {
	r.names = append(r.names, l.Kernel.Name)
	return nil
}

// machine runs on it, without memory.
func (r *recorder) machine(p *program.Program) *machine {
	m := &machine{kernels: r, shape: shapeOf(p), blocks: 8, decodeBlocks: 8, most: map[program.Rows]int{program.Tokens: 1024, program.Sampled: 512}}
	m.multiply = func(f factors) error {
		name := fmt.Sprintf("%d×%d·%d", lower.ProductRows(f.n), f.out, f.in)
		if f.add {
			name = "+" + name
		}
		if f.scaling != unscaled {
			name = []string{"", "bare ", "scaled ", "blocks "}[f.scaling] + name
		}
		if f.ld != f.out {
			name += fmt.Sprint("/", f.ld)
		}
		r.names = append(r.names, name)
		return nil
	}
	return m
}

// run is what a pass launches, and behind a bar its head.
func (r *recorder) run(t *testing.T, p *plans, w *work) string {
	for i, stages := range [][]stage{p.body(w), p.head(w.sampled)} {
		if i > 0 {
			r.names = append(r.names, "|")
		}
		for _, s := range stages {
			if err := s.run(w); err != nil {
				t.Error(err)
			}
		}
	}
	return strings.Join(r.names, " ")
}

// oneLayer is a small model of an architecture.
func oneLayer(t *testing.T, architecture string, more map[string]any) *program.Program {
	fields := map[string]any{
		"architectures": []string{architecture}, "num_hidden_layers": 1, "hidden_size": 128, "intermediate_size": 192, "num_attention_heads": 4,
		"num_key_value_heads": 2, "head_dim": 64, "vocab_size": 101, "max_position_embeddings": 4096,
	}
	maps.Copy(fields, more)
	return modeltest.Config(t, fields).Program
}

func TestPlans(t *testing.T) {
	mixture := map[string]any{"num_experts": 16, "num_experts_per_tok": 4, "moe_intermediate_size": 64}
	const start, rows = "embed decode_plan ", "rope_write paged_decode "
	for _, tc := range []struct {
		architecture   string
		more           map[string]any
		tokens, hopper int
		want           string
	}{
		{"Qwen3ForCausalLM", nil, 8, 0, start + "skinny_norm_8 " + rows + "skinny_add_8 skinny_gate_8 skinny_add_8 | skinny_norm_8"},
		{"Qwen2ForCausalLM", nil, 16, 0, start + "skinny_norm_16 " + rows + "skinny_add_16 skinny_gate_16 skinny_add_16 | skinny_norm_16"},
		{"LlamaForCausalLM", nil, 17, 0, start + "rms_norm 32×512·128 " + rows + "+32×128·256 rms_norm 32×384·128 silu_mul +32×128·192 | rms_norm 32×101·128/104"},
		{"LlamaForCausalLM", map[string]any{"intermediate_size": 200}, 1, 0, start + "rms_norm 16×512·128 rope_write paged_decode_blocks +16×128·256 rms_norm 16×400·128 silu_mul +16×128·200 | rms_norm 16×101·128/104"},
		{"Qwen3MoeForCausalLM", mixture, 8, 0, start + "skinny_norm_8 " + rows + "skinny_add_8 moe_route moe_up_16 moe_down_16 moe_combine | skinny_norm_8"},
		{"Qwen3MoeForCausalLM", mixture, 32, 0, start + "rms_norm 32×512·128 " + rows + "+32×128·256 moe_route moe_up_32 moe_down_32 moe_combine | rms_norm 32×101·128/104"},
		{ // no multiple of 16 elements of a head are turned
			"Qwen3ForCausalLM",
			map[string]any{"partial_rotary_factor": 0.375},
			8, 0,
			start + "skinny_norm_8 rms_norm_heads rms_norm_heads rope rope store round_queries paged_decode skinny_add_8 skinny_gate_8 skinny_add_8 | skinny_norm_8",
		},
		{
			"Qwen3MoeForCausalLM", mixture, 300, 132,
			start + "rms_norm 320×512·128 " + rows + "+320×128·256 rms_norm 320×16·128 moe_choose moe_group moe_up_hopper moe_down_hopper moe_combine | rms_norm 320×101·128/104",
		},
	} {
		p, r := oneLayer(t, tc.architecture, tc.more), &recorder{}
		m := r.machine(p)
		m.shape.Hopper = tc.hopper
		plans, err := compile(p, m)
		if err != nil {
			t.Fatal(err)
		}
		w := &work{tokens: tc.tokens, decodes: tc.tokens, sampled: tc.tokens}
		if got := r.run(t, plans, w); got != tc.want {
			t.Errorf("%s, %d tokens:\n got %s\nwant %s", tc.architecture, tc.tokens, got, tc.want)
		}
	}
}

// With weights in FP8 what products read is quantised where it is made, and scales
// are multiplied by where sums are read: by few rows of skinny products.
func TestCodesPlans(t *testing.T) {
	const start, rows = "embed decode_plan ", "rope_write paged_decode "
	for _, tc := range []struct {
		architecture string
		more         map[string]any
		blocks       bool
		tokens       int
		want         string
	}{
		{"Qwen3ForCausalLM", nil, false, 8, start + "skinny_norm_8_codes " + rows + "skinny_add_8_codes skinny_gate_8_codes skinny_add_8_codes | skinny_norm_8"},
		{
			"LlamaForCausalLM",
			map[string]any{"num_hidden_layers": 2},
			false, 17,
			start + "norm_codes_1 bare 32×512·128 " + rows + "code_rows_1 bare 32×128·256 norm_codes_1 bare 32×512·128 silu_codes_1 bare 32×128·256 norm_codes_1 bare 32×512·128 " +
				rows + "code_rows_1 bare 32×128·256 norm_codes_1 bare 32×512·128 silu_codes_1 scaled +32×128·256 | rms_norm 32×101·128/104",
		},
		{
			"LlamaForCausalLM", nil, true, 17,
			start + "norm_codes_1 blocks 32×512·128 " + rows + "code_rows_1 blocks +32×128·256 norm_codes_1 blocks 32×512·128 silu_codes_1 blocks +32×128·256 | rms_norm 32×101·128/104",
		},
		{ // 192 inputs are no multiple of 128
			"LlamaForCausalLM",
			map[string]any{"intermediate_size": 192},
			false, 17,
			start + "norm_codes_1 bare 32×512·128 " + rows + "code_rows_1 bare 32×128·256 norm_codes_1 scaled 32×384·128 silu_mul +32×128·192 | rms_norm 32×101·128/104",
		},
		{ // the router's and the experts' are not quantised
			"Qwen3MoeForCausalLM",
			map[string]any{"num_experts": 16, "num_experts_per_tok": 4, "moe_intermediate_size": 64},
			false, 33,
			start + "norm_codes_1 bare 48×512·128 " + rows + "code_rows_1 scaled +48×128·256 rms_norm 48×16·128 moe_choose moe_group moe_up_32 moe_down_32 moe_combine | rms_norm 48×101·128/104",
		},
	} {
		fields := map[string]any{"intermediate_size": 256}
		maps.Copy(fields, tc.more)
		p, r := oneLayer(t, tc.architecture, fields), &recorder{}
		m := r.machine(p)
		m.held = (&model.Model{Config: model.Config{Program: p}}).HeldInFP8(wide, true)
		m.scales = map[*program.Weight]scales{}
		for _, w := range p.Weights {
			if _, own := m.held.Own[w.Name]; !own {
				continue
			}
			m.scales[w] = scales{at: 4096}
			if tc.blocks {
				m.held.Own[w.Name] = model.ByBlock(model.Float8)
			}
		}
		if _, err := layOut(p, m.held); err != nil {
			t.Fatal(err)
		}
		plans, err := compile(p, m)
		if err != nil {
			t.Fatal(err)
		}
		w := &work{tokens: tc.tokens, decodes: tc.tokens, sampled: tc.tokens}
		if got := r.run(t, plans, w); got != tc.want {
			t.Errorf("%s, %d tokens:\n got %s\nwant %s", tc.architecture, tc.tokens, got, tc.want)
		}
		// Attention's results are the widest that are quantised by themselves.
		if most := int64(1024 * (256 + 4*256/128)); tc.tokens > 16 && plans.castBytes != most {
			t.Errorf("%s: %d bytes to quantise in, want %d", tc.architecture, plans.castBytes, most)
		}
	}
}

// Weights in 4 bits are multiplied by kernels of their own, with gates and residual
// streams, up to as many rows as those take: others are widened for cuBLASLt.
func TestInt4Plans(t *testing.T) {
	const start, rows = "embed decode_plan ", "rope_write paged_decode "
	for _, tc := range []struct {
		more           map[string]any
		tokens, hopper int
		ordered        bool
		want           string
	}{
		{nil, 8, 0, false, start + "rms_norm int4_few_8_2 " + rows + "int4_few_8_2 rms_norm int4_few_gate_8_2 int4_few_8_2 | skinny_norm_8"},
		{nil, 4, 132, false, start + "rms_norm int4_bytes_2 rope_write paged_decode_blocks int4_bytes_2 rms_norm int4_bytes_2 int4_bytes_2 | skinny_norm_8"},
		{nil, 16, 132, false, start + "rms_norm int4_rows_16_2 " + rows + "int4_rows_16_2 rms_norm int4_rows_16_2 int4_rows_16_2 | skinny_norm_16"},
		{nil, 65, 132, false, start + "rms_norm int4_split_64_2 " + rows + "int4_split_64_2 rms_norm int4_many_gate_128 int4_split_64_2 | rms_norm 80×101·128/104"},
		{
			nil, 17, 0, false,
			start + "rms_norm int4_widen 32×512·128 " + rows + "int4_widen +32×128·256 rms_norm int4_widen 32×512·128 silu_mul int4_widen +32×128·256 | rms_norm 32×101·128/104",
		},
		{ // 192 inputs are no multiple of 128
			map[string]any{"intermediate_size": 192},
			64, 132, false,
			start + "rms_norm int4_many_64 " + rows + "int4_many_64 rms_norm int4_many_gate_64 +64×128·192 | rms_norm 64×101·128/104",
		},
		{nil, 8, 0, true, start + "rms_norm int4_order int4_few_8_2 " + rows + "int4_order int4_few_8_2 rms_norm int4_order int4_few_gate_8_2 int4_order int4_few_8_2 | skinny_norm_8"},
	} {
		fields := map[string]any{"intermediate_size": 256}
		maps.Copy(fields, tc.more)
		p, r := oneLayer(t, "LlamaForCausalLM", fields), &recorder{}
		m := r.machine(p)
		m.shape.Hopper = tc.hopper
		m.held = (&model.Model{Config: model.Config{Program: p}}).HeldInInt4(wide, true)
		if tc.ordered {
			m.fours.order = map[*program.Weight]kernel.Ptr{}
			for _, w := range p.Weights {
				m.fours.order[w] = 4096
			}
		}
		if _, err := layOut(p, m.held); err != nil {
			t.Fatal(err)
		}
		plans, err := compile(p, m)
		if err != nil {
			t.Fatal(err)
		}
		w := &work{tokens: tc.tokens, decodes: tc.tokens, sampled: tc.tokens}
		if got := r.run(t, plans, w); got != tc.want {
			t.Errorf("%d tokens:\n got %s\nwant %s", tc.tokens, got, tc.want)
		}
		if want := int64(2 * 512 * 128); plans.wideBytes != want {
			t.Errorf("%d bytes to widen in, want %d", plans.wideBytes, want)
		}
		if most := int64(1024 * 256 * 2); tc.ordered && plans.castBytes != most {
			t.Errorf("%d bytes to put inputs in order in, want %d", plans.castBytes, most)
		}
	}
}

// Experts in codes are multiplied as they are, in tiles of no more entries than there are
// kernels for, and widened for many tokens, each matrix before its product.
func TestCodedExpertsPlans(t *testing.T) {
	for _, tc := range []struct {
		held           model.Encoding
		tokens, hopper int
		deterministic  bool
		want           string
		wide           int64
	}{
		{model.ByOutput(model.Float8), 2, 132, false, "moe_route moe_up_16_fp8 moe_down_16_fp8 moe_combine", 0},
		{model.ByOutput(model.Float8), 2, 132, true, "moe_choose moe_group moe_up_32_fp8 moe_down_32_fp8 moe_combine", 0},
		{model.ByBlock(model.Float8), 100, 132, false, "moe_choose moe_group moe_up_64_fp8 moe_down_64_fp8 moe_combine", 0},
		{model.Microscaled(), 500, 0, false, "moe_choose moe_group moe_up_64_mxfp4 moe_down_64_mxfp4 moe_combine", 2 * 4 * 256 * 128},
		{model.Microscaled(), 1024, 132, false, "moe_choose moe_group moe_up_hopper_mxfp4 moe_down_hopper_mxfp4 moe_combine", 0},
		{model.Microscaled(), 1024, 132, true, "moe_choose moe_group moe_up_64_mxfp4 moe_down_64_mxfp4 moe_combine", 0},
		{model.ByOutput(model.Float8), 1024, 0, false, "moe_choose moe_group moe_widen_fp8 moe_up_128 moe_widen_fp8 moe_down_128 moe_combine", 2 * 4 * 256 * 128},
		{model.Plain(model.BFloat16), 1024, 132, false, "moe_choose moe_group moe_up_hopper moe_down_hopper moe_combine", 0},
	} {
		p := oneLayer(t, "Qwen3MoeForCausalLM", map[string]any{"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 128})
		r := &recorder{}
		m := r.machine(p)
		m.shape.Hopper, m.held, m.deterministic = tc.hopper, wide, tc.deterministic
		m.held.Own = map[string]model.Encoding{}
		for _, op := range p.Ops {
			if o, is := op.(*program.ExpertProduct); is {
				m.held.Own[o.Weight.Name] = tc.held
			}
		}
		plans, err := compile(p, m)
		if err != nil {
			t.Fatal(err)
		}
		r.run(t, plans, &work{tokens: tc.tokens, decodes: tc.tokens, sampled: 1})
		got := slices.DeleteFunc(r.names, func(name string) bool { return !strings.HasPrefix(name, "moe_") })
		if got := strings.Join(got, " "); got != tc.want {
			t.Errorf("%s, %d tokens:\n got %s\nwant %s", tc.held, tc.tokens, got, tc.want)
		}
		if plans.wideBytes != tc.wide {
			t.Errorf("%s: %d bytes to widen in, want %d", tc.held, plans.wideBytes, tc.wide)
		}
	}
}

// What cuBLASLt is asked about while opening: each product once, from the number
// of rows that none but it multiplies.
func TestLoadedProducts(t *testing.T) {
	names := func(p *program.Program) (list []string) {
		plans, err := compile(p, &machine{shape: shapeOf(p)})
		if err != nil {
			t.Fatal(err)
		}
		for _, l := range plans.products {
			list = append(list, fmt.Sprint(l.name, " ", l.from))
		}
		return list
	}
	for want, p := range map[string]*program.Program{
		"[qkv 17 o 17 gate_up 17 down 17 head 17]": oneLayer(t, "LlamaForCausalLM", map[string]any{"num_hidden_layers": 3}),
		"[qkv 17 o 17 router 33 head 17]":          oneLayer(t, "Qwen3MoeForCausalLM", map[string]any{"num_experts": 16, "num_experts_per_tok": 4, "moe_intermediate_size": 64}),
		"[qkv 1 o 1 gate_up 1 down 1 head 1]":      oneLayer(t, "LlamaForCausalLM", map[string]any{"intermediate_size": 200}),
	} {
		if got := fmt.Sprint(names(p)); got != want {
			t.Errorf("%s, want %s", got, want)
		}
	}
}

// All that is published can be compiled, with one layout for passes of any size,
// in which what products read is half as large as what norms do.
func TestPublishedCompile(t *testing.T) {
	for _, name := range model.Published() {
		m, err := model.Open(name, true)
		if err != nil {
			t.Fatal(err)
		}
		p := m.Config.Program
		if _, err := settle(&device.Spec{Model: m}, 0); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		for _, held := range []model.Held{wide, m.HeldInFP8(wide, true), m.HeldInInt4(wide, true), m.HeldExperts(wide, true)} {
			if _, err := compile(p, &machine{shape: shapeOf(p), held: held}); err != nil {
				t.Errorf("%s: %v", name, err)
			}
			if _, err := layOut(p, held); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
	}
	p := oneLayer(t, "Qwen3ForCausalLM", nil)
	l, err := layOut(p, wide)
	if err != nil {
		t.Fatal(err)
	}
	// x; what is normed, then attention, which are as wide as queries, then what is
	// gated; queries, keys and values, then gates and ups; the head's two.
	if got, want := fmt.Sprint(l.Buffers), fmt.Sprintf("[{tokens 0 %d} {tokens 0 %d} {tokens 0 %d} {sampled 0 %d} {sampled 0 %d}]",
		f32*128, bf16*256, f32*512, bf16*128, f32*104); got != want {
		t.Errorf("buffers %s, want %s", got, want)
	}
}

// Routes take what the largest mixture of a program needs.
func TestRoutesMemory(t *testing.T) {
	var r routes
	if list := r.sizes(oneLayer(t, "LlamaForCausalLM", nil), 100); len(list) > 0 {
		t.Errorf("%d pieces of memory for routes that are not there", len(list))
	}
	p := oneLayer(t, "Qwen3MoeForCausalLM", map[string]any{"num_experts": 16, "num_experts_per_tok": 4, "moe_intermediate_size": 64})
	at := map[*kernel.Ptr]int64{}
	for _, s := range r.sizes(p, 100) {
		at[s.at] = s.bytes
	}
	for _, want := range []struct {
		at    *kernel.Ptr
		bytes int64
	}{{&r.choice, 4 * 400}, {&r.entries, 16 * 400}, {&r.counts, 4 * 16}, {&r.scales, 4 * 100}} {
		if at[want.at] != want.bytes {
			t.Errorf("%d bytes, want %d", at[want.at], want.bytes)
		}
	}
}

// What no kernel does is refused by name.
func TestRefusals(t *testing.T) {
	type fault struct {
		want   string
		change func(p *program.Program)
	}
	first := func(p *program.Program, is func(program.Op) bool) int {
		for i, op := range p.Ops {
			if is(op) {
				return i
			}
		}
		t.Fatal("no such op")
		return 0
	}
	attend := func(p *program.Program) *program.Attend {
		return p.Ops[first(p, func(o program.Op) bool { _, is := o.(*program.Attend); return is })].(*program.Attend)
	}
	insert := func(p *program.Program, at int, op program.Op) {
		p.Ops = append(p.Ops[:at:at], append([]program.Op{op}, p.Ops[at:]...)...)
	}
	for _, f := range []fault{
		{"0 shared heads", func(p *program.Program) { attend(p).Cache.Shared, attend(p).Cache.Heads = true, 0 }},
		{"(attention): 2 heads, others in the model 4", func(p *program.Program) {
			o := *attend(p)
			o.Heads = 2
			insert(p, first(p, func(op program.Op) bool { return op == program.Op(attend(p)) }), &o)
		}},
		{"(norm): groups of 12", func(p *program.Program) {
			x := p.Ops[0].(*program.Embed).Out
			insert(p, 1, &program.Norm{In: x, Out: x, Weight: &program.Weight{Role: "n", Shape: []int{12}}, Group: 12})
		}},
		{"(gate): an activation that the kernels have not", func(p *program.Program) {
			p.Ops[first(p, func(o program.Op) bool { _, is := o.(*program.Gate); return is })].(*program.Gate).Activation = program.Sigmoid
		}},
		{"(multiply): an activation that the kernel has not", func(p *program.Program) {
			x := p.Ops[0].(*program.Embed).Out
			insert(p, 1, &program.Multiply{X: x, By: x, Activation: program.GELU})
		}},
	} {
		p := oneLayer(t, "LlamaForCausalLM", nil)
		f.change(p)
		if _, err := compile(p, &machine{shape: shapeOf(p)}); err == nil || !strings.Contains(err.Error(), f.want) {
			t.Errorf("%v, want an error with %q", err, f.want)
		}
	}
}

// A pass of any size finds its plan.
func TestBuckets(t *testing.T) {
	p := plans{skinny: 8, bodies: []body{{8, make([]stage, 1)}, {32, make([]stage, 2)}, {math.MaxInt, make([]stage, 3)}}, few: make([]stage, 4), many: make([]stage, 5)}
	for n, want := range map[int][2]int{1: {1, 4}, 8: {1, 4}, 9: {2, 5}, 32: {2, 5}, 33: {3, 5}, 1 << 20: {3, 5}} {
		if got := [2]int{len(p.body(&work{tokens: n})), len(p.head(n))}; got != want {
			t.Errorf("%d rows: plans %v, want %v", n, got, want)
		}
	}
}
