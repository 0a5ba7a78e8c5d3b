package device

import (
	"strings"
	"testing"

	"github.com/troupe-llm/troupe/gpu/batch"
)

var tiny = Info{Slots: 4, PageSize: 4, NumPages: 40, MaxSeqLen: 32, MaxStepTokens: 16, Vocab: 101, Scores: true, MaxDraws: 8}

// enter gives a slot its first pages.
func enter(s *batch.Step, slot int32, pages ...int32) {
	for i, p := range pages {
		s.Pages = append(s.Pages, batch.PageEntry{Slot: slot, Index: int32(i), Page: p})
	}
}

// underway is a checker whose slot 0 holds four tokens and has drawn one; slot 1
// holds two and has not.
func underway(t *testing.T) *Checker {
	c := NewChecker(tiny)
	s := &batch.Step{
		Slots: []batch.SlotInit{{Slot: 0}, {Slot: 1}}, NumTokens: 6,
		Rows: []batch.Row{{Slot: 0, Tokens: []int32{1, 2, 3, 4}, Sample: true}, {Slot: 1, Tokens: []int32{5, 6}}},
	}
	enter(s, 0, 7)
	enter(s, 1, 8)
	if err := c.Admit(s); err != nil {
		t.Fatal(err)
	}
	return c
}

// follows is what may follow: both go on.
func follows() *batch.Step {
	return &batch.Step{
		Pages: []batch.PageEntry{{Slot: 0, Index: 1, Page: 9}}, NumDecode: 1, NumTokens: 3,
		Rows: []batch.Row{{Slot: 0, Start: 4, Sample: true}, {Slot: 1, Start: 2, Tokens: []int32{7, 8}, Sample: true}},
	}
}

// Every way a step can be wrong, and the words that say so.
func TestFaultySteps(t *testing.T) {
	initialize := func(in batch.SlotInit) func(*batch.Step) {
		return func(s *batch.Step) { s.Slots = []batch.SlotInit{in} }
	}
	for name, c := range map[string]struct {
		fault func(s *batch.Step)
		want  string
	}{
		"no such slot":         {func(s *batch.Step) { s.Rows[0].Slot = 4 }, "row 0 (slot 4): slot 4; the device has 4"},
		"slot never given":     {func(s *batch.Step) { s.Rows[1].Slot = 3 }, "row 1 (slot 3): the slot was never given"},
		"slot twice":           {func(s *batch.Step) { s.Rows[1].Slot = 0 }, "has a row in this step already"},
		"too many rows":        {func(s *batch.Step) { s.Rows = append(s.Rows, make([]batch.Row, 3)...) }, "5 rows; the device has 4 slots"},
		"start too late":       {func(s *batch.Step) { s.Rows[1].Start = 3 }, "start 3; the slot holds 2 tokens"},
		"start too early":      {func(s *batch.Step) { s.Rows[0].Start = 3 }, "start 3; the slot holds 4 tokens"},
		"negative start":       {func(s *batch.Step) { s.Rows[0].Start = -1 }, "start -1 is negative"},
		"nothing to decode":    {func(s *batch.Step) { s.Rows = s.Rows[1:]; s.Rows[0].Tokens = nil; s.NumTokens = 1 }, "drew no token"},
		"decode out of place":  {func(s *batch.Step) { s.NumDecode = 0 }, "row 0 (slot 0): decode rows have nil tokens and come first"},
		"prefill out of place": {func(s *batch.Step) { s.NumDecode = 2 }, "row 1 (slot 1): decode rows have nil tokens and come first"},
		"too many decodes":     {func(s *batch.Step) { s.NumDecode = 3 }, "NumDecode is 3, with 2 rows"},
		"fewer than none":      {func(s *batch.Step) { s.NumDecode = -1 }, "NumDecode is -1"},
		"empty prefill":        {func(s *batch.Step) { s.Rows[1].Tokens = []int32{} }, "without tokens"},
		"unknown token":        {func(s *batch.Step) { s.Rows[1].Tokens = []int32{101, 1} }, "token 101; the vocabulary has 101"},
		"wrong count":          {func(s *batch.Step) { s.NumTokens = 4 }, "NumTokens is 4, its rows have 3"},
		"too many tokens":      {func(s *batch.Step) { s.Rows[1].Tokens = make([]int32, 16); s.NumTokens = 17 }, "17 tokens; a step may have 16"},
		"past the end":         {func(s *batch.Step) { s.Rows[1].Tokens = make([]int32, 31); s.NumTokens = 32 }, "positions 2 to 33; a sequence may have 32 tokens"},
		"page not entered":     {func(s *batch.Step) { s.Pages = nil }, "positions 4 to 5 need page 1 of the slot, which was never entered"},
		"page left out":        {func(s *batch.Step) { s.Pages[0].Index = 2 }, "need page 1 of the slot"},
		"page out of range":    {func(s *batch.Step) { s.Pages[0].Page = 40 }, "page entry 0 (slot 0): page 40; the device has 40"},
		"index out of range":   {func(s *batch.Step) { s.Pages[0].Index = 8 }, "index 8; a slot has 8 pages for 32 tokens"},
		"entry of no slot":     {func(s *batch.Step) { s.Pages[0].Slot = -1 }, "slot -1; the device has 4"},
		"init of no slot":      {initialize(batch.SlotInit{Slot: 9}), "slot init 0: slot 9"},
		"bias of no token":     {initialize(batch.SlotInit{Sampling: batch.Sampling{Bias: []batch.TokenBias{{Token: -1}}}}), "slot init 0: token -1"},
		"suppressing no token": {initialize(batch.SlotInit{Sampling: batch.Sampling{Suppress: []int32{500}}}), "token 500"},
		"unknown prompt":       {initialize(batch.SlotInit{Prompt: []int32{1, 501}}), "token 501"},
		"unknown history":      {initialize(batch.SlotInit{Output: []int32{502}}), "token 502"},
		"scores of none":       {func(s *batch.Step) { s.Rows[0].Score = []int32{1} }, "1 tokens to score; the row has 0"},
		"unknown score":        {func(s *batch.Step) { s.Rows[1].Score = []int32{1, 103} }, "row 1 (slot 1): token 103"},
		"late and there":       {func(s *batch.Step) { s.Rows[0].Late, s.Rows[0].Allow = true, make([]uint32, 4) }, "has its mask already"},
		"late, undrawn":        {func(s *batch.Step) { s.Rows[1].Late, s.Rows[1].Sample = true, false }, "draws nothing"},
		"as many drafts":       {func(s *batch.Step) { s.Rows[1].Drafts = 2 }, "row 1 (slot 1): 2 drafts; the row has 2 tokens, of which at least one is none"},
		"drafts, undrawn":      {func(s *batch.Step) { s.Rows[1].Drafts, s.Rows[1].Sample = 1, false }, "drafts, but the row draws nothing"},
		"drafts, late":         {func(s *batch.Step) { s.Rows[1].Drafts, s.Rows[1].Late = 1, true }, "drafts, but the row draws nothing, waits for its mask"},
		"masks of no drafts":   {func(s *batch.Step) { s.Rows[1].AllowNext = &[][]uint32{nil, nil} }, "2 masks for what follows drafts; the row has none"},
		"masks too few":        {func(s *batch.Step) { s.Rows[1].Drafts, s.Rows[1].AllowNext = 1, &[][]uint32{} }, "0 masks for what follows 1 drafts"},
		"short mask of one":    {func(s *batch.Step) { s.Rows[1].Drafts, s.Rows[1].AllowNext = 1, &[][]uint32{{1}} }, "allow behind draft 0 has 1 words; the vocabulary needs 4"},
		"short allow":          {func(s *batch.Step) { s.Rows[0].Allow = make([]uint32, 3) }, "allow has 3 words; the vocabulary needs 4"},
	} {
		t.Run(name, func(t *testing.T) {
			s := follows()
			c.fault(s)
			if err := underway(t).Admit(s); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %q, want one with %q", err, c.want)
			}
		})
	}
}

func TestScoresWhereThereAreNone(t *testing.T) {
	info := tiny
	info.Scores = false
	s := follows()
	s.Rows[1].Score = []int32{8}
	if err := tiny.Check(s); err != nil {
		t.Error(err)
	}
	if err := info.Check(s); err == nil || !strings.Contains(err.Error(), "the device scores none") {
		t.Errorf("error %v", err)
	}
}

func TestDraftsWhereThereAreNone(t *testing.T) {
	info := tiny
	info.MaxDraws = 0
	s := follows()
	s.Rows[1].Drafts = 1
	if err := tiny.Check(s); err != nil {
		t.Error(err)
	}
	if err := info.Check(s); err == nil || !strings.Contains(err.Error(), "1 drafts; the device takes none") {
		t.Errorf("error %v", err)
	}
}

// Behind a row with drafts its slot goes on from wherever they may have been accepted.
func TestStartsBehindDrafts(t *testing.T) {
	for start, want := range map[int32]string{4: "start 4; the slot holds 5 to 7 tokens", 5: "", 6: "", 7: "", 8: "start 8; the slot holds 5 to 7 tokens"} {
		c := underway(t)
		s := &batch.Step{
			Pages: []batch.PageEntry{{Slot: 0, Index: 1, Page: 9}, {Slot: 0, Index: 2, Page: 10}}, NumTokens: 3,
			Rows: []batch.Row{{Slot: 0, Start: 4, Tokens: []int32{1, 2, 3}, Sample: true, Drafts: 2}},
		}
		if err := c.Admit(s); err != nil {
			t.Fatal(err)
		}
		next := &batch.Step{NumDecode: 1, NumTokens: 1, Rows: []batch.Row{{Slot: 0, Start: start, Sample: true}}}
		if err := c.Admit(next); err == nil != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("start %d: error %v, want %q", start, err, want)
		}
	}
}

// A slot goes on step by step; its next request may begin behind pages that were
// computed before, in whatever order they are entered.
func TestAdmitsWhatFollows(t *testing.T) {
	c := underway(t)
	if err := c.Admit(follows()); err != nil {
		t.Fatal(err)
	}
	next := &batch.Step{
		Slots: []batch.SlotInit{{Slot: 1}}, Pages: []batch.PageEntry{{Slot: 1, Index: 2, Page: 30}, {Slot: 1, Index: 1, Page: 20}, {Slot: 1, Index: 0, Page: 10}},
		NumDecode: 1, NumTokens: 3,
		Rows: []batch.Row{{Slot: 0, Start: 5, Sample: true}, {Slot: 1, Start: 8, Tokens: []int32{1, 2}, Score: []int32{2}}},
	}
	if err := c.Admit(next); err != nil {
		t.Fatal(err)
	}
	for i, want := range []int32{10, 20, 30} {
		if got := c.Page(1, int32(i)); got != want {
			t.Errorf("page %d of slot 1 is %d, want %d", i, got, want)
		}
	}
}

// recurring is a checker of a device whose sequences carry states: slot 0 holds
// four tokens, after which its states were saved in snapshot 1.
func recurring(t *testing.T) *Checker {
	info := tiny
	info.StateBytes, info.Snapshots = 64, 3
	c := NewChecker(info)
	s := &batch.Step{
		Slots: []batch.SlotInit{{Slot: 0}}, NumTokens: 4, Saves: []batch.StateCopy{{Slot: 0, Snapshot: 1}},
		Rows: []batch.Row{{Slot: 0, Tokens: []int32{1, 2, 3, 4}}},
	}
	enter(s, 0, 7)
	if err := c.Admit(s); err != nil {
		t.Fatal(err)
	}
	return c
}

// Whoever starts behind a prefix has the states after it, of a snapshot that was
// saved before.
func TestStates(t *testing.T) {
	for name, c := range map[string]struct {
		fault func(s *batch.Step)
		want  string
	}{
		"":                  {func(*batch.Step) {}, ""},
		"not restored":      {func(s *batch.Step) { s.Restores = nil }, "row 1 (slot 1): start 4; the slot's states are those after 0 tokens"},
		"of another length": {func(s *batch.Step) { s.Rows[1].Start = 3 }, "row 1 (slot 1): start 3; the slot's states are those after 4 tokens"},
		"never saved":       {func(s *batch.Step) { s.Restores[0].Snapshot = 2 }, "slot 1 is to have the states of snapshot 2, which was never saved"},
		"no such snapshot":  {func(s *batch.Step) { s.Saves[0].Snapshot = 3 }, "state of slot 0: snapshot 3; the device has 3"},
		"of no slot":        {func(s *batch.Step) { s.Restores[0].Slot = 4 }, "state of slot 4: slot 4; the device has 4"},
		"nothing to save":   {func(s *batch.Step) { s.Saves[0].Slot = 2 }, "slot 2 is to be saved, but has no row"},
		"saved twice":       {func(s *batch.Step) { s.Saves[1].Snapshot = 2 }, "snapshot 2 is saved twice"},
		"restored idly":     {func(s *batch.Step) { s.Restores[1].Slot = 3 }, "slot 3 is to have the states of snapshot 1, but has no row"},
	} {
		t.Run(name, func(t *testing.T) {
			s := &batch.Step{
				Slots: []batch.SlotInit{{Slot: 1}, {Slot: 2}}, Pages: []batch.PageEntry{{Slot: 1, Page: 7}, {Slot: 1, Index: 1, Page: 8}, {Slot: 0, Index: 1, Page: 9}},
				Restores: []batch.StateCopy{{Slot: 1, Snapshot: 1}, {Slot: 1, Snapshot: 1}},
				Rows:     []batch.Row{{Slot: 0, Start: 4, Tokens: []int32{5}}, {Slot: 1, Start: 4, Tokens: []int32{6, 7}}}, NumTokens: 3,
				Saves: []batch.StateCopy{{Slot: 0, Snapshot: 2}, {Slot: 1, Snapshot: 1}},
			}
			c.fault(s)
			err := recurring(t).Admit(s)
			if err == nil != (c.want == "") || err != nil && err.Error() != c.want {
				t.Errorf("error %v, want %q", err, c.want)
			}
		})
	}
}
