package kernel

import (
	"fmt"
	"math"
)

// EmbedArgs: see embed.cu.
type EmbedArgs struct {
	Tokens, Table, Out Ptr
	Hidden             int32
	Scale              float32
	First, Rows        int32 // of the table: its first token, and how many; 0: all
}

var embedKernel = newKernel[EmbedArgs]("embed.cu", "embed", nil)

// Embed looks up the embeddings of tokens.
func Embed(q Queue, a EmbedArgs, tokens int) error {
	if err := vectors("embed", int(a.Hidden)); err != nil {
		return err
	}
	if a.Rows == 0 {
		a.Rows = math.MaxInt32
	}
	return launch(q, embedKernel, tokens, 1, 128, &a)
}

// vectors checks that rows of n bf16 are whole vectors of 16 bytes.
func vectors(kernel string, n int) error {
	if n <= 0 || n%8 != 0 {
		return fmt.Errorf("kernel %s: rows of %d; they must be multiples of 8", kernel, n)
	}
	return nil
}
