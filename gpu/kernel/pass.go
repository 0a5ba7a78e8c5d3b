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

// passWarps is how many warps of a block of decode_pass compute, four more are there for copies; they have passStep of a row's
// inputs at a time; passShared is the shared memory that it may have, passSlot that of a slot of its
// ring. A key head's history is shared out among at most passSplits blocks.
const (
	passWarps  = 8
	passStep   = 64 * passWarps
	passShared = 227 << 10
	passSlot   = 4096 * passWarps
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
	return s.Hopper > 0 && s.HeadDim == 128 && s.PageSize%16 == 0 && !s.KVCodes && s.KVHeads <= s.Hopper
}

// passFixed is the shared memory of a block beside the rings.
func (s Shape) passFixed(layers, hidden, intermediate int) int {
	group := s.Heads / s.KVHeads
	eights := func(outputs, pair int) int { return pair * ceil(outputs/8/pair, s.Hopper) } // of a block
	inputs := ceil(max(hidden, intermediate, s.Heads*s.HeadDim)/passStep, 4) * 4 * 128
	sums := max(eights((s.Heads+2*s.KVHeads)*s.HeadDim, passPair(hidden)), 2*eights(intermediate, 1), 16) + eights(hidden, 1)
	return passWarps*max(inputs, 4*group*s.HeadDim) + 32*passWarps*sums + passWarps*(4+8*group) + (group+2)*2*s.HeadDim + 48*layers + 6*32
}

// passRing is how many slots a block's ring has; 0: there is no room.
func (s Shape) passRing(layers, hidden, intermediate int) int {
	n := min((passShared-s.passFixed(layers, hidden, intermediate))/(passSlot+32), 6)
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
	return int64(4*(s.Heads+2*s.KVHeads)*s.HeadDim + 8*parts*(s.HeadDim+2) + 2*(s.Heads*s.HeadDim+4*hidden+intermediate))
}

// PassTensor is bf16 in memory as decode_pass reads it, dimension by dimension: how many elements, bytes
// from one to the next of each but the first, whose elements lie side by side, and how many of them are a piece.
type PassTensor struct {
	At     Ptr
	Size   [5]int
	Stride [4]int
	Box    [5]int
}

// passPair is how many blocks of eight rows of a matrix of the residual stream a piece has.
func passPair(hidden int) int {
	if hidden <= 2*passStep {
		return 2
	}
	return 1
}

// passTensor is a matrix by 64 inputs of eight rows, read by so many such blocks of rows, and (second 2) as many
// of the second half of the matrix's.
func passTensor(at Ptr, in, rows, second, pair int) PassTensor {
	return PassTensor{
		At: at, Size: [5]int{64, 8, in / 64, second, rows / second / 8}, Stride: [4]int{2 * in, 128, 2 * in * (rows / second), 16 * in},
		Box: [5]int{64, 8, 2 * passStep / 64 / second / pair, second, pair},
	}
}

// passTile is where keys and values are: a tile's of a head, by halves of the head. Which pages there are
// is the page table's to say.
func passTile(at Ptr, width int) PassTensor {
	return PassTensor{At: at, Size: [5]int{64, 1 << 31, width / 64, 1, 1}, Stride: [4]int{2 * width, 128, 128, 128}, Box: [5]int{64, 16, 2, 1, 1}}
}

// PassTensors are a layer's in the order in which maps of them lie, layer after layer.
func (s Shape) PassTensors(m PassMatrices, kv Ptr, hidden, intermediate int) []PassTensor {
	return []PassTensor{
		passTensor(m.QKV, hidden, (s.Heads+2*s.KVHeads)*s.HeadDim, 1, passPair(hidden)), passTensor(m.O, s.Heads*s.HeadDim, hidden, 1, 1),
		passTensor(m.GateUp, hidden, 2*intermediate, 2, 1), passTensor(m.Down, intermediate, hidden, 1, 1), passTile(kv, s.HeadDim),
	}
}

// PassHead is the head's, whose map comes last.
func PassHead(at Ptr, vocab, hidden int) PassTensor {
	return passTensor(at, hidden, vocab, 1, passPair(hidden))
}

// DecodePass computes all layers for one token.
func DecodePass(q Queue, s Shape, a PassArgs) error {
	layers, hidden, intermediate := int(a.NLayers), int(a.Hidden), int(a.Intermediate)
	if !s.PassFits(layers, hidden, intermediate) || !PassHeadFits(int(a.Vocab)) {
		return fmt.Errorf("kernel decode_pass: %d layers of %d and %d with heads of %d, %d logits", layers, hidden, intermediate, s.HeadDim, a.Vocab)
	}
	a.Window = window(a.Window)
	ring := s.passRing(layers, hidden, intermediate)
	l := launchOf(passKernels[ring], s.Hopper, 1, 32*(passWarps+4), &a)
	l.Shared = ring*(passSlot+32) + s.passFixed(layers, hidden, intermediate)
	l.Together = true
	return q.Launch(l)
}
