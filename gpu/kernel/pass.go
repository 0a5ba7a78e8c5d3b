package kernel

import "fmt"

// PassLayer is what decode_pass has of a layer beside its matrices. QNorm, KNorm and Bias may
// be 0.
type PassLayer struct{ Norm, MLPNorm, QNorm, KNorm, Bias, KV Ptr }

// PassMatrices are a layer's.
type PassMatrices struct{ QKV, O, GateUp, Down Ptr }

// PassArgs: see pass_hopper.cu.
type PassArgs struct {
	X, Layers, Maps, Positions, TokenSlots, RowSlots, RowLens, Table, Angles, HeadNorm, Logits, Words, Counts Ptr

	NLayers, Hidden, Intermediate int32
	Vocab                         int32 // 0: no logits
	TableStride                   int32
	Window                        int32 // 0: all positions
	Eps, Scale                    float32
}

// passWarps is how many warps a block of decode_pass has, which have passStep of a row's
// inputs at a time; passShared is the shared memory that it may have, passSlot that of a slot of a
// warp's ring. A key head's history is shared out among at most passSplits blocks.
const (
	passWarps  = 8
	passStep   = 64 * passWarps
	passShared = 227 << 10
	passSlot   = 4096
	passSplits = 32
)

var passKernels = map[int]*Kernel{
	4: newPass("decode_pass_4"), 5: newPass("decode_pass_5"), 6: newPass("decode_pass_6"),
}

func newPass(name string) *Kernel {
	return newKernel[PassArgs]("pass_hopper.cu", name, func(Shape) int { return passShared })
}

// passes says whether decode_pass is for that shape.
func (s Shape) passes() bool {
	return s.Hopper > 0 && s.HeadDim == 128 && !s.KVCodes && s.KVHeads <= s.Hopper
}

// passFixed is the shared memory of a block beside the rings.
func (s Shape) passFixed(layers, hidden, intermediate int) int {
	group := s.Heads / s.KVHeads
	eights := func(outputs, pair int) int { return pair * ceil(outputs/8/pair, s.Hopper) } // of a block
	inputs := ceil(max(hidden, intermediate, s.Heads*s.HeadDim)/passStep, 4) * 4 * 128
	sums := max(eights((s.Heads+2*s.KVHeads)*s.HeadDim, passPair(hidden)), 2*eights(intermediate, 1), 16) + eights(hidden, 1)
	return passWarps*max(inputs, 4*group*s.HeadDim) + 32*passWarps*sums + passWarps*(4+8*group) + (group+2)*2*s.HeadDim + 48*layers + 6*32
}

// passRing is how many slots a warp's ring has; 0: there is no room.
func (s Shape) passRing(layers, hidden, intermediate int) int {
	n := min((passShared-s.passFixed(layers, hidden, intermediate))/(passWarps*(passSlot+8)), 6)
	if n < 4 {
		return 0
	}
	return n
}

// PassFits says whether decode_pass takes a model of such layers.
func (s Shape) PassFits(layers, hidden, intermediate int) bool {
	return s.passes() && hidden%passStep == 0 && intermediate%passStep == 0 && s.Heads*s.HeadDim%passStep == 0 && hidden <= 8*32*s.Hopper &&
		s.passRing(layers, hidden, intermediate) > 0
}

// PassHeadFits says whether it makes logits.
func PassHeadFits(vocab int) bool { return vocab%16 == 0 }

// PassWords is the memory that its blocks talk by, in bytes; it must be zeroed once.
func (s Shape) PassWords(hidden, intermediate int) int64 {
	parts := passSplits * s.Heads
	return 8 * int64((s.Heads+2*s.KVHeads)*s.HeadDim+parts*(s.HeadDim+2)+s.Heads*s.HeadDim/2+2*(hidden/2+hidden/8)+intermediate/2)
}

// PassTensor is a matrix as decode_pass reads it: pieces of 64 inputs of each of some steps,
// passStep apart, of Rows of BoxRows beside each other, and (Second 2) of the same number of the second
// half of the matrix's.
type PassTensor struct {
	At                           Ptr
	In, Rows, Second             int
	Step                         int
	BoxRows, BoxSecond, BoxSteps int
}

// passPair is how many blocks of eight rows of a matrix of the residual stream a piece has.
func passPair(hidden int) int {
	if hidden <= 2*passStep {
		return 2
	}
	return 1
}

// passTensor is a matrix read by so many blocks of eight rows.
func passTensor(at Ptr, in, rows, pair int) PassTensor {
	return PassTensor{At: at, In: in, Rows: rows, Second: 1, Step: passStep, BoxRows: 8 * pair, BoxSecond: 1, BoxSteps: 4 / pair}
}

// PassTensors are a layer's matrices in the order in which maps of them lie, layer after layer.
func (s Shape) PassTensors(m PassMatrices, hidden, intermediate int) []PassTensor {
	gates := PassTensor{At: m.GateUp, In: hidden, Rows: intermediate, Second: 2, Step: passStep, BoxRows: 8, BoxSecond: 2, BoxSteps: 2}
	return []PassTensor{
		passTensor(m.QKV, hidden, (s.Heads+2*s.KVHeads)*s.HeadDim, passPair(hidden)), passTensor(m.O, s.Heads*s.HeadDim, hidden, 1), gates,
		passTensor(m.Down, intermediate, hidden, 1),
	}
}

// PassHead is the head's, whose map comes last.
func PassHead(at Ptr, vocab, hidden int) PassTensor {
	return passTensor(at, hidden, vocab, passPair(hidden))
}

// DecodePass computes all layers for one token.
func DecodePass(q Queue, s Shape, a PassArgs) error {
	layers, hidden, intermediate := int(a.NLayers), int(a.Hidden), int(a.Intermediate)
	if !s.PassFits(layers, hidden, intermediate) || !PassHeadFits(int(a.Vocab)) {
		return fmt.Errorf("kernel decode_pass: %d layers of %d and %d with heads of %d, %d logits", layers, hidden, intermediate, s.HeadDim, a.Vocab)
	}
	a.Window = window(a.Window)
	ring := s.passRing(layers, hidden, intermediate)
	l := launchOf(passKernels[ring], s.Hopper, 1, 32*passWarps, &a)
	l.Shared = ring*passWarps*(passSlot+8) + s.passFixed(layers, hidden, intermediate)
	return q.Launch(l)
}
