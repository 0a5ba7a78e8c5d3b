//go:build !amd64

package cpu

import "unsafe"

const peakLanes, peakBytes = 1.0, 1.0

var sink uint64

func readBytes(p *byte, n int) {
	var sum uint64
	for _, w := range unsafe.Slice((*uint64)(unsafe.Pointer(p)), n/8) {
		sum += w
	}
	sink = sum
}

func peakRun(rounds int) {
	var sum [12]float32
	for range rounds {
		for i := range sum {
			sum[i] = sum[i]*sum[i] + sum[i]
		}
	}
	sink = uint64(sum[0])
}

func peakBytesRun(rounds int) { peakRun(rounds) }
