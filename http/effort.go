package http

import (
	"errors"
	"fmt"
	"slices"
)

// How much a model reasons is its template's business. Two variables are in
// use: gpt-oss's template takes OpenAI's words, Qwen3's and others' whether
// there is to be any reasoning.
const (
	effortVariable = "reasoning_effort"
	quietVariable  = "enable_thinking"
)

// efforts are OpenAI's words for it.
var efforts = []string{"none", "minimal", "low", "medium", "high", "xhigh"}

// setEffort takes what makes a difference to the model.
func setEffort(c *call, v raw) error {
	effort, err := v.text()
	switch {
	case err != nil:
		return err
	case !slices.Contains(efforts, effort):
		return fmt.Errorf("must be one of %q, got %s", efforts, v)
	case c.family.efforts, c.family.quiet && effort == efforts[0]:
		c.effort = effort
		return nil
	case c.family.quiet:
		return errors.New(`only "none" is supported: the served model reasons or does not, in no degrees`)
	}
	return errors.New("not supported: the served model's chat template knows of none")
}

// variable is one of a template's.
type variable struct {
	name  string
	value any
}

// effort is how its template is told an effort that setEffort took.
func (f *family) effort(effort string) variable {
	if f.efforts {
		return variable{effortVariable, effort}
	}
	return variable{quietVariable, false}
}
