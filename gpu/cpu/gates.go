package cpu

import (
	"math"
	"unsafe"

	"github.com/troupe-llm/troupe/gpu/program"
)

// Gates without assembly: every instruction set computes them so. They are a few
// numbers for each thousand that products take.

// geglu writes y[i] = gelu(g[i])·u[i].
func geglu(y, g, u *float32, n int) {
	to, gates, ups := unsafe.Slice(y, n), unsafe.Slice(g, n), unsafe.Slice(u, n)
	for i, x := range gates {
		v := float64(x)
		t := math.Tanh(0.7978845608028654 * (v + 0.044715*v*v*v)) // √(2/π)
		to[i] = float32(0.5*v*(1+t)) * ups[i]
	}
}

// clampedGate writes y[i] = g·σ(1.702·g)·(u+1), g and u within ±7; g has no least.
func clampedGate(y, g, u *float32, n int) {
	to, gates, ups := unsafe.Slice(y, n), unsafe.Slice(g, n), unsafe.Slice(u, n)
	for i, x := range gates {
		g, u := min(x, 7), max(-7, min(ups[i], 7))
		to[i] = float32(float64(g)*sigmoid(1.702*float64(g))) * (u + 1)
	}
}

func sigmoid(x float64) float64 { return 1 / (1 + math.Exp(-x)) }

// multiplyBy is x *= act(by), of a row.
func (e *engine) multiplyBy(o *program.Multiply) epilogue {
	x, by := e.plan.view(o.X), e.plan.view(o.By)
	return func(row, rowEnd, _, _ int) {
		for ; row < rowEnd; row++ {
			to, from := x.row(row), by.row(row)
			if len(from) == 1 {
				share := activated(o.Activation, from[0])
				for j := range to {
					to[j] *= share
				}
				continue
			}
			for j, v := range from {
				to[j] *= activated(o.Activation, v)
			}
		}
	}
}

func activated(a program.Activation, v float32) float32 {
	s := sigmoid(float64(v))
	if a == program.SiLU {
		s *= float64(v)
	}
	return float32(s)
}

// scale is x *= by, of a row.
func scale(x view, by float32) epilogue {
	return func(row, rowEnd, _, _ int) {
		for ; row < rowEnd; row++ {
			to := x.row(row)
			for j := range to {
				to[j] *= by
			}
		}
	}
}

// positionScale is x times what grows with the position, of a row.
func (e *engine) positionScale(o *program.PositionScale) epilogue {
	x := e.plan.view(o.X)
	return func(row, rowEnd, _, _ int) {
		for ; row < rowEnd; row++ {
			periods := e.work.tokens[row].position / int32(o.Original)
			by := float32(1 + o.Beta*math.Log(1+float64(periods)))
			to := x.row(row)
			for j := range to {
				to[j] *= by
			}
		}
	}
}
