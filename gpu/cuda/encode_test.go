package cuda

import (
	"encoding/binary"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"testing"
	"unsafe"

	"github.com/troupe-llm/troupe/gpu/batch"
	"github.com/troupe-llm/troupe/gpu/device"
	"github.com/troupe-llm/troupe/gpu/kernel"
)

const testBase = kernel.Ptr(1 << 32)

// desk encodes steps into memory of the host and reads them back.
type desk struct {
	*encoder
	memory []byte
}

func newDesk(graphs []int) *desk {
	info := device.Info{Slots: 8, PageSize: 16, NumPages: 64, MaxSeqLen: 512, MaxStepTokens: 256, Vocab: 100, Scores: true}
	d := &desk{encoder: newEncoder(info, kernel.Shape{Heads: 4, KVHeads: 2, HeadDim: 64, PageSize: 16, Stages: 3}, graphs)}
	d.reserve = func(slot int32, _ int64) (kernel.Ptr, error) { return kernel.Ptr(slot+1) << 20, nil }
	return d
}

func (d *desk) run(s *batch.Step) (*upload, error) {
	return d.encode(s, func(n int) ([]byte, kernel.Ptr, error) {
		// Aligned and poisoned: what is not written shows.
		words := make([]uint64, n/8+1)
		d.memory = unsafe.Slice((*byte)(unsafe.Pointer(&words[0])), n)
		for i := range d.memory {
			d.memory[i] = 0xee
		}
		return d.memory, testBase, nil
	})
}

func (d *desk) ints(at kernel.Ptr, n int32) []int32 {
	out := make([]int32, n)
	for i := range out {
		out[i] = int32(binary.LittleEndian.Uint32(d.memory[int(at-testBase)+4*i:]))
	}
	return out
}

func equal(t *testing.T, what string, got, want []int32) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("%s: %v, want %v", what, got, want)
	}
}

// Two decode rows, one of which draws nothing, in a graph of four.
func TestEncodeGraph(t *testing.T) {
	d := newDesk([]int{1, 2, 4})
	u, err := d.run(&batch.Step{
		Rows:      []batch.Row{{Slot: 3, Start: 40, Sample: true, Allow: []uint32{1, 2, 3, 4}}, {Slot: 5, Start: 7}, {Slot: 1, Start: 9, Sample: true}},
		NumDecode: 3, NumTokens: 3,
	})
	if err != nil {
		t.Fatal(err)
	}
	if u.graph != 4 || u.tokens != 4 || u.decodes != 4 || u.draws != 4 || u.ntiles != 0 {
		t.Errorf("%+v", u)
	}
	b := &u.begin
	equal(t, "tokens", d.ints(b.Tokens, b.NTokens), []int32{-1, -1, -1, 0})
	equal(t, "positions", d.ints(b.Positions, b.NTokens), []int32{40, 7, 9, 0})
	equal(t, "slots", d.ints(b.Slots, b.NTokens), []int32{3, 5, 1, -1})
	equal(t, "row slots", d.ints(b.RowSlots, b.NRows), []int32{3, 5, 1, 0})
	equal(t, "lengths", d.ints(b.RowLens, b.NRows), []int32{41, 8, 10, 0})
	equal(t, "drawn from", d.ints(b.DrawTokens, b.NDraws), []int32{0, 1, 2, 0})
	draws := d.ints(b.Draws, 4*6) // the address of the mask first
	for i, row := range []int32{0, -1, 2, -1} {
		if draws[6*i+2] != row {
			t.Errorf("draw %d is of row %d, want %d", i, draws[6*i+2], row)
		}
	}
	equal(t, "first draw", draws[3:5], []int32{3, 41})
	mask := kernel.Ptr(uint32(draws[0])) | kernel.Ptr(uint32(draws[1]))<<32
	equal(t, "mask", d.ints(mask, 4), []int32{1, 2, 3, 4})
	if draws[12] != 0 || draws[13] != 0 {
		t.Error("a mask where none was given")
	}
}

// A decode row, a prompt that draws nothing and one that does, in graphs for 16 tokens
// with 8 decode rows (as many as there are slots) and for two draws; and steps of which none are.
func TestEncodeReplayed(t *testing.T) {
	d := newDesk([]int{2, 4})
	d.prompts = 64
	s := &batch.Step{
		Rows:      []batch.Row{{Slot: 3, Start: 40, Sample: true}, {Slot: 5, Start: 7, Tokens: []int32{8, 9}}, {Slot: 1, Tokens: []int32{4, 5, 6}, Sample: true}},
		NumDecode: 1, NumTokens: 6,
	}
	u, err := d.run(s)
	if err != nil {
		t.Fatal(err)
	}
	if !u.replays || u.graph != 0 || u.tokens != 16 || u.decodes != 8 || u.draws != 2 || u.ntiles != 2 || u.nspans != 2 {
		t.Errorf("%+v", u)
	}
	b := &u.begin
	equal(t, "tokens", d.ints(b.Tokens, 8), []int32{-1, 8, 9, 4, 5, 6, 0, 0})
	equal(t, "slots", d.ints(b.Slots, b.NTokens), []int32{3, 5, 5, 1, 1, 1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1})
	equal(t, "lengths", d.ints(b.RowLens, b.NRows), []int32{41, 0, 0, 0, 0, 0, 0, 0})
	equal(t, "drawn from", d.ints(b.DrawTokens, b.NDraws), []int32{0, 5})
	equal(t, "tiles", d.ints(b.Tiles, 14), []int32{5, 1, 7, 2, 0, 0, 0, 1, 3, 0, 3, 0, 0, 0})
	equal(t, "spans", d.ints(b.Spans, 8), []int32{1, 2, 5, 7, 3, 3, 1, 0})
	s.Rows[2].Sample = false
	if u, err = d.run(s); err != nil || u.draws != 2 || !u.replays {
		t.Errorf("one draw: %v, %+v", err, u)
	}
	if draws := d.ints(u.begin.Draws, 12); draws[8] != -1 {
		t.Errorf("padding draws for row %d", draws[8])
	}
	for _, most := range []int{0, 15} {
		d.prompts = most
		if u, err = d.run(s); err != nil || u.replays || u.tokens != 6 || u.decodes != 1 || u.draws != 1 {
			t.Errorf("replaying up to %d tokens: %v, %+v", most, err, u)
		}
	}
}

func TestReplayedDecodes(t *testing.T) {
	for _, tc := range []struct{ n, slots, want int }{{0, 256, 0}, {1, 256, 8}, {8, 256, 8}, {9, 256, 64}, {64, 256, 64}, {65, 256, 256}, {256, 256, 256}, {1, 4, 4}, {0, 4, 0}, {9, 64, 64}} {
		if got := replayedDecodes(tc.n, tc.slots); got != tc.want {
			t.Errorf("%d of %d: %d, want %d", tc.n, tc.slots, got, tc.want)
		}
	}
}

// A decode row and two prompts, one of which is not yet complete.
func TestEncodeMixed(t *testing.T) {
	d := newDesk([]int{1, 2, 4})
	long := make([]int32, 100)
	u, err := d.run(&batch.Step{
		Slots: []batch.SlotInit{{Slot: 2, Sampling: batch.Sampling{
			Temperature: 0.5, Presence: 1, Seed: 9, Bias: []batch.TokenBias{{Token: 4, Bias: 2}, {Token: 5, Bias: 1}, {Token: 6, Bias: 1}},
			Suppress: []int32{11, 12},
		}, Prompt: []int32{1, 2, 3}, Output: []int32{7}}},
		Pages:     []batch.PageEntry{{Slot: 2, Index: 0, Page: 5}, {Slot: 2, Index: 1, Page: 6}, {Slot: 2, Index: 0, Page: 9}},
		Rows:      []batch.Row{{Slot: 0, Start: 3, Sample: true}, {Slot: 2, Start: 16, Tokens: []int32{8, 9}, Sample: true}, {Slot: 4, Tokens: long}},
		NumDecode: 1, NumTokens: 103,
	})
	if err != nil {
		t.Fatal(err)
	}
	if u.graph != 0 || u.tokens != 103 || u.decodes != 1 || u.draws != 2 {
		t.Errorf("%+v", u)
	}
	b := &u.begin
	equal(t, "tokens", d.ints(b.Tokens, 4), []int32{-1, 8, 9, 0})
	equal(t, "positions", d.ints(b.Positions, 5), []int32{3, 16, 17, 0, 1})
	equal(t, "drawn from", d.ints(b.DrawTokens, b.NDraws), []int32{0, 2})
	equal(t, "pages", d.ints(b.Pages, 9), []int32{2, 0, 9, 2, 1, 6, 2, 0, 9})
	// 200 pairs of the long prompt are two tiles; the one that sees 100 keys comes first.
	equal(t, "tiles", d.ints(b.Tiles, 21), []int32{4, 3, 0, 100, 128, 0, 0, 4, 3, 0, 100, 0, 0, 0, 2, 1, 16, 2, 0, 0, 0})

	if len(u.lists) != 1 || len(u.counts) != 1 {
		t.Fatalf("%d lists, %d counts", len(u.lists), len(u.counts))
	}
	l := u.lists[0]
	init := *(*kernel.Init)(unsafe.Pointer(&d.memory[int(b.Inits-testBase)]))
	p := init.Words
	if init.Slot != 2 || p.Seed != 9 || p.Temperature != 0.5 || p.Penalized != 1 || p.Biases != 3 || p.Suppressed != 2 || p.Bias != l.to {
		t.Errorf("%+v", init)
	}
	equal(t, "bias", d.ints(l.from, 6), []int32{4, 0x40000000, 5, 0x3f800000, 6, 0x3f800000})
	equal(t, "suppressed", d.ints(l.from+(p.Suppress-p.Bias), 2), []int32{11, 12})
	if end := int64(p.Suppress-p.Bias) + 8; end > l.bytes {
		t.Errorf("the list of %d bytes ends at %d", l.bytes, end)
	}
	c := u.counts[0]
	equal(t, "prompt", d.ints(c.args.Prompt, c.args.Prompts), []int32{1, 2, 3})
	equal(t, "output", d.ints(c.args.Output, c.args.Outputs), []int32{7})
}

// Tokens to score, of a whole prompt but its last token, of a chunk that begins
// behind others, and of one that has only some.
func TestEncodeScores(t *testing.T) {
	d := newDesk([]int{1, 2, 4})
	u, err := d.run(&batch.Step{
		Rows: []batch.Row{
			{Slot: 7, Start: 3, Sample: true},
			{Slot: 2, Tokens: []int32{8, 9, 10}, Score: []int32{9, 10}, Sample: true},
			{Slot: 5, Tokens: []int32{1, 2}},
			{Slot: 4, Start: 30, Tokens: []int32{11, 12}, Score: []int32{12, 13}},
		},
		NumDecode: 1, NumTokens: 8,
	})
	if err != nil {
		t.Fatal(err)
	}
	if u.scores != 4 || u.draws != 2 {
		t.Errorf("%d scores, %d draws", u.scores, u.draws)
	}
	equal(t, "followed", d.ints(u.follows, 4), []int32{1, 2, 6, 7})
	equal(t, "targets", d.ints(u.targets, 8), []int32{9, 2, 10, 2, 12, 4, 13, 4})
}

// A mask that rows share is uploaded once.
func TestEncodeSharesMasks(t *testing.T) {
	const rows = 8
	bytes := func(distinct int) int {
		d := newDesk([]int{rows})
		s := maskedStep(rows, distinct, d.info.Vocab)
		u, err := d.run(s)
		if err != nil {
			t.Fatal(err)
		}
		draws := d.ints(u.begin.Draws, 6*rows)
		at := map[kernel.Ptr]bool{}
		for i := range rows {
			if s.Rows[i].Allow == nil {
				continue
			}
			mask := kernel.Ptr(uint32(draws[6*i])) | kernel.Ptr(uint32(draws[6*i+1]))<<32
			at[mask] = true
			for j, w := range d.ints(mask, 4) {
				if uint32(w) != s.Rows[i].Allow[j] {
					t.Fatalf("%d masks: row %d may draw %x, want %x", distinct, i, d.ints(mask, 4), s.Rows[i].Allow)
				}
			}
		}
		if len(at) != distinct {
			t.Errorf("%d masks lie in %d places", distinct, len(at))
		}
		return u.bytes
	}
	none := bytes(0)
	for _, distinct := range []int{1, 3, rows} {
		if got, want := bytes(distinct)-none, 16*distinct; got != want { // of 100 tokens: 13 bytes, aligned
			t.Errorf("%d masks of %d rows take %d bytes, want %d", distinct, rows, got, want)
		}
	}
}

// maskedStep decodes rows that may draw from one of several masks each; with
// none, from everything.
func maskedStep(rows, distinct, vocab int) *batch.Step {
	s := &batch.Step{NumDecode: rows, NumTokens: rows}
	masks := make([][]uint32, distinct)
	for i := range masks {
		masks[i] = make([]uint32, batch.MaskWords(vocab))
		masks[i][0] = uint32(i) + 1
	}
	for i := range rows {
		r := batch.Row{Slot: int32(i), Start: 9, Sample: true}
		if distinct > 0 {
			r.Allow = masks[i%distinct]
		}
		s.Rows = append(s.Rows, r)
	}
	return s
}

// Masks that come late are sent with the draws, padding left out: each once, and
// none that came with the step.
func TestEncodeLateMasks(t *testing.T) {
	a, b, c := []uint32{1, 2, 3, 4}, []uint32{5, 6, 7, 8}, []uint32{9, 9, 9, 9}
	d := newDesk([]int{8})
	s := &batch.Step{Seq: 4, NumDecode: 7, NumTokens: 7}
	for i := range int32(7) {
		s.Rows = append(s.Rows, batch.Row{Slot: i, Start: 9, Sample: i != 2, Late: i > 2})
	}
	s.Rows[0].Allow = a
	u, err := d.run(s)
	if err != nil {
		t.Fatal(err)
	}
	if u.late != 4 || u.draws != 8 || u.graph != 8 {
		t.Errorf("%+v", u)
	}
	with := d.memory
	masked := func(m *batch.Masks) (kernel.Ptr, int, int, error) {
		return d.lateMasks(m, func(n int) ([]byte, kernel.Ptr, error) {
			words := make([]uint64, n/8+1)
			d.memory = unsafe.Slice((*byte)(unsafe.Pointer(&words[0])), n)
			return d.memory, testBase + 1<<20, nil
		})
	}
	if _, _, _, err := masked(&batch.Masks{Seq: 4, Allow: [][]uint32{a}}); err == nil || !strings.Contains(err.Error(), "1 masks for step 4; 4 of its rows") {
		t.Errorf("too few: %v", err)
	}
	at, n, bytes, err := masked(&batch.Masks{Seq: 4, Allow: [][]uint32{b, c, a, b}})
	if err != nil {
		t.Fatal(err)
	}
	if want := 7*24 + 8 + 2*16; n != 7 || bytes != want || bytes > len(d.memory) {
		t.Errorf("%d draws, %d bytes of %d; want 7 and %d", n, bytes, len(d.memory), want)
	}
	draws := unsafe.Slice((*kernel.Draw)(unsafe.Pointer(&d.memory[int(at-testBase)-1<<20])), n)
	for i, want := range [][]uint32{a, nil, nil, b, c, a, b} {
		draw := draws[i]
		if row := int32(i); i != 2 && (draw.Row != row || draw.Slot != row || draw.Position != 10) || i == 2 && draw.Row != -1 {
			t.Errorf("draw %d: %+v", i, draw)
		}
		if want == nil {
			if draw.Allow != 0 {
				t.Errorf("draw %d has a mask", i)
			}
			continue
		}
		memory, offset := d.memory, int(draw.Allow-testBase)-1<<20
		if offset < 0 {
			memory, offset = with, offset+1<<20
		}
		for j, w := range want {
			if got := binary.LittleEndian.Uint32(memory[offset+4*j:]); got != w {
				t.Errorf("draw %d may draw %x in word %d, want %x", i, got, j, w)
			}
		}
	}
	if _, _, _, err := masked(&batch.Masks{Seq: 4}); err == nil || !strings.Contains(err.Error(), "no step waits") {
		t.Errorf("again: %v", err)
	}
}

// BenchmarkEncodeMasks is a step of 256 rows that keep to a format, over
// Qwen3's vocabulary, and what of it goes to the device.
func BenchmarkEncodeMasks(b *testing.B) {
	const rows = 256
	for _, distinct := range []int{0, 1, 16, rows} {
		b.Run(strconv.Itoa(distinct), func(b *testing.B) {
			info := device.Info{Slots: rows, PageSize: 16, NumPages: 64, MaxSeqLen: 512, MaxStepTokens: 512, Vocab: 151936}
			e := newEncoder(info, kernel.Shape{Heads: 4, KVHeads: 2, HeadDim: 64, PageSize: 16, Stages: 3}, []int{rows})
			s := maskedStep(rows, distinct, info.Vocab)
			var memory []byte
			bytes := 0
			for b.Loop() {
				u, err := e.encode(s, func(n int) ([]byte, kernel.Ptr, error) {
					if memory == nil {
						memory = make([]byte, n)
					}
					return memory, testBase, nil
				})
				if err != nil {
					b.Fatal(err)
				}
				bytes = u.bytes
			}
			b.ReportMetric(float64(bytes)/1024, "KiB-up/op")
		})
	}
}

// Snapshots are places behind the slots.
func TestEncodeCopies(t *testing.T) {
	d := newDesk(nil)
	d.info.StateBytes, d.info.Snapshots = 64, 5
	u, err := d.run(&batch.Step{
		Rows: []batch.Row{{Slot: 3, Start: 16, Tokens: []int32{1}}, {Slot: 1, Tokens: []int32{1}}}, NumTokens: 2,
		Restores: []batch.StateCopy{{Slot: 3, Snapshot: 4}}, Saves: []batch.StateCopy{{Slot: 1, Snapshot: 0}, {Slot: 3, Snapshot: 2}},
	})
	if err != nil {
		t.Fatal(err)
	}
	equal(t, "restores", d.ints(u.restores, int32(2*u.nrestores)), []int32{12, 3})
	equal(t, "saves", d.ints(u.saves, int32(2*u.nsaves)), []int32{1, 8, 3, 10})
}

// Nothing is written of a step that goes beyond the device's sizes.
func TestEncodeRefuses(t *testing.T) {
	d := newDesk(nil)
	_, err := d.run(&batch.Step{Rows: []batch.Row{{Start: 511, Tokens: []int32{1, 2}}}, NumTokens: 2})
	if err == nil || !strings.Contains(err.Error(), "positions 511 to 513") || d.memory != nil {
		t.Errorf("%v, with %d bytes written", err, len(d.memory))
	}
}

// Random steps fit in the memory they ask for.
func TestEncodeFits(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for range 300 {
		d := newDesk([]int{1, 2, 4, 8})
		s := &batch.Step{}
		for slot := range r.IntN(8) + 1 {
			row := batch.Row{Slot: int32(slot), Start: int32(r.IntN(100)), Sample: r.IntN(2) == 0}
			if r.IntN(2) == 0 {
				row.Allow = make([]uint32, 4)
			}
			if r.IntN(2) == 0 && len(s.Rows) == s.NumDecode {
				s.NumDecode++
			} else {
				row.Tokens = make([]int32, r.IntN(20)+1)
				row.Score = make([]int32, r.IntN(len(row.Tokens)+1))
			}
			s.Rows = append(s.Rows, row)
			s.NumTokens += row.Len()
			in := batch.SlotInit{Slot: int32(slot)}
			in.Sampling.Bias = make([]batch.TokenBias, r.IntN(4))
			in.Sampling.Suppress = make([]int32, r.IntN(4))
			in.Sampling.Frequency = float32(r.IntN(2))
			in.Prompt = make([]int32, r.IntN(9))
			s.Slots = append(s.Slots, in)
			s.Pages = append(s.Pages, batch.PageEntry{Slot: int32(slot), Page: int32(r.IntN(64))})
		}
		u, err := d.run(s)
		if err != nil { // take panics when memory ends
			t.Fatal(err)
		}
		if u.bytes > len(d.memory) {
			t.Fatalf("%d bytes used of %d", u.bytes, len(d.memory))
		}
	}
}
