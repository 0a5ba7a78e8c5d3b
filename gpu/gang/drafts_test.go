package gang

import (
	"slices"
	"testing"

	"github.com/troupe-llm/troupe/gpu/batch"
	"github.com/troupe-llm/troupe/gpu/device"
	"github.com/troupe-llm/troupe/gpu/model/modeltest"
)

// Ranks that are given drafts draw what they draw without, as many as are accepted a step.
func TestDrafts(t *testing.T) {
	c := modeltest.Own(t)[0]
	m := c.Open(t)
	prompt := promptsOf(t, c, m)[0]
	drawn := func(d device.Device, draft func(drawn []int32) []int32) (tokens []int32, steps int) {
		info := d.Info()
		s := &batch.Step{Slots: []batch.SlotInit{{Slot: 0}}, NumTokens: len(prompt), Rows: []batch.Row{{Tokens: prompt, Sample: true}}}
		for j := range min(info.NumPages, info.PagesPerSlot()) {
			s.Pages = append(s.Pages, batch.PageEntry{Index: int32(j), Page: int32(j)})
		}
		for len(tokens) < 13 {
			steps++
			s.Seq = uint64(steps)
			var r batch.Result
			if err := d.Launch(s); err != nil {
				t.Fatal(err)
			}
			if err := d.Wait(&r); err != nil {
				t.Fatal(err)
			}
			for _, token := range r.Tokens {
				if token != batch.NoToken {
					tokens = append(tokens, token)
				}
			}
			row := batch.Row{Start: int32(len(prompt) + len(tokens) - 1), Sample: true}
			s = &batch.Step{NumDecode: 1, NumTokens: 1}
			if drafts := draft(tokens); len(drafts) > 0 {
				row.Tokens, row.Drafts = append(tokens[len(tokens)-1:len(tokens):len(tokens)], drafts...), int32(len(drafts))
				s.NumDecode, s.NumTokens = 0, 1+len(drafts)
			}
			s.Rows = append(s.Rows, row)
		}
		return tokens, steps
	}
	g, err := open(t, m, 2)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := g.Close(); err != nil {
			t.Error(err)
		}
	}()
	if g.Info().MaxDraws == 0 {
		t.Fatal("ranks that take drafts take none together")
	}
	want, _ := drawn(g, func([]int32) []int32 { return nil })
	got, steps := drawn(g, func(drawn []int32) []int32 {
		from := min(len(drawn), len(want))
		drafts := slices.Clone(want[from:min(from+4, len(want))])
		if len(drafts) == 4 {
			drafts[len(drawn)%4]++
		}
		return drafts
	})
	if !slices.Equal(got[:len(want)], want) || steps > 9 {
		t.Errorf("with drafts %v in %d steps, without %v", got, steps, want)
	}
}
