package device

import (
	"errors"
	"fmt"

	"github.com/troupe-llm/troupe/gpu/batch"
)

// Check refuses a step that is at odds with itself or goes beyond the device's
// sizes, whatever was launched before; a Checker knows that, too.
func (i *Info) Check(s *batch.Step) error {
	for k := range s.Slots {
		if err := i.checkSlot(&s.Slots[k]); err != nil {
			return fmt.Errorf("slot init %d: %w", k, err)
		}
	}
	for k, p := range s.Pages {
		if err := i.checkPage(p); err != nil {
			return fmt.Errorf("page entry %d (slot %d): %w", k, p.Slot, err)
		}
	}
	for _, list := range [][]batch.StateCopy{s.Restores, s.Saves} {
		for _, c := range list {
			if err := i.checkCopy(c); err != nil {
				return fmt.Errorf("state of slot %d: %w", c.Slot, err)
			}
		}
	}
	if s.NumDecode < 0 || s.NumDecode > len(s.Rows) {
		return fmt.Errorf("NumDecode is %d, with %d rows", s.NumDecode, len(s.Rows))
	}
	if len(s.Rows) > i.Slots {
		return fmt.Errorf("%d rows; the device has %d slots", len(s.Rows), i.Slots)
	}
	tokens, draws := 0, 0
	for k := range s.Rows {
		r := &s.Rows[k]
		if err := i.checkRow(r, k < s.NumDecode); err != nil {
			return fmt.Errorf("row %d (slot %d): %w", k, r.Slot, err)
		}
		tokens += r.Len()
		draws += r.Draws()
	}
	if tokens != s.NumTokens {
		return fmt.Errorf("NumTokens is %d, its rows have %d", s.NumTokens, tokens)
	}
	if tokens > i.MaxStepTokens {
		return fmt.Errorf("%d tokens; a step may have %d", tokens, i.MaxStepTokens)
	}
	if draws > i.Draws() {
		return fmt.Errorf("%d draws of %d rows; a step may have %d", draws, len(s.Rows), i.Draws())
	}
	return nil
}

func (i *Info) hasSlot(slot int32) error {
	if slot < 0 || int(slot) >= i.Slots {
		return fmt.Errorf("slot %d; the device has %d", slot, i.Slots)
	}
	return nil
}

func (i *Info) hasTokens(lists ...[]int32) error {
	for _, list := range lists {
		for _, t := range list {
			if t < 0 || int(t) >= i.Vocab {
				return fmt.Errorf("token %d; the vocabulary has %d", t, i.Vocab)
			}
		}
	}
	return nil
}

func (i *Info) checkSlot(in *batch.SlotInit) error {
	if err := i.hasSlot(in.Slot); err != nil {
		return err
	}
	for _, b := range in.Sampling.Bias {
		if err := i.hasTokens([]int32{b.Token}); err != nil {
			return err
		}
	}
	return i.hasTokens(in.Prompt, in.Output, in.Sampling.Suppress)
}

func (i *Info) checkPage(e batch.PageEntry) error {
	if err := i.hasSlot(e.Slot); err != nil {
		return err
	}
	if most := i.PagesPerSlot(); e.Index < 0 || int(e.Index) >= most {
		return fmt.Errorf("index %d; a slot has %d pages for %d tokens", e.Index, most, i.MaxSeqLen)
	}
	if e.Page < 0 || int(e.Page) >= i.NumPages {
		return fmt.Errorf("page %d; the device has %d", e.Page, i.NumPages)
	}
	return nil
}

func (i *Info) checkCopy(c batch.StateCopy) error {
	if c.Snapshot < 0 || int(c.Snapshot) >= i.Snapshots {
		return fmt.Errorf("snapshot %d; the device has %d", c.Snapshot, i.Snapshots)
	}
	return i.hasSlot(c.Slot)
}

func (i *Info) checkRow(r *batch.Row, decode bool) error {
	if err := i.hasSlot(r.Slot); err != nil {
		return err
	}
	end, words := int(r.Start)+r.Len(), batch.MaskWords(i.Vocab)
	switch {
	case decode != (r.Tokens == nil):
		return errors.New("decode rows have nil tokens and come first; NumDecode puts this one among the others")
	case r.Len() == 0:
		return errors.New("a prefill row without tokens")
	case r.Start < 0:
		return fmt.Errorf("start %d is negative", r.Start)
	case end > i.MaxSeqLen:
		return fmt.Errorf("positions %d to %d; a sequence may have %d tokens", r.Start, end, i.MaxSeqLen)
	case len(r.Score) > len(r.Tokens):
		return fmt.Errorf("%d tokens to score; the row has %d", len(r.Score), len(r.Tokens))
	case len(r.Score) > 0 && !i.Scores:
		return fmt.Errorf("%d tokens to score; the device scores none", len(r.Score))
	case r.Drafts != 0:
		if err := i.checkDrafts(r); err != nil {
			return err
		}
	case r.AllowNext != nil:
		return fmt.Errorf("%d masks for what follows drafts; the row has none", len(*r.AllowNext))
	}
	switch {
	case r.Allow != nil && len(r.Allow) < words:
		return fmt.Errorf("allow has %d words; the vocabulary needs %d", len(r.Allow), words)
	case r.Late && (!r.Sample || r.Allow != nil):
		return errors.New("late, but the row draws nothing or has its mask already")
	}
	return i.hasTokens(r.Tokens, r.Score)
}

func (i *Info) checkDrafts(r *batch.Row) error {
	switch {
	case i.MaxDraws == 0:
		return fmt.Errorf("%d drafts; the device takes none", r.Drafts)
	case r.Drafts < 0 || int(r.Drafts) >= len(r.Tokens):
		return fmt.Errorf("%d drafts; the row has %d tokens, of which at least one is none", r.Drafts, len(r.Tokens))
	case !r.Sample || r.Late || len(r.Score) > 0:
		return errors.New("drafts, but the row draws nothing, waits for its mask or has tokens to score")
	case r.AllowNext != nil && len(*r.AllowNext) != int(r.Drafts):
		return fmt.Errorf("%d masks for what follows %d drafts", len(*r.AllowNext), r.Drafts)
	}
	if r.AllowNext == nil {
		return nil
	}
	words := batch.MaskWords(i.Vocab)
	for k, allow := range *r.AllowNext {
		if allow != nil && len(allow) < words {
			return fmt.Errorf("allow behind draft %d has %d words; the vocabulary needs %d", k, len(allow), words)
		}
	}
	return nil
}

// Checker knows what every slot will hold when all launched steps are done, and
// refuses a step that does not go on from there. It is owned by the caller of
// Launch.
type Checker struct {
	info  Info
	slots []seat
	steps int // admitted
	// snapshots are those of states: after how many tokens each was saved, and by
	// which step; 0: by none.
	snapshots []snapshot
}

type snapshot struct {
	length int32
	step   int
}

// seat is what a slot holds once everything launched has run.
type seat struct {
	given  bool  // to a request
	fresh  bool  // no row yet: the first may start behind a cached prefix
	drawn  bool  // the last row drew a token
	length int32 // tokens whose keys and values are in its pages
	// drafts are those of its last row: so many of the last tokens may not be there.
	drafts int32
	step   int   // the last that had a row of it
	state  int32 // tokens its states are of: those of a snapshot, until it has a row
	// pages is the slot's row of the page table, noPage where nothing was
	// entered, up to the last entered.
	pages   []int32
	entered int // leading pages that were
}

const noPage = -1

// NewChecker is of a device that was just opened.
func NewChecker(info Info) *Checker {
	return &Checker{info: info, slots: make([]seat, info.Slots), snapshots: make([]snapshot, info.Snapshots)}
}

// Admit checks a step and takes note of what it will do. After an error the
// notes are worth nothing: the device is condemned.
func (c *Checker) Admit(s *batch.Step) error {
	if err := c.info.Check(s); err != nil {
		return err
	}
	c.steps++
	for i := range s.Slots {
		at := &c.slots[s.Slots[i].Slot]
		*at = seat{given: true, fresh: true, pages: at.pages, entered: at.entered}
	}
	for _, p := range s.Pages {
		c.slots[p.Slot].enter(p)
	}
	for _, r := range s.Restores {
		at := c.snapshots[r.Snapshot]
		if at.step == 0 {
			return fmt.Errorf("slot %d is to have the states of snapshot %d, which was never saved", r.Slot, r.Snapshot)
		}
		c.slots[r.Slot].state = at.length
	}
	for i := range s.Rows {
		if err := c.row(&s.Rows[i]); err != nil {
			return fmt.Errorf("row %d (slot %d): %w", i, s.Rows[i].Slot, err)
		}
	}
	for _, copies := range s.Restores {
		if c.slots[copies.Slot].step != c.steps {
			return fmt.Errorf("slot %d is to have the states of snapshot %d, but has no row", copies.Slot, copies.Snapshot)
		}
	}
	return c.save(s.Saves)
}

func (c *Checker) save(list []batch.StateCopy) error {
	for _, k := range list {
		from, to := &c.slots[k.Slot], &c.snapshots[k.Snapshot]
		switch {
		case from.step != c.steps:
			return fmt.Errorf("slot %d is to be saved, but has no row", k.Slot)
		case to.step == c.steps:
			return fmt.Errorf("snapshot %d is saved twice", k.Snapshot)
		}
		*to = snapshot{from.length, c.steps}
	}
	return nil
}

// Page is the page table's entry of that index for a slot, which a row of an
// admitted step needs.
func (c *Checker) Page(slot, index int32) int32 { return c.slots[slot].pages[index] }

func (s *seat) enter(p batch.PageEntry) {
	for int(p.Index) >= len(s.pages) {
		s.pages = append(s.pages, noPage)
	}
	s.pages[p.Index] = p.Page
	for s.entered < len(s.pages) && s.pages[s.entered] != noPage {
		s.entered++
	}
}

func (c *Checker) row(r *batch.Row) error {
	s, end := &c.slots[r.Slot], int(r.Start)+r.Len()
	switch {
	case !s.given:
		return errors.New("the slot was never given to a request")
	case s.step == c.steps:
		return errors.New("the slot has a row in this step already")
	case r.Tokens == nil && !s.drawn:
		return errors.New("decode, but the slot's last row drew no token")
	case !s.fresh && s.drafts > 0 && (r.Start > s.length || r.Start < s.length-s.drafts):
		return fmt.Errorf("start %d; the slot holds %d to %d tokens", r.Start, s.length-s.drafts, s.length)
	case !s.fresh && s.drafts == 0 && r.Start != s.length:
		return fmt.Errorf("start %d; the slot holds %d tokens", r.Start, s.length)
	case c.info.StateBytes > 0 && r.Start != s.state:
		return fmt.Errorf("start %d; the slot's states are those after %d tokens", r.Start, s.state)
	case c.info.pages(end) > s.entered:
		return fmt.Errorf("positions %d to %d need page %d of the slot, which was never entered", r.Start, end, s.entered)
	}
	s.fresh, s.drawn, s.length, s.state, s.step, s.drafts = false, r.Sample, int32(end), int32(end), c.steps, r.Drafts
	return nil
}
