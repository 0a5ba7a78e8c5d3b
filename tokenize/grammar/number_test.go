package grammar

import (
	"fmt"
	"math/big"
	"math/rand/v2"
	"strconv"
	"strings"
	"testing"
)

// TestNumberBounds holds numbers against exact arithmetic: bounds of one side and
// of two, that are reached and that are not, of numbers and of integers, with
// decimals, exponents and signs, and what they have to be multiples of. Nothing
// outside may be let through, read exactly or into a float64, and everything
// inside that has no more digits than a float64 keeps.
func TestNumberBounds(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	tried, inside := 0, 0
	for range 400 {
		n := drawBounds(rng)
		e, err := (&compiler{root: &value{}, words: map[*value]*keywords{}, ids: map[*value]uint32{}, built: map[string]*expr{}, left: maxNodes}).schema([]*value{n.schema(t)})
		if err != nil {
			t.Fatalf("%s: %v", n, err)
		}
		if e.op == opNever {
			e = oneOf("x")
		}
		measure(e)
		a := newAutomaton(e)
		for range 40 {
			s := n.near(rng)
			x, _ := new(big.Rat).SetString(s)
			want := n.valid(x)
			got := a.takes(s)
			tried++
			f, _ := strconv.ParseFloat(s, 64)
			switch {
			case got && !want:
				t.Fatalf("%s lets %s through", n, s)
			case got && !n.inRange(new(big.Rat).SetFloat64(f), true):
				t.Fatalf("%s lets %s through, which a float64 makes %v", n, s, f)
			case want && !got && !n.unwritten(s):
				t.Fatalf("%s keeps %s out", n, s)
			case want:
				inside++
			}
		}
	}
	if inside < tried/4 {
		t.Errorf("only %d of %d numbers were inside", inside, tried)
	}
}

// numberBounds is a schema of numbers, as JSON writes its parts.
type numberBounds struct {
	integer  bool
	keywords map[string]string
}

func drawBounds(rng *rand.Rand) numberBounds {
	n := numberBounds{integer: rng.IntN(4) == 0, keywords: map[string]string{}}
	for _, name := range []string{"minimum", "exclusiveMinimum", "maximum", "exclusiveMaximum"} {
		if rng.IntN(3) == 0 {
			n.keywords[name] = drawNumber(rng)
		}
	}
	if rng.IntN(4) == 0 {
		n.keywords["multipleOf"] = pick(rng, "1", "2", "3", "7", "10", "12", "100", "0.5", "0.25", "1.5", "2.5", "0.1", "0.01", "1e-3", "0.3", "7.5")
	}
	return n
}

// drawNumber draws one as schemas have them, and zero often.
func drawNumber(rng *rand.Rand) string {
	sign := pick(rng, "", "", "-")
	switch rng.IntN(6) {
	case 0:
		return sign + "0"
	case 1:
		return sign + strconv.Itoa(rng.IntN(12))
	case 2:
		return fmt.Sprintf("%s%d.%0*d", sign, rng.IntN(200), 1+rng.IntN(4), rng.IntN(10))
	case 3:
		return fmt.Sprintf("%s%d%s%d", sign, 1+rng.IntN(9), pick(rng, "e", "E", "e+"), rng.IntN(12))
	case 4:
		return fmt.Sprintf("%s%de-%d", sign, 1+rng.IntN(99), rng.IntN(8))
	}
	return sign + strconv.Itoa(rng.IntN(1_000_000))
}

func (n numberBounds) String() string {
	parts := []string{`"type":"number"`}
	if n.integer {
		parts[0] = `"type":"integer"`
	}
	for name, at := range n.keywords {
		parts = append(parts, strconv.Quote(name)+":"+at)
	}
	return "{" + strings.Join(parts, ",") + "}"
}

func (n numberBounds) schema(t *testing.T) *value {
	v, err := parseJSON(n.String(), "")
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func (n numberBounds) valid(x *big.Rat) bool {
	if m := n.keywords["multipleOf"]; m != "" {
		if step, _ := new(big.Rat).SetString(m); !new(big.Rat).Quo(x, step).IsInt() {
			return false
		}
	}
	return n.inRange(x, false) && (!n.integer || x.IsInt())
}

// inRange compares exactly, or as who reads bounds into float64 does.
func (n numberBounds) inRange(x *big.Rat, rounded bool) bool {
	for name, at := range n.keywords {
		b, _ := new(big.Rat).SetString(at)
		if rounded {
			f, _ := b.Float64()
			b.SetFloat64(f)
		}
		c := x.Cmp(b)
		if name == "minimum" && c < 0 || name == "exclusiveMinimum" && c <= 0 || name == "maximum" && c > 0 || name == "exclusiveMaximum" && c >= 0 {
			return false
		}
	}
	return true
}

// near writes a number that is about a bound, or a multiple, or anything.
func (n numberBounds) near(rng *rand.Rand) string {
	x, _ := new(big.Rat).SetString(drawNumber(rng))
	for _, at := range n.keywords {
		if rng.IntN(3) == 0 {
			x.SetString(at)
		}
	}
	if rng.IntN(4) == 0 {
		x.Mul(x, big.NewRat(int64(rng.IntN(2000)-1000), 1))
	}
	if rng.IntN(3) > 0 {
		scale := new(big.Rat).SetInt(new(big.Int).Exp(big.NewInt(10), big.NewInt(int64(rng.IntN(18))), nil))
		x.Add(x, new(big.Rat).Quo(big.NewRat(int64(rng.IntN(21)-10), 1), scale))
	}
	whole, rest := split(new(big.Rat).Abs(x))
	s := whole
	if x.Sign() < 0 {
		s = "-" + s
	}
	if rest != "" {
		s += "." + rest
	}
	return s
}

// unwritten reports whether a number has more digits than are written for sure.
func (n numberBounds) unwritten(s string) bool {
	return len(strings.NewReplacer("-", "", ".", "").Replace(s)) > exactDigits
}
