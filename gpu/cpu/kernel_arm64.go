package cpu

import (
	"maps"
	"runtime"

	"golang.org/x/sys/cpu"
)

func choose() *kernels { return variants()[0] }

// variants returns all kernels the processor can run, the widest first.
func variants() []*kernels {
	if haveDots {
		return []*kernels{&kernelsNEON, &portable}
	}
	return []*kernels{&portable}
}

// haveDots says that there are dot products of bytes; macOS does not tell, but all
// that it runs on have them.
var haveDots = cpu.ARM64.HasASIMDDP || runtime.GOOS == "darwin"

// kernelsNEON multiply whole numbers alone.
var kernelsNEON = func() kernels {
	k := portable
	k.name = "NEON"
	k.whole.name = "NEON"
	k.whole.by = maps.Clone(k.whole.by)
	maps.Copy(k.whole.by, productsNEON)
	return k
}()

func features() []string {
	if haveDots {
		return []string{"ASIMDDP"}
	}
	return nil
}

func why() string {
	if haveDots {
		return "the processor has dot products of bytes; all else is plain Go"
	}
	return "there are no vector kernels for arm64 without dot products of bytes"
}
