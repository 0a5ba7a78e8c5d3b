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
			if !s.Tensor.mapped {
				t.Fatalf("%s is no view of a file", s.Tensor.Name)
			}
			s.Tensor.Drop()
			if !slices.Equal(s.Tensor.Data, before) {
				t.Fatalf("%s reads otherwise", s.Tensor.Name)
			}
		}
	}
	own := &Tensor{Data: bytes.Repeat([]byte{7}, 1<<16)}
	own.Drop()
	if slices.Contains(own.Data, 0) {
		t.Error("memory that is no file was dropped")
	}
}
