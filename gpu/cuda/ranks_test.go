package cuda

import (
	"strings"
	"testing"

	"github.com/troupe-llm/troupe/gpu/device"
	"github.com/troupe-llm/troupe/gpu/gang"
	"github.com/troupe-llm/troupe/gpu/model"
	"github.com/troupe-llm/troupe/gpu/model/modeltest"
	"github.com/troupe-llm/troupe/gpu/program"
)

// Every rank's share of what is published, and of every family as far as the whole
// has kernels, has kernels, too, and one layout for passes of any size.
func TestSharesCompile(t *testing.T) {
	compiled := 0
	try := func(name string, p *program.Program, ranks int, strip bool) {
		for _, rank := range []int{0, ranks - 1} {
			s, err := p.Share(rank, ranks, 0)
			if err != nil {
				if !strings.Contains(err.Error(), "cannot be shared by") {
					t.Errorf("%s by %d: %v", name, ranks, err)
				}
				return
			}
			share := s.Program
			if strip {
				share = withoutAttention(share)
			}
			if _, err := compile(share, &machine{shape: shapeOf(share), meetings: unmet(&device.Rank{Index: rank, Ranks: ranks})}); err != nil {
				t.Errorf("%s, rank %d of %d: %v", name, rank, ranks, err)
			}
			if _, err := layOut(share, wide); err != nil {
				t.Errorf("%s, rank %d of %d: %v", name, rank, ranks, err)
			}
			compiled++
		}
	}
	for _, name := range model.Published() {
		m, err := model.Open(name, true)
		if err != nil {
			t.Fatal(err)
		}
		for _, ranks := range []int{2, 4, 8} {
			try(name, m.Config.Program, ranks, false)
			share, err := m.Share(ranks-1, ranks)
			if err != nil {
				continue // as try has found
			}
			p := share.Config.Program
			for format, held := range map[string]model.Held{"FP8": share.HeldInFP8(wide, true), "4 bits": share.HeldInInt4(wide, true)} {
				if _, err := compile(p, &machine{shape: shapeOf(p), held: held, meetings: unmet(&device.Rank{Index: ranks - 1, Ranks: ranks})}); err != nil {
					t.Errorf("%s by %d in %s: %v", name, ranks, format, err)
				}
				if _, err := layOut(p, held); err != nil {
					t.Errorf("%s by %d in %s: %v", name, ranks, format, err)
				}
			}
		}
	}
	for name, p := range families(t) {
		try(name, p, 2, true)
	}
	if compiled < 40 {
		t.Errorf("%d shares", compiled)
	}
}

// A rank's share settles on a GPU as a whole model does, before it meets the others.
func TestShareSettles(t *testing.T) {
	m, err := model.Open("qwen3-14b", true)
	if err != nil {
		t.Fatal(err)
	}
	share, err := m.Share(1, 2)
	if err != nil {
		t.Fatal(err)
	}
	info, err := settle(&device.Spec{Model: share, Rank: &device.Rank{Index: 1, Ranks: 2}}, hopper)
	if err != nil || info.Vocab != m.Config.Vocab {
		t.Errorf("%+v, %v", info, err)
	}
}

// Ranks of every checkpoint and family meet at the same places, in whatever encodings these are.
func TestRanksAgree(t *testing.T) {
	tried := 0
	for _, c := range append(modeltest.All(t), modeltest.Families(t)...) {
		m := c.Open(t)
		for _, ranks := range []int{2, 3, 4} {
			if _, err := m.Share(0, ranks); err != nil {
				continue
			}
			tried++
			if err := gang.Run(ranks, func(rank *device.Rank) error {
				share, err := m.Share(rank.Index, ranks)
				if err != nil {
					return err
				}
				held, err := device.HeldOnGPU(share, "", "", hopper)
				if err != nil {
					return err
				}
				return rank.Same("where ranks meet", (&machine{held: held}).places(share.Config.Program))
			}); err != nil {
				t.Errorf("%s by %d: %v", c.Name, ranks, err)
			}
		}
	}
	t.Logf("%d shared", tried)
}

// A share by itself is refused.
func TestShareAlone(t *testing.T) {
	m, err := model.Open("qwen3-0.6b", true)
	if err != nil {
		t.Fatal(err)
	}
	s, err := m.Config.Program.Share(0, 2, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := compile(s.Program, &machine{shape: shapeOf(s.Program)}); err == nil || !strings.Contains(err.Error(), "the model is one rank's share, and there are no others") {
		t.Error(err)
	}
}

// What is launched for a rank of a mixture and of norms over all heads, in the order
// of its first launch. Sums that go to the residual stream alone are in bf16.
func TestShareKernels(t *testing.T) {
	m, err := model.Open("qwen3-30b-a3b", true)
	if err != nil {
		t.Fatal(err)
	}
	s, err := m.Config.Program.Share(1, 2, 0)
	if err != nil {
		t.Fatal(err)
	}
	elements := elementsOf(s.Program)
	halves, floats := 0, 0
	for _, op := range s.Ops {
		if o, is := op.(*program.AllReduce); is {
			if elements[o.X] == bf16 {
				halves++
			} else {
				floats++
			}
		}
	}
	// Of attention in each of 48 layers; of experts and of embeddings as they come.
	if halves != 48 || floats != 49 {
		t.Errorf("%d sums in bf16, %d in float32", halves, floats)
	}
}

// Sums that follow each other, in a pass and from one to the next, take different inboxes.
func TestInboxes(t *testing.T) {
	if got := inboxOf(0, 1); got != -1 {
		t.Errorf("one sum alone takes inbox %d, want none", got)
	}
	for n := 2; n < 9; n++ {
		for i := range n {
			at, next := inboxOf(i, n), inboxOf((i+1)%n, n)
			if at < 0 || at >= inboxes || at == next {
				t.Errorf("of %d sums number %d takes inbox %d, the next one %d", n, i, at, next)
			}
		}
	}
}
