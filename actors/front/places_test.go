package front

import (
	"errors"
	"strings"
	"testing"
)

// One client leaves places to others, who come to have as many as it gives back.
func TestPlaces(t *testing.T) {
	enter := func(p *Places, client string) (n int) {
		for p.Enter(client) == nil {
			n++
		}
		return n
	}
	p := NewPlaces(64)
	if n := enter(p, "flood"); n != 60 {
		t.Errorf("one client has %d of 64", n)
	}
	var busy *BusyError
	if err := p.Enter("flood"); !errors.As(err, &busy) || busy.Mine != 60 || !strings.Contains(err.Error(), "60 of them yours") {
		t.Errorf("%v", err)
	}
	if n := enter(p, "other"); n != 4 {
		t.Errorf("another has %d", n)
	}
	if err := p.Enter("third"); !errors.As(err, &busy) || busy.Open != 64 || strings.Contains(err.Error(), "yours") {
		t.Errorf("%v", err)
	}
	for range 60 {
		p.Leave("flood")
		if p.Enter("flood") == nil {
			p.Leave("flood")
		}
		enter(p, "other")
	}
	if p.of["flood"] != 0 || p.of["other"] != 60 {
		t.Errorf("%v", p.of)
	}
	for range p.of["other"] {
		p.Leave("other")
	}
	if p.taken != 0 || len(p.of) != 0 {
		t.Errorf("%d taken, by %v", p.taken, p.of)
	}
	if n := enter(p, ""); n != 64 {
		t.Errorf("clients without a name have %d", n)
	}
	if n := enter(NewPlaces(1), "only"); n != 1 {
		t.Errorf("%d of one place", n)
	}
}
