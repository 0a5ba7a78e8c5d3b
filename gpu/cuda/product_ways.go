//go:build cuda

package cuda

import (
	"errors"
	"fmt"
	"slices"

	"github.com/troupe-llm/troupe/gpu/kernel"
	"github.com/troupe-llm/troupe/gpu/program"
)

// own are the ways by which kernels of our own are faster than cuBLASLt. Written by
// the opening goroutine before others read it.
type own map[ownKind]kernel.Way

// byLibrary is cuBLASLt's among the ways of a product.
const byLibrary = "cuBLASLt"

// multiplyOwn enqueues a product in a way of our own.
func (e *engine) multiplyOwn(f factors, form int32, way kernel.Way) error {
	return kernel.Product(e.queue, e.queue.Map, kernel.Factors{W: f.w, X: f.x, Y: f.y, N: f.n, Out: f.out, In: f.in, Ld: f.ld, Most: f.most, Form: form}, way)
}

// multiplyFastest enqueues a product, in a way of our own if one is faster.
func (e *engine) multiplyFastest(f factors) error {
	if k, ok := kindOf(f); ok {
		if way, ok := e.own[k]; ok {
			return e.multiplyOwn(f, k.form, way)
		}
	}
	return e.multiplyRounded(f)
}

// isOwn says whether a product is none of cuBLASLt's.
func (e *engine) isOwn(f factors) bool {
	k, ok := kindOf(f)
	if ok {
		_, ok = e.own[k]
	}
	return ok
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
		for _, rows := range ownRows {
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
	names, byName := []string{byLibrary}, map[string]kernel.Way{}
	for _, way := range kernel.Ways(kernel.Factors{N: f.n, Out: f.out, In: f.in, Ld: f.ld, Form: k.form}, e.shape.Hopper) {
		names = append(names, way.String())
		byName[way.String()] = way
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
				if way, ok := byName[name]; ok {
					multiply = func(f factors) error { return e.multiplyOwn(f, k.form, way) }
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
	if way, ok := byName[name]; ok {
		e.own[k] = way
	}
	return nil
}

// touch is a kernel before a product, as there is one in a pass: what a product does
// beforehand, it does beside that.
func (e *engine) touch(f factors) error {
	x := kernel.View{At: f.x, Stride: int32(f.in), Half: 1}
	return kernel.CopyRows(e.queue, kernel.CopyArgs{From: x, To: x, Rows: int32(f.n), Heads: 1, Width: int32(f.in)})
}

// mostAlike is how many weights of a shape products are timed with: more than caches
// hold, of all but the smallest models.
const mostAlike = 12

// weightsLike are weights of a product's shape, so that each comes from memory.
func (e *engine) weightsLike(f factors) (list []kernel.Ptr) {
	for _, w := range e.config.Program.Weights {
		if len(list) < mostAlike && w.Out() == f.out && w.In() == f.in && e.weights[w] != 0 && e.held.Codes(w) == program.NoCodes {
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
