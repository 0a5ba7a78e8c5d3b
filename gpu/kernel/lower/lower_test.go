package lower

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/troupe-llm/troupe/gpu/kernel"
	"github.com/troupe-llm/troupe/gpu/model"
	"github.com/troupe-llm/troupe/gpu/program"
)

// layer lists the kernels of a pass without what its last layer repeats.
func kernels(ops []program.Op) string {
	var names []string
	for _, o := range ops {
		name := fmt.Sprint(o.Name())
		if f, fused := o.(*program.Fused); fused {
			name = f.String()
		}
		if !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	return strings.Join(names, " ")
}

func TestKernels(t *testing.T) {
	const (
		rope     = "rope_write(norm, norm, rope, store) attention product_add(o, add) "
		fewHead  = " | skinny_norm(gather, norm, head)"
		manyHead = " | gather_norm(gather, norm) head"
	)
	for _, tc := range []struct {
		model        string
		tokens, rows int
		want         string
	}{
		{"qwen3-0.6b", 1, 1, "embed skinny_norm(norm, qkv) " + rope + "skinny_gate(norm, gate_up, gate) product_add(down, add)" + fewHead},
		{"qwen3-0.6b", 16, 17, "embed skinny_norm(norm, qkv) " + rope + "skinny_gate(norm, gate_up, gate) product_add(down, add)" + manyHead},
		{"qwen3-0.6b", 17, 16, "embed norm qkv " + rope + "gate_up gate product_add(down, add)" + fewHead},
		{"qwen3-14b", 8, 8, "embed skinny_norm(norm, qkv) " + rope + "skinny_gate(norm, gate_up, gate) product_add(down, add)" + fewHead},
		{"qwen3-14b", 9, 9, "embed norm qkv " + rope + "gate_up gate product_add(down, add)" + manyHead},
		{"qwen2.5-7b", 9, 9, "embed norm qkv rope_write(qkv_bias, rope, store) attention product_add(o, add) gate_up gate product_add(down, add)" + manyHead},
		{"llama-3.1-8b", 99, 9, "embed norm qkv rope_write(rope, store) attention product_add(o, add) gate_up gate product_add(down, add)" + manyHead},
		{
			"qwen3-30b-a3b", 16, 1,
			"embed skinny_norm(norm, qkv) " + rope + "moe_route(norm, router, route) moe_up(experts_gate_up, gate) experts_down moe_combine(combine, add)" + fewHead,
		},
		{
			"qwen3-30b-a3b", 32, 1,
			"embed norm qkv " + rope + "moe_route(norm, router, route) moe_up(experts_gate_up, gate) experts_down moe_combine(combine, add)" + fewHead,
		},
		{
			"qwen3-30b-a3b", 33, 1,
			"embed norm qkv " + rope + "router route moe_up(experts_gate_up, gate) experts_down moe_combine(combine, add)" + fewHead,
		},
	} {
		m, err := model.Open(tc.model, true)
		if err != nil {
			t.Fatal(err)
		}
		l := New(m.Config.Program)
		if got := kernels(l.Body(tc.tokens)) + " | " + kernels(l.Head(tc.rows)); got != tc.want {
			t.Errorf("%s, %d tokens:\n got %s\nwant %s", tc.model, tc.tokens, got, tc.want)
		}
	}
}

// Few rows take skinny products of weights in FP8, too, many those of codes.
func TestCodedKernels(t *testing.T) {
	m, err := model.Open("qwen3-14b", true)
	if err != nil {
		t.Fatal(err)
	}
	l := Of(m.Config.Program, func(w *program.Weight) program.Codes {
		if w.Out() > 1<<17 { // the head
			return program.NoCodes
		}
		return program.CodesByOutput
	})
	for tokens, want := range map[int]string{
		8: "embed skinny_norm(norm, qkv) rope_write(norm, norm, rope, store) attention product_add(o, add) skinny_gate(norm, gate_up, gate) product_add(down, add)",
		9: "embed norm qkv rope_write(norm, norm, rope, store) attention product_add_norm(o, add, norm) gate_up gate product_add_norm(down, add, norm) product_add(down, add)",
	} {
		if got := kernels(l.Body(tokens)); got != want {
			t.Errorf("%d tokens:\n got %s\nwant %s", tokens, got, want)
		}
	}
}

// A single key head is as wide as its norm; norms of all heads together are no
// heads'.
func TestNormsOfHeads(t *testing.T) {
	for fields, want := range map[string]string{
		`"architectures": ["Qwen3ForCausalLM"], "num_key_value_heads": 1`: "rope_write(norm, norm, rope, store)",
	} {
		text := `{"vocab_size": 100, "hidden_size": 64, "intermediate_size": 64, "num_hidden_layers": 1, "num_attention_heads": 3, "head_dim": 128,
			"max_position_embeddings": 100, ` + fields + `}`
		c, err := model.ParseConfig([]byte(text), "config.json")
		if err != nil {
			t.Fatal(err)
		}
		if got := kernels(New(c.Program).Body(1)); !strings.Contains(got, want) {
			t.Errorf("%s: %s, want %s", fields, got, want)
		}
	}
}

// Passes of a bucket have the same kernels, those of the next have others or as
// many tokens as nobody asks for.
func TestBuckets(t *testing.T) {
	for _, name := range model.Published() {
		m, err := model.Open(name, true)
		if err != nil {
			t.Fatal(err)
		}
		l, from := New(m.Config.Program), 1
		for _, most := range append(l.Buckets(), 4096) {
			if a, b := kernels(l.Body(from)), kernels(l.Body(most)); a != b {
				t.Errorf("%s: %d and %d tokens differ: %s, %s", name, from, most, a, b)
			}
			from = most + 1
		}
		if l.Skinny > kernel.MaxSkinny {
			t.Errorf("%s: skinny products of %d rows", name, l.Skinny)
		}
	}
}

// Where a row is to be the same among any number of them, so are the kernels: those for many.
func TestInvariant(t *testing.T) {
	for _, name := range model.Published() {
		m, err := model.Open(name, true)
		if err != nil {
			t.Fatal(err)
		}
		p := m.Config.Program
		for _, held := range []model.Held{model.HeldAs(model.BFloat16), m.HeldInFP8(model.HeldAs(model.BFloat16), true)} {
			l, all := Invariant(p, held.Codes), Of(p, held.Codes)
			if len(l.Buckets()) > 0 {
				t.Errorf("%s: passes differ by %v tokens", name, l.Buckets())
			}
			want := kernels(all.Body(4096)) + kernels(all.Head(4096))
			for _, n := range []int{1, 8, 16, 32, 33, 4096} {
				if got := kernels(l.Body(n)) + kernels(l.Head(n)); got != want {
					t.Errorf("%s, %d tokens: %s, want %s", name, n, got, want)
				}
			}
		}
	}
}

func TestRoundedRows(t *testing.T) {
	for n, want := range map[int][2]int{1: {16, 16}, 16: {16, 16}, 250: {256, 256}, 257: {320, 320}, 1100: {1152, 1152}, 5000: {5056, 5120}} {
		if got := [2]int{ProductRows(n), AlikeRows(n)}; got != want {
			t.Errorf("%d rows become %v, want %v", n, got, want)
		}
	}
}

func TestAlikeRows(t *testing.T) {
	kinds := map[int]bool{}
	for n := 1; n <= 8192; n++ {
		rows, alike := ProductRows(n), AlikeRows(n)
		if rows < n || alike < rows || alike > max(rows, rows+rows/8) {
			t.Fatalf("%d rows are multiplied as %d, as %d are", n, rows, alike)
		}
		if AlikeRows(rows) != alike || AlikeRows(alike) != alike || alike != ProductRows(alike) {
			t.Fatalf("%d rows are like %d, which are like %d", n, alike, AlikeRows(alike))
		}
		kinds[alike] = true
	}
	if len(kinds) > 64 {
		t.Errorf("%d numbers of rows to ask about", len(kinds))
	}
}

// What GPUs that share a model add up is added and normed in one kernel where rows are
// many and the norm is not quantised; of more, two copy it while they multiply.
func TestSharedKernels(t *testing.T) {
	m, err := model.Open("qwen3-14b", true)
	if err != nil {
		t.Fatal(err)
	}
	share, err := m.Config.Program.Share(0, 2, 0)
	if err != nil {
		t.Fatal(err)
	}
	codes := func(*program.Weight) program.Codes { return program.CodesByOutput }
	four, err := m.Config.Program.Share(0, 4, 0)
	if err != nil {
		t.Fatal(err)
	}
	const head = "embed all_reduce "
	for _, c := range []struct {
		l      *Lowering
		tokens int
		want   string
	}{
		{New(share.Program), 8, head + "skinny_norm(norm, qkv) rope_write(norm, norm, rope, store) attention skinny_reduce(o, all_reduce, add) skinny_gate(norm, gate_up, gate) skinny_reduce(down, all_reduce, add)"},
		{New(share.Program), 9, head + "norm qkv rope_write(norm, norm, rope, store) attention o reduce_add_norm(all_reduce, add, norm) gate_up gate down reduce_add(all_reduce, add)"},
		{New(share.Program), 819, head + "norm qkv rope_write(norm, norm, rope, store) attention o reduce_add_norm(all_reduce, add, norm) gate_up gate down reduce_add(all_reduce, add)"},
		{New(share.Program), 820, head + "norm qkv rope_write(norm, norm, rope, store) attention product_reduce_norm(o, all_reduce, add, norm) gate_up gate product_reduce_norm(down, all_reduce, add, norm) product_reduce(down, all_reduce, add)"},
		{New(four.Program), 820, head + "norm qkv rope_write(norm, norm, rope, store) attention o reduce_add_norm(all_reduce, add, norm) gate_up gate down reduce_add(all_reduce, add)"},
		{Of(share.Program, codes), 820, head + "norm qkv rope_write(norm, norm, rope, store) attention o reduce_add(all_reduce, add) gate_up gate down"},
		{Of(share.Program, codes), 9, head + "norm qkv rope_write(norm, norm, rope, store) attention o reduce_add(all_reduce, add) gate_up gate down"},
	} {
		if got := kernels(c.l.Body(c.tokens)); got != c.want {
			t.Errorf("%d tokens:\n got %s\nwant %s", c.tokens, got, c.want)
		}
	}
}
