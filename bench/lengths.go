package bench

import (
	"fmt"
	"iter"
	"strconv"
	"strings"
)

// Range is a span of lengths in tokens, both ends included. As a flag it is
// written LOW:HIGH, or one number for a fixed length.
type Range struct{ Low, High int }

// Set implements flag values.
func (r *Range) Set(text string) error {
	lowText, highText, two := strings.Cut(text, ":")
	if !two {
		highText = lowText
	}
	low, err1 := strconv.Atoi(lowText)
	high, err2 := strconv.Atoi(highText)
	if err1 != nil || err2 != nil || low < 1 || high < low || high > maxTokens {
		return fmt.Errorf("want LOW:HIGH with 1 ≤ LOW ≤ HIGH ≤ %s, or one length, such as 100:1024 or 512", thousands(maxTokens))
	}
	*r = Range{low, high}
	return nil
}

// String is the flag's text.
func (r *Range) String() string {
	if r.Low == r.High {
		return strconv.Itoa(r.Low)
	}
	return fmt.Sprintf("%d:%d", r.Low, r.High)
}

// Type names the value in help texts.
func (r *Range) Type() string { return "LOW:HIGH" }

// promptTokens is the range of the token ids drawn for prompts, both ends
// included.
const promptTokens = 10000

// PromptIDs is how many token ids prompts are drawn from, in a vocabulary that
// has so many.
const PromptIDs = promptTokens + 1

// Prompt is one request.
type Prompt struct {
	Tokens    []int32
	MaxTokens int // exactly as many are generated, when stop tokens are ignored
	// Text, when set, is sent over the wire in place of the tokens, as a
	// user's message of a chat.
	Text string
}

// AtOnce makes prompts arrive all at the beginning.
func AtOnce(prompts []Prompt) iter.Seq[Arrival] {
	return func(yield func(Arrival) bool) {
		for _, p := range prompts {
			if !yield(Arrival{Prompt: p}) {
				return
			}
		}
	}
}

// RandomPrompts draws n prompts and their output lengths as Python code with
// random.seed(seed) would: each prompt's length, then its token ids in
// 0…10000; after all prompts, the output lengths. Ids beyond a smaller
// vocabulary are taken modulo vocab, which leaves lengths as they are.
func RandomPrompts(seed uint64, n int, input, output Range, vocab int) []Prompt {
	random := NewPythonRandom(seed)
	prompts := make([]Prompt, n)
	for i := range prompts {
		tokens := make([]int32, random.IntRange(input.Low, input.High))
		for j := range tokens {
			tokens[j] = int32(random.IntRange(0, promptTokens) % vocab)
		}
		prompts[i].Tokens = tokens
	}
	for i := range prompts {
		prompts[i].MaxTokens = random.IntRange(output.Low, output.High)
	}
	return prompts
}
