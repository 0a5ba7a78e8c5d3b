//go:build !race

package gang

const raceDetector = false
