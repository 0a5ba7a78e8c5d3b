package program

import (
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

// small is a program of one layer: attention with norms of heads, and a gated
// MLP.
func small(t *testing.T) *Program {
	t.Helper()
	p, err := build()
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func matrix(name string, out, in int) *Weight {
	return &Weight{Name: name, Role: name, Shape: []int{out, in}, Parts: []Part{Whole(name, out, in)}}
}

func vector(name string, n int) *Weight {
	return &Weight{Name: name, Role: name, Shape: []int{n}, Init: Ones, Parts: []Part{Whole(name, n)}}
}

func build() (*Program, error) {
	const hidden, heads, kvHeads, dim, inner, vocab = 16, 4, 2, 4, 24, 50
	b := NewBuilder()
	embed := matrix("embed", vocab, hidden)
	x := b.Embed(embed, 1)
	b.At("layers.0.")
	qkv := b.Product(b.Norm(x, vector("attn_norm", hidden), 1e-6), matrix("qkv", (heads+2*kvHeads)*dim, hidden))
	b.AddBias(qkv, vector("qkv_bias", qkv.Width))
	parts := b.Split(qkv, heads*dim, kvHeads*dim, kvHeads*dim)
	b.NormHeads(parts[0], vector("q_norm", dim), dim, 1e-6)
	b.NormHeads(parts[1], vector("k_norm", dim), dim, 1e-6)
	b.Rope(&Rotary{Dims: dim, InvFreq: []float64{1, 0.1}, Scale: 1}, dim, parts[0], parts[1])
	cache := b.Store(parts[1], parts[2], kvHeads, 0)
	b.Add(x, b.Product(b.Attend(parts[0], cache, heads, 0.5, nil), matrix("o", hidden, heads*dim)), 1)
	up := b.Product(b.Norm(x, vector("mlp_norm", hidden), 1e-6), matrix("gate_up", 2*inner, hidden))
	b.Add(x, b.Product(b.Gate(up, SiLU), matrix("down", hidden, inner)), 1)
	b.At("")
	head := matrix("head", vocab, hidden)
	head.Tied = embed
	b.Head(x, vector("norm", hidden), head, 1e-6)
	return b.Done()
}

// list names ops, fused ones with what is in them.
func list(ops []Op) string {
	var names []string
	for _, o := range ops {
		if f, fused := o.(*Fused); fused {
			names = append(names, f.String())
		} else {
			names = append(names, o.Name())
		}
	}
	return strings.Join(names, " ")
}

func rule(name string, ops ...Pattern) *Rule { return &Rule{Name: name, Ops: ops} }

func TestFuse(t *testing.T) {
	const plain = "embed norm qkv qkv_bias norm norm rope store attention o add norm gate_up gate down add gather norm head"
	keeps := rule("keeps", A[*Norm](), A[*Rope]())
	keeps.Keeps = true
	never := rule("never", A[*Product](), A[*Add]())
	never.Where = func([]Op) bool { return false }
	for _, tc := range []struct {
		name  string
		rules []*Rule
		want  string
	}{
		{"no rules", nil, plain},
		{"a pair", []*Rule{rule("r", A[*Product](), A[*Add]())}, "embed norm qkv qkv_bias norm norm rope store attention r(o, add) norm gate_up gate r(down, add) gather norm head"},
		{
			"the first that matches",
			[]*Rule{rule("long", A[*Norm](), A[*Product](), A[*Gate]()), rule("short", A[*Norm](), A[*Product]())},
			"embed short(norm, qkv) qkv_bias norm norm rope store attention o add long(norm, gate_up, gate) down add gather short(norm, head)",
		},
		{
			"what need not be there",
			[]*Rule{rule("r", Maybe(A[*AddBias]()), Maybe(A[*Norm]()), Maybe(A[*Norm]()), A[*Rope](), A[*Store]())},
			"embed norm qkv r(qkv_bias, norm, norm, rope, store) attention o add norm gate_up gate down add gather norm head",
		},
		{"ops that have nothing to do with each other", []*Rule{rule("r", A[*Add](), A[*Norm](), A[*Product](), A[*Norm]())}, plain},
		{
			// The residual stream is read behind the sequence; it was there before and is
			// changed in place.
			"what is changed in place",
			[]*Rule{rule("r", A[*Add](), A[*Norm]())},
			"embed norm qkv qkv_bias norm norm rope store attention o r(add, norm) gate_up gate down add gather norm head",
		},
		{"conditions of the whole", []*Rule{never}, plain},
		{"conditions of an op", []*Rule{rule("r", A[*Product](), A(func(a *Add) bool { return a.Scale == 2 }))}, plain},
		{"kept values", []*Rule{keeps}, "embed norm qkv qkv_bias norm keeps(norm, rope) store attention o add norm gate_up gate down add gather norm head"},
	} {
		if got := list(Fuse(small(t).Ops, tc.rules)); got != tc.want {
			t.Errorf("%s:\n got %s\nwant %s", tc.name, got, tc.want)
		}
	}
}

// A sequence is left alone when a later op reads what would stay inside of it,
// unless the rule leaves that in memory.
func TestFuseKeepsWhatIsReadLater(t *testing.T) {
	b := NewBuilder()
	x := b.Embed(matrix("embed", 9, 4), 1)
	h := b.Norm(x, vector("a", 4), 1e-6)
	b.Add(x, b.Product(h, matrix("b", 4, 4)), 1)
	b.Add(x, b.Product(h, matrix("c", 4, 4)), 1)
	b.Head(x, vector("norm", 4), matrix("head", 9, 4), 1e-6)
	p, err := b.Done()
	if err != nil {
		t.Fatal(err)
	}
	r := rule("r", A[*Norm](), A[*Product]())
	if got := list(Fuse(p.Ops, []*Rule{r})); got != "embed norm b add c add gather r(norm, head)" {
		t.Errorf("got %s", got)
	}
	r.Keeps = true
	fused := Fuse(p.Ops, []*Rule{r})
	if got := list(fused); got != "embed r(norm, b) add c add gather r(norm, head)" {
		t.Errorf("kept: got %s", got)
	}
	u := fused[1].Uses()
	if !slices.Contains(u.Writes, h) || len(u.Writes) != 2 || len(u.Inside) != 0 || !slices.Equal(u.Reads, []*Value{x}) {
		t.Errorf("kept: uses %+v", u)
	}
}

func TestFusedUses(t *testing.T) {
	p := small(t)
	ops := Fuse(p.Ops, []*Rule{rule("mlp", A[*Norm](), A[*Product](), A[*Gate](), A[*Product](), A[*Add]())})
	f := ops[len(ops)-4].(*Fused)
	u := f.Uses()
	if len(u.Reads) != 1 || len(u.Writes) != 1 || u.Reads[0] != u.Writes[0] || u.Reads[0].Name != "x" || len(u.Inside) != 4 || len(u.Weights) != 3 {
		t.Errorf("%s uses %+v", f, u)
	}
	pass := NewPass([]Span{{Tokens: 3}}, 1)
	c := f.Cost(pass)
	if want := 2 * 3 * 16.0; c.Rows != want {
		t.Errorf("%s moves %v elements of values, want %v", f, c.Rows, want)
	}
	if f.Name() != "gate_up" || c.Weight.Name != "gate_up" {
		t.Errorf("%s is called %s", f, f.Name())
	}
	var sum float64
	for _, o := range f.Ops {
		sum += o.Cost(pass).FLOPs
	}
	if c.FLOPs != sum {
		t.Errorf("%v operations, want %v", c.FLOPs, sum)
	}
}

// Values that are alive at the same time never share memory, whatever is fused:
// against a plain count of who is alive when.
func TestLay(t *testing.T) {
	p := small(t)
	all := []*Rule{
		rule("a", A[*Norm](), A[*Product]()), rule("b", A[*Product](), A[*Gate]()), rule("c", A[*Product](), A[*Add]()),
		rule("d", A[*AddBias](), A[*Norm]()), rule("e", A[*Gather](), A[*Norm]()),
	}
	r := rand.New(rand.NewPCG(3, 4))
	for range 200 {
		var rules []*Rule
		for _, i := range r.Perm(len(all))[:r.IntN(len(all)+1)] {
			rules = append(rules, all[i])
		}
		ops := Fuse(p.Ops, rules)
		l := Lay(ops, func(v *Value, inside bool) int {
			if inside && v.Width%3 == 0 {
				return 0
			}
			return v.Width
		}, p.Logits)
		type life struct{ first, last int }
		lives := map[*Value]life{}
		for i, o := range ops {
			u := o.Uses()
			for _, v := range slices.Concat(u.Reads, u.Writes, u.Inside) {
				at, seen := lives[v.Whole()]
				if !seen {
					at.first = i
				}
				at.last = i
				lives[v.Whole()] = at
			}
		}
		lives[p.Logits] = life{lives[p.Logits].first, len(ops)}
		for v, a := range lives {
			buffer, placed := l.At[v]
			if !placed {
				continue
			}
			if b := l.Buffers[buffer]; b.Rows != v.Rows || b.Row < v.Width {
				t.Fatalf("%s lies in %+v", v, b)
			}
			for w, b := range lives {
				if other, placed := l.At[w]; placed && w != v && other == buffer && a.first <= b.last && b.first <= a.last {
					t.Fatalf("%s and %s share memory in %s", v, w, list(ops))
				}
			}
		}
		if len(l.Buffers) >= len(lives) {
			t.Fatalf("%d buffers for %d values", len(l.Buffers), len(lives))
		}
	}
}

// Everything a program may be wrong about is said.
func TestCheck(t *testing.T) {
	for name, tc := range map[string]struct {
		fault func(*Program)
		want  string
	}{
		"unwritten":          {func(p *Program) { p.Ops = p.Ops[1:] }, "op 0, norm, reads x [tokens, 16], which nothing wrote"},
		"attention first":    {func(p *Program) { p.Ops[7], p.Ops[8] = p.Ops[8], p.Ops[7] }, "looks at layers.0.cache before this pass stored its keys and values there"},
		"no logits":          {func(p *Program) { p.Logits = nil }, "no logits of sampled rows"},
		"logits of all rows": {func(p *Program) { p.Logits = p.Ops[0].(*Embed).Out }, "no logits of sampled rows"},
		"a product's inputs": {func(p *Program) { p.Ops[2].(*Product).Weight.Shape[1] = 15 }, "op 2, qkv: layers.0.attn_norm [tokens, 16] by [32 15]"},
		"a norm's weights":   {func(p *Program) { p.Ops[4].(*Norm).Group = 8 }, "layers.0.qkv[0] [tokens, 16] by 8 with 4 weights"},
		"heads":              {func(p *Program) { p.Ops[8].(*Attend).Heads = 3 }, "by 3 heads over 2 of 4 and 4"},
		"rotation":           {func(p *Program) { p.Rotary[0].Dims = 6 }, "6 of heads of 4 are turned by 2 frequencies"},
		"gate":               {func(p *Program) { p.Ops[13].(*Gate).Out.Width = 20 }, "op 13, gate: layers.0.gate_up [tokens, 48] to layers.0.gate [tokens, 20]"},
		"two of a name":      {func(p *Program) { p.Weights[1].Name = "qkv" }, "two weights are called qkv"},
		"parts":              {func(p *Program) { p.Weights[2].Parts[0].Rows = 31 }, "weight qkv has 32 outputs, its parts 31"},
		"tied":               {func(p *Program) { p.Weights[len(p.Weights)-1].Tied = p.Weights[1] }, "weight head, [50 16], is tied to attn_norm, [16]"},
		"columns":            {func(p *Program) { p.Ops[4].(*Norm).Out.At = 20 }, "columns 20 to 36 of layers.0.qkv [tokens, 32]"},
	} {
		p := small(t)
		tc.fault(p)
		if err := p.Check(); err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: error %v, want one with %q", name, err, tc.want)
		}
	}
}

func TestSizes(t *testing.T) {
	p := small(t)
	// embed, head tied to it, norms, qkv with bias, o, gate_up, down.
	want := int64(50*16 + 3*16 + 32*16 + 32 + 2*4 + 16*16 + 48*16 + 16*24)
	if got := p.Params(); got != want || p.ActiveParams() != want {
		t.Errorf("%d weights, %d active, want %d", got, p.ActiveParams(), want)
	}
	if got := p.CacheElements(); got != 2*(4+4) {
		t.Errorf("%d elements of a position", got)
	}
	if len(p.Body())+len(p.Head()) != len(p.Ops) || list(p.Head()) != "gather norm head" {
		t.Errorf("the head is %s", list(p.Head()))
	}
}
