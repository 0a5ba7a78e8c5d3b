//go:build cuda

package cuda

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/troupe-llm/troupe/gpu/kernel"
)

// Every kernel compiles for every generation, for the shapes of every model
// family, with structs laid out as in Go and without spilling registers.
func TestCompile(t *testing.T) {
	known, err := Architectures()
	if err != nil {
		t.Fatal(err)
	}
	shapes := []kernel.Shape{
		{Heads: 16, KVHeads: 8, HeadDim: 128, PageSize: 16, Stages: 3},
		{Heads: 40, KVHeads: 8, HeadDim: 128, PageSize: 16, Stages: 3},
		{Heads: 14, KVHeads: 2, HeadDim: 64, PageSize: 1, Stages: 2},
		{Heads: 12, KVHeads: 1, HeadDim: 64, PageSize: 48, Stages: 3}, // a group of more than 8
		{Heads: 16, KVHeads: 8, HeadDim: 32, PageSize: 16, Stages: 3},
		{Heads: 32, KVHeads: 8, HeadDim: 96, PageSize: 16, Stages: 3},
		{Heads: 64, KVHeads: 4, HeadDim: 128, PageSize: 16, Stages: 3},
		{Heads: 32, KVHeads: 8, HeadDim: 192, PageSize: 16, Stages: 3},
		{Heads: 8, KVHeads: 4, HeadDim: 256, PageSize: 16, Stages: 3},
		{Heads: 32, KVHeads: 2, HeadDim: 256, PageSize: 16, Stages: 2},
	}
	for _, s := range shapes {
		s.KVCodes = true
		shapes = append(shapes, s)
	}
	for _, s := range []kernel.Shape{shapes[1], shapes[2], shapes[6]} {
		s.Invariant = true
		shapes = append(shapes, s)
	}
	done := map[string]bool{}
	spills := regexp.MustCompile(`[1-9][0-9]* bytes (spill|stack)`)
	spilled := regexp.MustCompile(`[1-9][0-9]* bytes spill`)
	for _, arch := range []string{"sm_80", "sm_90a", "sm_100"} {
		var number int
		if _, err := fmt.Sscanf(arch, "sm_%d", &number); err != nil || !slices.Contains(known, number) {
			t.Logf("%s: this NVRTC does not know it", arch)
			continue
		}
		for i, s := range shapes {
			t.Run(fmt.Sprintf("%s/%d:%d×%d/%v/%v", arch, s.Heads, s.KVHeads, s.HeadDim, s.KVCodes, s.Invariant), func(t *testing.T) {
				if i > 1 && i != len(shapes)/2 && testing.Short() {
					t.Skip("short")
				}
				s.ExpertsFP8, s.ExpertsMXFP4 = true, true
				if s.Experts, s.Latent, s.Int4 = true, true, true; arch == "sm_90a" {
					s.Hopper = 132
				}
				programs, err := kernel.Programs(s)
				if err != nil {
					t.Fatal(err)
				}
				for _, p := range programs {
					key := fmt.Sprint(arch, p.Name, p.Defines)
					if done[key] {
						continue // for another shape
					}
					done[key] = true
					code, log, err := Compile(p, arch)
					if err != nil {
						t.Error(err)
						continue
					}
					if len(code) == 0 || string(code[1:4]) != "ELF" {
						t.Errorf("%s: no machine code", p.Name)
					}
					for line := range strings.Lines(log) {
						if spilled.MatchString(line) || strings.Contains(line, "warning") || strings.Contains(line, "Performance Loss") {
							t.Errorf("%s: %s", p.Name, strings.TrimSpace(line))
						}
						if strings.Contains(line, "registers") || spills.MatchString(line) || strings.Contains(line, "Compiling") {
							t.Logf("%s: %s", p.Name, strings.TrimSpace(line))
						}
					}
				}
			})
		}
	}
}
