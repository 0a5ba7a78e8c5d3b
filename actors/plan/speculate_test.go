package plan

import "testing"

// Text that is edited goes on behind a token that was replaced as it did, and is drafted at once,
// not only when two tokens agree again; how often that is accepted is known by itself.
func TestDraftsGoOnBehindAnEdit(t *testing.T) {
	tokens := []int32{10, 11, 12, 13, 14, 15, 16, 17, 18, 10}
	s := newSpeculation()
	for _, c := range []struct {
		drawn, next int32 // −1: no draft
		long        int
	}{
		{11, 12, 2},
		{12, 13, 3},
		{99, 14, afterEdit},
		{14, 15, afterEdit},
		{15, 16, 2},
		{98, 17, afterEdit},
		{97, 18, afterEdit},
		{13, 10, afterEdit},
		{14, 15, 2},
	} {
		tokens = append(tokens, c.drawn)
		s.learn(tokens)
		if next := tokens[s.at]; s.at == 0 || next != c.next || s.long != c.long {
			t.Errorf("behind %v: %d, which %d tokens say, want %d, %d", tokens, next, s.long, c.next, c.long)
		}
	}
	if s.rate[afterEdit] <= firstRates[afterEdit] || s.rate[3] >= firstRates[3] {
		t.Errorf("two of five behind edits were accepted, and none of one behind three tokens; rates went from %v to %v", firstRates, s.rate)
	}
	other := newSpeculation()
	if other.learn([]int32{1, 2, 3, 4}); other.at != 0 {
		t.Errorf("drafted from %d, where nothing came before", other.at)
	}
}
