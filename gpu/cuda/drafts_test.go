package cuda

import (
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/troupe-llm/troupe/gpu/batch"
	"github.com/troupe-llm/troupe/gpu/kernel"
)

// draftStep is a step of decode rows, rows with drafts and prompts, of as many slots as
// there are.
func draftStep(r *rand.Rand, slots, vocab int, prompts bool) *batch.Step {
	s := &batch.Step{}
	var drafts, chunks []batch.Row
	tokens := func(n int) (list []int32) {
		for range n {
			list = append(list, r.Int32N(int32(vocab)))
		}
		return list
	}
	mask := func() []uint32 {
		if r.IntN(2) == 0 {
			return nil
		}
		return []uint32{r.Uint32(), r.Uint32(), r.Uint32(), r.Uint32()}
	}
	for slot := range int32(slots) {
		row := batch.Row{Slot: slot, Start: r.Int32N(300), Sample: r.IntN(4) > 0, Allow: nil}
		switch r.IntN(4) {
		case 0:
			s.Rows = append(s.Rows, row)
		case 1:
			row.Sample, row.Drafts = true, 1+r.Int32N(kernel.NewestTokens-1)
			row.Tokens, row.Allow = tokens(row.Draws()), mask()
			next := make([][]uint32, row.Drafts)
			for i := range next {
				next[i] = mask()
			}
			row.AllowNext = &next
			drafts = append(drafts, row)
		case 2:
			row.Tokens = tokens(1 + r.IntN(20))
			chunks = append(chunks, row)
		}
	}
	s.NumDecode = len(s.Rows)
	if s.Rows = append(s.Rows, drafts...); prompts {
		if r.IntN(2) == 0 { // known tokens before the drafts: a chunk of a prompt
			chunks = append([]batch.Row{{Slot: int32(slots), Start: 3, Tokens: tokens(5), Drafts: 2, Sample: true}}, chunks...)
		}
		s.Rows = append(s.Rows, chunks...)
	}
	for i := range s.Rows {
		s.NumTokens += s.Rows[i].Len()
	}
	return s
}

// oneDraw is a draw as the kernels are told of it.
type oneDraw struct{ place, slot, position, from, ahead, drafts int32 }

// wantDrafts are decode rows (slot, length) and draws of a step, put together row by row.
func wantDrafts(s *batch.Step) (decodes [][2]int32, draws []oneDraw, masks [][]uint32) {
	token, place := int32(0), int32(0)
	for i := range s.Rows {
		r := &s.Rows[i]
		known := int32(r.Len()) - r.Drafts
		if r.Tokens == nil || r.Drafts > 0 && known == 1 {
			for j := range int32(r.Len()) {
				decodes = append(decodes, [2]int32{r.Slot, r.Start + j + 1})
			}
		}
		for j := range r.Drafts + 1 {
			if r.Sample {
				draws = append(draws, oneDraw{place, r.Slot, r.Start + known + j, token + known - 1 + j, j, r.Drafts})
				masks = append(masks, r.AllowAt(int(j)))
			}
			place++
		}
		token += int32(r.Len())
	}
	return decodes, draws, masks
}

// Rows with drafts are decode rows to kernels, one for each token, and a draw each, with
// graphs and without, beside prompts and alone.
func TestEncodeDrafts(t *testing.T) {
	const slots = 7
	r := rand.New(rand.NewPCG(3, 3))
	graphs, replayed := 0, 0
	for range 300 {
		d := newDesk([]int{1, 2, 4, 8, 16, 32, 64})
		d.info.MaxDraws = 72
		if r.IntN(2) == 0 {
			d.prompts = 128
		}
		s := draftStep(r, slots, d.info.Vocab, r.IntN(2) == 0)
		u, err := d.run(s)
		if err != nil {
			t.Fatalf("%+v: %v", s, err)
		}
		decodes, draws, masks := wantDrafts(s)
		b := &u.begin
		var gotDecodes [][2]int32
		rowSlots, rowLens := d.ints(b.RowSlots, b.NRows), d.ints(b.RowLens, b.NRows)
		for i, n := range rowLens {
			if n > 0 {
				gotDecodes = append(gotDecodes, [2]int32{rowSlots[i], n})
			}
		}
		if !slices.Equal(gotDecodes, decodes) || !slices.Equal(rowSlots[:len(decodes)], d.ints(b.Slots, int32(len(decodes)))) {
			t.Fatalf("%+v: decode rows %v, want %v", s, gotDecodes, decodes)
		}
		var gotDraws []oneDraw
		words, from := d.ints(b.Draws, 6*b.NDraws), d.ints(b.DrawTokens, b.NDraws)
		for i := range from {
			w := words[6*i:][:6]
			if w[2] < 0 {
				continue
			}
			at := kernel.Ptr(uint32(w[0])) | kernel.Ptr(uint32(w[1]))<<32
			var allow []uint32
			if at != 0 {
				for _, word := range d.ints(at, 4) {
					allow = append(allow, uint32(word))
				}
			}
			if want := masks[len(gotDraws)]; !slices.Equal(allow, want) {
				t.Fatalf("%+v: draw %d may be of %v, want %v", s, i, allow, want)
			}
			ahead, drafts := int32(int16(w[5])), w[5]>>16
			gotDraws = append(gotDraws, oneDraw{w[2], w[3], w[4], from[i], ahead, drafts})
			if j := i - int(ahead); ahead > 0 && words[6*j+2] != w[2]-ahead {
				t.Fatalf("%+v: draws of a row do not lie side by side: %v", s, gotDraws)
			}
		}
		if !slices.Equal(gotDraws, draws) {
			t.Fatalf("%+v: draws %v, want %v", s, gotDraws, draws)
		}
		if prompts := u.replied < s.NumTokens; prompts != (u.graph == 0) && len(s.Rows) > 0 || (u.nspans > 0) != prompts {
			t.Fatalf("%+v: %+v", s, u)
		}
		if u.graph > 0 {
			graphs++
		}
		if u.replays {
			replayed++
		}
	}
	if graphs < 50 || replayed < 30 {
		t.Errorf("%d graphs and %d replayed: the test has lost its teeth", graphs, replayed)
	}
}

// Of drafts that a step has room for, and no others.
func TestEncodeRefusesDrafts(t *testing.T) {
	d := newDesk([]int{1, 2, 4})
	s := &batch.Step{NumTokens: 9, Rows: []batch.Row{{Start: 4, Tokens: make([]int32, 9), Drafts: 8, Sample: true}}}
	for _, room := range []int{0, 8} {
		d.info.MaxDraws = room
		if _, err := d.run(s); err == nil {
			t.Errorf("9 draws where there is room for %d", room)
		}
	}
	d.info.MaxDraws = 9
	if u, err := d.run(s); err != nil || u.decodes != 9 || u.draws != 9 {
		t.Errorf("%v: %+v", err, u)
	}
	// A late row beside one with drafts: what it draws is told when its mask is there.
	s.Rows = slices.Insert(s.Rows, 0, batch.Row{Slot: 2, Start: 7, Sample: true, Late: true})
	s.NumDecode, s.NumTokens, d.info.MaxDraws = 1, 10, 10
	if _, err := d.run(s); err != nil {
		t.Fatal(err)
	}
	draws, n, _, err := d.lateMasks(&batch.Masks{Allow: [][]uint32{{1, 2, 3, 4}}}, func(n int) ([]byte, kernel.Ptr, error) {
		d.memory = make([]byte, n)
		return d.memory, testBase, nil
	})
	if err != nil || n != 10 {
		t.Fatal(n, err)
	}
	for i := range n {
		w := d.ints(draws.Plus(int64(24*i)), 6)
		if masked := w[0] != 0 || w[1] != 0; masked != (i == 0) || w[2] != int32(i) {
			t.Errorf("draw %d: %v", i, w)
		}
	}
}
