package plan

import (
	"fmt"
	"slices"

	"github.com/troupe-llm/troupe/gpu/batch"
)

// mix is one step of the hash that stands for a model: what a position's keys
// and values hold is the hash of all tokens up to it. None is 0, which stands for
// what was never computed.
func mix(h uint64, token int32) uint64 {
	h = (h ^ uint64(uint32(token)) ^ 0x9e3779b97f4a7c15) * 0xff51afd7ed558ccd
	return h ^ h>>29
}

// draw is the token a model with this state would draw.
func draw(h, seed uint64, vocab int) int32 {
	h = mix(h, int32(seed))
	return int32((h >> 11) % uint64(vocab))
}

// machine is a device that keeps hashes for keys and values, and refuses
// whatever a real one would compute garbage from. It is told what every
// request's history must be, so it sees at once when a page holds another's.
type machine struct {
	size, vocab int
	window      int       // what a token sees; 0: all
	kv          []uint64  // [page][size]
	wrote       []mark    // [page]: by the step being checked
	table       [][]int32 // [slot][index]; −1: never entered
	stateful    bool
	states      []uint64 // [slot]: after the tokens it computed; 1: none
	saved       []uint64 // [snapshot]; 0: never
	seats       []*guest
	guests      map[uint64]*guest // by seed
	out         []launched        // outstanding, oldest first
	seq         uint64
	budget      int
	draws       int // that a step may have; 0: any number
	steps       int
	lateRows    uint64
	right       uint64 // drafts that were accepted
	wrong       uint64 // rows with one that did not
	spare       []launched
}

// guest is a request as the machine knows it.
type guest struct {
	seed  uint64
	want  []int32  // prompt, output and nothing else: what an uninterrupted run gives
	chain []uint64 // chain[i] is the state after want[:i+1]
	last  int32
	n     int // length of the prompt
	// repeats is after how many tokens its text repeats itself, most of the time; 0: never.
	repeats int
}

// mark says which slot did something to a page in which step; −1: several.
type mark struct {
	step uint64
	slot int32
}

type launched struct {
	res  batch.Result
	uses []mark // [page] its rows read or write
	late []late // rows that wait for their masks
}

// late is a row whose token is drawn when its mask is there.
type late struct {
	at, end int // its place in the result; the position of the token
	guest   *guest
}

func newMachine(c *Config, vocab int) *machine {
	m := &machine{size: c.PageSize, vocab: vocab, budget: c.StepTokens, draws: c.Draws, guests: map[uint64]*guest{}}
	m.kv = make([]uint64, c.NumPages*c.PageSize)
	m.wrote = make([]mark, c.NumPages)
	m.table = make([][]int32, c.Slots)
	m.seats = make([]*guest, c.Slots)
	m.window = c.Window
	m.stateful, m.states, m.saved = c.States, make([]uint64, c.Slots), make([]uint64, c.Snapshots)
	m.lose()
	return m
}

// lose is a device error: all memory and everything outstanding is gone.
func (m *machine) lose() {
	clear(m.kv)
	clear(m.states)
	clear(m.saved)
	for i := range m.table {
		m.table[i] = m.table[i][:0]
	}
	clear(m.seats)
	for len(m.out) > 0 {
		m.drop()
	}
}

// invite computes what a request must come to, the dumb way: alone, at once.
func (m *machine) invite(r *Request, limit int, stops []int32) *guest {
	g := &guest{seed: r.Sampling.Seed, n: len(r.Prompt)}
	if g.seed%3 == 0 {
		g.repeats = 1 + int(g.seed)%6
	}
	h := uint64(1)
	for _, t := range r.Prompt {
		h = mix(h, t)
		g.want, g.chain = append(g.want, t), append(g.chain, h)
	}
	for len(g.want) < limit {
		var allow []uint32
		if r.Constraint != nil {
			allow = r.Constraint.Allow(g.want[g.n:])
		}
		var not []int32
		if len(g.want) < int(r.Sampling.SuppressBelow) {
			not = r.Sampling.Suppress
		}
		from := h
		if g.repeats > 0 && h%8 != 0 { // as a period before, but for some
			from = uint64(len(g.want) % g.repeats)
		}
		t := pick(from, g.seed, m.vocab, allow, not)
		h = mix(h, t)
		g.want, g.chain = append(g.want, t), append(g.chain, h)
		if slices.Contains(stops, t) && len(g.want)-g.n >= r.MinTokens {
			break
		}
	}
	m.guests[g.seed] = g
	return g
}

// pick draws a token: the first at or after the drawn one that may be.
func pick(h, seed uint64, vocab int, allow []uint32, not []int32) int32 {
	t := draw(h, seed, vocab)
	for (allow != nil && allow[t/32]>>(t%32)&1 == 0) || slices.Contains(not, t) {
		t = (t + 1) % int32(vocab)
	}
	return t
}

func (m *machine) launch(s *batch.Step) error {
	if s.Seq <= m.seq {
		return fmt.Errorf("step %d after %d", s.Seq, m.seq)
	}
	if n := len(m.out); n > 0 && len(m.out[n-1].late) > 0 {
		return fmt.Errorf("step %d launched before step %d was given its masks", s.Seq, m.seq)
	}
	m.seq = s.Seq
	m.steps++
	for _, in := range s.Slots {
		g := m.guests[in.Sampling.Seed]
		if g == nil {
			return fmt.Errorf("slot %d given to an unknown request", in.Slot)
		}
		g.last = batch.NoToken
		m.seats[in.Slot] = g
	}
	for _, e := range s.Pages {
		t := &m.table[e.Slot]
		for int(e.Index) >= len(*t) {
			*t = append(*t, -1)
		}
		if (*t)[e.Index] == e.Page {
			return fmt.Errorf("page %d of slot %d sent again", e.Index, e.Slot)
		}
		(*t)[e.Index] = e.Page
	}
	l := m.blank()
	l.res.Seq = s.Seq
	tokens := 0
	var seen uint64
	for _, c := range s.Restores {
		if m.states[c.Slot] = m.saved[c.Snapshot]; m.saved[c.Snapshot] == 0 {
			return fmt.Errorf("snapshot %d is restored and was never saved", c.Snapshot)
		}
	}
	for i := range s.Rows {
		row := &s.Rows[i]
		if seen>>row.Slot&1 == 1 {
			return fmt.Errorf("two rows of slot %d", row.Slot)
		}
		seen |= 1 << row.Slot
		if (row.Tokens == nil) != (i < s.NumDecode) {
			return fmt.Errorf("row %d is misplaced among %d decodes", i, s.NumDecode)
		}
		if row.Drafts > 0 && i >= s.Replies() {
			return fmt.Errorf("row %d, with drafts, is misplaced among prompts", i)
		}
		tokens += row.Len()
		at := len(l.res.Tokens)
		for range row.Draws() {
			l.res.Tokens = append(l.res.Tokens, batch.NoToken)
		}
		if most := m.draws; most > 0 && len(l.res.Tokens) > most {
			return fmt.Errorf("row %d makes it %d draws, of which a step may have %d", i, len(l.res.Tokens), most)
		}
		if err := m.row(at, row, &l); err != nil {
			return fmt.Errorf("step %d, row %d: %w", s.Seq, i, err)
		}
	}
	saves := map[int32]bool{}
	for _, c := range s.Saves {
		if seen>>c.Slot&1 == 0 || saves[c.Snapshot] {
			return fmt.Errorf("snapshot %d is saved twice, or of slot %d, which has no row", c.Snapshot, c.Slot)
		}
		saves[c.Snapshot] = true
		m.saved[c.Snapshot] = m.states[c.Slot]
	}
	for i := range s.Rows { // no row reads what another writes
		row := &s.Rows[i]
		for p := m.low(row.Start) / int32(m.size) * int32(m.size); p < row.Start; p += int32(m.size) {
			page := m.table[row.Slot][p/int32(m.size)]
			if w := m.wrote[page]; w.step == s.Seq && w.slot != row.Slot {
				return fmt.Errorf("slot %d reads page %d, which slot %d writes in the same step", row.Slot, page, w.slot)
			}
		}
	}
	if tokens != s.NumTokens || tokens > m.budget || tokens == 0 {
		return fmt.Errorf("step of %d tokens, said to be %d, budget %d", tokens, s.NumTokens, m.budget)
	}
	m.out = append(m.out, l)
	return nil
}

// row computes a row, and draws its tokens to the places of the result from at on.
func (m *machine) row(at int, row *batch.Row, l *launched) error {
	g := m.seats[row.Slot]
	if g == nil {
		return fmt.Errorf("slot %d was never given", row.Slot)
	}
	tokens := row.Tokens
	if tokens == nil {
		if g.last == batch.NoToken {
			return fmt.Errorf("slot %d has drawn no token yet", row.Slot)
		}
		tokens = []int32{g.last}
	}
	size, start := int32(m.size), row.Start
	page := func(p int32) (int32, error) {
		t := m.table[row.Slot]
		if int(p/size) >= len(t) || t[p/size] < 0 {
			return 0, fmt.Errorf("slot %d has no page for position %d", row.Slot, p)
		}
		return t[p/size], nil
	}
	use := func(id int32) {
		u := &l.uses[id]
		if u.step == m.seq && u.slot != row.Slot {
			u.slot = -1
		} else {
			*u = mark{m.seq, row.Slot}
		}
	}
	for p := m.low(start); p < start; p++ {
		if p%size != size-1 && p != start-1 {
			continue // a state covers all positions before it
		}
		id, err := page(p)
		if err != nil {
			return err
		}
		use(id)
		if int(p) >= len(g.chain) || m.kv[id*size+p%size] != g.chain[p] {
			return fmt.Errorf("slot %d, request %d: position %d in page %d holds something else", row.Slot, g.seed, p, id)
		}
	}
	state := &m.states[row.Slot]
	if start == 0 {
		*state = 1
	} else if m.stateful && *state != g.chain[start-1] {
		return fmt.Errorf("slot %d, request %d: its state is not that at position %d", row.Slot, g.seed, start)
	}
	hash := uint64(1)
	if start > 0 {
		hash = g.chain[start-1]
	}
	for i, t := range tokens {
		*state = mix(*state, t)
		hash = mix(hash, t)
		p := start + int32(i)
		draft := i >= len(tokens)-int(row.Drafts)
		if !draft && (int(p) >= len(g.want) || g.want[p] != t) {
			return fmt.Errorf("slot %d, request %d: token %d at position %d is not its own", row.Slot, g.seed, t, p)
		}
		id, err := page(p)
		if err != nil {
			return err
		}
		if w := m.wrote[id]; w.step == m.seq && w.slot != row.Slot {
			return fmt.Errorf("page %d is written by slots %d and %d", id, w.slot, row.Slot)
		}
		m.wrote[id] = mark{m.seq, row.Slot}
		for i := range m.out {
			if u := m.out[i].uses[id]; u.step == m.out[i].res.Seq && u.slot != row.Slot {
				return fmt.Errorf("page %d, written by slot %d, is in use by slot %d in step %d", id, row.Slot, u.slot, u.step)
			}
		}
		use(id)
		m.kv[id*size+p%size] = hash
	}
	if len(row.Score) > len(tokens) {
		return fmt.Errorf("slot %d: %d tokens to score in a row of %d", row.Slot, len(row.Score), len(tokens))
	}
	for i, t := range row.Score {
		p := int(start) + i + 1
		if p >= g.n || g.want[p] != t {
			return fmt.Errorf("slot %d, request %d: token %d to score at position %d is not its prompt's", row.Slot, g.seed, t, p)
		}
		l.res.Scores = append(l.res.Scores, batch.Logprob{Token: float32(p)})
	}
	if !row.Sample {
		return nil
	}
	end := int(start) + len(tokens)
	if row.Late {
		g.last = batch.NoToken
		l.late = append(l.late, late{at, end, g})
		m.lateRows++
		return nil
	}
	return m.drawRow(g, end-int(row.Drafts), row, l.res.Tokens[at:][:row.Draws()])
}

// drawRow draws a row's tokens, the first of which is at a position: one, and the next
// as long as they were drafted.
func (m *machine) drawRow(g *guest, first int, row *batch.Row, to []int32) (err error) {
	drafts := row.Tokens[len(row.Tokens)-int(row.Drafts):]
	if row.Drafts > 0 && len(m.out) > 0 {
		return fmt.Errorf("request %d: drafts while a step is outstanding", g.seed)
	}
	for i := range to {
		if to[i], err = m.draw(g, first+i, row.AllowAt(i)); err != nil || i == len(drafts) {
			return err
		}
		if allow := row.AllowAt(i); allow != nil && allow[drafts[i]/32]>>(drafts[i]%32)&1 == 0 {
			return fmt.Errorf("request %d: %d is drafted, which is not allowed", g.seed, drafts[i])
		}
		if to[i] != drafts[i] {
			m.wrong++
			return nil
		}
		m.right++
		if first+i+1 >= len(g.want) { // it ends with that: what follows is of no interest
			return nil
		}
	}
	return nil
}

// low is the first position that the token at another sees.
func (m *machine) low(position int32) int32 {
	if m.window == 0 {
		return 0
	}
	return max(0, position+1-int32(m.window))
}

// draw draws the token of a position.
func (m *machine) draw(g *guest, end int, allow []uint32) (int32, error) {
	if end < len(g.want) && m.guests[g.seed] == g {
		g.last = g.want[end]
	} else { // computed once too often
		g.last = pick(g.chain[end-1], g.seed, m.vocab, allow, nil)
	}
	if allow != nil && allow[g.last/32]>>(g.last%32)&1 == 0 {
		return 0, fmt.Errorf("request %d: token %d is not allowed", g.seed, g.last)
	}
	return g.last, nil
}

// mask draws the tokens of the last step's late rows.
func (m *machine) mask(masks *batch.Masks) error {
	l := &m.out[len(m.out)-1]
	if err := masks.Check(l.res.Seq, len(l.late), m.vocab); err != nil {
		return err
	}
	for i, r := range l.late {
		if over := m.guests[r.guest.seed] != r.guest; over != (masks.Allow[i] == nil) {
			return fmt.Errorf("request %d: over %v, its mask is %v", r.guest.seed, over, masks.Allow[i])
		}
		t, err := m.draw(r.guest, r.end, masks.Allow[i])
		if err != nil {
			return fmt.Errorf("step %d, place %d: %w", l.res.Seq, r.at, err)
		}
		l.res.Tokens[r.at] = t
	}
	l.late = l.late[:0]
	return nil
}

// wait returns the oldest outstanding result, valid until the next wait.
func (m *machine) wait() *batch.Result {
	if len(m.out[0].late) > 0 {
		panic(fmt.Sprintf("step %d is waited for and has not been given its masks", m.out[0].res.Seq))
	}
	m.drop()
	return &m.spare[len(m.spare)-1].res
}

func (m *machine) drop() {
	m.spare = append(m.spare, m.out[0])
	m.out = append(m.out[:0], m.out[1:]...)
}

// blank is a launched step to fill in; the one last waited for is left alone.
func (m *machine) blank() launched {
	if len(m.spare) < 2 {
		return launched{uses: make([]mark, len(m.wrote))}
	}
	l := m.spare[0]
	m.spare = append(m.spare[:0], m.spare[1:]...)
	l.res.Reset()
	l.late = l.late[:0]
	return l
}
