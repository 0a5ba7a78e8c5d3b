//go:build race

package cpu

// raceDetector makes tests that repeat much do less: data races show in the
// first rounds.
const raceDetector = true
