package kernel

import "unsafe"

// Target is a token whose log-probability is asked for, and the slot whose
// parameters say how many alternatives are.
type Target struct{ Token, Slot int32 }

// Score is what the model says of a Target.
type Score struct {
	Logprob float32
	Unused  int32
	Top     [MaxTop]Alternative
}

// LogprobArgs and ScoreArgs: see logprobs.cu.
type (
	LogprobArgs struct {
		Logits, Draws, Slots, Drawn, Result Ptr

		Vocab, Ld, Rows int32
	}
	ScoreArgs struct {
		Logits, Targets, Slots, Scores Ptr

		Vocab, Ld int32
	}
)

var (
	logprobsKernel = newKernel[LogprobArgs]("logprobs.cu", "top_logprobs", nil)
	scoreKernel    = newKernel[ScoreArgs]("logprobs.cu", "score_tokens", nil)
)

// ScoreBytes is the host memory of so many scores.
func ScoreBytes(tokens int) int { return tokens * int(unsafe.Sizeof(Score{})) }

// ScoreTokens reports what each row of logits says of a token that is given.
func ScoreTokens(q Queue, a ScoreArgs, tokens int) error {
	if err := vocabulary(a.Vocab, a.Ld); err != nil {
		return err
	}
	return launch(q, scoreKernel, tokens, 1, 1024, &a)
}
