package kernel

import "fmt"

const (
	sampleParts = 32 // of a row of logits, a block each
	// A thread of survey keeps so many vectors of four logits. A part that is
	// larger than 256 threads keep takes more of them.
	surveyVectors = 8
	surveyThreads = 512
	// MaxTop is how many of the likeliest tokens are reported at most.
	MaxTop = 20
	// MaxVocab is the largest vocabulary that is sampled from: what survey keeps.
	MaxVocab = sampleParts * surveyThreads * surveyVectors * 4
	// PartBytes is the scratch memory of a token to draw.
	PartBytes = sampleParts * 16
)

// Slot is batch.Sampling as the device keeps it, with lists behind pointers.
type Slot struct {
	Seed                     uint64
	Bias, Suppress           Ptr
	Biases, Suppressed       int32
	SuppressBelow, Penalized int32
	Temperature, TopP, MinP  float32
	TopK                     int32
	Presence, Frequency      float32
	Repetition               float32
	Logprobs                 int32
}

// Bias and Alternative mirror batch.TokenBias and batch.TokenLogprob.
type (
	Bias struct {
		Token int32
		Bias  float32
	}
	Alternative struct {
		Token   int32
		Logprob float32
	}
)

// SampleArgs: see sample.cu.
type SampleArgs struct {
	Logits, Shaped, Draws, Slots, Counts, Parts, Last, Result, Tokens, DrawTokens, Drawn, Arrived Ptr

	Vocab, Ld, Rows int32
}

var (
	surveyKernel = newKernel[SampleArgs]("sample.cu", "survey", nil)
	drawKernel   = newKernel[SampleArgs]("sample.cu", "draw_tokens", nil)
)

// ResultBytes is the host memory of a step's results, for the most rows:
// tokens i32, log-probabilities f32, then MaxTop alternatives a row.
func ResultBytes(rows int) int { return rows * (8 + 8*MaxTop) }

// Sample draws a token from each row of logits, and reports log-probabilities.
func Sample(q Queue, a SampleArgs, draws int) error {
	if err := vocabulary(a.Vocab, a.Ld); err != nil {
		return err
	}
	if err := launch(q, surveyKernel, sampleParts, draws, surveyBlock(int(a.Vocab)), &a); err != nil {
		return err
	}
	if err := launch(q, drawKernel, draws, 1, 512, &a); err != nil {
		return err
	}
	return launch(q, logprobsKernel, draws, 1, 1024, &LogprobArgs{
		Logits: a.Logits, Draws: a.Draws, Slots: a.Slots, Drawn: a.Drawn, Result: a.Result, Vocab: a.Vocab, Ld: a.Ld, Rows: a.Rows,
	})
}

// surveyBlock is how many threads keep a part of so many logits, whole warps.
func surveyBlock(vocab int) int {
	part := ceil(vocab, sampleParts*4) * 4
	return max(256, ceil(part, surveyVectors*4*32)*32)
}

// vocabulary checks rows of logits.
func vocabulary(vocab, ld int32) error {
	if vocab <= 0 || vocab > MaxVocab || ld < vocab || ld%4 != 0 {
		return fmt.Errorf("kernel sample: %d logits in rows of %d; at most %d, in rows of a multiple of 4", vocab, ld, MaxVocab)
	}
	return nil
}

// CountArgs: see sample.cu.
type CountArgs struct {
	Counts, Prompt, Output Ptr
	Prompts, Outputs       int32
}

var countKernel = newKernel[CountArgs]("sample.cu", "count_tokens", nil)

// CountTokens enters a request's tokens into cleared counts.
func CountTokens(q Queue, a CountArgs) error {
	return launch(q, countKernel, min(ceil(int(max(a.Prompts, a.Outputs)), 256), 64), 1, 256, &a)
}
