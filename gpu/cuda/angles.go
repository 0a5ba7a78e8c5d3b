package cuda

import (
	"math"
	"runtime"
	"sync"
)

// ropeAngles are cosine and sine by position and pair, times scale; the angle is
// rounded to float32 as in training.
func ropeAngles(freqs []float64, scale float64, positions int) []float32 {
	angles := make([]float32, 2*positions*len(freqs))
	var group sync.WaitGroup
	each := positions/runtime.GOMAXPROCS(0) + 1
	for from := 0; from < positions; from += each {
		group.Go(func() {
			for p := from; p < min(positions, from+each); p++ {
				for i, f := range freqs {
					s, c := math.Sincos(float64(float32(p) * float32(f)))
					angles[2*(p*len(freqs)+i)], angles[2*(p*len(freqs)+i)+1] = float32(c*scale), float32(s*scale)
				}
			}
		})
	}
	group.Wait()
	return angles
}
