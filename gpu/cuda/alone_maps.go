//go:build cuda

package cuda

import (
	"unsafe"

	"github.com/troupe-llm/troupe/gpu/kernel"
)

func (a *alone) sizes(p *onePass) []sized {
	if p.stages == nil {
		return nil
	}
	const what = "passes of one token"
	layers := int64(len(p.layers)) * int64(unsafe.Sizeof(kernel.PassLayer{}))
	maps := int64(len(p.matrices)+1) * int64(unsafe.Sizeof(kernel.TensorMap{}))
	return []sized{{&a.layers, layers, what}, {&a.maps, maps, what}, {&a.words, p.words, what}, {&a.counts, 8, what}}
}

// passMaps are matrices for the copy engine, and one more, which is brought to its cache and
// never used.
func passMaps(list []kernel.PassTensor) ([]kernel.TensorMap, error) {
	maps := make([]kernel.TensorMap, len(list)+1)
	for i, t := range list {
		var err error
		if maps[i], err = passMap(t); err != nil {
			return nil, err
		}
	}
	return maps, nil
}

// prepareAlone writes down what a pass of one row finds in memory.
func (e *engine) prepareAlone() error {
	p := &e.plans.alone
	if p.stages == nil {
		return nil
	}
	maps, err := passMaps(p.matrices)
	if err != nil {
		return err
	}
	const what = "what layers have"
	if err := copyTo(e.context, e.alone.maps, maps, what); err != nil {
		return err
	}
	return copyTo(e.context, e.alone.layers, p.layers, what)
}
