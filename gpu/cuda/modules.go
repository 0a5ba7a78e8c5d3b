//go:build cuda

package cuda

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"

	"github.com/troupe-llm/troupe/gpu/kernel"
	"gorgonia.org/cu"
)

// modules are the kernels, compiled for one device and one shape.
type modules struct {
	functions map[*kernel.Kernel]function
}

type function struct {
	cu.Function
	shared int // dynamic bytes
}

// loadModules compiles the kernels, or finds them compiled earlier in the
// user's cache directory, and loads them into the current context.
func loadModules(s kernel.Shape, arch string) (*modules, error) {
	programs, err := kernel.Programs(s)
	if err != nil {
		return nil, fmt.Errorf("cuda: %w", err)
	}
	if err := need(libnvrtc); err != nil {
		return nil, err
	}
	version := libnvrtc.opened().Version
	code := make([][]byte, len(programs))
	errs := make([]error, len(programs))
	var group sync.WaitGroup
	for i, p := range programs {
		group.Go(func() { code[i], errs[i] = compileCached(p, arch, version) })
	}
	group.Wait()
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	m := &modules{functions: map[*kernel.Kernel]function{}}
	for i, p := range programs {
		// Unloaded with the context.
		module, err := cu.LoadData(string(code[i]))
		if err != nil {
			return nil, fmt.Errorf("cuda: loading %s: %w", p.Name, err)
		}
		for _, k := range kernel.All() {
			if k.Source != p.Name {
				continue
			}
			f := function{}
			if f.Function, err = module.Function(k.Name); err != nil {
				return nil, fmt.Errorf("cuda: kernel %s: %w", k.Name, err)
			}
			if err := loadFunction(f.Function); err != nil {
				return nil, fmt.Errorf("cuda: kernel %s: %w", k.Name, err)
			}
			if k.Shared != nil {
				f.shared = k.Shared(s)
				if err := setSharedMemory(f.Function, f.shared); err != nil {
					return nil, fmt.Errorf("cuda: kernel %s, %d bytes of shared memory: %w", k.Name, f.shared, err)
				}
			}
			m.functions[k] = f
		}
	}
	return m, nil
}

// decodeBlocks is how many blocks of decode attention fit on a device.
func (m *modules) decodeBlocks(s kernel.Shape, g GPU) (int, error) {
	k, threads := kernel.DecodeKernel(s)
	f := m.functions[k]
	perSM, err := blocksPerSM(f.Function, threads, f.shared)
	return max(1, perSM) * g.SMs, err
}

// cacheDir is where what costs time to find out is kept; "": nowhere.
func cacheDir() string {
	dir, err := os.UserCacheDir()
	if err != nil {
		return ""
	}
	dir = filepath.Join(dir, "troupe", "kernels")
	if os.MkdirAll(dir, 0o755) != nil {
		return ""
	}
	return dir
}

// compileCached keeps machine code under the hash of all that made it. A cache
// that cannot be read or written only costs time.
func compileCached(p kernel.Program, arch, version string) ([]byte, error) {
	key := sha256.New()
	for _, s := range append([]string{version, arch, p.Text}, p.Defines...) {
		fmt.Fprintf(key, "%d %s", len(s), s)
	}
	path := ""
	if dir := cacheDir(); dir != "" {
		path = filepath.Join(dir, hex.EncodeToString(key.Sum(nil))+".cubin")
		if code, err := os.ReadFile(path); err == nil {
			return code, nil
		}
	}
	code, _, err := Compile(p, arch)
	if err != nil {
		return nil, err
	}
	if path != "" {
		_ = writeWhole(path, code)
	}
	return code, nil
}

// queue runs kernels on a stream; it is a kernel.Queue.
type queue struct {
	*modules
	stream cu.Stream
	// overlap lets a kernel be scheduled before the one ahead has ended.
	overlap bool
}

// Map writes a tensor down for the copy engine.
func (q *queue) Map(t kernel.Tensor) (kernel.TensorMap, error) { return tensorMap(t) }

func (q *queue) Launch(l kernel.Launch) error {
	f, ok := q.functions[l.Kernel]
	if !ok {
		return fmt.Errorf("cuda: no kernel %s", l.Kernel.Name)
	}
	if l.Shared > 0 {
		f.shared = l.Shared
	}
	return launchKernel(f.Function, l, f.shared, q.stream, q.overlap)
}
