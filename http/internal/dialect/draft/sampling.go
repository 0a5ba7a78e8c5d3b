package draft

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"

	"github.com/troupe-llm/troupe/actors"
	"github.com/troupe-llm/troupe/gpu/batch"
	"github.com/troupe-llm/troupe/http/internal/dialect/apierr"
	"github.com/troupe-llm/troupe/http/internal/dialect/field"
)

// Sampling are the fields of how tokens are drawn and where a text stops, by the
// names that OpenAI, vLLM and SGLang have for them. Bounds are OpenAI's where it
// has them, else generous.
var Sampling = field.Table[Draft]{
	"min_tokens":        field.Integer(0, math.MaxInt32, func(d *Draft, n int64) { d.Engine.MinTokens = int(n) }),
	"ignore_eos":        field.Boolean(func(d *Draft, b bool) { d.Engine.IgnoreEOS = b }),
	"stop":              SetStop,
	"stop_token_ids":    func(d *Draft, v field.Value) (err error) { d.Engine.StopTokens, err = v.IDs(d.Model.Vocab); return },
	"priority":          field.Integer(math.MinInt32, math.MaxInt32, func(d *Draft, n int64) { d.Engine.Priority = int(n) }),
	"speculative":       setSpeculative,
	"temperature":       field.Number(0, 2, func(d *Draft, x float64) { d.Sampling.Temperature = float32(x) }),
	"top_p":             field.Number(0, 1, func(d *Draft, x float64) { d.Sampling.TopP = float32(max(x, LeastTopP)) }),
	"top_k":             field.Integer(-1, math.MaxInt32, func(d *Draft, n int64) { d.Sampling.TopK = int32(max(n, 0)) }),
	"min_p":             field.Number(0, 1, func(d *Draft, x float64) { d.Sampling.MinP = float32(x) }),
	"seed":              field.Integer(math.MinInt64, math.MaxInt64, func(d *Draft, n int64) { d.Seeded, d.Sampling.Seed = true, uint64(n) }),
	"presence_penalty":  field.Number(-2, 2, func(d *Draft, x float64) { d.Sampling.Presence = float32(x) }),
	"frequency_penalty": field.Number(-2, 2, func(d *Draft, x float64) { d.Sampling.Frequency = float32(x) }),
	"logit_bias":        setLogitBias,

	"repetition_penalty":         field.Number(0.01, 100, func(d *Draft, x float64) { d.Sampling.Repetition = float32(x) }),
	"include_stop_str_in_output": field.Boolean(func(d *Draft, b bool) { d.Engine.IncludeStop = b }),
	"skip_special_tokens":        field.Boolean(func(d *Draft, b bool) { d.Engine.KeepSpecial = !b }),
}

func setSpeculative(d *Draft, v field.Value) error {
	way, err := v.Text()
	d.Engine.Speculative = actors.Speculation(way)
	if err == nil && d.Engine.Speculative != actors.NGram && d.Engine.Speculative != actors.NoSpeculation {
		err = fmt.Errorf("must be %q or %q, got %.40q", actors.NGram, actors.NoSpeculation, way)
	}
	return err
}

// LeastTopP keeps the likeliest token alone, as a top_p of 0 should; the
// engine's 0 keeps all.
const LeastTopP = 1e-9

// MaxLogprobs is how many alternatives a token may be listed with.
const MaxLogprobs = 20

// endless is the limit by which llama.cpp and SGLang have a reply go on as long as
// the context has room.
const endless = -1

// SetMaxTokens serves all names of the limit. A text completion may be of no
// tokens: its prompt is computed, and scored when it is to be echoed so.
func SetMaxTokens(least int64) field.Setter[Draft] {
	set := field.Integer(least, math.MaxInt32, func(d *Draft, n int64) { d.Engine.MaxTokens = int(n) })
	return func(d *Draft, v field.Value) error {
		given, without := d.Engine.MaxTokens, d.Endless
		if n, err := v.Integer(); err == nil && n == endless {
			d.Endless, d.Engine.MaxTokens = true, 0
		} else if err := set(d, v); err != nil {
			return err
		}
		if d.Limited && (given != d.Engine.MaxTokens || without != d.Endless) {
			return fmt.Errorf("another limit was given by another name: %d and %s", given, v)
		}
		d.Limited = true
		return nil
	}
}

// SetStop reads a stop string, or an array of them.
func SetStop(d *Draft, v field.Value) error {
	d.Engine.Stop = nil
	switch v[0] {
	case '"':
		return addStop(d, v)
	case '[':
		for i, e := range v.Elements() {
			if err := addStop(d, e); err != nil {
				return apierr.At(apierr.Index(i), err)
			}
		}
		return nil
	}
	return v.Want("a string or an array of strings")
}

func addStop(d *Draft, v field.Value) error {
	s, err := v.Text()
	switch {
	case err != nil:
		return err
	case s == "":
		return errors.New("must not be empty")
	case len(s) > d.Model.MaxStopBytes:
		return fmt.Errorf("must be at most %d bytes long, got %d", d.Model.MaxStopBytes, len(s))
	case len(d.Engine.Stop) == d.Model.MaxStops:
		return fmt.Errorf("at most %d stop strings are taken", d.Model.MaxStops)
	}
	d.Engine.Stop = append(d.Engine.Stop, s)
	return nil
}

func setLogitBias(d *Draft, v field.Value) error {
	if v[0] != '{' {
		return v.Want("an object from token ids to numbers")
	}
	bias := &d.Sampling.Bias
	for name, v := range v.Members() {
		id, err := strconv.Atoi(name)
		if err != nil || id < 0 || id >= d.Model.Vocab {
			return fmt.Errorf("%q is not a token id (0 to %d)", name, d.Model.Vocab-1)
		}
		x, err := v.Number()
		if err == nil && (x < -100 || x > 100) {
			err = fmt.Errorf("must be between -100 and 100, got %s", v)
		}
		if err != nil {
			return apierr.At("."+name, err)
		}
		*bias = append(*bias, batch.TokenBias{Token: int32(id), Bias: float32(x)})
	}
	// The order of members means nothing, so it must not show.
	slices.SortFunc(*bias, func(a, b batch.TokenBias) int { return int(a.Token - b.Token) })
	return nil
}
