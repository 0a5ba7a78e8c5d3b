//go:build race

package gang

// raceDetector makes tests that repeat much do less: data races show in the
// first rounds.
const raceDetector = true
