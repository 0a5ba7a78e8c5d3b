//go:build cuda

package cuda

import (
	"errors"
	"fmt"
	"slices"

	"github.com/troupe-llm/troupe/gpu/kernel"
	"github.com/troupe-llm/troupe/gpu/program"
)

// own are the ways by which products are computed faster than by cuBLASLt as it is. Written by
// the opening goroutine before others read it.
type own map[ownKind]way

// way is one of kernels of our own, or cuBLASLt's of more rows than there are: 192 rows of codes
// took it a third longer than 256.
type way struct {
	kernel.Way
	rows int // of cuBLASLt; 0: by a kernel of our own
}

// byLibrary is cuBLASLt's among the ways of a product.
const byLibrary = "cuBLASLt"

func (w way) String() string {
	if w.rows > 0 {
		return fmt.Sprintf("%s of %d rows", byLibrary, w.rows)
	}
	return w.Way.String()
}

// multiplyOwn enqueues a product in a way.
func (e *engine) multiplyOwn(f factors, k ownKind, by way) error {
	if by.rows > 0 {
		return e.blas.multiply(f.of(by.rows))
	}
	return kernel.Product(e.queue, e.queue.Map, kernel.Factors{W: f.w, X: f.x, Y: f.y, N: f.n, Out: f.out, In: f.in, Ld: f.ld, Most: f.most, Form: k.form, Codes: k.codes}, by.Way)
}

// multiplyFastest enqueues a product in the way that was chosen for it.
func (e *engine) multiplyFastest(f factors) error {
	if k, ok := kindOf(f); ok {
		if by, ok := e.own[k]; ok {
			return e.multiplyOwn(f, k, by)
		}
	}
	return e.multiplyRounded(f)
}

// byBlas is a product as cuBLASLt is asked for it, if it is.
func (e *engine) byBlas(f factors) (factors, bool) {
	if k, ok := kindOf(f); ok {
		if by, ok := e.own[k]; ok {
			return f.of(by.rows), by.rows > 0
		}
	}
	return f, true
}

// waysOf are the ways that a product may be computed in, besides cuBLASLt's as it is.
func (e *engine) waysOf(k ownKind, f factors) (list []way) {
	for _, w := range kernel.Ways(kernel.Factors{N: f.n, Out: f.out, In: f.in, Ld: f.ld, Form: k.form, Codes: k.codes}, e.shape.Hopper) {
		list = append(list, way{Way: w})
	}
	if k.codes && k.rows == mostRounded && f.most >= roundedTo {
		list = append(list, way{rows: roundedTo})
	}
	return list
}

// chooseOwn times, for all products of a program, the ways that there are, or finds that it was
// done. What they read and write is nobody's yet.
func (e *engine) chooseOwn() error {
	e.own = own{}
	if e.shape.Hopper == 0 || !e.queue.overlap {
		return nil
	}
	programs, err := kernel.Programs(e.shape)
	if err != nil {
		return fmt.Errorf("cuda: %w", err)
	}
	i := slices.IndexFunc(programs, func(p kernel.Program) bool { return p.Name == kernel.ProductSource })
	w := openWays(cacheDir(), e.gpu.Name, fmt.Sprint(e.gpu.SMs), driverVersion(), blasVersion(), programs[i].Text)
	for _, p := range e.plans.products {
		for _, rows := range rowsOf(p.factors) {
			f := p.factors
			f.n = min(rows, f.most)
			if f.n < p.from {
				continue
			}
			if k, ok := kindOf(f); ok && k.rows == rows {
				if err := e.chooseWay(w, k, f); err != nil {
					return err
				}
			}
		}
	}
	w.keep()
	return nil
}

func (e *engine) chooseWay(w *ways, k ownKind, f factors) error {
	if _, ok := e.own[k]; ok {
		return nil
	}
	names, byName := []string{byLibrary}, map[string]way{}
	for _, by := range e.waysOf(k, f) {
		names = append(names, by.String())
		byName[by.String()] = by
	}
	if len(names) == 1 {
		return nil
	}
	alike := e.weightsLike(f)
	name, err := w.choose(k.String(), names, func(name string) (int64, error) {
		return e.queue.timeOften(func() error {
			for _, f.w = range alike {
				if err := e.touch(f); err != nil {
					return err
				}
				multiply := e.multiplyRounded
				if by, ok := byName[name]; ok {
					multiply = func(f factors) error { return e.multiplyOwn(f, k, by) }
				}
				if err := multiply(f); err != nil {
					return err
				}
			}
			return nil
		})
	})
	if err != nil {
		return err
	}
	if by, ok := byName[name]; ok {
		e.own[k] = by
	}
	return nil
}

// touch is a kernel before a product, as there is one in a pass: what a product does
// beforehand, it does beside that.
func (e *engine) touch(f factors) error {
	width := int32(f.in) // in halves
	if f.scaling != unscaled {
		width /= 2
	}
	x := kernel.View{At: f.x, Stride: width, Half: 1}
	return kernel.CopyRows(e.queue, kernel.CopyArgs{From: x, To: x, Rows: int32(f.n), Heads: 1, Width: width})
}

// mostAlike is how many weights of a shape products are timed with: more than caches
// hold, of all but the smallest models.
const mostAlike = 12

// weightsLike are weights of a product's shape, so that each comes from memory.
func (e *engine) weightsLike(f factors) (list []kernel.Ptr) {
	of := program.NoCodes
	if f.scaling == bare {
		of = program.CodesByOutput
	}
	for _, w := range e.config.Program.Weights {
		if len(list) < mostAlike && w.Out() == f.out && w.In() == f.in && e.weights[w] != 0 && e.held.Codes(w) == of {
			list = append(list, e.weights[w])
		}
	}
	if len(list) == 0 {
		list = append(list, f.w)
	}
	return list
}

// timeOften is the least of three times of work in a graph, which runs before that: what
// loads a kernel must not be captured.
func (q *queue) timeOften(run func() error) (least int64, err error) {
	if err := run(); err != nil {
		return 0, err
	}
	g, err := capture(q.stream, run)
	if err != nil {
		return 0, err
	}
	for i := range 3 {
		ns, err := timeOn(q.stream, func() error { return g.launch(q.stream) })
		if err != nil {
			return 0, errors.Join(err, g.free())
		}
		if i == 0 || ns < least {
			least = ns
		}
	}
	return least, g.free()
}
