package kernel

import (
	"cmp"
	"fmt"
)

// ExpertTile is some entries of one expert, ExpertEntry a token at one of its
// experts: see moe_route.cu.
type (
	ExpertTile struct {
		Expert, First, Count, Unused int32
	}
	ExpertEntry struct {
		Token        int32
		Share, Scale float32
		Expert       int32
	}
)

// RouteArgs: see moe_route.cu.
type RouteArgs struct {
	X, Norm, W, Slots, Logits, Normed, Scales, Choice, Share, Entries, Place, Counts, Tiles, Count, Arrived Ptr

	Correction Ptr // of MoEGroup, as the last four; 0: none

	Tokens, Hidden, Experts, Chosen int32
	Rows                            int32 // of a tile
	Normalize                       int32 // 1: shares add up to 1
	Eps                             float32
	Scale                           float32 // of shares
	Sigmoid                         int32   // 1: scores are σ of logits, not their softmax
	Groups, GroupsTaken             int32   // at most MaxGroups; up to 1: all experts are one
	First, Here                     int32   // experts that there are entries of; Here 0: all
}

// What routes may have at most; MaxRouted is the tokens that MoERoute takes.
const (
	MaxExperts = 512
	MaxChosen  = 16
	MaxRouted  = 64
	MaxGroups  = 32
)

var (
	routeKernel  = newKernel[RouteArgs]("moe_route.cu", "moe_route", nil)
	chooseKernel = newKernel[RouteArgs]("moe_route.cu", "moe_choose", nil)
	scoredKernel = newKernel[RouteArgs]("moe_route.cu", "moe_choose_scored", nil)
	groupKernel  = newKernel[RouteArgs]("moe_route.cu", "moe_group", nil)
)

// RouteScratch is the memory that routing needs beside its data.
type RouteScratch struct {
	Logits, Scales, Choice, Share, Entries, Place, Counts, Tiles, Count, Arrived int64
}

// RouteScratchFor sizes it, in bytes, for the most tokens. Arrived must be
// zeroed once.
func RouteScratchFor(tokens, experts, chosen int) RouteScratch {
	t, pairs := int64(tokens), int64(tokens*chosen)
	return RouteScratch{
		Logits: 4 * t * int64(experts), Scales: 4 * t, Choice: 4 * pairs, Share: 4 * pairs, Entries: 16 * pairs, Place: 4 * pairs,
		Counts: 4 * int64(experts), Tiles: 16 * (pairs/minExpertRows + int64(experts)), Count: 4, Arrived: 4,
	}
}

// MoERoute normalises tokens, sends each to its experts and groups them into
// tiles of so many rows.
func MoERoute(q Queue, a RouteArgs) error {
	if !a.Plain() {
		return fmt.Errorf("kernel moe_route: a choice by other than logits")
	}
	if a.Tokens > MaxRouted || a.Hidden%64 != 0 {
		return fmt.Errorf("kernel moe_route: %d tokens of %d; at most %d, of a multiple of 64", a.Tokens, a.Hidden, MaxRouted)
	}
	if err := a.check(); err != nil {
		return err
	}
	a.Here = cmp.Or(a.Here, a.Experts)
	return launch(q, routeKernel, ceil(int(a.Experts), 16), ceil(int(a.Tokens), 8), 256, &a)
}

// MoEGroup does so for tokens whose logits are known.
func MoEGroup(q Queue, a RouteArgs) error {
	if err := a.check(); err != nil {
		return err
	}
	a.Here = cmp.Or(a.Here, a.Experts)
	choose := chooseKernel
	if !a.Plain() {
		choose = scoredKernel
	}
	if err := launch(q, choose, ceil(int(a.Tokens), 8), 1, 256, &a); err != nil {
		return err
	}
	return launch(q, groupKernel, int(a.Here), 1, 1024, &a)
}

// Plain says that experts are chosen by their logits alone and shares are their
// softmax: what MoERoute does.
func (a *RouteArgs) Plain() bool {
	return a.Correction == 0 && a.Sigmoid == 0 && a.Groups <= 1 && a.Scale == 1
}

func (a *RouteArgs) check() error {
	if g := a.Groups; g > 1 && (g > MaxGroups || a.Experts%g != 0 || a.Experts/g < 2 || a.GroupsTaken < 1 || a.GroupsTaken > g || a.GroupsTaken*(a.Experts/g) < a.Chosen) {
		return fmt.Errorf("kernel moe_route: %d of %d groups of %d experts for %d a token; there may be %d, of two and more",
			a.GroupsTaken, g, a.Experts, a.Chosen, MaxGroups)
	}
	if a.First < 0 || a.Here < 0 || a.First+a.Here > a.Experts {
		return fmt.Errorf("kernel moe_route: experts %d to %d of %d", a.First, a.First+a.Here, a.Experts)
	}
	if a.Experts <= 0 || a.Experts > MaxExperts || a.Chosen <= 0 || a.Chosen > min(MaxChosen, a.Experts) || a.Rows <= 0 || a.Tokens <= 0 {
		return fmt.Errorf("kernel moe_route: %d tokens, %d of %d experts, tiles of %d; there may be %d of %d",
			a.Tokens, a.Chosen, a.Experts, a.Rows, MaxChosen, MaxExperts)
	}
	return nil
}
