package model

import (
	"math"

	"github.com/troupe-llm/troupe/gpu/internal/arch"
	"github.com/troupe-llm/troupe/gpu/internal/jsonfile"
)

// generationJSON is generation_config.json.
type generationJSON struct {
	EOS         jsonfile.IDs `json:"eos_token_id"`
	DoSample    *bool        `json:"do_sample"`
	Temperature *float64     `json:"temperature"`
	TopK        *int         `json:"top_k"`
	TopP        *float64     `json:"top_p"`
	MinP        *float64     `json:"min_p"`
	Repetition  *float64     `json:"repetition_penalty"`
}

// parseGeneration reads generation_config.json. Its end-of-sequence tokens,
// when it has any, are those of c too. Where it says do_sample: false, its
// sampling parameters say nothing (as in transformers).
func parseGeneration(data []byte, where string, c *Config) (Generation, error) {
	f := &jsonfile.Faults{Where: where}
	var j generationJSON
	if err := jsonfile.Decode(data, &j); err != nil {
		f.Addf("%v", err)
		return Generation{}, f.Err()
	}
	g := Generation{EOS: arch.InVocab("eos_token_id", j.EOS, c.Vocab, &c.Notes)}
	if len(g.EOS) > 0 {
		c.EOS = g.EOS
	}
	if j.DoSample == nil || *j.DoSample {
		within := func(name string, v *float64, low, high float64) *float64 {
			if v != nil && !(*v >= low && *v <= high) {
				f.Addf("%s: %v, want %v to %v", name, *v, low, high)
			}
			return v
		}
		g.Temperature = within("temperature", j.Temperature, 0, math.MaxFloat32)
		g.TopP = within("top_p", j.TopP, 0, 1)
		g.MinP = within("min_p", j.MinP, 0, 1)
		g.Repetition = within("repetition_penalty", j.Repetition, 0, math.MaxFloat32)
		g.TopK = j.TopK
		switch {
		case j.TopK == nil || *j.TopK >= 0:
		case *j.TopK == -1: // as some write it
			g.TopK = new(int)
		default:
			f.Addf("top_k: %d, want 0 or -1 (all) or more", *j.TopK)
		}
	}
	if err := f.Err(); err != nil {
		return Generation{}, err
	}
	return g, nil
}
