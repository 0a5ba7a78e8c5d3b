package cpu

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/troupe-llm/troupe/gpu/batch"
	"github.com/troupe-llm/troupe/gpu/device"
	"github.com/troupe-llm/troupe/gpu/model"
	"github.com/troupe-llm/troupe/gpu/model/modeltest"
)

// formats are all that whole numbers are held in.
func formats(group int) (list []format) {
	for _, p := range packings {
		list = append(list, p.format(group))
	}
	return list
}

func (f format) String() string {
	return fmt.Sprintf("%s/%d/%v/%d", f.dtype, f.group, f.offsets, f.scales)
}

// takes says that such a matrix may have so many inputs: of 6 bits those that products take
// at a time, of scales that share one as many as do, in groups of 16 or 32.
func (f format) takes(in int) bool {
	switch f.scales {
	case model.Halves:
		return f.dtype != model.Int6 || in%model.InputsOfInt6 == 0
	case model.Times:
		return f.group <= 32 && in%model.Super == 0
	}
	return true
}

// randomMatrix has every number there is.
func randomMatrix(r *rand.Rand, f format, out, in int) *matrix {
	m := &matrix{out: out, in: in, holding: holding{format: f}}
	m.data = make([]byte, m.panels()*m.panelBytes())
	half := func(to []byte) { // none that is no number
		for i := 0; i < len(to); i += 2 {
			binary.LittleEndian.PutUint16(to[i:], uint16(r.Uint32N(0x7c00)|r.Uint32N(2)<<15))
		}
	}
	for p := range m.panels() {
		for g := range (in + f.group - 1) / f.group {
			head, lines := m.block(p, g)
			for i := range head {
				head[i] = byte(r.Uint32())
			}
			switch f.scales {
			case model.Floats:
				copy(floats(head), random(r, len(head)/4))
			case model.Halves:
				half(head)
			case model.Times:
				half(m.above(p, g))
			}
			for i := range lines {
				lines[i] = byte(r.Uint32())
			}
		}
	}
	return m
}

// What is put is found, in the place where products look for it, and nothing else is.
func TestNumbersAreWhereTheyWerePut(t *testing.T) {
	r := rand.New(rand.NewPCG(4, 4))
	for _, f := range formats(32) {
		m := &matrix{out: panelWidth, in: 256, holding: holding{format: f}}
		m.data = make([]byte, m.panelBytes())
		for g := range m.in / f.group {
			_, lines := m.block(0, g)
			var want [panelWidth * 32]uint8
			for i := range want {
				want[i] = uint8(r.IntN(1 << f.bits()))
			}
			m.interleave(lines, want[:], 32)
			interleaved := slices.Clone(lines)
			clear(lines)
			for _, j := range r.Perm(panelWidth) {
				m.put(lines, j, want[32*j:][:32])
			}
			if !bytes.Equal(lines, interleaved) {
				t.Fatalf("%v: numbers are elsewhere when they are put one output after the other", f)
			}
			for i, q := range want {
				if got := m.number(lines, i/32, i%32); got != q {
					t.Fatalf("%v: number %d of output %d is %d, want %d", f, i%32, i/32, got, q)
				}
			}
		}
	}
}

// Rounding to 8 and 6 bits: no weight is farther from its number than half of what one
// counts, and the largest is 127 or 31 of them; ties go to even.
func TestNearest(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	for i, n := range []int{1, 2, 31, 128, 1, 2, 31, 64} {
		round, most := nearest8, 127
		if i >= 4 {
			round, most = nearest6, 31
		}
		for _, size := range []float64{1e-28, 1e-3, 1, 1e30} {
			values, numbers := make([]float32, n), make([]uint8, n)
			largest := 0.0
			for i := range values {
				values[i] = float32(r.NormFloat64() * size)
				largest = max(largest, math.Abs(float64(values[i])))
			}
			scale := float64(round(numbers, values))
			if math.Abs(scale*float64(most)/largest-1) > 1e-6 {
				t.Fatalf("a number counts %v where the largest weight is %v", scale, largest)
			}
			top := 0
			for i, v := range values {
				q := int(numbers[i]) - most - 1
				if d := math.Abs(float64(q)*scale - float64(v)); d > scale*(0.5+1e-4) {
					t.Fatalf("%v is %d times %v", v, q, scale)
				}
				top = max(top, q, -q)
			}
			if top != most {
				t.Fatalf("the largest number is %d", top)
			}
		}
	}
	nan, inf := float32(math.NaN()), float32(math.Inf(1))
	for _, c := range []struct {
		values []float32
		want   []int
		scale  float32
	}{
		{[]float32{127, 0.5, 1.5, -2.5}, []int{127, 0, 2, -2}, 1},
		{[]float32{-254, 1, 3, 0}, []int{-127, 0, 2, 0}, 2},
		{[]float32{0, 0, 0, 0}, []int{0, 0, 0, 0}, 0},
		{[]float32{1e-40, 0, -1e-38, 0}, []int{0, 0, 0, 0}, 0}, // nothing beside any other
		{[]float32{1, nan, 2, 3}, nil, nan},                    // what is broken stays broken
		{[]float32{1, -inf, 2, 3}, nil, inf},
	} {
		numbers := make([]uint8, 4)
		scale := nearest8(numbers, c.values)
		if scale != c.scale && !(scale != scale && c.scale != c.scale) {
			t.Errorf("%v: a number counts %v, want %v", c.values, scale, c.scale)
		}
		for i, want := range c.want {
			if got := int(numbers[i]) - 128; got != want {
				t.Errorf("%v: number %d is %d, want %d", c.values, i, got, want)
			}
		}
	}
}

// Rounding to 4 bits: what 16 numbers hold exactly comes back, and of others the
// squares of errors are no more than those of the plain way, which takes the value
// farthest from zero for −8.
func TestNearest4(t *testing.T) {
	r := rand.New(rand.NewPCG(15, 16))
	errorOf := func(values []float32, scale float32, number func(k int) float64) (sum float64) {
		for k, v := range values {
			d := float64(v) - number(k)*float64(scale)
			sum += d * d
		}
		return sum
	}
	better := 0
	for range 300 {
		values, numbers := random(r, 1+r.IntN(64)), make([]uint8, 64)
		scale := model.QuantizeInt4(numbers, values)
		got := errorOf(values, scale, func(k int) float64 { return float64(numbers[k]) - 8 })
		farthest := values[0]
		for _, v := range values {
			if math.Abs(float64(v)) > math.Abs(float64(farthest)) {
				farthest = v
			}
		}
		plain := errorOf(values, farthest/-8, func(k int) float64 {
			return min(7, math.RoundToEven(float64(values[k]/(farthest/-8))))
		})
		if got > plain*(1+1e-6) {
			t.Fatalf("%v: squares of errors %v, plainly %v", values, got, plain)
		}
		if got < plain {
			better++
		}
	}
	if better < 200 {
		t.Errorf("better than plainly in %d of 300", better)
	}
	for _, values := range [][]float32{{-8, 7, 3, 0}, {4, -3.5, 1, 0.5}, {0, 0}, {1e-38}} {
		numbers := make([]uint8, len(values))
		scale := model.QuantizeInt4(numbers, values)
		for k, v := range values {
			if got := (float32(numbers[k]) - 8) * scale; math.Abs(float64(got-v)) > 1e-7 {
				t.Errorf("%v: %v came back as %v", values, v, got)
			}
		}
	}
	nan := float32(math.NaN())
	if scale := model.QuantizeInt4(make([]uint8, 2), []float32{1, nan}); scale == scale {
		t.Errorf("a number counts %v where one is none", scale)
	}
}

// Products against sums of integers and a plain reading of the formula: all ways to
// cut rows and panels, all instruction sets.
func TestWholeProducts(t *testing.T) {
	r := rand.New(rand.NewPCG(7, 8))
	p := newPool(2)
	defer p.close()
	for _, group := range []int{16, 32, 64, 128} {
		for _, f := range formats(group) {
			for _, shape := range [][2]int{{1, 1}, {31, 3}, {33, 64}, {128, 48}, {70, 129}, {40, 300}, {33, 512}} {
				if !f.takes(shape[1]) {
					continue
				}
				m := randomMatrix(r, f, shape[0], shape[1])
				for _, rows := range []int{1, 2, 3, 5, 6, 7, 12, 13} {
					x := random(r, rows*m.in)
					want := plainly(m, x, rows)
					for _, k := range variants() {
						e := &engine{kernels: k, pool: p}
						y := guarded(rows * m.stride())
						e.linear(y, m.stride(), x, m.in, rows, m, nil)
						for i := range want {
							if math.Float32bits(y[i]) != math.Float32bits(want[i]) {
								t.Fatalf("%s, %v, %d rows by %v: row %d, output %d is %v, want %v", k.name, f, rows, shape, i/m.stride(), i%m.stride(), y[i], want[i])
							}
						}
						if y[len(want)] != guard {
							t.Fatalf("%s, %v, %d rows by %v: wrote too far", k.name, f, rows, shape)
						}
					}
				}
			}
		}
	}
}

// plainly is the product as the formula has it.
func plainly(m *matrix, x []float32, rows int) (y []float32) {
	for i := range rows {
		row := x[i*m.in:][:m.in]
		for j := range m.stride() {
			var sum float32
			for first := 0; first < m.in; first += m.group {
				n := min(m.group, m.in-first)
				size := 0.0
				for _, v := range row[first:][:n] {
					size = max(size, math.Abs(float64(v)))
				}
				head, lines := m.block(j/panelWidth, first/m.group)
				scale, offset := m.scale(head, m.above(j/panelWidth, first/m.group), j%panelWidth)
				var dot, all int
				inverse := 127 / float32(size)
				for k, v := range row[first:][:n] {
					a := int(math.RoundToEven(float64(v * inverse)))
					dot += a * (int(m.number(lines, j%panelWidth, k)) - int(m.middle()))
					all += a
				}
				t := float32(size) / 127
				sum = fma(float32(dot)*scale, t, sum)
				if m.offsets {
					sum = fma(offset, t*float32(all), sum)
				}
			}
			y = append(y, sum)
		}
	}
	return y
}

// Every checkpoint with weights and activations of 16 bits, with weights of 8 and 4 and
// activations of 8, and with all exact but keys and values in 16 and 8: as close to what transformers makes of all
// exact ones as it was measured. The checkpoints are small and random, which is the worst
// case: trained models are closer (see the built-in one in bench/results/cpu.md). Where
// experts are as good as each other, rounding may choose another.
func TestWholeReferences(t *testing.T) {
	for _, c := range modeltest.Families(t) {
		m, ref := c.Open(t), c.Reference(t)
		if c.Adjust(m, &ref); raceDetector || slices.Contains(model.Quantized, m.Config.DType) {
			continue
		}
		t.Run(c.Name, func(t *testing.T) { differ(t, device.Spec{Model: m}, &ref) })
	}
	for _, c := range modeltest.All(t) {
		if raceDetector && c.Name != "qwen3" && c.Name != "qwen3moe" {
			continue
		}
		m, ref := c.Open(t), c.Reference(t)
		for _, dtype := range []model.DType{model.BFloat16, model.Int8, model.Int4} {
			t.Run(c.Name+"/"+string(dtype), func(t *testing.T) { differ(t, device.Spec{Model: m, DType: dtype}, &ref) })
		}
		for _, dtype := range []model.DType{model.BFloat16, model.Int8} {
			t.Run(c.Name+"/cache/"+string(dtype), func(t *testing.T) {
				differ(t, device.Spec{Model: m, DType: model.Float32, KVDType: dtype}, &ref)
			})
		}
	}
}

// differ holds log-probabilities to how far they were from a reference's. The
// reference's own continuation is scored, so that one other token does not change all
// that follow.
func differ(t *testing.T, spec device.Spec, ref *modeltest.Reference) {
	t.Helper()
	spec.Slots, spec.MaxStepTokens = 1, 1024
	r := newRig(t, spec, choose(), 2)
	var a apartness
	var squares float64
	n, agreed, tokens := 0, 0, 0
	note := func(got, want float64) {
		d := math.Abs(got - want)
		a.Most, squares, n = max(a.Most, d), squares+d*d, n+1
	}
	for i := range ref.Cases {
		c := &ref.Cases[i]
		logits, scores := score(r, c)
		got, want := likelihoods(logits), likelihoods(c.LastLogits)
		for j := range logits {
			note(got[j], want[j])
		}
		for j, s := range scores {
			note(float64(s.Token), float64(c.GreedyLogprobs[j]))
			if s.Top[0].Token == c.GreedyIDs[j] {
				agreed++
			}
			tokens++
		}
	}
	a.RMS = math.Sqrt(squares / float64(n))
	t.Logf("log-probabilities differ by %.3f at most, %.4f rms; %d of %d tokens are the likeliest still", a.Most, a.RMS, agreed, tokens)
	a.hold(t)
}

// score runs a case's prompt and its continuation, and returns the logits
// after the prompt and what the model says of each token of the continuation.
func score(r *rig, c *modeltest.Case) ([]float32, []batch.Logprob) {
	r.t.Helper()
	r.forget()
	s := &batch.Step{}
	r.give(s, 0, batch.Sampling{Logprobs: 2}, nil)
	r.row(s, 0, 0, c.PromptIDs, true)
	s.Rows[0].Score = append(append([]int32{}, c.PromptIDs[1:]...), c.GreedyIDs[0])
	scores := r.run(s).Scores[len(c.PromptIDs)-1:]
	s = &batch.Step{}
	last := len(c.GreedyIDs) - 1
	r.row(s, 0, int32(len(c.PromptIDs)), c.GreedyIDs[:last], false)
	s.Rows[0].Score = c.GreedyIDs[1:]
	return r.logits[0], append(scores, r.run(s).Scores...)
}

// likelihoods are the log-probabilities that logits mean.
func likelihoods(logits []float32) []float64 {
	var total float64
	for _, z := range logits {
		total += math.Exp(float64(z))
	}
	p := make([]float64, len(logits))
	for i, z := range logits {
		p[i] = float64(z) - math.Log(total)
	}
	return p
}
