package bench

import (
	"fmt"
	"math"
	"time"
)

// byRuns bounds ratios by how far runs of the same lie apart. Runs made in turns
// are taken in pairs, so that what changed slowly meanwhile falls on both alike;
// others by Welch's test, on relative deviations. Both are Student's: the bootstrap
// of so few runs gives intervals that are too narrow.
func (c *Comparison) byRuns(a, b []*Report) {
	paired := inTurns(a, b)
	how := "by Welch's t; not in turns, so what the machine did meanwhile counts as a difference"
	if paired {
		how = "in turns, by the t of pairs"
	}
	c.Basis = fmt.Sprintf("%d runs and %d runs, %s; a/a is later runs of a against its earlier ones", len(a), len(b), how)
	for i := range c.Rows {
		row := &c.Rows[i]
		x, y := valuesOf(a, row.Metric), valuesOf(b, row.Metric)
		if !positive(x) || !positive(y) {
			continue
		}
		half := len(x) / 2
		row.AA = mean(x[len(x)-half:]) / mean(x[:half])
		var center, wide float64
		if paired {
			center, wide = pairs(x, y)
		} else {
			center, wide = welch(x, y)
		}
		low, high := math.Exp(center-wide), math.Exp(center+wide)
		row.Ratio, row.Low, row.High = math.Exp(center), &low, &high
	}
}

// pairs is the logarithm of a ratio and how far it may be off.
func pairs(x, y []float64) (center, wide float64) {
	d := make([]float64, len(x))
	for i := range x {
		d[i] = math.Log(y[i] / x[i])
	}
	n := float64(len(d))
	return mean(d), student(n-1) * math.Sqrt(variance(d)/n)
}

// welch is the same of runs that do not belong together (Welch, 1947).
func welch(x, y []float64) (center, wide float64) {
	part := func(v []float64) (share, freedom float64) {
		m, n := mean(v), float64(len(v))
		share = variance(v) / (m * m) / n
		return share, share * share / (n - 1)
	}
	sx, fx := part(x)
	sy, fy := part(y)
	center = math.Log(mean(y) / mean(x))
	if sx+sy == 0 {
		return center, 0
	}
	return center, student((sx+sy)*(sx+sy)/(fx+fy)) * math.Sqrt(sx+sy)
}

// student is what Student's t stays within 95 times in 100, for so many degrees of
// freedom, rounded down.
func student(freedom float64) float64 {
	table := [...]float64{
		12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228,
		2.201, 2.179, 2.160, 2.145, 2.131, 2.120, 2.110, 2.101, 2.093, 2.086,
	}
	if n := int(freedom); n <= len(table) {
		return table[max(n, 1)-1]
	}
	return 1.96 + 2.6/freedom // 2.086 at 20, 2.042 at 30
}

// inTurns reports whether runs were made as a, b, a, b and so on.
func inTurns(a, b []*Report) bool {
	if len(a) != len(b) {
		return false
	}
	var last time.Time
	for i := range a {
		for _, t := range []time.Time{a[i].Environment.Time, b[i].Environment.Time} {
			if !t.After(last) {
				return false
			}
			last = t
		}
	}
	return true
}

func valuesOf(runs []*Report, metric string) []float64 {
	v := make([]float64, len(runs))
	for i, r := range runs {
		for _, f := range figures {
			if f.metric == metric {
				v[i] = f.whole(r)
			}
		}
	}
	return v
}

func positive(v []float64) bool {
	for _, x := range v {
		if !(x > 0) || math.IsInf(x, 0) {
			return false
		}
	}
	return true
}

// variance of a sample.
func variance(v []float64) float64 {
	m, sum := mean(v), 0.0
	for _, x := range v {
		sum += (x - m) * (x - m)
	}
	return sum / float64(max(1, len(v)-1))
}
