package grammar

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
)

// oneOfSchema has n alternatives.
func oneOfSchema(n int, alternative func(i int) string) string {
	var all []string
	for i := range n {
		all = append(all, alternative(i))
	}
	return `{"oneOf":[` + strings.Join(all, ",") + `]}`
}

// explosive are kinds of alternatives that are much to tell apart.
var explosive = map[string]func(i int) string{
	"patterns":    func(i int) string { return fmt.Sprintf(`{"type":"string","pattern":"[a-z]{%d}x"}`, i+2) },
	"distances":   func(i int) string { return fmt.Sprintf(`{"pattern":"a.{%d}$"}`, i%9) },
	"names":       func(i int) string { return fmt.Sprintf(`{"propertyNames":{"pattern":"^x%d"}}`, i) },
	"namePattern": func(i int) string { return fmt.Sprintf(`{"patternProperties":{"^x%d":{"type":"integer"}}}`, i) },
	"others": func(i int) string {
		return fmt.Sprintf(`{"properties":{"p%d":{"type":"integer"}},"additionalProperties":{"type":"string"}}`, i)
	},
	"contains": func(i int) string { return fmt.Sprintf(`{"contains":{"const":%d}}`, i) },
	"nested": func(i int) string {
		return fmt.Sprintf(`{"properties":{"p%d":{"pattern":"a%d"},"q":{"minimum":%d}}}`, i, i, i)
	},
}

// TestBudget gives oneOfs of a few kilobytes that are much to tell apart: each
// compiles or is refused, the same each time, after no more than the budget.
func TestBudget(t *testing.T) {
	for name, alternative := range explosive {
		n := 10
		if name == "others" {
			n = 20
		}
		schema := oneOfSchema(n, alternative)
		var steps [2]int
		var errs [2]error
		for i := range steps {
			w := newBudget(t.Context())
			_, errs[i] = Schema([]byte(schema)).parse(w)
			steps[i] = maxSteps - w.steps
			// What was begun is not broken off at once.
			if over := -w.steps; over > maxSteps/8 || -w.memory > maxCompileSize/8 {
				t.Errorf("%s: %d steps and %d bytes over what there are", name, over, -w.memory)
			}
			if w.failed() != (name == "others" || name == "distances") {
				t.Errorf("%s: %v", name, w.err)
			}
		}
		if steps[0] != steps[1] || (errs[0] == nil) != (errs[1] == nil) {
			t.Errorf("%s: %d steps and %v, then %d and %v", name, steps[0], errs[0], steps[1], errs[1])
		}
	}
}

// TestBudgetTells says that compiling took too much, and where the description
// came from.
func TestBudgetTells(t *testing.T) {
	v, _ := byteVocabulary()
	_, err := Compile(t.Context(), Schema([]byte(oneOfSchema(20, explosive["others"]))).At("response_format"), v)
	var fault *Error
	if !errors.As(err, &fault) || fault.Path != "response_format" || fault.Msg != errSteps.Error() {
		t.Errorf("got %v", err)
	}
}

// TestAlternativesAreCheap bounds what it takes to tell alternatives apart that
// say plainly how they differ, and those that share what has to be worked out.
func TestAlternativesAreCheap(t *testing.T) {
	for name, c := range map[string]struct {
		most        int // steps
		alternative func(i int) string
	}{
		"a constant": {100_000, func(i int) string {
			return fmt.Sprintf(`{"type":"object","properties":{"kind":{"const":"k%d"},"v":{"type":"integer"}},"required":["kind"]}`, i)
		}},
		"types of a member": {250_000, func(i int) string {
			return fmt.Sprintf(`{"properties":{"k":{"enum":[%d,"%d"]}},"required":["k"]}`, i, i)
		}},
		"patterns": {2_500_000, explosive["patterns"]},
	} {
		w := newBudget(t.Context())
		if _, err := Schema([]byte(oneOfSchema(24, c.alternative))).parse(w); err != nil || maxSteps-w.steps > c.most {
			t.Errorf("%s: %d steps, %v", name, maxSteps-w.steps, err)
		}
	}
}

// waiting is a context that is done once it was asked so often.
type waiting struct {
	context.Context
	left int
}

func (w *waiting) Err() error {
	if w.left--; w.left < 0 {
		return context.Canceled
	}
	return nil
}

// TestCancel stops compiling when nobody waits any more.
func TestCancel(t *testing.T) {
	v, _ := byteVocabulary()
	s := Schema([]byte(oneOfSchema(24, explosive["patterns"])))
	ctx := &waiting{t.Context(), 5}
	if _, err := Compile(ctx, s, v); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	if ctx.left < -3 {
		t.Errorf("it was asked %d times more", -ctx.left)
	}
	w := newBudget(&waiting{t.Context(), 5})
	if _, err := s.parse(w); err == nil || maxSteps-w.steps > 8*pollSteps {
		t.Errorf("%d steps were made, and %v", maxSteps-w.steps, err)
	}
}
