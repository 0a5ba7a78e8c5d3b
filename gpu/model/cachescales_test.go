package model

import (
	"encoding/binary"
	"math"
	"math/rand/v2"
	"strings"
	"testing"
)

// What codes of keys and values count is read of a layer's two scalars, by every name that
// tools give them; those of one alone, or by head, are not taken, and no numbers are refused.
func TestCacheScales(t *testing.T) {
	scalar := func(v float32) piece {
		return piece{"F32", nil, binary.LittleEndian.AppendUint32(nil, math.Float32bits(v))}
	}
	one := func(v uint16) piece { return piece{"BF16", []int{1}, binary.LittleEndian.AppendUint16(nil, v)} }
	for name, c := range map[string]struct {
		pieces map[string]piece // behind a layer's attention
		want   CacheScales
		fault  string
	}{
		"none":               {},
		"compressed-tensors": {pieces: map[string]piece{"k_scale": one(ToBF16(0.5)), "v_scale": one(ToBF16(0.25))}, want: CacheScales{0.5, 0.25}},
		"modelopt":           {pieces: map[string]piece{"k_proj.k_scale": scalar(0.01), "v_proj.v_scale": scalar(0.02)}, want: CacheScales{0.01, 0.02}},
		"of outputs":         {pieces: map[string]piece{"k_proj.output_scale": scalar(2), "v_proj.output_scale": scalar(3)}, want: CacheScales{2, 3}},
		"of both":            {pieces: map[string]piece{"kv_scale": scalar(0.75)}, want: CacheScales{0.75, 0.75}},
		"of keys alone":      {pieces: map[string]piece{"k_scale": scalar(0.5)}},
		"by head":            {pieces: map[string]piece{"k_scale": {"F32", []int{2}, make([]byte, 8)}, "v_scale": scalar(1)}},
		"zero":               {pieces: map[string]piece{"k_scale": scalar(0), "v_scale": scalar(1)}, fault: `tensor "model.layers.0.self_attn.k_scale" is 0, want a positive number`},
		"no number":          {pieces: map[string]piece{"k_scale": scalar(1), "v_scale": scalar(float32(math.NaN()))}, fault: `v_scale" is NaN, want a positive number`},
		"whole numbers":      {pieces: map[string]piece{"k_scale": {"I32", nil, make([]byte, 4)}}, fault: `k_scale" is I32, want BF16, F16 or F32`},
	} {
		q := quantise(t, "fp8 by tensor", rand.New(rand.NewPCG(1, 2)))
		for end, p := range c.pieces {
			q.pieces["model.layers.0.self_attn."+end] = p
		}
		m, err := q.open()
		if err != nil || c.fault != "" {
			if c.fault == "" || err == nil || !strings.Contains(err.Error(), c.fault) {
				t.Errorf("%s: %v, want %q", name, err, c.fault)
			}
			continue
		}
		got := m.Weights.CacheScales()["layers.0.cache"]
		if got != c.want {
			t.Errorf("%s: %v, want %v", name, got, c.want)
		}
		own, err := m.Share(1, 2)
		if err != nil {
			t.Fatal(err)
		}
		if got := own.Weights.CacheScales()[own.Config.Program.Caches[0].Name]; got != c.want {
			t.Errorf("%s: a rank has %v, want %v", name, got, c.want)
		}
		if err := m.Close(); err != nil {
			t.Error(err)
		}
	}
}
