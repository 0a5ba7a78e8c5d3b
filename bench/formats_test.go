package bench

import (
	"context"
	"errors"
	"math"
	"strings"
	"testing"

	"github.com/troupe-llm/troupe/gpu/model"
)

// Losses, differences, their error and what stays the likeliest, of scores made up.
func TestFormatLoss(t *testing.T) {
	exact := []tokenScore{{-1, 5}, {-2, 6}, {-3, 7}, {-4, 8}}
	bf16 := []tokenScore{{-1, 5}, {-2, 6}, {-3, 7}, {-4, 9}}
	var l FormatLoss
	l.compare([]tokenScore{{-1.5, 5}, {-2.5, 6}, {-2.5, 1}, {-4.5, 8}}, bf16, exact)
	if l.Tokens != 4 || l.Loss != 2.75 || l.Above != 0.25 || l.Same != 0.75 {
		t.Errorf("%+v", l)
	}
	if want := math.Sqrt((0.25 - 0.0625) / 4); math.Abs(l.Error-want) > 1e-12 {
		t.Errorf("error %v, want %v", l.Error, want)
	}
}

// A quantised model is measured as it is, too.
func TestFormatsAsItIs(t *testing.T) {
	f := Formats{Model: &model.Model{Config: model.Config{DType: model.Q4_K}}}
	if got := f.formats(); len(got) != len(heldFormats)+1 || got[2] != asItIs || got[1] != heldFormats[1] || got[3] != heldFormats[2] {
		t.Errorf("of Q4_K: %v", got)
	}
	f.Model.Config.DType = model.BFloat16
	if got := f.formats(); len(got) != len(heldFormats) {
		t.Errorf("of bfloat16: %v", got)
	}
}

// The built-in model knows what it writes, in every format; the exact one is the
// measure. Little text: how near the others are, the command measures.
func TestFormats(t *testing.T) {
	m, err := model.Open(model.Builtin, false)
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	f := Formats{Device: "cpu", Model: m, Prompts: [][]int32{{5, 6, 7}, {9}}, Tokens: 12, Seed: 3}
	losses, err := f.Run(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if len(losses) != len(heldFormats) || losses[0].Same != 1 || losses[1].Above != 0 {
		t.Fatalf("%+v", losses)
	}
	for i, l := range losses {
		if l.Held != heldFormats[i] || l.Tokens < 2 || l.Tokens > 24 || !(math.Abs(l.Loss-losses[0].Loss) < 0.3) {
			t.Errorf("%+v beside %+v", l, losses[0])
		}
		if i > 1 && l.WeightBytes > losses[i-1].WeightBytes {
			t.Errorf("%s takes %d bytes", l.Weights, l.WeightBytes)
		}
		if i > 2 && l.Loss == losses[0].Loss {
			t.Errorf("%s, %s loses exactly what float32 does: it was not used", l.Weights, l.KV)
		}
	}
	var b strings.Builder
	if err := WriteFormats(&b, losses); err != nil || strings.Count(b.String(), "\n| ") != len(losses)+1 {
		t.Errorf("%v:\n%s", err, b.String())
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := f.Run(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}
