package kernel

import (
	"slices"
	"strings"
	"testing"
)

// Tiles of runs cover every pair of a token and a head of its group once, the
// ones that look at most keys first.
func TestTiles(t *testing.T) {
	for _, s := range []Shape{{Heads: 16, KVHeads: 8}, {Heads: 40, KVHeads: 8}, {Heads: 7, KVHeads: 1}} {
		group := s.Heads / s.KVHeads
		var tiles []Tile
		token := 0
		for i, n := range []int{1, 200, 64, 1000} {
			tiles = s.AppendTiles(tiles, i, token, 10*i, n)
			token += n
		}
		s.SortTiles(tiles)
		seen := make([]int, token*group)
		last := 1 << 30
		for _, tile := range tiles {
			end := min(int(tile.Pair)+prefillRows, int(tile.Tokens)*group)
			for p := int(tile.Pair); p < end; p++ {
				seen[int(tile.Token)*group+p]++
			}
			keys := int(tile.Position) + (end-1)/group + 1
			if keys > last+1 { // the order is by an estimate that is off by one token at most
				t.Errorf("a tile of %d keys after one of %d", keys, last)
			}
			last = keys
		}
		for p, n := range seen {
			if n != 1 {
				t.Fatalf("%d heads a group: pair %d is in %d tiles", group, p, n)
			}
		}
	}
}

func TestShapeCheck(t *testing.T) {
	good := Shape{Heads: 16, KVHeads: 8, HeadDim: 128, PageSize: 16, Stages: 3}
	if err := good.Check(); err != nil {
		t.Error(err)
	}
	for _, change := range []func(*Shape){
		func(s *Shape) { s.HeadDim = 80 }, func(s *Shape) { s.KVHeads = 3 }, func(s *Shape) { s.Heads = 17 * 8 },
		func(s *Shape) { s.PageSize = 0 }, func(s *Shape) { s.Stages = 1 },
	} {
		s := good
		change(&s)
		if s.Check() == nil {
			t.Errorf("%+v passed", s)
		}
	}
}

// Sources for Hopper are compiled for Hopper alone, those of attention for heads
// that it has; those for experts, latent attention and weights of 4 bits where there are
// some.
func TestPrograms(t *testing.T) {
	s := Shape{Heads: 16, KVHeads: 8, HeadDim: 128, PageSize: 16, Stages: 3}
	names := func() map[string]bool {
		programs, err := Programs(s)
		if err != nil {
			t.Fatal(err)
		}
		names := map[string]bool{}
		for _, p := range programs {
			names[p.Name] = true
		}
		return names
	}
	for _, device := range []struct {
		dim, hopper           int
		experts, latent, int4 bool
	}{{128, 0, false, false, true}, {128, 0, true, false, false}, {64, 132, false, true, true}, {128, 132, true, false, true}, {256, 132, true, true, false}} {
		s.HeadDim, s.Hopper, s.Experts, s.Latent, s.Int4 = device.dim, device.hopper, device.experts, device.latent, device.int4
		s.ExpertsFP8, s.ExpertsMXFP4 = device.latent, device.int4
		has := names()
		for _, k := range All() {
			want := (device.hopper > 0 || !strings.Contains(k.Source, "hopper")) && (device.experts || !strings.HasPrefix(k.Source, "moe_")) &&
				(device.dim <= 128 || k.Source != "prefill_hopper.cu") && (device.dim == 128 || k.Source != "pass_hopper.cu") && (device.latent || k.Source != "latent.cu") && (device.int4 || !strings.HasPrefix(k.Source, "int4"))
			onHopper := device.hopper > 0 || !strings.Contains(k.Source, "hopper")
			switch {
			case strings.HasPrefix(k.Source, "moe_fp8"):
				want = device.latent && onHopper
			case strings.HasPrefix(k.Source, "moe_mxfp4"):
				want = device.int4 && onHopper
			}
			if has[k.Source] != want {
				t.Errorf("%+v: %s among them: %v", device, k.Source, has[k.Source])
			}
		}
	}
}

// Shared memory of every size of heads fits the smallest devices, with 99 KiB,
// at two stages.
func TestSharedMemory(t *testing.T) {
	for _, dim := range HeadDims {
		s := Shape{Heads: 16, KVHeads: 8, HeadDim: dim, PageSize: 16, Stages: 2}
		for _, k := range []*Kernel{decodeKernel, prefillKernel} {
			if n := k.Shared(s); n > 99<<10 || n <= 0 {
				t.Errorf("%s, heads of %d: %d bytes", k.Name, dim, n)
			}
		}
		if n := prefillKernel.Shared(s); n > s.Stages*s.StageBytes() {
			t.Errorf("heads of %d: prefill takes %d bytes, more than decode", dim, n)
		}
	}
}

func TestSnake(t *testing.T) {
	for name, want := range map[string]string{"QKV": "qkv", "KVHeads": "kv_heads", "QNorm": "q_norm", "TableStride": "table_stride", "TopP": "top_p", "N": "n", "ToRowSlots": "to_row_slots"} {
		if got := snake(name); got != want {
			t.Errorf("%s: %s, want %s", name, got, want)
		}
	}
}

// Of a token far on each piece of its history is a tile, as long as there is room for their
// sums; of one nearer, and where no kernel shares them, there is one.
func TestSplits(t *testing.T) {
	s := Shape{Heads: 8, KVHeads: 2, HeadDim: 128, Hopper: 132, Invariant: true}
	list, taken := s.AppendSplits(nil, 3, 7, 2*SplitKeys, 5)
	want := []Tile{{Slot: 3, Token: 7, Position: 2048, Tokens: 1, Split: 1, Part: 5}, {Slot: 3, Token: 7, Position: 2048, Tokens: 1, Split: 2, Part: 6}, {Slot: 3, Token: 7, Position: 2048, Tokens: 1, Split: 3, Part: 7}}
	if taken != 3 || !slices.Equal(list, want) {
		t.Errorf("%+v, %d taken", list, taken)
	}
	one := []Tile{{Slot: 3, Token: 7, Position: 2048, Tokens: 1}}
	portable, other := s, s
	portable.Hopper, other.Invariant = 0, false
	for what, tc := range map[string]struct {
		shape          Shape
		position, part int
	}{"near": {s, SplitKeys - 1, 0}, "no room": {s, 2048, MostParts - 2}, "portable": {portable, 2048, 0}, "not asked for": {other, 2048, 0}} {
		one[0].Position = int32(tc.position)
		if list, taken := tc.shape.AppendSplits(nil, 3, 7, tc.position, tc.part); taken != 0 || !slices.Equal(list, one) {
			t.Errorf("%s: %+v, %d taken", what, list, taken)
		}
	}
	// The longest comes first: a whole piece, then the one of a key.
	s.SortTiles(want)
	if want[2].Split != 3 {
		t.Errorf("%+v", want)
	}
	if a, b := s.MostTiles(100, 10), portable.MostTiles(100, 10); a-b != MostParts {
		t.Errorf("memory for %d tiles, portable for %d", a, b)
	}
	kept, parts, arrived := s.SplitScratch()
	if kept != 132*4*256*68 || parts != 4*MostParts*2*4*136 || arrived != 4*MostParts*2 {
		t.Errorf("scratch of %d, %d, %d bytes", kept, parts, arrived)
	}
}
