package plot

import (
	"math"
	"strconv"
	"strings"
)

// Scale says how values are spread over an axis.
type Scale uint8

// The scales.
const (
	Linear Scale = iota
	Log          // values must be positive; others are drawn at the low end
	// Percent spreads shares from 0 to below 1 so that 90 %, 99 %, 99.9 % … are
	// evenly apart: what tails of distributions are read on.
	Percent
)

// at is where on the scale a value is, before it is stretched to the axis.
func (s Scale) at(v float64) float64 {
	switch s {
	case Log:
		return math.Log10(max(v, math.SmallestNonzeroFloat64))
	case Percent:
		return -math.Log10(1 - min(max(v, 0), 1-1e-9))
	}
	return v
}

// Tick is a labelled place on an axis.
type Tick struct {
	At    float64
	Label string
	Minor bool // drawn, not labelled
}

// ticks are about n places between low and high that are easily read.
func (s Scale) ticks(low, high float64, n int) []Tick {
	switch s {
	case Log:
		return logTicks(low, high, n)
	case Percent:
		return percentTicks(high)
	}
	return linearTicks(low, high, n)
}

// linearTicks are multiples of 1, 2 or 5 times a power of ten.
func linearTicks(low, high float64, n int) (out []Tick) {
	if !(high > low) {
		return []Tick{{At: low, Label: Number(low)}}
	}
	step := niceStep((high - low) / float64(max(n, 1)))
	digits := max(0, -int(math.Floor(math.Log10(step)+1e-9)))
	for i := math.Ceil(low/step - 1e-9); i*step <= high+step*1e-9; i++ {
		out = append(out, Tick{At: i * step, Label: fixed(i*step, digits)})
	}
	return out
}

// niceStep is the least of 1, 2 or 5 times a power of ten that is not below x.
func niceStep(x float64) float64 {
	power := math.Pow(10, math.Floor(math.Log10(x)))
	for _, m := range []float64{1, 2, 5} {
		if m*power >= x*(1-1e-9) {
			return m * power
		}
	}
	return 10 * power
}

// logTicks are powers of ten, and 2 and 5 times those where there is room.
func logTicks(low, high float64, n int) (out []Tick) {
	from, to := math.Floor(math.Log10(low)), math.Ceil(math.Log10(high))
	decades := math.Log10(high / low)
	if decades < .7 { // too short to hold many powers
		return linearTicks(low, high, n)
	}
	every := max(1, math.Ceil(decades/float64(max(n, 1))))
	for e := from; e <= to; e++ {
		power := math.Pow(10, e)
		for m := 1.0; m < 10; m++ {
			v := m * power
			if v < low*(1-1e-9) || v > high*(1+1e-9) {
				continue
			}
			whole := m == 1 && math.Mod(e-from, every) == 0
			half := (m == 2 || m == 5) && decades*2.6 <= float64(n)
			all := decades*9 <= float64(n)
			out = append(out, Tick{At: v, Label: Number(v), Minor: !whole && !half && !all})
		}
	}
	return out
}

func percentTicks(high float64) []Tick {
	out := []Tick{{At: 0, Label: "0"}, {At: .5, Label: "50"}}
	for _, t := range []Tick{{At: .9, Label: "90"}, {At: .99, Label: "99"}, {At: .999, Label: "99.9"}, {At: .9999, Label: "99.99"}, {At: .99999, Label: "99.999"}} {
		if t.At <= high+1e-12 {
			out = append(out, t)
		}
	}
	return out
}

// Number writes a value with at most four digits that matter, and commas
// between thousands.
func Number(v float64) string {
	a := math.Abs(v)
	switch {
	case a == 0:
		return "0"
	case a >= 999.5:
		return fixed(v, 0)
	}
	digits := min(6, max(0, 2-int(math.Floor(math.Log10(a)))))
	text := strconv.FormatFloat(v, 'f', digits, 64)
	if strings.Contains(text, ".") {
		text = strings.TrimRight(strings.TrimRight(text, "0"), ".")
	}
	return minus(text)
}

// fixed writes a value with so many decimals, and commas between thousands.
func fixed(v float64, decimals int) string {
	text := strconv.FormatFloat(v, 'f', decimals, 64)
	whole, rest, _ := strings.Cut(text, ".")
	sign := ""
	if strings.HasPrefix(whole, "-") {
		sign, whole = "-", whole[1:]
	}
	for i := len(whole) - 3; i > 0; i -= 3 {
		whole = whole[:i] + "," + whole[i:]
	}
	if rest != "" {
		rest = "." + rest
	}
	return minus(sign + whole + rest)
}

// minus makes a hyphen the sign it stands for, and −0 nothing but 0.
func minus(text string) string {
	if strings.Trim(text, "-0.") == "" {
		return strings.TrimPrefix(text, "-")
	}
	return strings.Replace(text, "-", "−", 1)
}
