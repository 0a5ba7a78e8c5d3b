package cuda

import (
	"maps"
	"math"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/troupe-llm/troupe/gpu/batch"
	"github.com/troupe-llm/troupe/gpu/device"
	"github.com/troupe-llm/troupe/gpu/kernel"
	"github.com/troupe-llm/troupe/gpu/kernel/lower"
	"github.com/troupe-llm/troupe/gpu/model"
	"github.com/troupe-llm/troupe/gpu/program"
)

// sizes are what launches' names have of numbers of rows and of tiles' rows, which add
// up alike.
var sizes = regexp.MustCompile(`(\b|\+)\d+×|(moe_\w+_)(16|32|64|128)\b`)

// A deterministic machine launches the same for any number of rows, of prompts or
// decoding, with the same kernels of attention and of experts.
func TestDeterministicPlans(t *testing.T) {
	mixture := map[string]any{"num_experts": 16, "num_experts_per_tok": 4, "moe_intermediate_size": 64}
	recurrent := map[string]any{
		"layer_types": []string{"linear_attention"}, "linear_conv_kernel_dim": 4, "linear_key_head_dim": 32, "linear_value_head_dim": 32, "linear_num_key_heads": 2, "linear_num_value_heads": 4,
	}
	for _, tc := range []struct {
		architecture string
		more         map[string]any
		ranks        int
		want         string
	}{
		{"Qwen3ForCausalLM", nil, 1, "embed rms_norm 512·128 rope_write paged_prefill_hopper +128·256 rms_norm 384·128 silu_mul +128·192 | rms_norm 101·128/104"},
		{"Qwen3MoeForCausalLM", mixture, 1, "embed rms_norm 512·128 rope_write paged_prefill_hopper +128·256 rms_norm 16·128 moe_choose moe_group moe_up_ moe_down_ moe_combine | rms_norm 101·128/104"},
		{"Qwen3_5ForCausalLM", recurrent, 1, "embed rms_norm 392·128 conv_spans conv_keep delta_steps rms_norm_heads multiply_rows +128·128 rms_norm 384·128 silu_mul +128·192 | rms_norm 101·128/104"},
		{"LlamaForCausalLM", nil, 2, "embed push_floats rms_norm 256·128 rope_write paged_prefill_hopper 128·128 push rms_norm 256·128 silu_mul 128·128 push | rms_norm 69·128/72 gather_ranks"},
	} {
		p := oneLayer(t, tc.architecture, tc.more)
		var rank *device.Rank
		if tc.ranks > 1 {
			rank = &device.Rank{Index: 1, Ranks: tc.ranks}
			share, err := p.Share(1, tc.ranks, 0)
			if err != nil {
				t.Fatal(err)
			}
			p = share.Program
		}
		for _, rows := range []int{1, 8, 9, 16, 17, 32, 33, 300, 1024} {
			r := &recorder{}
			m := r.machine(p)
			m.deterministic, m.shape.Hopper, m.meetings = true, 132, unmet(rank)
			for i := range m.inboxes {
				m.inboxes[i][0] = 1 // parts may be sent
			}
			m.values = map[*program.Value]kernel.Ptr{}
			for _, op := range p.Ops {
				for _, v := range op.Uses().Reads {
					m.values[v.Whole()] = 1 // sums may be added to it
				}
			}
			plans, err := compile(p, m)
			if err != nil {
				t.Fatal(err)
			}
			for _, w := range []work{m.decodes(rows), {tokens: rows, ntiles: 3, nspans: 1}} {
				r.names = nil
				w.sampled = rows
				if got := sizes.ReplaceAllString(r.run(t, plans, &w), "$1$2"); got != tc.want {
					t.Errorf("%s, %d rows:\n got %s\nwant %s", tc.architecture, rows, got, tc.want)
				}
			}
		}
	}
}

// Decode rows are prompts of one token: alone in a graph, and beside others.
func TestEncodeAsPrompts(t *testing.T) {
	d := newDesk([]int{1, 2, 4})
	d.asPrompts = true
	decode := batch.Row{Slot: 3, Start: 40, Sample: true}
	u, err := d.run(&batch.Step{Rows: []batch.Row{decode, {Slot: 5, Start: 7, Sample: true}}, NumDecode: 2, NumTokens: 2})
	if err != nil {
		t.Fatal(err)
	}
	if u.graph != 2 || u.tokens != 2 || u.decodes != 0 || u.draws != 2 || u.ntiles != 2 || u.nspans != 2 {
		t.Errorf("%+v", u)
	}
	b := &u.begin
	equal(t, "tokens", d.ints(b.Tokens, b.NTokens), []int32{-1, -1})
	equal(t, "tiles", d.ints(b.Tiles, 14), []int32{3, 0, 40, 1, 0, 0, 0, 5, 1, 7, 1, 0, 0, 0})
	equal(t, "spans", d.ints(b.Spans, 8), []int32{0, 1, 3, 40, 1, 1, 5, 7})

	// Drafts are tokens by themselves, in a graph as well.
	d.info.MaxDraws = 16
	drafted := batch.Row{Slot: 5, Start: 7, Tokens: []int32{8, 9}, Drafts: 1, Sample: true}
	if u, err = d.run(&batch.Step{Rows: []batch.Row{decode, drafted}, NumDecode: 1, NumTokens: 3}); err != nil {
		t.Fatal(err)
	}
	if u.graph != 4 || u.tokens != 4 || u.decodes != 0 || u.draws != 4 || u.ntiles != 3 || u.nspans != 2 {
		t.Errorf("%+v", u)
	}
	equal(t, "tiles", d.ints(u.begin.Tiles, 21), []int32{3, 0, 40, 1, 0, 0, 0, 5, 2, 8, 1, 0, 0, 0, 5, 1, 7, 1, 0, 0, 0})

	d.prompts = 64
	u, err = d.run(&batch.Step{Rows: []batch.Row{decode, {Slot: 5, Start: 7, Tokens: []int32{8, 9}, Sample: true}}, NumDecode: 1, NumTokens: 3})
	if err != nil {
		t.Fatal(err)
	}
	if !u.replays || u.tokens != 16 || u.decodes != 0 || u.draws != 2 || u.ntiles != 2 || u.nspans != 2 {
		t.Errorf("%+v", u)
	}
	equal(t, "tokens", d.ints(u.begin.Tokens, 4), []int32{-1, 8, 9, 0})
	equal(t, "tiles", d.ints(u.begin.Tiles, 14), []int32{3, 0, 40, 1, 0, 0, 0, 5, 1, 7, 2, 0, 0, 0})
	equal(t, "spans", d.ints(u.begin.Spans, 8), []int32{0, 1, 3, 40, 1, 2, 5, 7})
}

// What is pinned is each shape once, for the most rows that it is multiplied by, and every
// number of rows has a choice: multiplyRounded's finds one among those that pin makes.
func TestPinnedShapes(t *testing.T) {
	a := product{out: 128, in: 64, ld: 128}
	b := a
	b.float = true
	of := func(p product, most int, name string) loadable {
		return loadable{factors{product: p, most: most}, name, 1}
	}
	var names []string
	for _, l := range distinct([]loadable{of(a, 100, "a few"), of(b, 300, "b"), of(a, 500, "a")}) {
		names = append(names, l.name)
	}
	if want := []string{"a", "b"}; !slices.Equal(names, want) {
		t.Errorf("%v, want %v", names, want)
	}
	for _, most := range []int{1, 15, 16, 100, 256, 300, 1000, 4097, 16384} {
		chosen := map[int]bool{}
		for n := 1; n <= most; {
			n = min(lower.AlikeRows(n), most)
			chosen[lower.AlikeRows(n)] = true
			n++
		}
		for n := 1; n <= most; n++ {
			if p := (product{n: rounded(n, most)}).like(); !chosen[p.n] {
				t.Fatalf("of %d rows at most, %d are multiplied as %d, for which nothing was chosen", most, n, p.n)
			}
		}
	}
}

// What would depend on other rows is refused by name.
func TestUndetermined(t *testing.T) {
	open := func(architecture string, more map[string]any) *model.Model {
		fields := map[string]any{"num_hidden_layers": 2}
		maps.Copy(fields, more)
		m := &model.Model{}
		m.Config.Program = oneLayer(t, architecture, fields)
		m.Config.MaxPositions, m.Config.Vocab = 4096, 101
		return m
	}
	plain := open("LlamaForCausalLM", nil)
	none := func(*program.Weight) program.Codes { return program.NoCodes }
	for _, tc := range []struct {
		spec  device.Spec
		codes program.Codes
		want  string
	}{
		{device.Spec{Model: plain}, program.NoCodes, ""},
		{device.Spec{Model: plain}, program.CodesByOutput, ""},
		{device.Spec{Model: plain, Rank: &device.Rank{Ranks: 2}}, program.NoCodes, ""},
		{device.Spec{Model: plain, Rank: &device.Rank{Ranks: 4}}, program.NoCodes, "take one or two (--tp 2)"},
		{device.Spec{Model: plain}, program.CodesInGroups, "weights of 4 bits"},
	} {
		held := none
		if tc.codes != program.NoCodes {
			held = func(*program.Weight) program.Codes { return tc.codes }
		}
		err := undetermined(&tc.spec, held)
		if (err == nil) != (tc.want == "") || err != nil && !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%v, want %q", err, tc.want)
		}
	}
}

// Tiles of a run of tokens do not decide which keys a token sees at once: blocks of
// them begin at fixed positions, and a decode row is a tile of its own.
func TestDecodeRowsAreTiles(t *testing.T) {
	for _, s := range []kernel.Shape{{Heads: 40, KVHeads: 8, HeadDim: 128}, {Heads: 16, KVHeads: 1, HeadDim: 64}} {
		if tiles := s.AppendTiles(nil, 2, 7, 99, 1); len(tiles) != 1 {
			t.Errorf("%d tiles for a decode row", len(tiles))
		}
		if most := s.MostTiles(math.MaxInt16, 64); most < 64 {
			t.Errorf("memory for %d tiles", most)
		}
	}
}
