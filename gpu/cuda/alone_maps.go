//go:build cuda

package cuda

import "github.com/troupe-llm/troupe/gpu/kernel"

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
