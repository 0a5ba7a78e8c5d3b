//go:build cuda

package cuda

import (
	"errors"
	"fmt"
	"maps"
	"runtime"

	"github.com/troupe-llm/troupe/gpu/kernel"
	"gorgonia.org/cu"
)

// factors are those of a kind of work; without a layer, of the head.
func (e *engine) factors(o op, l *layer) factors {
	c := e.config
	f := factors{most: e.info.MaxStepTokens}
	switch heads := c.Heads * c.HeadDim; o {
	case opQKV: // Float: rounded once, behind norm and rotation.
		f.product = product{in: c.Hidden, out: heads + 2*c.KVHeads*c.HeadDim, float: true}
		f.w, f.x, f.y = l.qkv, e.normed, e.qkv
	case opO:
		f.product = product{in: heads, out: c.Hidden, float: true}
		f.w, f.x, f.y, f.add = l.o, e.mixed, e.x, true
	case opGateUp:
		f.product = product{in: c.Hidden, out: 2 * c.Intermediate}
		f.w, f.x, f.y = l.gateUp, e.normed, e.gateUp
	case opDown:
		f.product = product{in: c.Intermediate, out: c.Hidden, float: true}
		f.w, f.x, f.y, f.add = l.down, e.activated, e.x, true
	case opRouter:
		f.product = product{in: c.Hidden, out: c.MoE.Experts, float: true}
		f.w, f.x, f.y = l.router, e.normed, e.mixture.logits
	case opHead:
		f.product = product{in: c.Hidden, out: c.Vocab, ld: e.ld, float: true}
		f.w, f.x, f.y, f.most = e.weights.head, e.normed, e.logits, e.info.Slots
	}
	f.ld = max(f.ld, f.out)
	return f
}

func (e *engine) multiply(f factors, n int) error {
	f.n = min(productRows(n), max(n, f.most))
	return e.blas.multiply(f)
}

func (e *engine) product(w work, o op, l *layer) stage {
	return stage{o, func() error { return e.multiply(e.factors(o, l), w.tokens) }}
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
	kinds := []op{opQKV, opO, opGateUp, opDown, opHead}
	if e.config.MoE != nil {
		kinds = []op{opQKV, opO, opRouter, opHead}
	}
	for _, o := range kinds {
		f := e.factors(o, &e.weights.layers[0])
		for n := e.skinny + 1; n <= f.most; n = f.n + 1 {
			f.n = min(alikeRows(n), f.most)
			if err := b.load(f); err != nil {
				return fmt.Errorf("cuda: loading what multiplies %d rows for %s: %w", f.n, o, err)
			}
		}
	}
	return b.stream.Synchronize()
}
