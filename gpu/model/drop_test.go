package model

import (
	"bytes"
	"slices"
	"testing"
)

// What is dropped reads the same again, and what is no mapped file is let be.
func TestDrop(t *testing.T) {
	m := mustOpen(t, testdata("qwen3"))
	for _, w := range m.Config.Program.Weights {
		for _, s := range m.Weights.Of(w).Sources {
			before := bytes.Clone(s.Tensor.Data)
			for _, part := range [][2]int{{0, len(before)}, {1, len(before) - 1}, {3, 3}} {
				s.Tensor.Drop(part[0], part[1])
			}
			if !slices.Equal(s.Tensor.Data, before) {
				t.Fatalf("%s reads otherwise", s.Tensor.Name)
			}
		}
	}
	own := &Tensor{Data: bytes.Repeat([]byte{7}, 1<<16)}
	own.Drop(0, len(own.Data))
	if slices.Contains(own.Data, 0) {
		t.Error("memory that is no file was dropped")
	}
}
