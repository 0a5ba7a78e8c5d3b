package conversation

import (
	"fmt"
	"slices"

	"github.com/troupe-llm/troupe/http/dialect/field"
	"github.com/troupe-llm/troupe/http/dialect/model"
)

// How much a model reasons is its template's business, which is told by a variable:
// see model.EffortVariable.

// Efforts are OpenAI's words for how much, from none on.
var Efforts = []string{"none", "minimal", "low", "medium", "high", "xhigh"}

// SetEffort takes any of the words, whatever the model: what its template does not
// know of changes nothing, as clients send it to every model.
func SetEffort(c *Conversation, v field.Value) error {
	effort, err := v.Text()
	switch {
	case err != nil:
		return err
	case !slices.Contains(Efforts, effort):
		return fmt.Errorf("must be one of %q, got %s", Efforts, v)
	}
	c.Effort = effort
	return nil
}

// variable is one of a template's.
type variable struct {
	name  string
	value any
}

// told is how a template is told an effort: by the word, or whether there is to be
// any reasoning; of neither it has no name.
func told(f *model.Family, effort string) variable {
	switch {
	case f.Efforts:
		return variable{model.EffortVariable, effort}
	case f.Quiet:
		return variable{model.QuietVariable, effort != Efforts[0]}
	}
	return variable{}
}
