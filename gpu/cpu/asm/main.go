// Command asm writes the vector kernels of package cpu: ../kernel_amd64.s, their
// declarations, and tables of products of whole numbers, ../blocks_amd64.go. It is a module of its own so that users of the server
// need no assembler generator.
//
//	cd gpu/cpu/asm && go generate
//
// Every kernel exists twice, for AVX-512 and for AVX2 with FMA, products of whole
// numbers also for AVX-VNNI and AMX, and gives the bits of its portable twin in ../kernel.go: the order of every sum is fixed
// there. Vector registers are named, not allocated, because the allocator does
// not know that VEX instructions cannot encode registers above 15.
package main

//go:generate go run . -out ../kernel_amd64.s -stubs ../kernel_stubs_amd64.go -pkg cpu

import (
	"fmt"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

func main() {
	for _, s := range []*set{avx512, avx2} {
		for _, w := range []weights{bf16, f32} {
			for m := 1; m <= s.rows; m++ {
				s.gemm(w, m)
			}
			s.gemv(w)
		}
		s.sizes()
		s.round()
		s.scores()
		s.values()
		s.expSum()
		s.maxOf()
		s.sumSquares()
		s.mulScale()
		s.turn()
		s.widenBF16()
		s.widenInt8()
		s.swiglu()
		s.read()
		s.peak()
	}
	for _, d := range sets {
		for _, w := range wholes {
			for m := 1; m <= d.rowsOf(w); m++ {
				d.product(w, m)
			}
		}
	}
	for _, w := range wholes {
		if w.eight() {
			tiled(w, 1)
			tiled(w, 2)
		}
	}
	for m := 1; m <= avx512.rows; m++ {
		avx512.gemm(bf16dot, m)
	}
	avx512.gemv(bf16dot)
	pairs()
	peakDots()
	scores4()
	values4()
	prefetch()
	TEXT("pause", noSplit, "func()")
	Doc("pause is a moment of waiting for another core.")
	PAUSE()
	RET()
	Generate()
	tables()
}

const noSplit = 4

// set is an instruction set. What belongs to 16 adjacent float32, a group,
// takes parts registers.
type set struct {
	name  string
	rows  int // that a gemm takes at most
	parts int // registers of a group
	bytes int // of a register
	regs  []reg.VecPhysical
}

var (
	avx512 = &set{"AVX512", 12, 1, 64, []reg.VecPhysical{
		reg.Z0, reg.Z1, reg.Z2, reg.Z3, reg.Z4, reg.Z5, reg.Z6, reg.Z7,
		reg.Z8, reg.Z9, reg.Z10, reg.Z11, reg.Z12, reg.Z13, reg.Z14, reg.Z15,
		reg.Z16, reg.Z17, reg.Z18, reg.Z19, reg.Z20, reg.Z21, reg.Z22, reg.Z23,
		reg.Z24, reg.Z25, reg.Z26, reg.Z27, reg.Z28, reg.Z29, reg.Z30, reg.Z31,
	}}
	avx2 = &set{"AVX2", 3, 2, 32, []reg.VecPhysical{
		reg.Y0, reg.Y1, reg.Y2, reg.Y3, reg.Y4, reg.Y5, reg.Y6, reg.Y7,
		reg.Y8, reg.Y9, reg.Y10, reg.Y11, reg.Y12, reg.Y13, reg.Y14, reg.Y15,
	}}
)

// vectors hands out a function's vector registers, lowest first.
type vectors struct {
	*set
	next int
}

func (s *set) vectors() *vectors { return &vectors{set: s} }

func (v *vectors) one() reg.VecPhysical {
	r := v.regs[v.next]
	v.next++
	return r
}

func (v *vectors) some(n int) []reg.VecPhysical {
	r := make([]reg.VecPhysical, n)
	for i := range r {
		r[i] = v.one()
	}
	return r
}

// function begins a kernel of the set.
func (s *set) function(name, signature, doc string) *vectors {
	name += s.name
	TEXT(name, noSplit, signature)
	Pragma("noescape")
	Doc(name + " " + doc)
	return s.vectors()
}

func (s *set) zero(rs ...reg.VecPhysical) {
	for _, r := range rs {
		if s == avx512 {
			VPXORD(r, r, r)
		} else {
			VXORPS(r, r, r)
		}
	}
}

// fill sets every element of r to a constant.
func (s *set) fill(r reg.VecPhysical, bits uint32) {
	g := GP32()
	MOVL(U32(bits), g)
	if s == avx512 {
		VPBROADCASTD(g, r)
	} else {
		VMOVD(g, r.AsX())
		VPBROADCASTD(r.AsX(), r)
	}
}

// argument loads a 64-bit parameter.
func argument(name string) reg.GPVirtual {
	r := GP64()
	Load(Param(name), r)
	return r
}

// at is the memory disp bytes behind base.
func at(base reg.Register, disp int) Mem { return Mem{Base: base, Disp: disp} }

// loop runs body while n ≥ step, taking step from n each time; body's jumps
// need the loop's name to be unique in the function.
func loop(name string, n reg.GPVirtual, step int, body func()) {
	Label(name)
	CMPQ(n, I32(step))
	JL(LabelRef(name + "End"))
	body()
	SUBQ(I32(step), n)
	JMP(LabelRef(name))
	Label(name + "End")
}

func numbered(name string, n int) string { return fmt.Sprint(name, n) }

// ahead is how far before their use weights of one stream are asked for. Between them and
// their use stand more instructions than a core looks ahead over: by itself a Zen 5 core
// read Q4_K at 25 GB/s, int4 at 33 and int8 at 39, of 42 that it can; 4 KiB ahead at 37, 39
// and 39, 8 at 38, 41 and 41, 1 KiB ahead as without. Sixteen rows were 15 to 30% faster with it.
const ahead = 8 << 10

// fetch asks for n bytes from p+offset, ahead of their use.
func fetch(p reg.Register, offset, n int) {
	for i := 0; i < n; i += 64 {
		PREFETCHT0(Mem{Base: p, Disp: offset + i + ahead})
	}
}

// prefetch asks for memory that is used soon.
func prefetch() {
	TEXT("prefetch", noSplit, "func(p *byte, n int)")
	Pragma("noescape")
	Doc("prefetch asks for n bytes from p on, whole lines of the cache.")
	p, n := argument("p"), argument("n")
	loop("lines", n, 64, func() {
		PREFETCHT0(at(p, 0))
		ADDQ(I32(64), p)
	})
	RET()
}
