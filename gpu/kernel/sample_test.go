package kernel_test

import (
	"testing"

	"github.com/troupe-llm/troupe/gpu/kernel"
)

// launches is a queue that only remembers.
type launches []kernel.Launch

func (l *launches) Launch(k kernel.Launch) error {
	*l = append(*l, k)
	return nil
}

// Every logit of a part is kept by a thread of its block, whatever the
// vocabulary; what no block keeps is refused.
func TestSurveyKeepsVocabulary(t *testing.T) {
	for _, tc := range []struct{ vocab, threads int }{
		{1, 256}, {32000, 256}, {151936, 256}, {262144, 256}, {262145, 288}, {262208, 288}, {kernel.MaxVocab, 512},
	} {
		var q launches
		if err := kernel.Sample(&q, kernel.SampleArgs{Vocab: int32(tc.vocab), Ld: int32(tc.vocab+7) &^ 7}, 3); err != nil {
			t.Fatal(err)
		}
		survey := q[0]
		if survey.Kernel.Name != "survey" || survey.Grid[1] != 3 || survey.Block != tc.threads {
			t.Errorf("%d logits: %s of %v by %d, want %d threads", tc.vocab, survey.Kernel.Name, survey.Grid, survey.Block, tc.threads)
		}
		if kept := survey.Grid[0] * survey.Block * 8 * 4; kept < tc.vocab {
			t.Errorf("%d of %d logits are kept", kept, tc.vocab)
		}
	}
	if err := kernel.Sample(&launches{}, kernel.SampleArgs{Vocab: kernel.MaxVocab + 1, Ld: kernel.MaxVocab + 8}, 1); err == nil {
		t.Error("a larger vocabulary than is kept is taken")
	}
}
