package cpu

import (
	"encoding/binary"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/troupe-llm/troupe/gpu/device"
	"github.com/troupe-llm/troupe/gpu/model"
	"github.com/troupe-llm/troupe/gpu/model/modeltest"
	"github.com/troupe-llm/troupe/gpu/program"
)

// tensor makes one of values that float16 and bfloat16 hold exactly, and int8,
// too: of every row the first is the largest.
func tensor(r *rand.Rand, dtype model.DType, shape ...int) (*model.Tensor, []float32) {
	n := 1
	for _, d := range shape {
		n *= d
	}
	t := &model.Tensor{Name: "w", File: "f", Encoding: model.Plain(dtype), Shape: shape, Data: []byte{}}
	values := make([]float32, n)
	for i := range values {
		v := float32(r.IntN(255)-127) / 64
		if i%shape[len(shape)-1] == 0 {
			v = 127.0 / 64
		}
		values[i] = v
		switch dtype {
		case model.Float32:
			t.Data = binary.LittleEndian.AppendUint32(t.Data, math.Float32bits(v))
		case model.BFloat16:
			t.Data = binary.LittleEndian.AppendUint16(t.Data, model.ToBF16(v))
		case model.Float16:
			t.Data = binary.LittleEndian.AppendUint16(t.Data, model.ToF16(v))
		}
	}
	t.Data = append([]byte{0}, t.Data...)[1:] // not aligned
	return t, values
}

// From every type to every type, a matrix gives back the rows it was packed
// from, and its padding is zero.
func TestPackedRows(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 9))
	const out, in = 75, 19
	for _, from := range []model.DType{model.Float32, model.Float16, model.BFloat16} {
		for _, to := range []model.DType{model.Float32, model.BFloat16, model.Int8} {
			t1, want := tensor(r, from, out, in)
			source := slotOf(t1)
			m := &matrix{out: out, in: in, holding: holding{format: format{dtype: to, group: 32}}}
			m.data = make([]byte, m.panels()*m.panelBytes())
			for p := range m.panels() {
				m.packPanel(p, func(i int) row { return rowOf(source, i) }, new(scratch))
			}
			got := make([]float32, in)
			for i := range m.stride() {
				m.row(got, i)
				expect := make([]float32, in)
				if i < out {
					expect = want[i*in:][:in]
				}
				if !slices.Equal(got, expect) {
					t.Fatalf("%s to %s: row %d is %v, want %v", from, to, i, got, expect)
				}
			}
		}
	}
}

// Rounded to 4 bits, embeddings of any width are multiplied, by all instruction sets alike:
// 6 bits take a multiple of 16.
func TestRoundedHeads(t *testing.T) {
	r := rand.New(rand.NewPCG(6, 9))
	p := newPool(1)
	defer p.close()
	for _, width := range []int{19, 40, 64, 68, 72, 80} {
		held := model.Int8
		if width%model.InputsOfInt6 == 0 {
			held = model.Int6
		}
		head, values := tensor(r, model.BFloat16, panelWidth, width)
		slot := slotOf(head)
		slot.Weight.Role = "head"
		b := &builder{asked: model.Int4}
		b.weights.matrices = map[*program.Weight][]*matrix{}
		b.matrix(slot.Weight, slot, &plan{})
		if _, err := b.load(p, nil); err != nil {
			t.Fatal(err)
		}
		m, x := b.weights.matrix(slot.Weight), random(r, width)
		if m.dtype != held {
			t.Errorf("width %d: the head is %s, want %s", width, m.dtype, held)
		}
		for _, k := range variants() {
			y := make([]float32, m.stride())
			(&engine{kernels: k, pool: p}).linear(y, m.stride(), x, width, 1, m, nil)
			for j, got := range y {
				var want, size float64
				for i, v := range x {
					one := float64(v) * float64(values[j*width+i])
					want, size = want+one, size+one*one
				}
				if math.Abs(float64(got)-want) > 0.15*math.Sqrt(size) {
					t.Fatalf("%s, width %d: output %d is %v, want %v", k.name, width, j, got, want)
				}
			}
		}
		if err := release(b.weights.memory); err != nil {
			t.Fatal(err)
		}
	}
}

// slotOf is a slot that tensors of a width fill.
func slotOf(tensors ...*model.Tensor) *model.Slot {
	w := &program.Weight{Name: "w", Shape: []int{0, tensors[0].Shape[1]}}
	s := &model.Slot{Weight: w}
	for _, t := range tensors {
		w.Shape[0] += t.Shape[0]
		w.Parts = append(w.Parts, program.Whole(t.Name, t.Shape...))
		s.Sources = append(s.Sources, model.Source{Part: program.Whole(t.Name, t.Shape...), Tensor: t})
	}
	model.NewWeights(s)
	return s
}

// Gate and up take turns panel by panel, both padded.
func TestGateAndUpTakeTurns(t *testing.T) {
	r := rand.New(rand.NewPCG(2, 9))
	gate, g := tensor(r, model.BFloat16, 40, 8)
	up, u := tensor(r, model.BFloat16, 40, 8)
	slot := slotOf(gate, up)
	b := &builder{asked: model.Float32}
	b.weights.matrices = map[*program.Weight][]*matrix{}
	b.matrix(slot.Weight, slot, &plan{gated: map[*program.Weight]bool{slot.Weight: true}})
	if _, err := b.load(newPool(1), nil); err != nil {
		t.Fatal(err)
	}
	m := b.weights.matrix(slot.Weight)
	if m.stride() != 4*panelWidth {
		t.Fatalf("%d outputs, want 128", m.stride())
	}
	got := make([]float32, 8)
	for i := range 2 * panelWidth {
		at := i/panelWidth*2*panelWidth + i%panelWidth
		for j, want := range [][]float32{g, u} {
			m.row(got, at+j*panelWidth)
			expect := make([]float32, 8)
			if i < 40 {
				expect = want[i*8:][:8]
			}
			if !slices.Equal(got, expect) {
				t.Fatalf("row %d of %d is %v, want %v", i, j, got, expect)
			}
		}
	}
	if err := release(b.weights.memory); err != nil {
		t.Error(err)
	}
}

// slotNamed is the slot of that name.
func slotNamed(m *model.Model, name string) *model.Slot {
	for _, w := range m.Config.Program.Weights {
		if w.Name == name {
			return m.Weights.Of(w)
		}
	}
	return nil
}

func TestOpenSaysWhatIsWrongWithWeights(t *testing.T) {
	for name, c := range map[string]struct {
		fault func(m *model.Model)
		want  string
	}{
		"short tensor": {func(m *model.Model) {
			o := slotNamed(m, "layers.1.o").Sources[0].Tensor
			o.Data = o.Data[:10]
		}, "has 10 bytes"},
		"foreign type": {func(m *model.Model) {
			slotNamed(m, "layers.0.gate_up").Sources[1].Tensor.Encoding = model.Plain(model.Int8)
		}, `weights in int8;`},
		"no scales": {func(m *model.Model) {
			slotNamed(m, "layers.0.gate_up").Sources[1].Tensor.Encoding = model.ByOutput(model.Int8)
		}, `weights in int8 by output;`},
		"missing norm": {func(m *model.Model) { slotNamed(m, "norm").Sources = nil }, `no tensors for norm`},
	} {
		t.Run(name, func(t *testing.T) {
			m := modeltest.Get(t, "qwen3").Open(t)
			c.fault(m)
			_, err := Open(device.Spec{Model: m, NumPages: 16})
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %v, want one with %q", err, c.want)
			}
		})
	}
	if _, err := Open(device.Spec{}); err == nil || !strings.Contains(err.Error(), "no model") {
		t.Errorf("without a model: %v", err)
	}
	if _, err := Open(device.Spec{Model: tiny(t), DType: model.Float16}); err == nil || !strings.Contains(err.Error(), `"float16"; the CPU device keeps float32, bfloat16, int8 or int4`) {
		t.Errorf("float16 asked: %v", err)
	}
}

func TestWeightTypes(t *testing.T) {
	for _, c := range []struct{ asked, own, want model.DType }{
		{"", model.BFloat16, model.BFloat16},
		{"auto", model.BFloat16, model.BFloat16},
		{"", model.Float32, model.Float32},
		{"", model.Float16, model.Float32}, // nothing is lost unasked
		{model.BFloat16, model.Float32, model.BFloat16},
		{model.Float32, model.BFloat16, model.Float32},
		{model.Int8, model.BFloat16, model.Int8},
		{model.Int4, model.BFloat16, model.Int4},
		{"", model.GPTQ4, model.Int4}, // as it is
		{"", model.Float8, model.BFloat16},
	} {
		if _, got, err := weightType(c.asked, c.own); err != nil || got != c.want {
			t.Errorf("%q of a %s checkpoint: %s, %v; want %s", c.asked, c.own, got, err, c.want)
		}
	}
}

func TestProgressReachesTheEnd(t *testing.T) {
	var last, total int64
	spec := tinySpec(t)
	spec.DType = model.Int8
	spec.Progress = func(done, of int64) {
		if done <= last || (total != 0 && of != total) {
			t.Errorf("progress %d of %d after %d of %d", done, of, last, total)
		}
		last, total = done, of
	}
	r := newRig(t, spec, choose(), 2)
	if last != total || last != r.info.WeightBytes {
		t.Errorf("ended at %d of %d, weights are %d bytes", last, total, r.info.WeightBytes)
	}
}
