package cuda

import (
	"slices"
	"unsafe"

	"github.com/troupe-llm/troupe/gpu/batch"
	"github.com/troupe-llm/troupe/gpu/device"
	"github.com/troupe-llm/troupe/gpu/kernel"
	"github.com/troupe-llm/troupe/gpu/kernel/lower"
)

// upload is a step as kernels read it: one block of memory, copied at once.
// Addresses are those of the block on the device.
type upload struct {
	begin kernel.BeginArgs // its inputs; where they go is the device's business
	// How much there is to compute. In a graph all of a kind are the graph's
	// size, padded.
	tokens, decodes, draws, ntiles, nspans int
	replies, replied                       int  // leading rows whose tokens are decode rows, and how many these are
	graph                                  int  // the graph's size; 0: not a graph of a whole pass
	replays                                bool // it has prompts, and is of graphs for its parts
	late                                   int  // draws whose masks come later: none is drawn before
	lists                                  []list
	counts                                 []counts
	// kernel.Copy, of states: before the pass and behind it.
	restores, saves   kernel.Ptr
	nrestores, nsaves int

	scores  int        // tokens to score
	follows kernel.Ptr // i32 [scores]: which of the step's tokens each follows
	targets kernel.Ptr // kernel.Target [scores]
	bytes   int        // used of the block
}

// list is a slot's bias or suppressed tokens, to be copied behind begin's back
// to memory of the slot's own.
type list struct {
	from, to kernel.Ptr
	bytes    int64
}

// counts are tokens to enter into a slot's cleared counts.
type counts struct {
	slot int32
	args kernel.CountArgs
}

// encoder turns steps into uploads. It is owned by the caller of Launch.
type encoder struct {
	info   device.Info
	shape  kernel.Shape
	graphs []int // sizes captured, ascending
	// prompts is the most tokens of steps with prompts that are replayed; 0: none are.
	prompts int
	table   []int32 // what the page table will be, [Slots, stride]
	stride  int
	// asPrompts has decode rows computed as prompts of few tokens: see deterministic.go.
	asPrompts bool
	tiles     []kernel.Tile
	// masks are the step's, each where it lies in the upload: rows that are
	// allowed the same tokens have the same memory.
	masks map[*uint32]kernel.Ptr
	// Of a step with late rows: its draws, and which of them wait for a mask.
	seq   uint64
	draws []kernel.Draw
	late  []int
	// reserve returns memory for a slot's lists, on the device.
	reserve func(slot int32, bytes int64) (kernel.Ptr, error)
	up      upload
}

func newEncoder(info device.Info, s kernel.Shape, graphs []int) *encoder {
	e := &encoder{info: info, shape: s, graphs: graphs, masks: map[*uint32]kernel.Ptr{}, stride: info.PagesPerSlot()}
	e.table = make([]int32, info.Slots*e.stride)
	return e
}

// graphSizes are the decode batches worth capturing, up to most rows: fine
// steps where a step is short, coarser ones where padding costs little.
func graphSizes(most int) []int {
	var sizes []int
	for n := 1; n < most; {
		sizes = append(sizes, n)
		switch {
		case n < 8:
			n *= 2
		case n < 64:
			n += 8
		case n < 256:
			n += 16
		default:
			n += 32
		}
	}
	if most > 0 {
		sizes = append(sizes, most)
	}
	return sizes
}

// graphFor is the smallest captured size that holds n rows; 0: none does.
func graphFor(sizes []int, n int) int {
	if i, _ := slices.BinarySearch(sizes, n); i < len(sizes) {
		return sizes[i]
	}
	return 0
}

// pad makes a step with prompts one of those that are replayed, if they have room
// for it.
func (e *encoder) pad() {
	u := &e.up
	tokens, decodes, draws := lower.AlikeRows(u.tokens), replayedDecodes(u.decodes, e.info.Draws()), graphFor(e.graphs, u.draws)
	if u.replays = tokens <= e.prompts && decodes <= tokens && (draws > 0) == (u.draws > 0); u.replays {
		u.tokens, u.decodes, u.draws = tokens, decodes, draws
	}
}

// replayedDecodes is how many decode rows a graph has that holds n of them.
func replayedDecodes(n, all int) int {
	for _, most := range []int{0, 8, 64} {
		if n <= most && most < all {
			return most
		}
	}
	return all
}

// replies are the leading rows that decode attention takes, and how many tokens they
// have, each a decode row to it: those that decode, with drafts or without. One with a
// token that is neither a draft nor the one before, or with more drafts than decode
// attention knows to be new, is a chunk of a prompt to it.
func replies(s *batch.Step) (rows, tokens int) {
	for rows, tokens = s.NumDecode, s.NumDecode; rows < len(s.Rows); rows++ {
		r := &s.Rows[rows]
		if r.Drafts == 0 || r.Len() != r.Draws() || r.Len() > kernel.NewestTokens {
			break
		}
		tokens += r.Len()
	}
	return rows, tokens
}

// encode writes a step into the block that place returns for so many bytes,
// with its address on the device. The upload is valid until the next call.
func (e *encoder) encode(s *batch.Step, place func(bytes int) ([]byte, kernel.Ptr, error)) (*upload, error) {
	// That rows go on where their slots are is the scheduler's to see to.
	if err := e.info.Check(s); err != nil {
		return nil, err
	}
	u := &e.up
	*u = upload{lists: u.lists[:0], counts: u.counts[:0]}
	u.replies, u.replied = replies(s)
	if u.replies == len(s.Rows) && len(s.Rows) > 0 {
		u.graph = graphFor(e.graphs, u.replied)
	}
	few := u.replies // rows
	if e.asPrompts {
		u.replies, u.replied = 0, 0
	}
	u.tokens, u.decodes = s.NumTokens, u.replied
	token := u.replied
	clear(e.masks)
	for i := range s.Rows {
		r := &s.Rows[i]
		u.scores += len(r.Score)
		if r.Sample {
			u.draws += r.Draws()
			if r.Late {
				u.late++
			}
			for j := range r.Draws() {
				if allow := r.AllowAt(j); allow != nil {
					e.masks[&allow[0]] = 0 // not there yet
				}
			}
		}
	}
	if u.graph > 0 {
		u.tokens, u.draws = u.graph, u.graph
		if u.decodes > 0 {
			u.decodes = u.graph
		}
	} else if u.replies < len(s.Rows) {
		e.pad()
	}
	e.tiles = e.tiles[:0]
	part := 0
	for i := u.replies; i < len(s.Rows); i++ {
		r := &s.Rows[i]
		if i < few || r.Len() == 1 {
			part += e.tokens(r, token, part)
		} else {
			e.tiles = e.shape.AppendTiles(e.tiles, int(r.Slot), token, int(r.Start), r.Len())
		}
		token += r.Len()
	}
	e.shape.SortTiles(e.tiles)
	u.ntiles, u.nspans = len(e.tiles), len(s.Rows)-u.replies

	memory, base, err := place(e.size(s))
	if err != nil {
		return nil, err
	}
	b := &block{memory: memory, base: base}
	if err := e.slots(b, s); err != nil {
		return nil, err
	}
	e.pages(b, s)
	e.seq = s.Seq
	e.rows(b, s)
	e.scores(b, s)
	copy(take[kernel.Tile](b, u.ntiles, &u.begin.Tiles), e.tiles)
	e.spans(b, s)
	e.copies(b, s)
	u.bytes = b.used
	return u, nil
}

// tokens makes of each of a row's tokens a tile of its own, or several that share its
// history, whose sums go to parts from one on, and returns how many parts.
func (e *encoder) tokens(r *batch.Row, token, part int) (taken int) {
	for j := range r.Len() {
		var n int
		e.tiles, n = e.shape.AppendSplits(e.tiles, int(r.Slot), token+j, int(r.Start)+j, part+taken)
		taken += n
	}
	return taken
}

// block hands out its memory from the front, in pieces aligned to 16 bytes.
type block struct {
	memory []byte
	base   kernel.Ptr
	used   int
}

func align(n int) int { return (n + 15) &^ 15 }

func take[T any](b *block, n int, at *kernel.Ptr) []T {
	var t T
	size := n * int(unsafe.Sizeof(t))
	if at != nil {
		*at = b.base.Plus(int64(b.used))
	}
	if n == 0 {
		return nil
	}
	p := unsafe.Pointer(&b.memory[b.used : b.used+size][0])
	b.used += align(size)
	return unsafe.Slice((*T)(p), n)
}

// size is an upper bound of the block's bytes.
func (e *encoder) size(s *batch.Step) int {
	u := &e.up
	n := 32*16 + len(s.Slots)*int(unsafe.Sizeof(kernel.Init{})) + len(s.Pages)*int(unsafe.Sizeof(kernel.Entry{})) +
		12*u.tokens + 8*u.decodes + (int(unsafe.Sizeof(kernel.Draw{}))+4)*u.draws + len(e.tiles)*int(unsafe.Sizeof(kernel.Tile{})) +
		len(s.Rows)*int(unsafe.Sizeof(kernel.Span{})) + (len(s.Restores)+len(s.Saves))*int(unsafe.Sizeof(kernel.Copy{}))
	for i := range s.Slots {
		in := &s.Slots[i]
		n += 4*16 + 8*len(in.Sampling.Bias) + 4*(len(in.Sampling.Suppress)+len(in.Prompt)+len(in.Output))
	}
	if u.scores > 0 {
		n += 4*u.scores + int(unsafe.Sizeof(kernel.Target{}))*u.scores
	}
	return n + len(e.masks)*align(4*e.maskWords())
}

func (e *encoder) maskWords() int { return batch.MaskWords(e.info.Vocab) }

// slots writes the parameters of slots that change hands, and their lists.
func (e *encoder) slots(b *block, s *batch.Step) error {
	u := &e.up
	inits := take[kernel.Init](b, len(s.Slots), &u.begin.Inits)
	u.begin.NInits = int32(len(s.Slots))
	for i := range s.Slots {
		in := &s.Slots[i]
		sampling := &in.Sampling
		p := kernel.Slot{
			Seed: sampling.Seed, SuppressBelow: sampling.SuppressBelow,
			Temperature: sampling.Temperature, TopP: sampling.TopP, MinP: sampling.MinP, TopK: sampling.TopK,
			Presence: sampling.Presence, Frequency: sampling.Frequency, Repetition: sampling.Repetition, Logprobs: sampling.Logprobs,
		}
		if bytes := int64(align(8*len(sampling.Bias)) + align(4*len(sampling.Suppress))); bytes > 0 {
			to, err := e.reserve(in.Slot, bytes)
			if err != nil {
				return err
			}
			var from kernel.Ptr
			bias := take[kernel.Bias](b, len(sampling.Bias), &from)
			for j, t := range sampling.Bias {
				bias[j] = kernel.Bias{Token: t.Token, Bias: t.Bias}
			}
			copy(take[int32](b, len(sampling.Suppress), nil), sampling.Suppress)
			u.lists = append(u.lists, list{from, to, bytes})
			p.Bias, p.Biases = to, int32(len(sampling.Bias))
			p.Suppress, p.Suppressed = to.Plus(int64(align(8*len(sampling.Bias)))), int32(len(sampling.Suppress))
		}
		if sampling.Penalized() {
			p.Penalized = 1
			c := counts{slot: in.Slot, args: kernel.CountArgs{Prompts: int32(len(in.Prompt)), Outputs: int32(len(in.Output))}}
			copy(take[int32](b, len(in.Prompt), &c.args.Prompt), in.Prompt)
			copy(take[int32](b, len(in.Output), &c.args.Output), in.Output)
			u.counts = append(u.counts, c)
		}
		inits[i] = kernel.Init{Words: p, Slot: in.Slot}
	}
	return nil
}

// pages writes page-table entries. Kernels write them in any order, so entries
// for one place all carry the last one's page.
func (e *encoder) pages(b *block, s *batch.Step) {
	entries := take[kernel.Entry](b, len(s.Pages), &e.up.begin.Pages)
	e.up.begin.NPages = int32(len(s.Pages))
	for _, p := range s.Pages {
		e.table[int(p.Slot)*e.stride+int(p.Index)] = p.Page
	}
	for i, p := range s.Pages {
		entries[i] = kernel.Entry{Slot: p.Slot, Index: p.Index, Page: e.table[int(p.Slot)*e.stride+int(p.Index)]}
	}
}

// rows writes what is computed, token by token and row by row.
func (e *encoder) rows(b *block, s *batch.Step) {
	u := &e.up
	a := &u.begin
	a.NTokens, a.NRows, a.NDraws, a.TableStride = int32(u.tokens), int32(u.decodes), int32(u.draws), int32(e.stride)
	a.NTiles, a.NSpans = int32(u.ntiles), int32(u.nspans)
	ids, positions, slots := take[int32](b, u.tokens, &a.Tokens), take[int32](b, u.tokens, &a.Positions), take[int32](b, u.tokens, &a.Slots)
	rowSlots, rowLens := take[int32](b, u.decodes, &a.RowSlots), take[int32](b, u.decodes, &a.RowLens)
	draws, drawTokens := take[kernel.Draw](b, u.draws, &a.Draws), take[int32](b, u.draws, &a.DrawTokens)
	t, d, place := 0, 0, int32(0)
	e.late = e.late[:0]
	for i := range s.Rows {
		r := &s.Rows[i]
		n := r.Len()
		if r.Tokens == nil {
			ids[t] = -1
		}
		copy(ids[t:], r.Tokens)
		for j := range n {
			positions[t+j], slots[t+j] = r.Start+int32(j), r.Slot
			if i < u.replies {
				rowSlots[t+j], rowLens[t+j] = r.Slot, r.Start+int32(j)+1
			}
		}
		t += n
		switch {
		case r.Sample:
			if r.Late {
				e.late = append(e.late, d)
			}
			for j := range r.Draws() {
				drawTokens[d] = int32(t - r.Draws() + j)
				draws[d] = e.drawOf(b, r, place, j)
				d++
			}
		case u.graph > 0: // which has one for every token
			draws[d], drawTokens[d] = kernel.Draw{Row: -1}, int32(t-1)
			d++
		}
		place += int32(r.Draws())
	}
	if u.late > 0 {
		e.draws = append(e.draws[:0], draws[:d]...)
	}
	for ; t < u.tokens; t++ {
		ids[t], positions[t], slots[t] = 0, 0, -1
	}
	for i := u.replied; i < u.decodes; i++ {
		rowSlots[i], rowLens[i] = 0, 0
	}
	for ; d < u.draws; d++ {
		draws[d], drawTokens[d] = kernel.Draw{Row: -1}, 0
	}
}

// drawOf is a row's draw j, whose tokens begin in the result at a place.
func (e *encoder) drawOf(b *block, r *batch.Row, place int32, j int) kernel.Draw {
	d := kernel.Draw{Row: place + int32(j), Slot: r.Slot, Position: r.Start + int32(r.Len()-r.Draws()+j+1), Ahead: int16(j), Drafts: int16(r.Drafts)}
	if allow := r.AllowAt(j); allow != nil {
		d.Allow = e.mask(b, allow)
	}
	return d
}

// mask returns where a mask lies in the upload, which has each of them once: it
// is 19 KB of a vocabulary of 151,936, and requests in one format often share it.
func (e *encoder) mask(b *block, allow []uint32) kernel.Ptr {
	at := e.masks[&allow[0]]
	if at == 0 {
		copy(take[uint32](b, e.maskWords(), &at), allow)
		e.masks[&allow[0]] = at
	}
	return at
}

// lateMasks writes the draws of the step encoded last, now that their masks are
// known, and those masks, into a block as encode does. Padding is left out.
func (e *encoder) lateMasks(m *batch.Masks, place func(bytes int) ([]byte, kernel.Ptr, error)) (draws kernel.Ptr, n, bytes int, err error) {
	if err := m.Check(e.seq, len(e.late), e.info.Vocab); err != nil {
		return 0, 0, 0, err
	}
	fresh := 0
	for _, allow := range m.Allow {
		if allow == nil {
			continue
		}
		if _, there := e.masks[&allow[0]]; !there { // nor among those that came with the step
			e.masks[&allow[0]] = 0
			fresh++
		}
	}
	n = len(e.draws)
	memory, base, err := place(align(n*int(unsafe.Sizeof(kernel.Draw{}))) + fresh*align(4*e.maskWords()))
	if err != nil {
		return 0, 0, 0, err
	}
	b := &block{memory: memory, base: base}
	for i, allow := range m.Allow {
		if allow != nil {
			e.draws[e.late[i]].Allow = e.mask(b, allow)
		}
	}
	copy(take[kernel.Draw](b, n, &draws), e.draws)
	e.late = e.late[:0]
	return draws, n, b.used, nil
}

// spans writes whose tokens those behind the decode rows are.
func (e *encoder) spans(b *block, s *batch.Step) {
	spans := take[kernel.Span](b, e.up.nspans, &e.up.begin.Spans)
	first := e.up.replied
	for i := range spans {
		r := &s.Rows[e.up.replies+i]
		spans[i] = kernel.Span{First: int32(first), Count: int32(r.Len()), Slot: r.Slot, Start: r.Start}
		first += r.Len()
	}
}

// copies writes which states go where: snapshots lie behind the slots.
func (e *encoder) copies(b *block, s *batch.Step) {
	u := &e.up
	u.nrestores, u.nsaves = len(s.Restores), len(s.Saves)
	restores, saves := take[kernel.Copy](b, u.nrestores, &u.restores), take[kernel.Copy](b, u.nsaves, &u.saves)
	snapshot := func(c batch.StateCopy) int32 { return int32(e.info.Slots) + c.Snapshot }
	for i, c := range s.Restores {
		restores[i] = kernel.Copy{From: snapshot(c), To: c.Slot}
	}
	for i, c := range s.Saves {
		saves[i] = kernel.Copy{From: c.Slot, To: snapshot(c)}
	}
}

// scores writes which tokens are to be scored, in the order of their results.
func (e *encoder) scores(b *block, s *batch.Step) {
	u := &e.up
	if u.scores == 0 {
		return
	}
	follows, targets := take[int32](b, u.scores, &u.follows), take[kernel.Target](b, u.scores, &u.targets)
	first, n := 0, 0
	for i := range s.Rows {
		r := &s.Rows[i]
		for j, t := range r.Score {
			follows[n], targets[n] = int32(first+j), kernel.Target{Token: t, Slot: r.Slot}
			n++
		}
		first += r.Len()
	}
}
