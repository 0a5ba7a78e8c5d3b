package modeltest

import (
	"slices"
	"testing"
)

// The loaders must see every field: a misspelled tag would turn whole test
// suites vacuous.
func TestLoadersFillEveryField(t *testing.T) {
	for _, c := range All(t) {
		t.Run(c.Name, func(t *testing.T) {
			m := c.Open(t)
			for i, k := range c.Reference(t).Cases {
				if len(k.PromptIDs) == 0 || len(k.GreedyIDs) == 0 || k.MinMargin <= 0 {
					t.Errorf("case %d lacks ids or a margin", i)
				}
				if len(k.LastLogits) != m.Config.Vocab || len(k.GreedyLogprobs) != len(k.GreedyIDs) {
					t.Errorf("case %d: %d logits for a vocabulary of %d, %d log-probabilities for %d tokens",
						i, len(k.LastLogits), m.Config.Vocab, len(k.GreedyLogprobs), len(k.GreedyIDs))
				}
			}
			vectors := c.Vectors(t)
			if !slices.ContainsFunc(vectors, func(v Vector) bool { return v.Text != "" && v.Decoded != "" && len(v.IDs) > 0 }) {
				t.Error("no tokenizer vectors with text, ids and decoded text")
			}
		})
	}
	for _, c := range Own(t) {
		for i, k := range c.Reference(t).Cases {
			if k.MinMargin < 0.01 || slices.Min(k.GreedyMargins) < 0.0099 || len(k.GreedyMargins) != len(k.GreedyIDs) {
				t.Errorf("%s, case %d: margins %v", c.Name, i, k.GreedyMargins)
			}
		}
		for i, v := range c.Vectors(t) {
			if len(v.SpecialIDs) < len(v.IDs) {
				t.Errorf("%s, vector %d: special_ids %v, ids %v", c.Name, i, v.SpecialIDs, v.IDs)
			}
		}
		for i, k := range c.Chats(t) {
			if len(k.Messages) == 0 || k.Rendered == "" {
				t.Errorf("%s, chat %d is empty", c.Name, i)
			}
		}
	}
}
