package conversation

import (
	"errors"
	"fmt"
	"slices"

	"github.com/troupe-llm/troupe/http/dialect/field"
	"github.com/troupe-llm/troupe/http/dialect/model"
)

// How much a model reasons is its template's business, which is told by a variable:
// see model.EffortVariable.

// Efforts are OpenAI's words for how much, from none on.
var Efforts = []string{"none", "minimal", "low", "medium", "high", "xhigh"}

// SetEffort takes what makes a difference to the model.
func SetEffort(c *Conversation, v field.Value) error {
	effort, err := v.Text()
	f := &c.Model.Family
	switch {
	case err != nil:
		return err
	case !slices.Contains(Efforts, effort):
		return fmt.Errorf("must be one of %q, got %s", Efforts, v)
	case f.Efforts, f.Quiet && effort == Efforts[0]:
		c.Effort = effort
		return nil
	case f.Quiet:
		return errors.New(`only "none" is supported: the served model reasons or does not, in no degrees`)
	}
	return errors.New("not supported: the served model's chat template knows of none")
}

// variable is one of a template's.
type variable struct {
	name  string
	value any
}

// told is how a template is told an effort that SetEffort took.
func told(f *model.Family, effort string) variable {
	if f.Efforts {
		return variable{model.EffortVariable, effort}
	}
	return variable{model.QuietVariable, false}
}
