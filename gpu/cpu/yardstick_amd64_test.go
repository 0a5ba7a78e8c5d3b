package cpu

var (
	readBytes = readAVX2
	peakRun   = peakAVX2
)

var peakLanes = 8.0

func init() {
	if haveAVX512 {
		readBytes, peakRun, peakLanes = readAVX512, peakAVX512, 16
	}
}
