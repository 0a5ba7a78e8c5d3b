package bench

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"iter"
	"time"
)

// traceBlock is how many tokens one hash of a Mooncake trace stands for.
const traceBlock = 512

// TraceRequest is a line of a Mooncake trace: what one real request looked
// like, without its text.
type TraceRequest struct {
	At            time.Duration // since the trace began
	Input, Output int           // tokens
	// Blocks name the contents of each 512 tokens of the prompt and all before:
	// equal hashes are equal prefixes. The last block may be shorter.
	Blocks []uint64
}

// ReadMooncake reads at most limit requests of a trace in the format that
// Mooncake published (JSON lines; arXiv:2407.00079); 0 means all.
func ReadMooncake(r io.Reader, limit int) ([]TraceRequest, error) {
	var all []TraceRequest
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, 1<<20)
	for n := 1; lines.Scan() && (limit == 0 || len(all) < limit); n++ {
		var row struct {
			Timestamp *int64   `json:"timestamp"` // ms
			Input     int      `json:"input_length"`
			Output    int      `json:"output_length"`
			Hashes    []uint64 `json:"hash_ids"`
		}
		if len(lines.Bytes()) == 0 {
			continue
		}
		if err := json.Unmarshal(lines.Bytes(), &row); err != nil {
			return nil, fmt.Errorf("trace, line %d: %w", n, err)
		}
		t := TraceRequest{Input: row.Input, Output: row.Output, Blocks: row.Hashes}
		switch {
		case row.Timestamp == nil:
			return nil, fmt.Errorf("trace, line %d: no timestamp: is this a Mooncake trace?", n)
		case t.Input < 1 || t.Output < 1:
			return nil, fmt.Errorf("trace, line %d: %d tokens in, %d out: both must be positive", n, t.Input, t.Output)
		case len(t.Blocks) != (t.Input+traceBlock-1)/traceBlock:
			return nil, fmt.Errorf("trace, line %d: %d hashes for %d tokens in, %d a hash", n, len(t.Blocks), t.Input, traceBlock)
		}
		t.At = time.Duration(*row.Timestamp) * time.Millisecond
		if len(all) > 0 && t.At < all[len(all)-1].At {
			return nil, fmt.Errorf("trace, line %d: its timestamp %d is before the last one", n, *row.Timestamp)
		}
		all = append(all, t)
	}
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("trace: %w", err)
	}
	return all, nil
}

// Tokens makes up a prompt: each block's tokens follow from its hash, so that
// prompts share exactly the prefixes that the real ones shared.
func (t *TraceRequest) Tokens(vocab int) []int32 {
	tokens := make([]int32, t.Input)
	state := uint64(0)
	for i := range tokens {
		if i%traceBlock == 0 {
			state = t.Blocks[i/traceBlock]
		}
		state += 0x9E3779B97F4A7C15 // SplitMix64
		z := (state ^ state>>30) * 0xBF58476D1CE4E5B9
		z = (z ^ z>>27) * 0x94D049BB133111EB
		tokens[i] = int32((z ^ z>>31) % uint64(vocab))
	}
	return tokens
}

// Replay makes the arrivals of a trace, rate times as fast as they came.
func Replay(trace []TraceRequest, rate float64, vocab int) iter.Seq[Arrival] {
	return func(yield func(Arrival) bool) {
		for i := range trace {
			t := &trace[i]
			if !yield(Arrival{time.Duration(float64(t.At) / rate), Prompt{t.Tokens(vocab), t.Output}}) {
				return
			}
		}
	}
}
