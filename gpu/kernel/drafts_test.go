//go:build cuda

package kernel_test

import (
	"fmt"
	"math"
	"reflect"
	"slices"
	"testing"

	"github.com/troupe-llm/troupe/gpu/cuda"
	"github.com/troupe-llm/troupe/gpu/kernel"
)

// drawing is the memory of drawing tokens of a few slots, and what it has after that.
type drawing struct {
	b    *bench
	args kernel.SampleArgs
	rows int // places of the result

	memory kernel.Ptr
}

// state is all that drawing leaves.
type state struct {
	Tokens, Last []int32
	Logprobs     []float32
	Tops         []kernel.Alternative
	Counts       []uint32
}

func (b *bench) drawing(logits kernel.Ptr, vocab, ld, rows int, slots []kernel.Slot, counts []uint32) *drawing {
	d := &drawing{b: b, rows: rows, memory: b.zeros(int64(kernel.ResultBytes(rows)))}
	d.args = kernel.SampleArgs{
		Logits: logits, Shaped: b.zeros(int64(4 * rows * ld)), Slots: upload(b, slots), Counts: upload(b, counts), Parts: b.zeros(int64(rows * kernel.PartBytes)),
		Last: b.zeros(int64(4 * len(slots))), Result: upload(b, []kernel.Ptr{d.memory}), Drawn: b.zeros(int64(4 * rows)), Arrived: b.zeros(int64(4 * len(slots))),
		Vocab: int32(vocab), Ld: int32(ld), Rows: int32(rows),
	}
	return d
}

// run draws, from the logits from a row on.
func (d *drawing) run(row int, draws []kernel.Draw, tokens, drawTokens []int32) {
	a := d.args
	a.Logits = a.Logits.Plus(int64(4 * row * int(a.Ld)))
	a.Draws, a.Tokens, a.DrawTokens = upload(d.b, draws), upload(d.b, tokens), upload(d.b, drawTokens)
	d.b.must(kernel.Sample(d.b, a, len(draws)))
}

func (d *drawing) state(slots, counts int) (s state) {
	s = state{make([]int32, d.rows), make([]int32, slots), make([]float32, d.rows), make([]kernel.Alternative, d.rows*kernel.MaxTop), make([]uint32, counts)}
	d.b.must(cuda.Download(d.b.Workbench, s.Tokens, d.memory))
	d.b.must(cuda.Download(d.b.Workbench, s.Logprobs, d.memory.Plus(int64(4*d.rows))))
	d.b.must(cuda.Download(d.b.Workbench, s.Tops, d.memory.Plus(int64(8*d.rows))))
	d.b.must(cuda.Download(d.b.Workbench, s.Last, d.args.Last))
	d.b.must(cuda.Download(d.b.Workbench, s.Counts, d.args.Counts))
	return s
}

// The draws of rows with drafts, all at once, are to the last bit those that are made one
// after the other until one is no draft: tokens, log-probabilities, what penalties count, and
// each slot's last token; by all ways to sample, with masks, and where nothing may be drawn.
func TestSampleDrafts(t *testing.T) {
	b := open(t, shapes[0])
	accepted, rejected := 0, 0
	for round := range 60 {
		vocab := []int{35, 501, 5000}[round%3]
		ld := (vocab + 7) &^ 7
		bias := upload(b, []kernel.Bias{{Token: 3, Bias: 2}, {Token: 7, Bias: -3}})
		suppress := upload(b, []int32{3, 4, 5})
		slots := []kernel.Slot{
			{Logprobs: 3},
			{Temperature: 1, Seed: b.rand.Uint64(), Logprobs: 1},
			{Temperature: 0.8, TopK: 9, TopP: 0.9, Seed: b.rand.Uint64()},
			{Temperature: 1.1, MinP: 0.02, Seed: b.rand.Uint64(), Logprobs: 21},
			{Temperature: 0.7, Seed: b.rand.Uint64(), Penalized: 1, Presence: 0.4, Frequency: 0.6, Repetition: 1.4, Logprobs: 2},
			{Penalized: 1, Frequency: 2, Logprobs: 1},
			{Temperature: 1, Seed: b.rand.Uint64(), Bias: bias, Biases: 2, Suppress: suppress, Suppressed: 3, SuppressBelow: 40},
		}
		counts := make([]uint32, len(slots)*vocab)
		for i := range counts {
			counts[i] = uint32(b.rand.IntN(3) / 2)
		}
		var drafts []int
		rows := 0
		for range slots {
			drafts = append(drafts, b.rand.IntN(9))
			rows += 1 + drafts[len(drafts)-1]
		}
		_, logits := b.randomFloats(rows * ld)
		position := int32(b.rand.IntN(60))
		together, apart := b.drawing(logits, vocab, ld, rows, slots, counts), b.drawing(logits, vocab, ld, rows, slots, counts)
		var draws []kernel.Draw
		var tokens, drawTokens []int32
		for slot := range slots {
			first, here := len(draws), true
			tokens = append(tokens, 1)
			for j := range 1 + drafts[slot] {
				d := kernel.Draw{Row: int32(first + j), Slot: int32(slot), Position: position + int32(j)}
				if b.rand.IntN(3) == 0 {
					mask := make([]uint32, (vocab+31)/32)
					for i := range mask {
						mask[i] = b.rand.Uint32() & b.rand.Uint32()
					}
					if b.rand.IntN(20) == 0 {
						clear(mask) // nothing may be drawn
					}
					d.Allow = upload(b, mask)
				}
				drawn := []int32{-1}
				if here {
					apart.run(first+j, []kernel.Draw{d}, []int32{1}, []int32{0})
					b.must(cuda.Download(b.Workbench, drawn, apart.memory.Plus(int64(4*(first+j)))))
				} else {
					b.must(b.Fill(apart.memory.Plus(int64(4*(first+j))), 0xff, 4))
				}
				d.Ahead, d.Drafts = int16(j), int16(drafts[slot])
				draws, drawTokens = append(draws, d), append(drawTokens, int32(len(tokens)-1))
				if j == drafts[slot] {
					break
				}
				next := drawn[0]
				if next < 0 || b.rand.IntN(6) == 0 {
					next = int32(b.rand.IntN(vocab))
				}
				if here = here && next == drawn[0]; here {
					accepted++
				} else {
					rejected++
				}
				tokens = append(tokens, next)
			}
		}
		together.run(0, draws, tokens, drawTokens)
		got, want := together.state(len(slots), len(counts)), apart.state(len(slots), len(counts))
		for i := range got.Tokens { // nobody reads log-probabilities of what was not drawn
			if want.Tokens[i] < 0 {
				got.Logprobs[i], want.Logprobs[i] = 0, 0
			}
			if draws[i].Ahead > 0 && want.Tokens[i] < 0 {
				clear(got.Tops[i*kernel.MaxTop:][:kernel.MaxTop])
				clear(want.Tops[i*kernel.MaxTop:][:kernel.MaxTop])
			}
		}
		if !reflect.DeepEqual(got, want) {
			what := fmt.Sprintf("round %d, %d tokens", round, vocab)
			t.Errorf("%s: drawn %v, one after the other %v; last %v, %v; alike but for what penalties count: %v", what, got.Tokens, want.Tokens, got.Last, want.Last,
				reflect.DeepEqual(got.Logprobs, want.Logprobs) && reflect.DeepEqual(got.Tops, want.Tops))
		}
	}
	if accepted < 300 || rejected < 300 {
		t.Errorf("%d drafts accepted, %d rejected: the test has lost its teeth", accepted, rejected)
	}
}

// Where a model computes nothing but NaN no token is drawn, however it is sampled, and rows
// beside it are drawn as they are without it: on a processor it is the same.
func TestNothingIsDrawnOfNaN(t *testing.T) {
	b := open(t, shapes[0])
	for _, vocab := range []int{1, 35, 5000, 151936} {
		ld := (vocab + 7) &^ 7
		mask := slices.Repeat([]uint32{0x55555555}, (vocab+31)/32)
		slots := []kernel.Slot{
			{},
			{Temperature: 1, Seed: 5},
			{Temperature: 0.6, TopK: 20, TopP: 0.9, Seed: 6},
			{Temperature: 1, MinP: 0.1, Seed: 7},
			{Temperature: 1, Penalized: 1, Presence: 0.4, Repetition: 1.4, Seed: 8},
			{Temperature: 1, Suppress: upload(b, []int32{0}), Suppressed: 1, SuppressBelow: 40, Seed: 9},
			{Temperature: 1, Bias: upload(b, []kernel.Bias{{Token: 0, Bias: 3}}), Biases: 1, Seed: 10},
		}
		logits, _ := b.randomFloats(2 * len(slots) * ld)
		var draws []kernel.Draw
		for i := range 2 * len(slots) {
			d := kernel.Draw{Row: int32(i), Slot: int32(i / 2), Position: 3}
			if i%2 == 0 { // with a mask or without
				d.Slot = int32((i/2 + 1) % len(slots))
				for j := range ld {
					logits[i*ld+j] = float32(math.NaN())
				}
			}
			if i%3 == 0 {
				d.Allow = upload(b, mask)
			}
			draws = append(draws, d)
		}
		tokens := func(draws []kernel.Draw) []int32 {
			d := b.drawing(upload(b, logits), vocab, ld, 2*len(slots), slots, make([]uint32, len(slots)*vocab))
			d.run(0, draws, []int32{1}, make([]int32, len(draws)))
			return d.state(len(slots), 1).Tokens
		}
		got := tokens(draws)
		alone := slices.Clone(draws)
		for i := range alone {
			if i%2 == 0 {
				alone[i].Row = -1 // padding
			}
		}
		want := tokens(alone)
		for i, token := range got {
			switch {
			case i%2 == 0 && token != -1:
				t.Errorf("of %d that are no number %d is drawn with %+v", vocab, token, slots[draws[i].Slot])
			case i%2 == 1 && (token != want[i] || vocab > 1 && token < 0):
				t.Errorf("beside NaN %d is drawn of %d, want %d", token, vocab, want[i])
			}
		}
	}
}
