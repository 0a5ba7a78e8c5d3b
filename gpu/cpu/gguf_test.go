package cpu

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/troupe-llm/troupe/gpu/device"
	"github.com/troupe-llm/troupe/gpu/internal/gguf"
	"github.com/troupe-llm/troupe/gpu/model"
	"github.com/troupe-llm/troupe/gpu/model/modeltest"
)

// What llama.cpp converts to GGUF is the model that it was: the same bits, but where
// the file has what config.json's numbers come to, rounded.
func TestGGUF(t *testing.T) {
	rounded := []string{"llama3", "own-families/phi3"}
	for _, c := range modeltest.Conversions(t) {
		if raceDetector && c.Name != "llama3" {
			continue
		}
		t.Run(c.Name, func(t *testing.T) {
			d := logitsApart(t, c, c.Open(t), openGGUF(t, c.Converted(t, nil)), model.Float32)
			if d != 0 && !slices.Contains(rounded, c.Name) || d > 1e-4 {
				t.Errorf("logits differ by %v", d)
			}
		})
	}
}

// Matrices in blocks are what the blocks stand for: the same bits as a file that has
// those numbers in float32, whatever they are converted to.
func TestGGUFBlocks(t *testing.T) {
	for _, name := range []string{"llama3", "qwen3moe", "own-families/gpt-oss", "own-families/mixtral", "own-families/qwen3.5"} {
		if raceDetector && name != "llama3" {
			continue
		}
		c := conversion(t, name)
		for kind, dtypes := range map[gguf.Type][]model.DType{
			gguf.Q5_1: {model.Float32, model.BFloat16, model.Int4}, gguf.MXFP4: {model.Float32, model.BFloat16},
			gguf.Q4_K: {model.Float32, model.BFloat16, model.Int8},
		} {
			t.Run(name+"/"+kind.String(), func(t *testing.T) {
				blocks, plain := openGGUF(t, c.Converted(t, blocked(kind, false))), openGGUF(t, c.Converted(t, blocked(kind, true)))
				if !slices.Contains(model.Quantized, blocks.Config.DType) || slices.Contains(model.Quantized, plain.Config.DType) {
					t.Fatalf("weights are %s and %s", blocks.Config.DType, plain.Config.DType)
				}
				for _, dtype := range dtypes {
					if d := logitsApart(t, c, plain, blocks, dtype); d != 0 {
						t.Errorf("in %s logits differ by %v", dtype, d)
					}
				}
			})
		}
	}
}

// wholeOf is how blocks are held.
var wholeOf = map[gguf.Type]format{
	gguf.Q4_0: {model.Int4, 32, false, model.Halves}, gguf.Q4_1: {model.Int4, 32, true, model.Halves},
	gguf.Q5_0: {model.Int6, 32, false, model.Halves}, gguf.Q5_1: {model.Int6, 32, true, model.Halves},
	gguf.Q8_0: {model.Int8, 32, false, model.Halves}, gguf.IQ4_NL: {model.Int8, 32, false, model.Halves},
	gguf.Q2_K: {model.Int4, 16, true, model.Times}, gguf.Q3_K: {model.Int4, 16, false, model.Times},
	gguf.Q4_K: {model.Int4, 32, true, model.Times}, gguf.Q5_K: {model.Int6, 32, true, model.Times},
	gguf.Q6_K: {model.Int6, 16, false, model.Times}, gguf.IQ4_XS: {model.Int8, 32, false, model.Times},
	gguf.MXFP4: {model.Int8, 32, false, model.Floats},
}

// Blocks are multiplied as the whole numbers that they are, with activations in 8 bits.
func TestGGUFWhole(t *testing.T) {
	wide := []gguf.Type{gguf.Q2_K, gguf.Q3_K, gguf.Q4_K, gguf.Q5_K, gguf.Q6_K, gguf.IQ4_XS} // blocks of 256
	for kind, want := range wholeOf {
		t.Run(kind.String(), func(t *testing.T) {
			c := conversion(t, "llama3")
			m := openGGUF(t, c.Converted(t, blocked(kind, false)))
			r := newRig(t, device.Spec{Model: m, Slots: 1, MaxStepTokens: 1024}, choose(), 2)
			n := 0
			for w, all := range r.d.engine.weights.matrices {
				if w.In()%256 != 0 && slices.Contains(wide, kind) {
					continue
				}
				n++
				if !all[0].kept || all[0].format != want {
					t.Errorf("%s is held as %v, want %v", w.Role, all[0].format, want)
				}
			}
			if n == 0 {
				t.Error("nothing is held in such blocks")
			}
			exact := newRig(t, device.Spec{Model: m, DType: model.Float32, Slots: 1, MaxStepTokens: 1024}, choose(), 2)
			var a apartness
			for _, one := range c.Reference(t).Cases[:2] {
				x, _ := score(exact, &one)
				y, _ := score(r, &one)
				p, q := likelihoods(x), likelihoods(y)
				for i := range p {
					a.Most = max(a.Most, math.Abs(p[i]-q[i]))
				}
			}
			if t.Logf("largest difference %.2g", a.Most); !(a.Most < 0.065) {
				t.Errorf("log-probabilities differ by %.3f", a.Most)
			}
		})
	}
}

// What is said of sizes before a model is opened is what they are then: of blocks that
// are kept, of others, and where a type is asked for.
func TestSize(t *testing.T) {
	c := conversion(t, "qwen3")
	for _, kind := range []gguf.Type{gguf.Q4_0, gguf.Q8_0, gguf.Q5_0, gguf.Q4_1} {
		file := c.Converted(t, blocked(kind, false))
		for _, asked := range []model.DType{"", model.Float32, model.BFloat16, model.Int8, model.Int4} {
			m := openGGUF(t, file)
			held, bytes, err := Size(m, asked)
			info := newRig(t, device.Spec{Model: m, DType: asked, Slots: 1}, choose(), 1).info
			if err != nil || held != info.Formats() || bytes != info.WeightBytes {
				t.Errorf("%s as %q: said to be %s in %d bytes (%v), is %s in %d", kind, asked, held, bytes, err, info.Formats(), info.WeightBytes)
			}
		}
	}
}

func conversion(t *testing.T, name string) modeltest.Checkpoint {
	t.Helper()
	list := modeltest.Conversions(t)
	i := slices.IndexFunc(list, func(c modeltest.Checkpoint) bool { return c.Name == name })
	return list[i]
}

// blocked makes matrices of blocks with random bytes, or of the numbers that those stand
// for; of others than whole blocks Q4_0, or what they were.
func blocked(kind gguf.Type, plain bool) modeltest.Matrices {
	return func(name string, shape []int, values []float32) (gguf.Type, []byte) {
		r := rand.New(rand.NewPCG(uint64(len(name)), uint64(len(values))))
		for _, k := range []gguf.Type{kind, gguf.Q4_0} {
			if data := modeltest.Blocks(k, shape, r); data != nil && plain {
				return gguf.F32, modeltest.Numbers(k, shape, data)
			} else if data != nil {
				return k, data
			}
		}
		return gguf.F32, modeltest.Float32s(values)
	}
}

func openGGUF(t *testing.T, path string) *model.Model {
	t.Helper()
	m, err := model.Open(path, false)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := m.Close(); err != nil {
			t.Error(err)
		}
	})
	return m
}

// logitsApart is by how much logits of two models do at most.
func logitsApart(t *testing.T, c modeltest.Checkpoint, a, b *model.Model, dtype model.DType) (worst float32) {
	t.Helper()
	var logits [2][]float32
	for i, m := range []*model.Model{a, b} {
		ref := c.Reference(t)
		r := newRig(t, device.Spec{Model: m, DType: dtype, Slots: 1, MaxStepTokens: 1024}, choose(), 2)
		for _, one := range ref.Cases[max(0, len(ref.Cases)-2):] {
			l, _ := score(r, &one)
			logits[i] = append(logits[i], l...)
		}
	}
	for i, x := range logits[0] {
		y := logits[1][i]
		if x != x || y != y {
			t.Fatal("no numbers")
		}
		worst = max(worst, x-y, y-x)
	}
	return worst
}
