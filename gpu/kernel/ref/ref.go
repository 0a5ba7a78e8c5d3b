// Package ref computes what kernels compute, slowly and in double precision,
// on values that were rounded to bf16 before.
package ref

import (
	"cmp"
	"math"
	"slices"
)

// RMSNorm is y = x / √(mean(x²) + eps) · w for rows of len(w).
func RMSNorm(x, w []float32, eps float32) []float32 {
	y := make([]float32, len(x))
	for at := 0; at < len(x); at += len(w) {
		sum := 0.0
		for i := range w {
			sum += float64(x[at+i]) * float64(x[at+i])
		}
		scale := 1 / math.Sqrt(sum/float64(len(w))+float64(eps))
		for i := range w {
			y[at+i] = float32(float64(x[at+i]) * scale * float64(w[i]))
		}
	}
	return y
}

// Rope turns the leading len(angles) elements of one head: bias is added and
// RMSNorm taken first, unless they are nil; angles are the position's cosines and
// sines, in turns, nil for values.
func Rope(x, bias, norm, angles []float32, eps float32) []float32 {
	y := append([]float32{}, x...)
	for i := range bias {
		y[i] += bias[i]
	}
	if norm != nil {
		y = RMSNorm(y, norm, eps)
	}
	half := len(angles) / 2
	for i := range half {
		cos, sin := float64(angles[2*i]), float64(angles[2*i+1])
		a, b := float64(y[i]), float64(y[half+i])
		y[i], y[half+i] = float32(a*cos-b*sin), float32(b*cos+a*sin)
	}
	return y
}

// SiluMul is gate/(1+e^−gate)·up for rows of n gates, then n ups.
func SiluMul(x []float32, n int) []float32 {
	var y []float32
	for ; len(x) > 0; x = x[2*n:] {
		for i := range n {
			g, u := float64(x[i]), float64(x[n+i])
			y = append(y, float32(g/(1+math.Exp(-g))*u))
		}
	}
	return y
}

// Gate is act(gate)·up for rows of n gates, then n ups, as package program says
// of "gelu" and "clamped".
func Gate(x []float32, n int, activation string) []float32 {
	var y []float32
	for ; len(x) > 0; x = x[2*n:] {
		for i := range n {
			g, u := float64(x[i]), float64(x[n+i])
			switch activation {
			case "gelu":
				g *= 0.5 * (1 + math.Tanh(math.Sqrt(2/math.Pi)*(g+0.044715*g*g*g)))
			case "clamped":
				g, u = min(g, 7), max(-7, min(u, 7))+1
				g *= sigmoid(1.702 * g)
			}
			y = append(y, float32(g*u))
		}
	}
	return y
}

func sigmoid(x float64) float64 { return 1 / (1 + math.Exp(-x)) }

// Product is y[n, out] = x[n, in]·wᵀ for w of [out, in].
func Product(x, w []float32, in int) []float32 {
	var y []float32
	for ; len(x) > 0; x = x[in:] {
		for at := 0; at < len(w); at += in {
			sum := 0.0
			for i := range in {
				sum += float64(x[i]) * float64(w[at+i])
			}
			y = append(y, float32(sum))
		}
	}
	return y
}

// Turn rotates one head: pair (i, i+len/2) by angles[i].
func Turn(x []float32, angles []float64) []float32 {
	half := len(x) / 2
	y := make([]float32, len(x))
	for i, angle := range angles {
		s, c := math.Sincos(angle)
		a, b := float64(x[i]), float64(x[i+half])
		y[i], y[i+half] = float32(a*c-b*s), float32(b*c+a*s)
	}
	return y
}

// Attention is Σ softmax(q·k/√D) v for one query head over n positions; key and
// value return those of a position.
func Attention(q []float32, n int, key, value func(position int) []float32) []float32 {
	return Windowed(q, 0, n, math.Inf(-1), key, value)
}

// Windowed is Attention over positions first to n−1 whose softmax has exp(sink)
// more under it. Values may have another length than keys.
func Windowed(q []float32, first, n int, sink float64, key, value func(position int) []float32) []float32 {
	scores := make([]float64, n)
	top := sink
	for p := first; p < n; p++ {
		for i, k := range key(p) {
			scores[p] += float64(q[i]) * float64(k)
		}
		scores[p] /= math.Sqrt(float64(len(q)))
		top = max(top, scores[p])
	}
	sum, out := math.Exp(sink-top), make([]float64, len(value(first)))
	for p := first; p < n; p++ {
		w := math.Exp(scores[p] - top)
		sum += w
		for i, v := range value(p) {
			out[i] += w * float64(v)
		}
	}
	y := make([]float32, len(out))
	for i := range y {
		y[i] = float32(out[i] / sum)
	}
	return y
}

// Logprobs is the log-probability of every token, and the k likeliest tokens,
// best first, ties by lower id.
func Logprobs(z []float32, k int) (all []float64, top []int32) {
	order := make([]int32, len(z))
	highest := math.Inf(-1)
	for i, v := range z {
		order[i] = int32(i)
		highest = max(highest, float64(v))
	}
	sum := 0.0
	for _, v := range z {
		sum += math.Exp(float64(v) - highest)
	}
	for _, v := range z {
		all = append(all, float64(v)-highest-math.Log(sum))
	}
	slices.SortStableFunc(order, func(a, b int32) int { return cmp.Compare(z[b], z[a]) })
	return all, order[:min(k, len(order))]
}

// Route picks the k experts of largest logits for each row of n, the first among
// equals, and their shares: of the softmax over all, or with normalize over
// those k.
func Route(logits []float32, n, k int, normalize bool) (choice []int32, share []float32) {
	for ; len(logits) > 0; logits = logits[n:] {
		row := logits[:n]
		experts := make([]int32, n)
		for e := range experts {
			experts[e] = int32(e)
		}
		slices.SortStableFunc(experts, func(a, b int32) int { return cmp.Compare(row[b], row[a]) })
		of := experts
		if normalize {
			of = experts[:k]
		}
		sum, top := 0.0, float64(row[experts[0]])
		for _, e := range of {
			sum += math.Exp(float64(row[e]) - top)
		}
		for _, e := range experts[:k] {
			choice = append(choice, e)
			share = append(share, float32(math.Exp(float64(row[e])-top)/sum))
		}
	}
	return choice, share
}

// Scores is how ScoredRoute chooses experts; see program.Route.
type Scores struct {
	Correction          []float32 // nil: none
	Groups, GroupsTaken int
	Sigmoid, Normalize  bool
	Scale               float64
}

// ScoredRoute picks the k experts of largest corrected score for each row of n
// logits, the first among equals, of the best groups' alone, and their shares.
func ScoredRoute(logits []float32, n, k int, s Scores) (choice []int32, share []float32) {
	for ; len(logits) > 0; logits = logits[n:] {
		score, rank := make([]float64, n), make([]float64, n)
		sum := 0.0
		for e, z := range logits[:n] {
			score[e] = math.Exp(float64(z))
			sum += score[e]
		}
		for e, z := range logits[:n] {
			score[e] /= sum
			if s.Sigmoid {
				score[e] = sigmoid(float64(z))
			}
			rank[e] = score[e]
			if s.Correction != nil {
				rank[e] += float64(s.Correction[e])
			}
		}
		best := func(of []float64, k int) []int {
			order := make([]int, len(of))
			for i := range order {
				order[i] = i
			}
			slices.SortStableFunc(order, func(a, b int) int { return cmp.Compare(of[b], of[a]) })
			return order[:k]
		}
		if s.Groups > 1 {
			size, sums := n/s.Groups, make([]float64, s.Groups)
			for g := range sums {
				group := rank[g*size:][:size]
				for _, e := range best(group, 2) {
					sums[g] += group[e]
				}
			}
			taken := best(sums, s.GroupsTaken)
			for e := range rank {
				if !slices.Contains(taken, e/size) {
					rank[e] = math.Inf(-1)
				}
			}
		}
		chosen, total := best(rank, k), 1.0
		if s.Normalize {
			total = 0
			for _, e := range chosen {
				total += score[e]
			}
		}
		for _, e := range chosen {
			choice = append(choice, int32(e))
			share = append(share, float32(score[e]/total*s.Scale))
		}
	}
	return choice, share
}

// Expert is what one expert makes of a row: in the gate's place, silu(g)·u·share,
// where g|u = x·gateUpᵀ.
func Expert(x, gateUp []float32, share float32) []float32 {
	y := SiluMul(Product(x, gateUp, len(x)), len(gateUp)/len(x)/2)
	for i := range y {
		y[i] *= share
	}
	return y
}
