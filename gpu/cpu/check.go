package cpu

import (
	"fmt"

	"github.com/troupe-llm/troupe/gpu/batch"
	"github.com/troupe-llm/troupe/gpu/device"
)

// checker knows what every slot will hold when all launched steps are done,
// and refuses a step that does not fit. It is owned by the caller of Launch.
type checker struct {
	info  *device.Info
	slots []seat
	// table[slot·pagesPerSlot + index] is a page, or noPage.
	table        []int32
	pagesPerSlot int
	// rows marks the slots that have a row in the step being checked.
	rows []uint64
	turn uint64
}

// seat is what a slot holds once everything launched has run.
type seat struct {
	given  bool  // to a request
	fresh  bool  // no row yet: the first may start behind a cached prefix
	length int32 // tokens whose keys and values are in its pages
	drawn  bool  // the last row drew a token
}

const noPage = -1

func newChecker(info *device.Info) checker {
	per := pagesPerSlot(info)
	c := checker{
		info:         info,
		slots:        make([]seat, info.Slots),
		table:        make([]int32, info.Slots*per),
		pagesPerSlot: per,
		rows:         make([]uint64, info.Slots),
	}
	for i := range c.table {
		c.table[i] = noPage
	}
	return c
}

func pagesPerSlot(info *device.Info) int {
	return (info.MaxSeqLen + info.PageSize - 1) / info.PageSize
}

// admit checks a step and takes note of what it will do. After an error the
// notes are worth nothing: the device is condemned.
func (c *checker) admit(s *batch.Step) error {
	c.turn++
	for i := range s.Slots {
		if err := c.slot(&s.Slots[i]); err != nil {
			return fmt.Errorf("slot init %d: %w", i, err)
		}
	}
	for i := range s.Pages {
		if err := c.page(&s.Pages[i]); err != nil {
			return fmt.Errorf("page entry %d: %w", i, err)
		}
	}
	if s.NumDecode < 0 || s.NumDecode > len(s.Rows) {
		return fmt.Errorf("NumDecode is %d, with %d rows", s.NumDecode, len(s.Rows))
	}
	tokens := 0
	for i := range s.Rows {
		r := &s.Rows[i]
		if err := c.row(r, i < s.NumDecode); err != nil {
			return fmt.Errorf("row %d (slot %d): %w", i, r.Slot, err)
		}
		tokens += r.Len()
	}
	if tokens != s.NumTokens {
		return fmt.Errorf("NumTokens is %d, its rows have %d", s.NumTokens, tokens)
	}
	if tokens > c.info.MaxStepTokens {
		return fmt.Errorf("%d tokens; a step may have %d", tokens, c.info.MaxStepTokens)
	}
	return nil
}

func (c *checker) inRange(slot int32) error {
	if slot < 0 || int(slot) >= c.info.Slots {
		return fmt.Errorf("slot %d; the device has %d", slot, c.info.Slots)
	}
	return nil
}

func (c *checker) slot(in *batch.SlotInit) error {
	if err := c.inRange(in.Slot); err != nil {
		return err
	}
	for _, list := range [][]int32{in.Prompt, in.Output, in.Sampling.Suppress} {
		for _, t := range list {
			if err := c.token(t); err != nil {
				return err
			}
		}
	}
	for _, b := range in.Sampling.Bias {
		if err := c.token(b.Token); err != nil {
			return err
		}
	}
	c.slots[in.Slot] = seat{given: true, fresh: true}
	return nil
}

func (c *checker) token(t int32) error {
	if t < 0 || int(t) >= c.info.Vocab {
		return fmt.Errorf("token %d; the vocabulary has %d", t, c.info.Vocab)
	}
	return nil
}

func (c *checker) page(e *batch.PageEntry) error {
	if err := c.inRange(e.Slot); err != nil {
		return err
	}
	if e.Index < 0 || int(e.Index) >= c.pagesPerSlot {
		return fmt.Errorf("index %d; a slot has %d pages for %d tokens", e.Index, c.pagesPerSlot, c.info.MaxSeqLen)
	}
	if e.Page < 0 || int(e.Page) >= c.info.NumPages {
		return fmt.Errorf("page %d; the device has %d", e.Page, c.info.NumPages)
	}
	c.table[int(e.Slot)*c.pagesPerSlot+int(e.Index)] = e.Page
	return nil
}

func (c *checker) row(r *batch.Row, decode bool) error {
	if err := c.inRange(r.Slot); err != nil {
		return err
	}
	s := &c.slots[r.Slot]
	switch {
	case !s.given:
		return fmt.Errorf("the slot was never given to a request")
	case c.rows[r.Slot] == c.turn:
		return fmt.Errorf("the slot has a row in this step already")
	case decode != (r.Tokens == nil):
		return fmt.Errorf("decode rows have nil tokens and come first; NumDecode puts this one among the others")
	case !decode && len(r.Tokens) == 0:
		return fmt.Errorf("a prefill row without tokens")
	case decode && !s.drawn:
		return fmt.Errorf("decode, but the slot's last row drew no token")
	case r.Start < 0:
		return fmt.Errorf("start %d is negative", r.Start)
	case !s.fresh && r.Start != s.length:
		return fmt.Errorf("start %d; the slot holds %d tokens", r.Start, s.length)
	}
	end := int(r.Start) + r.Len()
	if end > c.info.MaxSeqLen {
		return fmt.Errorf("positions %d to %d; a sequence may have %d tokens", r.Start, end, c.info.MaxSeqLen)
	}
	pages := c.table[int(r.Slot)*c.pagesPerSlot:][:(end+c.info.PageSize-1)/c.info.PageSize]
	for i, p := range pages {
		if p == noPage {
			return fmt.Errorf("positions %d to %d need page %d of the slot, which was never entered", r.Start, end, i)
		}
	}
	for _, t := range r.Tokens {
		if err := c.token(t); err != nil {
			return err
		}
	}
	if len(r.Score) > len(r.Tokens) {
		return fmt.Errorf("%d tokens to score; the row has %d", len(r.Score), len(r.Tokens))
	}
	for _, t := range r.Score {
		if err := c.token(t); err != nil {
			return err
		}
	}
	if words := (c.info.Vocab + 31) / 32; r.Allow != nil && len(r.Allow) < words {
		return fmt.Errorf("allow has %d words; the vocabulary needs %d", len(r.Allow), words)
	}
	if r.Late && (!r.Sample || r.Allow != nil) {
		return fmt.Errorf("late, but the row draws nothing or has its mask already")
	}
	c.rows[r.Slot] = c.turn
	*s = seat{given: true, length: int32(end), drawn: r.Sample}
	return nil
}
