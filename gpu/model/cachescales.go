package model

import (
	"math"
	"slices"
	"strings"

	"github.com/troupe-llm/troupe/gpu/internal/jsonfile"
	"github.com/troupe-llm/troupe/gpu/program"
)

// CacheScales are what a code of a layer's keys and of its values counts, where a checkpoint
// says it of keys and values that are kept in FP8; 0: it does not, and devices measure.
type CacheScales struct{ Key, Value float32 }

// cacheScaleNames are what checkpoints call them, behind a layer's attention: as
// compressed-tensors, modelopt, its forerunner, and AutoFP8, of both, write them.
var cacheScaleNames = [2][]string{
	{"k_scale", "k_proj.k_scale", "k_proj.output_scale", "kv_scale"},
	{"v_scale", "v_proj.v_scale", "v_proj.output_scale", "kv_scale"},
}

// CacheScales are those of the caches that have some, by their names.
func (w *Weights) CacheScales() map[string]CacheScales {
	if w == nil {
		return nil
	}
	return w.caches
}

// cacheScales finds them for all caches, each with both or none. Those of several numbers,
// by head, are left out.
func (s *store) cacheScales(p *program.Program, f *jsonfile.Faults) map[string]CacheScales {
	all := map[string]CacheScales{}
	for _, c := range p.Caches {
		layer := s.rename("model." + strings.TrimSuffix(c.Name, "cache") + "self_attn.")
		key, value := s.cacheScale(layer, cacheScaleNames[0], f), s.cacheScale(layer, cacheScaleNames[1], f)
		if key > 0 && value > 0 {
			all[c.Name] = CacheScales{key, value}
		}
	}
	return all
}

// cacheScale is that of keys or of values of a layer; 0: there is none.
func (s *store) cacheScale(layer string, names []string, f *jsonfile.Faults) float32 {
	for _, name := range names {
		name = layer + name
		raw, is := s.files[s.fileOf(name)][name]
		if !is || len(raw.shape) > 1 || len(raw.shape) == 1 && raw.shape[0] != 1 {
			continue
		}
		if !slices.Contains(plainTypes, raw.dtype) {
			f.Unsupportedf("%s: tensor %q is %s, want %s", s.fileOf(name), name, raw.dtype, alternatives(plainTypes))
			return 0
		}
		var v [1]float32
		t := &Tensor{Encoding: Plain(dtypes[raw.dtype]), Shape: []int{1}, Data: raw.data}
		t.read(v[:], 1, 0, 0, 0)
		if !(v[0] > 0) || math.IsInf(float64(v[0]), 0) {
			f.Addf("%s: tensor %q is %v, want a positive number", s.fileOf(name), name, v[0])
		}
		return v[0]
	}
	return 0
}
