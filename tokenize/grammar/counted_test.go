package grammar

import (
	"math/rand/v2"
	"testing"
)

// TestCounted holds what is counted while it is matched against the same
// counted beforehand: they accept the same, and are dead after the same.
func TestCounted(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for _, pattern := range []string{"a", "^a*b?$", "^(a|é)+\n$", "^(ab|\"){2}", `\\$`, "^(aaa)*$", "^[^b]{3,}x", "😀$"} {
		e, err := parseRegex(nil, pattern, asJSON, false)
		if err != nil {
			t.Fatal(err)
		}
		for _, most := range []int{0, 1, 2, 3, 5, 8} {
			counted, ok := atMost(nil, e, most)
			want, ok2 := common(nil, e, repeat(keyChar, 0, most))
			if !ok || !ok2 || (counted.op == opNever) != (want.op == opNever) {
				t.Fatalf("%s of %d characters: %v %v %v %v", pattern, most, ok, ok2, counted.op, want.op)
			}
			measure(counted)
			measure(want)
			a, b := newAutomaton(counted), newAutomaton(want)
			for range 400 {
				x, y := a.start, b.start
				var read []byte
				for range 12 {
					for _, c := range []byte(pick(rng, "a", "b", "x", "é", `\n`, `\"`, `\\`, "😀", `\`, "\xf0", `\u0001`)) {
						read = append(read, c)
						x, y = a.step(x, c), b.step(y, c)
						if (x == dead) != (y == dead) || a.states[x].accepts != b.states[y].accepts {
							t.Fatalf("%s of %d characters: after %q dead: %v, not %v; accepted: %v, not %v",
								pattern, most, read, x == dead, y == dead, a.states[x].accepts, b.states[y].accepts)
						}
						// What is near goes on alike.
						if n := a.near(x); x != dead && (a.step(n, c) == dead) != (a.step(x, c) == dead) {
							t.Fatalf("%s of %d characters: after %q near is not alike", pattern, most, read)
						}
					}
				}
			}
		}
	}
}

func pick(rng *rand.Rand, of ...string) string { return of[rng.IntN(len(of))] }
