//go:build cuda

package cuda

// #include <cublasLt.h>
import "C"

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"unsafe"

	"github.com/troupe-llm/troupe/gpu/kernel"
	"github.com/troupe-llm/troupe/gpu/kernel/lower"
	"gorgonia.org/cu"
)

// A deterministic device multiplies a row to the same bits by whatever number of rows it
// does so. What is fastest for 16 rows is not what is for 4,096, but kernels that add up
// a sum in one piece mostly do so in the same steps of the tensor cores, whatever their tiles
// are: on an H200 all that cuBLASLt offers do. So for every number of rows one is
// taken that is fast, of those whose results, of numbers that were drawn, are one
// algorithm's to the bit; that one if none is. The reference is the same in every run with
// the library's version and the GPU's kind, since what it offers is, and which of those like it is
// taken changes no bit: it may be timed. For few rows it has to be: of products that are best split, and must not
// be, the library's first takes 427 µs where its first for 256 rows takes 75, with 16 rows of 17,408 for 5,120.

const (
	tried    = 12      // algorithms for a number of rows
	compared = 1 << 20 // results at least, as far as there is memory for their rows
)

// timed are the numbers of rows for which algorithms are timed; up to the last the fastest for
// the next of them is taken. To time all took 0.85 s of a start with Qwen3-0.6B.
var timed = []int{16, 64, 128, 256, 512}

// pinner chooses.
type pinner struct {
	*blas
	queue   *queue
	digests kernel.Ptr // u64 [most rows]
}

// pinProducts chooses how products are multiplied, by all numbers of rows. What passes
// compute in has other contents then.
func (e *engine) pinProducts() error {
	list := distinct(e.plans.products)
	at, err := cu.MemAlloc(int64(8 * list[0].most))
	if err != nil {
		return fmt.Errorf("cuda: %d KiB to compare products in: %w", list[0].most>>7, err)
	}
	p := pinner{e.blas, e.queue, kernel.Ptr(at)}
	for _, l := range list {
		if err = p.pin(l.factors); err != nil {
			err = fmt.Errorf("cuda: deterministic products for %s: %w", l.name, err)
			break
		}
	}
	e.blas.pinned = true
	return errors.Join(err, cu.MemFree(at))
}

// pin chooses for a product of up to most rows.
func (p *pinner) pin(f factors) error {
	if err := p.fill(f); err != nil {
		return err
	}
	f.n = f.most
	reference, want, err := p.reference(f)
	if err != nil {
		return err
	}
	orders, err := p.orders(f, reference)
	if err != nil {
		return err
	}
	for n := 1; n <= f.most; n = f.n + 1 {
		f.n = min(lower.AlikeRows(n), f.most)
		var list []C.cublasLtMatmulAlgo_t
		if i, _ := slices.BinarySearch(timed, f.n); i < len(timed) {
			list = orders[i]
		} else if list, err = p.offered(f); err != nil {
			return err
		}
		if p.chosen[f.like()], err = p.alike(f, append(list[:len(list):len(list)], reference), want); err != nil {
			return err
		}
	}
	return nil
}

// orders are, for each number of rows that is timed, the algorithms for any of these, the
// fastest first.
func (p *pinner) orders(f factors, reference C.cublasLtMatmulAlgo_t) ([][]C.cublasLtMatmulAlgo_t, error) {
	orders, pool := make([][]C.cublasLtMatmulAlgo_t, len(timed)), []C.cublasLtMatmulAlgo_t{reference}
	for i, n := range timed {
		list, err := p.offered(f.of(min(n, f.most)))
		if err != nil {
			return nil, err
		}
		orders[i] = list
		pool = append(pool, list[:min(4, len(list))]...)
	}
	for i, n := range timed {
		var err error
		if orders[i], err = p.fastest(f.of(min(n, f.most)), append(orders[i], pool...)); err != nil {
			return nil, err
		}
	}
	return orders, nil
}

// offered are the algorithms that the library thinks fastest for so many rows.
func (p *pinner) offered(f factors) (list []C.cublasLtMatmulAlgo_t, err error) {
	found, err := p.candidates(f.like(), tried, true)
	for i := range found {
		list = append(list, found[i].algo)
	}
	return list, err
}

// fill draws what is multiplied. Scales of rows in codes are 1.
func (p *pinner) fill(f factors) error {
	n := int64(f.most) * int64(f.in)
	if f.scaling == unscaled {
		return kernel.FillRandom(p.queue, f.x, n, 3, 1)
	}
	if _, err := kernel.FillCodes(p.queue, f.x, n, f.in, 1); err != nil || f.scaling == bare {
		return err
	}
	scales := int64(f.most)
	if f.scaling == byBlocks {
		scales *= int64(f.in / kernel.CodeGroup)
	}
	return cu.MemsetD32Async(cu.DevicePtr(f.xs), 0x3f800000, scales, p.stream)
}

// reference is the algorithm that all must be like, and what rows become by it: what the
// first choices for few, some and many rows agree on, the most of them.
func (p *pinner) reference(f factors) (best C.cublasLtMatmulAlgo_t, want []uint64, err error) {
	votes, few := map[uint64]int{}, min(16, f.most)
	for _, n := range []int{f.most, 256, 64, 16} {
		found, err := p.candidates(f.of(min(n, f.most)).like(), tried, true)
		if err != nil {
			return best, nil, err
		}
		for i := range found {
			some, err := p.multiplied(f.of(few), &found[i].algo)
			if err != nil {
				continue
			}
			all, err := p.multiplied(f.of(f.most), &found[i].algo)
			if err != nil || !slices.Equal(some, all[:few]) {
				continue
			}
			if votes[all[0]]++; want == nil || votes[all[0]] > votes[want[0]] {
				best, want = found[i].algo, all
			}
			break
		}
	}
	if want == nil {
		return best, nil, errors.New("cuBLASLt has no algorithm for both 16 rows and all")
	}
	return best, want, nil
}

// alike is the first of some algorithms whose bits, of so many rows, are those that are wanted.
func (p *pinner) alike(f factors, list []C.cublasLtMatmulAlgo_t, want []uint64) (algo C.cublasLtMatmulAlgo_t, err error) {
	for i := range list {
		if p.agrees(f, &list[i], want) {
			return list[i], nil
		}
	}
	return algo, fmt.Errorf("cuBLASLt multiplies no %d rows as it does %d", f.n, f.most)
}

// fastest puts algorithms in the order of what they take, the fastest first, and leaves out
// those that take others for a product of this shape. The library's first keeps its place
// unless another is clearly faster.
func (p *pinner) fastest(f factors, list []C.cublasLtMatmulAlgo_t) ([]C.cublasLtMatmulAlgo_t, error) {
	d, err := f.describe()
	if err != nil {
		return nil, err
	}
	best, took := math.Inf(1), map[C.cublasLtMatmulAlgo_t]float64{}
	for i := range list {
		algo := &list[i]
		if _, again := took[*algo]; again || p.run(f, &d, algo) != nil { // which loads it, too
			continue
		}
		for _, runs := range []int{1, 5, 5} {
			ns, err := timeOn(p.stream, func() error {
				for range runs {
					if err := p.run(f, &d, algo); err != nil {
						return err
					}
				}
				return nil
			})
			if err != nil {
				return nil, err
			}
			if took[*algo] = float64(ns) / float64(runs); took[*algo] > 2*best+2e4 {
				break // than what events and launches cost
			}
		}
		if i == 0 {
			took[*algo] *= 0.95
		}
		best = min(best, took[*algo])
	}
	able := slices.Collect(maps.Keys(took))
	slices.SortFunc(able, func(a, b C.cublasLtMatmulAlgo_t) int { return cmp.Compare(took[a], took[b]) })
	return able, nil
}

// agrees says whether rows become what is wanted: those from the first on, then the next
// ones, until enough were compared.
func (p *pinner) agrees(f factors, algo *C.cublasLtMatmulAlgo_t, want []uint64) bool {
	row := int64(f.in) // bytes
	if f.scaling == unscaled {
		row *= bf16
	}
	x := f.x
	for at := 0; at+f.n <= f.most && (at == 0 || at*f.out < compared); at += f.n {
		f.x = x.Plus(int64(at) * row)
		if got, err := p.multiplied(f, algo); err != nil || !slices.Equal(got, want[at:at+f.n]) {
			return false
		}
	}
	return true
}

// multiplied is what rows become by an algorithm.
func (p *pinner) multiplied(f factors, algo *C.cublasLtMatmulAlgo_t) ([]uint64, error) {
	element := bf16
	if f.float {
		element = f32
	}
	if f.add {
		if err := cu.MemsetD8Async(cu.DevicePtr(f.y), 0, int64(f.n)*int64(f.ld)*int64(element), p.stream); err != nil {
			return nil, err
		}
	}
	d, err := f.describe()
	if err != nil {
		return nil, err
	}
	if err := p.run(f, &d, algo); err != nil {
		return nil, err
	}
	a := kernel.DigestArgs{Y: f.y, Out: p.digests, Columns: int32(f.out), Ld: int32(f.ld), Half: flagOf(!f.float)}
	if err := kernel.Digest(p.queue, a, f.n); err != nil {
		return nil, err
	}
	got := make([]uint64, f.n)
	if err := p.stream.Synchronize(); err != nil {
		return nil, err
	}
	return got, cu.MemcpyDtoH(unsafe.Pointer(&got[0]), cu.DevicePtr(p.digests), int64(8*f.n))
}
