package actors

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/troupe-llm/troupe/gpu/cpu"
	"github.com/troupe-llm/troupe/gpu/device"
	"github.com/troupe-llm/troupe/gpu/gang"
	"github.com/troupe-llm/troupe/gpu/model/modeltest"
)

// gangSystem serves a small model on ranks of the processor. In the first gang
// rank fails at its at-th meeting, 0: never; later ones are sound.
func gangSystem(t *testing.T, ranks, rank, at int, opened *int) *System {
	t.Helper()
	m := modeltest.Get(t, "qwen3").Open(t)
	cfg := Config{Log: zerolog.Nop()}
	cfg.fill()
	spec := device.Spec{Model: m, Slots: 4, NumPages: 64}
	s, err := start(cfg, m, nil, func() (device.Device, error) {
		*opened++
		first := *opened == 1
		return gang.Open(spec, slices.Repeat([]string{"cpu"}, ranks), func(spec device.Spec) (device.Device, error) {
			if meet := spec.Rank.Meet; first && spec.Rank.Index == rank && at > 0 {
				left := at
				spec.Rank = &device.Rank{Index: rank, Ranks: ranks, Meet: func(mine any, do func([]any)) (time.Duration, error) {
					if left--; left == 0 {
						return 0, errors.New("lost")
					}
					return meet(mine, do)
				}}
			}
			return cpu.Open(spec)
		})
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// A rank that is lost in the middle of steps takes the gang down once: another is
// opened, and requests go on as if nothing had been.
func TestLostRankLosesNoRequest(t *testing.T) {
	reply := func(s *System) (all [][]int32) {
		var streams []*Stream
		for i := range int32(6) { // more than slots
			streams = append(streams, submit(t, s, &Request{Tokens: []int32{5 + i, 9, 40 + i}, MaxTokens: 12, IgnoreEOS: true}))
		}
		for _, st := range streams {
			got, f := collect(t, st)
			if f.Reason != FinishLength {
				t.Errorf("%+v", f)
			}
			all = append(all, got)
		}
		return all
	}
	opened := 0
	want := reply(gangSystem(t, 2, 0, 0, &opened))
	for rank := range 2 {
		for _, at := range []int{3, 20, 41} {
			opened = 0
			got := reply(gangSystem(t, 2, rank, at, &opened))
			if !slices.EqualFunc(got, want, slices.Equal) || opened != 2 {
				t.Errorf("rank %d lost at meeting %d: %d gangs, %v, want %v", rank, at, opened, got, want)
			}
		}
	}
}

// What ranks add up in is known to who asks for counters.
func TestGangStats(t *testing.T) {
	opened := 0
	s := gangSystem(t, 2, 0, 0, &opened)
	collect(t, submit(t, s, &Request{Tokens: []int32{5, 9}, MaxTokens: 4, IgnoreEOS: true}))
	if d := s.Stats().Device; d.Reducing <= 0 || d.Waiting <= 0 || d.Waiting > d.Reducing || d.Reducing > d.Busy {
		t.Errorf("%+v", d)
	}
	if i := s.Device(); i.Ranks != 2 || i.Name != "cpu" || !strings.HasPrefix(i.Hardware, "2 × ") {
		t.Errorf("%+v", i)
	}
}
