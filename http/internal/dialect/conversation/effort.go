package conversation

import (
	"fmt"
	"slices"

	"github.com/troupe-llm/troupe/http/internal/dialect/field"
	"github.com/troupe-llm/troupe/http/internal/dialect/model"
)

// How much a model reasons is its template's business, which is told by a variable:
// see model.EffortVariable.

// Efforts are OpenAI's words for how much, from none on.
var Efforts = []string{"none", "minimal", "low", "medium", "high", "xhigh"}

// otherEfforts are others' words for them; "": as much as the model likes to.
var otherEfforts = map[string]string{"max": "xhigh", "off": "none", "default": "", "auto": ""}

// SetEffort takes any of the words, whatever the model: what its template does not
// know of changes nothing, as clients send it to every model.
func SetEffort(c *Conversation, v field.Value) error {
	effort, err := v.Text()
	if err != nil {
		return err
	}
	if other, is := otherEfforts[effort]; is {
		effort = other
	} else if !slices.Contains(Efforts, effort) {
		return fmt.Errorf("must be one of %q, got %s", Efforts, v)
	}
	c.Effort = effort
	return nil
}

// setReasoning reads {"effort":…}, {"enabled":…} and {"exclude":…}, as the Responses
// API and OpenRouter have them.
func setReasoning(c *Conversation, v field.Value) error {
	return v.Each(func(name string, v field.Value) (err error) {
		switch name {
		case "effort":
			err = SetEffort(c, v)
		case "enabled":
			err = setWhether(c, v)
		case "exclude":
			c.Unshown, err = v.Boolean()
		default:
			err = c.Notes.Ignore("reasoning." + name)
		}
		return err
	})
}

// setThinking reads whether there is to be reasoning: true or false, a word of
// effort, or {"type":"enabled"}, as DeepSeek, GLM and Kimi have it.
func setThinking(c *Conversation, v field.Value) error {
	switch v[0] {
	case '"':
		return SetEffort(c, v)
	case '{':
		return setThinkingType(c, v)
	}
	if setWhether(c, v) != nil {
		return v.Want("a boolean, a string or an object")
	}
	return nil
}

func setWhether(c *Conversation, v field.Value) error {
	on, err := v.Boolean()
	switch {
	case err != nil:
		return err
	case !on:
		c.Effort = Efforts[0]
	case c.Effort == "":
		c.Thinks = true
	}
	return nil
}

func setThinkingType(c *Conversation, v field.Value) error {
	return v.Each(func(name string, v field.Value) (err error) {
		switch name {
		case "type":
			switch kind, _ := v.Text(); kind {
			case "disabled":
				c.Effort = Efforts[0]
			case "enabled":
				c.Thinks = true
			case "auto", "adaptive": // as much as the model likes to
			default:
				err = fmt.Errorf(`must be "enabled", "disabled" or "auto", got %s`, v)
			}
		default:
			err = c.Notes.Ignore("thinking." + name)
		}
		return err
	})
}

// variable is one of a template's.
type variable struct {
	name  string
	value any
}

// told is how the template is told how much to reason: by the word, or whether it is
// to; when that was not said, or cannot be, it has no name.
func (c *Conversation) told() variable {
	f := &c.Model.Family
	switch {
	case f.Switch != "" && c.Effort == Efforts[0]:
		return variable{f.Switch, false}
	case f.Efforts && c.Effort != "":
		return variable{model.EffortVariable, c.Effort}
	case f.Switch != "" && (c.Effort != "" || c.Thinks):
		return variable{f.Switch, true}
	}
	return variable{}
}
