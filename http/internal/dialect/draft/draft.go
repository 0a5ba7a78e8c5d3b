// Package draft is a request to the engine while a dialect reads it: draft.go
// what all have in common, sampling.go the fields of how tokens are drawn and
// where a text stops, format.go those of what it is to keep to, structural.go
// and structuraltags.go the form of that with most to it.
package draft

import (
	"math/rand/v2"

	"github.com/troupe-llm/troupe/actors"
	"github.com/troupe-llm/troupe/gpu/batch"
	"github.com/troupe-llm/troupe/http/internal/dialect/apierr"
	"github.com/troupe-llm/troupe/http/internal/dialect/field"
	"github.com/troupe-llm/troupe/http/internal/dialect/model"
)

// Draft is a request that is being read.
type Draft struct {
	Model    *model.Model
	Notes    *field.Notes
	Engine   actors.Request // what all of its choices have in common, but for its Sampling
	Sampling batch.Sampling // of the first choice
	Limited  bool           // a token limit was given
	Endless  bool           // it is that of the context
	Seeded   bool           // a seed was given
}

// New is a draft that asks for nothing yet.
func New(m *model.Model, notes *field.Notes) Draft {
	return Draft{Model: m, Notes: notes, Sampling: m.Sampling}
}

// Check finds what is wrong between fields.
func (d *Draft) Check() *apierr.Error {
	r := &d.Engine
	switch {
	case d.Limited && !d.Endless && r.MinTokens > r.MaxTokens:
		return apierr.Invalid("min_tokens", "min_tokens: must be at most max_tokens (%d), got %d", r.MaxTokens, r.MinTokens)
	case r.Grammar != nil && r.IgnoreEOS:
		return apierr.Invalid("ignore_eos", "ignore_eos: cannot be combined with %s, whose answers have an end", r.Grammar.Path())
	case r.Grammar != nil && r.MinTokens > 0:
		return apierr.Invalid("min_tokens", "min_tokens: cannot be combined with %s, whose answers have an end", r.Grammar.Path())
	}
	return nil
}

// coldest is the temperature below which dividing by it says nothing more
// than taking the likeliest token.
const coldest = 1e-5

// Complete fills in what the request left open.
func (d *Draft) Complete() {
	r := &d.Engine
	r.PromptOnly = d.Limited && !d.Endless && r.MaxTokens == 0
	if d.Sampling.Temperature < coldest {
		d.Sampling.Temperature = 0
	}
	if !d.Seeded {
		d.Sampling.Seed = rand.Uint64()
	}
}

// Choices are n requests that differ in their seeds alone; set gives each its
// prompt.
func (d *Draft) Choices(n int, set func(*actors.Request)) []*actors.Request {
	all := make([]*actors.Request, n)
	for i := range all {
		r, sampling := d.Engine, d.Sampling
		sampling.Seed += uint64(i)
		r.Sampling = &sampling
		set(&r)
		all[i] = &r
	}
	return all
}
