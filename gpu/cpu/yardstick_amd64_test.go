package cpu

var (
	readBytes    = readAVX2
	peakRun      = peakAVX2
	peakBytesRun = peakAVX2
)

var peakLanes, peakBytes = 8.0, 8.0

func init() {
	if haveAVX512 {
		readBytes, peakRun, peakLanes = readAVX512, peakAVX512, 16
		peakBytesRun, peakBytes = peakAVX512, 16
	}
	if haveVNNI {
		peakBytesRun, peakBytes = peakVNNI, 64
	}
}
