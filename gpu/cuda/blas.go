//go:build cuda

package cuda

/*
#include <cuda.h>
#include <cublasLt.h>

typedef struct {
	cublasLtMatmulDescOpaque_t desc;
	cublasLtMatrixLayoutOpaque_t w, x, y;
} troupe_product;

// Codes of E4M3 and their scales, whose sums are added up precisely: those of
// thousands of inputs would else be wrong by as much as a quarter.
static cublasStatus_t troupe_scale(troupe_product *p, int scaling, CUdeviceptr ws, CUdeviceptr xs) {
	const int32_t modes[][2] = {{0, 0}, {0, 0},
		{CUBLASLT_MATMUL_MATRIX_SCALE_OUTER_VEC_32F, CUBLASLT_MATMUL_MATRIX_SCALE_OUTER_VEC_32F},
		{CUBLASLT_MATMUL_MATRIX_SCALE_BLK128x128_32F, CUBLASLT_MATMUL_MATRIX_SCALE_VEC128_32F}};
	const void *w = (void *)ws, *x = (void *)xs;
	int8_t fast = 0;
	cublasStatus_t r = cublasLtMatmulDescSetAttribute(&p->desc, CUBLASLT_MATMUL_DESC_FAST_ACCUM, &fast, sizeof fast);
	if (r || scaling < 2) return r;
	if ((r = cublasLtMatmulDescSetAttribute(&p->desc, CUBLASLT_MATMUL_DESC_A_SCALE_MODE, &modes[scaling][0], sizeof(int32_t)))) return r;
	if ((r = cublasLtMatmulDescSetAttribute(&p->desc, CUBLASLT_MATMUL_DESC_B_SCALE_MODE, &modes[scaling][1], sizeof(int32_t)))) return r;
	if ((r = cublasLtMatmulDescSetAttribute(&p->desc, CUBLASLT_MATMUL_DESC_A_SCALE_POINTER, &w, sizeof w))) return r;
	return cublasLtMatmulDescSetAttribute(&p->desc, CUBLASLT_MATMUL_DESC_B_SCALE_POINTER, &x, sizeof x);
}

// y[n, m] (+)= x[n, k] · w[m, k]ᵀ, row-major: to cuBLASLt, which is
// column-major, y = wᵀ·x.
static cublasStatus_t troupe_describe(troupe_product *p, uint64_t m, uint64_t n, uint64_t k, uint64_t ldy, int to_float,
		int scaling, CUdeviceptr ws, CUdeviceptr xs) {
	cublasOperation_t transpose = CUBLAS_OP_T;
	cudaDataType type = scaling ? CUDA_R_8F_E4M3 : CUDA_R_16BF;
	cublasStatus_t r;
	if ((r = cublasLtMatmulDescInit(&p->desc, CUBLAS_COMPUTE_32F, CUDA_R_32F))) return r;
	if ((r = cublasLtMatmulDescSetAttribute(&p->desc, CUBLASLT_MATMUL_DESC_TRANSA, &transpose, sizeof transpose))) return r;
	if (scaling && (r = troupe_scale(p, scaling, ws, xs))) return r;
	if ((r = cublasLtMatrixLayoutInit(&p->w, type, k, m, k))) return r;
	if ((r = cublasLtMatrixLayoutInit(&p->x, type, k, n, k))) return r;
	return cublasLtMatrixLayoutInit(&p->y, to_float ? CUDA_R_32F : CUDA_R_16BF, m, n, ldy);
}

static cublasStatus_t troupe_candidates(cublasLtHandle_t h, troupe_product *p, uint64_t workspace, int whole, cublasLtMatmulHeuristicResult_t *out, int most, int *found) {
	cublasLtMatmulPreference_t preference;
	uint32_t schemes = CUBLASLT_REDUCTION_SCHEME_NONE;
	cublasStatus_t r = cublasLtMatmulPreferenceCreate(&preference);
	if (r) return r;
	if (whole && (r = cublasLtMatmulPreferenceSetAttribute(preference, CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK, &schemes, sizeof schemes))) {
		cublasLtMatmulPreferenceDestroy(preference);
		return r;
	}
	r = cublasLtMatmulPreferenceSetAttribute(preference, CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, &workspace, sizeof workspace);
	if (!r) r = cublasLtMatmulAlgoGetHeuristic(h, &p->desc, &p->w, &p->x, &p->y, &p->y, preference, most, out, found);
	cublasLtMatmulPreferenceDestroy(preference);
	return r;
}

static cublasStatus_t troupe_multiply(cublasLtHandle_t h, troupe_product *p, CUdeviceptr w, CUdeviceptr x, CUdeviceptr y, float beta,
		const cublasLtMatmulAlgo_t *algo, CUdeviceptr workspace, uint64_t bytes, CUstream s) {
	float alpha = 1;
	return cublasLtMatmul(h, &p->desc, &alpha, (void *)w, &p->w, (void *)x, &p->x, &beta, (void *)y, &p->y, (void *)y, &p->y,
		algo, (void *)workspace, bytes, (cudaStream_t)s);
}
*/
import "C"

import (
	"errors"
	"fmt"
	"maps"
	"runtime"
	"slices"

	"github.com/troupe-llm/troupe/gpu/kernel"
	"github.com/troupe-llm/troupe/gpu/kernel/lower"
	"gorgonia.org/cu"
)

// workspaceBytes is what NVIDIA recommends for Hopper.
const workspaceBytes = 32 << 20

// blas multiplies matrices with cuBLASLt on one stream. An algorithm is chosen
// once for all shapes that are alike: the library's first, which is the same in
// every run.
type blas struct {
	handle    C.cublasLtHandle_t
	workspace kernel.Ptr
	stream    cu.Stream
	chosen    map[product]C.cublasLtMatmulAlgo_t
	pinned    bool          // nothing else is to be chosen: see pin.go
	loaded    map[kind]bool // by load
}

func newBlas(workspace kernel.Ptr, s cu.Stream) (*blas, error) {
	if err := need(libblas); err != nil {
		return nil, err
	}
	b := &blas{workspace: workspace, stream: s, chosen: map[product]C.cublasLtMatmulAlgo_t{}}
	return b, blasError("cublasLtCreate", C.cublasLtCreate(&b.handle))
}

// beside is another, to use the library at the same time. It is not to be closed.
func (b *blas) beside() *blas {
	return &blas{handle: b.handle, chosen: maps.Clone(b.chosen), pinned: b.pinned, loaded: map[kind]bool{}}
}

func (b *blas) close() error {
	if b == nil || b.handle == nil {
		return nil
	}
	return blasError("cublasLtDestroy", C.cublasLtDestroy(b.handle))
}

// kind is what the library has a kernel for.
type kind struct {
	algo       C.cublasLtMatmulAlgo_t
	float, add bool
}

// multiply enqueues a product.
func (b *blas) multiply(f factors) error {
	if f.in%8 != 0 || f.ld%4 != 0 || f.scaling != unscaled && (f.in%16 != 0 || f.out%16 != 0) {
		return fmt.Errorf("cuda: a product over %d inputs into rows of %d; they must be multiples of 8 and 4, of 16 of codes", f.in, f.ld)
	}
	d, err := f.describe()
	if err != nil {
		return err
	}
	algo, err := b.choose(f.like())
	if err != nil {
		return err
	}
	return b.run(f, &d, &algo)
}

// describe is a product as the library has it.
func (f factors) describe() (d C.troupe_product, err error) {
	r := C.troupe_describe(&d, C.uint64_t(f.out), C.uint64_t(f.n), C.uint64_t(f.in), C.uint64_t(f.ld), flag(f.float),
		C.int(f.scaling), C.CUdeviceptr(f.ws), C.CUdeviceptr(f.xs))
	return d, blasError("describing a product", r)
}

// choose asks the library about a shape, once: that takes 0.15 ms.
func (b *blas) choose(p product) (C.cublasLtMatmulAlgo_t, error) {
	algo, ok := b.chosen[p]
	if !ok {
		if b.pinned {
			return algo, fmt.Errorf("cuda: nothing is pinned for a product of %d×%d by %d×%d", p.n, p.in, p.in, p.out)
		}
		found, err := b.candidates(p, 1, false)
		if err != nil {
			return algo, err
		}
		algo = found[0].algo
		b.chosen[p] = algo
	}
	return algo, nil
}

// load chooses the algorithm for a shape and, if none of its kind ran, runs it:
// the library loads a kernel when it is first launched, which takes up to 5 ms.
func (b *blas) load(f factors) error {
	algo, err := b.choose(f.like())
	k := kind{algo, f.float, f.add}
	if err != nil || b.loaded[k] {
		return err
	}
	b.loaded[k] = true
	return b.multiply(f)
}

func (b *blas) run(f factors, d *C.troupe_product, algo *C.cublasLtMatmulAlgo_t) error {
	beta := C.float(0)
	if f.add {
		beta = 1
	}
	r := C.troupe_multiply(b.handle, d, C.CUdeviceptr(f.w), C.CUdeviceptr(f.x), C.CUdeviceptr(f.y), beta, algo,
		C.CUdeviceptr(b.workspace), workspaceBytes, streamOf(b.stream))
	if r != C.CUBLAS_STATUS_SUCCESS {
		return fmt.Errorf("product of %d×%d by %d×%d: %w", f.n, f.in, f.in, f.out, blasError("cublasLtMatmul", r))
	}
	return nil
}

// candidates asks for the algorithms that the library thinks fastest, of those that
// add each sum up in one piece if whole is set.
func (b *blas) candidates(p product, most int, whole bool) ([]C.cublasLtMatmulHeuristicResult_t, error) {
	// Of codes the library wants to see some scales, which it does not look at.
	d, err := factors{product: p, ws: b.workspace, xs: b.workspace}.describe()
	if err != nil {
		return nil, err
	}
	list := make([]C.cublasLtMatmulHeuristicResult_t, most)
	var found C.int
	r := C.troupe_candidates(b.handle, &d, workspaceBytes, flag(whole), &list[0], C.int(most), &found)
	if err := blasError("cublasLtMatmulAlgoGetHeuristic", r); err != nil {
		return nil, fmt.Errorf("product of %d×%d by %d×%d: %w", p.n, p.in, p.in, p.out, err)
	}
	if found == 0 {
		return nil, fmt.Errorf("cuda: cuBLASLt has no algorithm for a product of %d×%d by %d×%d", p.n, p.in, p.in, p.out)
	}
	return list[:found], nil
}

// time is the nanoseconds that a product takes, the median of rounds of a graph
// of several: their weights lie one behind the other, so that caches hold none.
// BenchmarkProducts alone calls it; test files cannot use cgo.
func (b *blas) time(f factors, algo *C.cublasLtMatmulAlgo_t, copies, size int64, rounds int) (float64, error) {
	d, err := f.describe()
	if err != nil {
		return 0, err
	}
	n := min(copies, 16)
	if err := b.run(f, &d, algo); err != nil { // loads the kernel
		return 0, err
	}
	g, err := capture(b.stream, func() error {
		f := f
		for range n {
			if err := b.run(f, &d, algo); err != nil {
				return err
			}
			f.w = f.w.Plus(size)
		}
		return nil
	})
	if err != nil {
		return 0, err
	}
	times := make([]float64, rounds)
	for i := range times {
		ns, err := timeOn(b.stream, func() error { return g.launch(b.stream) })
		if err != nil {
			return 0, errors.Join(err, g.free())
		}
		times[i] = float64(ns) / float64(n)
	}
	slices.Sort(times)
	return times[rounds/2], g.free()
}

// multiplyRounded enqueues a product of as many rows as cuBLASLt takes best.
func (e *engine) multiplyRounded(f factors) error {
	f.n = rounded(f.n, f.most)
	return e.blas.multiply(f)
}

// loadProducts has cuBLASLt choose for every number of rows and load the kernels
// it chooses, which takes it 0.15 and up to 5 ms each: on an H200 steps with the
// first prompts of their lengths took up to 8 ms longer where it had to. It does
// so on a thread and a stream of its own; done waits for it.
func (e *engine) loadProducts() (done func() error) {
	ended := make(chan error, 1)
	b := e.blas.beside()
	go func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		ended <- e.loadWith(b)
	}()
	return func() error {
		err := <-ended
		maps.Copy(e.blas.chosen, b.chosen)
		return err
	}
}

// loadWith computes nothing: what it reads and writes others may be using.
func (e *engine) loadWith(b *blas) (err error) {
	if err := e.attach(); err != nil {
		return err
	}
	if b.stream, err = cu.MakeStream(cu.NonBlocking); err != nil {
		return fmt.Errorf("cuda: making a stream: %w", err)
	}
	defer func() { err = errors.Join(err, b.stream.Destroy()) }()
	workspace, err := cu.MemAlloc(workspaceBytes)
	if err != nil {
		return fmt.Errorf("cuda: %d MiB for cuBLASLt: %w", workspaceBytes>>20, err)
	}
	defer func() { err = errors.Join(err, cu.MemFree(workspace)) }()
	b.workspace = kernel.Ptr(workspace)
	for _, p := range e.plans.products {
		f := p.factors
		for n := p.from; n <= f.most; n = f.n + 1 {
			f.n = min(lower.AlikeRows(n), f.most)
			of, is := e.byBlas(f)
			if !is {
				continue
			}
			if err := b.load(of); err != nil {
				return fmt.Errorf("cuda: loading what multiplies %d rows for %s: %w", of.n, p.name, err)
			}
		}
	}
	return b.stream.Synchronize()
}

// blasVersion is that of an open cuBLASLt.
func blasVersion() string {
	v := C.cublasLtGetVersion()
	return fmt.Sprintf("%d.%d.%d", v/10000, v%10000/100, v%100)
}

func flag(b bool) C.int {
	if b {
		return 1
	}
	return 0
}

func blasError(call string, r C.cublasStatus_t) error {
	if r == C.CUBLAS_STATUS_SUCCESS {
		return nil
	}
	return fmt.Errorf("%s: %s", call, C.GoString(C.cublasLtGetStatusString(r)))
}
