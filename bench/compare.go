package bench

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
)

// resamples of the bootstrap (Efron, 1979); intervals are the middle 95% of
// their ratios.
const resamples = 2000

// figure is one number of a report, which a comparison has a row for.
type figure struct {
	metric, unit string
	whole        func(*Report) float64
	// sampled is the same of a choice of requests; nil when requests do not
	// tell it.
	sampled func(*sample) float64
}

var figures = []figure{
	{"output_throughput", "tokens/s", func(r *Report) float64 { return r.OutputThroughput }, nil},
	{"total_throughput", "tokens/s", func(r *Report) float64 { return r.TotalThroughput }, nil},
	{"request_throughput", "requests/s", func(r *Report) float64 { return r.RequestThroughput }, nil},
	{"ttft mean", "ms", func(r *Report) float64 { return r.TTFT.Mean }, func(s *sample) float64 { return mean(s.ttft) }},
	{"ttft p50", "ms", func(r *Report) float64 { return r.TTFT.P50 }, func(s *sample) float64 { return quantile(s.ttft, 0.5) }},
	{"ttft p99", "ms", func(r *Report) float64 { return r.TTFT.P99 }, func(s *sample) float64 { return quantile(s.ttft, 0.99) }},
	{"itl mean", "ms", func(r *Report) float64 { return r.ITL.Mean }, func(s *sample) float64 { return s.gaps / float64(max(1, s.tokens)) }},
	{"itl p50", "ms", func(r *Report) float64 { return r.ITL.P50 }, nil},
	{"itl p99", "ms", func(r *Report) float64 { return r.ITL.P99 }, nil},
	{"tpot p50", "ms", func(r *Report) float64 { return r.tpot(0.5) }, func(s *sample) float64 { return quantile(s.tpot, 0.5) }},
	{"tpot p99", "ms", func(r *Report) float64 { return r.tpot(0.99) }, func(s *sample) float64 { return quantile(s.tpot, 0.99) }},
	{"e2e mean", "ms", func(r *Report) float64 { return r.E2E.Mean }, func(s *sample) float64 { return mean(s.e2e) }},
	{"e2e p50", "ms", func(r *Report) float64 { return r.E2E.P50 }, func(s *sample) float64 { return quantile(s.e2e, 0.5) }},
	{"e2e p99", "ms", func(r *Report) float64 { return r.E2E.P99 }, func(s *sample) float64 { return quantile(s.e2e, 0.99) }},
}

// CompareAll sets reports of one thing against as many of another, each with one
// measurement or repeated ones.
func CompareAll(a, b []*Report, nameA, nameB string) ([]*Comparison, error) {
	if len(a) == 1 && len(b) == 1 {
		return Compare(a[0], b[0], nameA, nameB)
	}
	gather := func(reports []*Report, name string) (runs []*Report, err error) {
		for _, r := range reports {
			if r.scaled() || r.Kind != a[0].Kind {
				return nil, fmt.Errorf("%s and those with it are not all of one bench %s at one scale", name, a[0].Kind)
			}
			runs = append(runs, r.runs()...)
		}
		return runs, nil
	}
	x, errA := gather(a, nameA)
	y, errB := gather(b, nameB)
	if err := errors.Join(errA, errB); err != nil {
		return nil, err
	}
	return []*Comparison{CompareRuns(x, y, nameA, nameB)}, nil
}

// Compare sets report b against a: as wholes, or, when both played a trace at
// several scales, scale by scale.
//
// Intervals need three runs of each: of a single one nobody can tell what the
// machine's moment did. (Drawing its requests instead, as was done, gave intervals
// that did without 1 for nine of nine figures of the same thing measured twice.)
// Only a simulation has no moments, so that its requests tell all there is.
func Compare(a, b *Report, nameA, nameB string) ([]*Comparison, error) {
	if a.Kind != b.Kind {
		return nil, fmt.Errorf("%s is a report of bench %s, %s of bench %s: they measure different things", nameA, a.Kind, nameB, b.Kind)
	}
	if a.scaled() && b.scaled() {
		var all []*Comparison
		for _, x := range a.Runs {
			for _, y := range b.Runs {
				if x.Label == y.Label {
					all = append(all, CompareRuns([]*Report{x}, []*Report{y}, nameA+", "+x.Label, nameB+", "+y.Label))
				}
			}
		}
		if len(all) == 0 {
			return nil, errors.New("the reports have no scale in common")
		}
		return all, nil
	}
	return []*Comparison{CompareRuns(a.runs(), b.runs(), nameA, nameB)}, nil
}

func (r *Report) scaled() bool {
	return len(r.Runs) > 1 && strings.HasPrefix(r.Runs[0].Label, ofScale)
}

// runs are the runs that repeat the report's measurement: of an ablation,
// those of its first kind.
func (r *Report) runs() []*Report {
	if len(r.Runs) == 0 || r.scaled() {
		return []*Report{r}
	}
	kind, _, _ := strings.Cut(r.Runs[0].Label, ",")
	var same []*Report
	for _, x := range r.Runs {
		if k, _, _ := strings.Cut(x.Label, ","); r.Comparison == nil || k == kind {
			same = append(same, x)
		}
	}
	return same
}

// CompareRuns sets runs of one thing against runs of another.
func CompareRuns(a, b []*Report, nameA, nameB string) *Comparison {
	c := &Comparison{A: nameA, B: nameB, Differs: differences(a[0], b[0])}
	for _, f := range figures {
		x, y := meanOf(a, f.whole), meanOf(b, f.whole)
		if math.IsNaN(x) || math.IsNaN(y) {
			continue
		}
		row := Comparable{Metric: f.metric, Unit: f.unit, A: x, B: y}
		if x != 0 {
			row.Ratio = y / x
		}
		c.Rows = append(c.Rows, row)
	}
	switch {
	case len(a) >= 3 && len(b) >= 3:
		c.byRuns(a, b)
	case len(a) == 1 && len(b) == 1 && a[0].Simulated() && b[0].Simulated() && a[0].sampled() && b[0].sampled():
		c.byRequests(rand.New(rand.NewPCG(1, 2)), a[0].Samples, b[0].Samples) // the same reports give the same intervals
	default:
		c.Basis = fmt.Sprintf("none: %d and %d runs do not tell a difference from the machine's moment; measure three or more of each, in turns", len(a), len(b))
	}
	return c
}

// Simulated reports whether time in it is the simulation's: the same run gives the
// same figures.
func (r *Report) Simulated() bool { return r.Kind == "virtual" || r.Kind == "cluster" }

// differences are the fields of work and environment in which two reports are
// not alike, but for those that always differ or say the same as others.
func differences(a, b *Report) (out []string) {
	for _, pair := range [][2]any{{a.Work, b.Work}, {a.Environment, b.Environment}} {
		x, y := reflect.ValueOf(pair[0]), reflect.ValueOf(pair[1])
		for i := range x.NumField() {
			name, _, _ := strings.Cut(x.Type().Field(i).Tag.Get("json"), ",")
			v, w := x.Field(i).Interface(), y.Field(i).Interface()
			if name == "time" || name == "flags" || name == "fitted" || v == w {
				continue
			}
			out = append(out, fmt.Sprintf("%s: %v, %v", name, v, w))
		}
	}
	return out
}

func (r *Report) sampled() bool { return r.Samples != nil && len(r.Samples.TTFT) > 1 }

// byRequests draws requests. When both reports are of the same requests, the
// same are drawn of both.
func (c *Comparison) byRequests(random *rand.Rand, a, b *Samples) {
	paired := slices.Equal(a.Input, b.Input) && slices.Equal(a.Output, b.Output)
	how := "each report by itself"
	if paired {
		how = "the same of both reports"
	}
	c.Basis = fmt.Sprintf("%d and %d requests, drawn with replacement %d times, %s", len(a.TTFT), len(b.TTFT), resamples, how)
	from, to := newPool(a), newPool(b)
	var x, y [resamples][]float64 // by resample and figure
	for n := range resamples {
		times := from.draw(random)
		x[n] = from.choose(times).figures()
		if !paired {
			times = to.draw(random)
		}
		y[n] = to.choose(times).figures()
	}
	next := make([]int, len(figures))
	c.bound(func(i int) (float64, float64, bool) {
		n := next[i]
		next[i]++
		return x[n][i], y[n][i], figures[i].sampled != nil
	})
}

// bound gives each row the interval that the ratios of another draw lie in.
func (c *Comparison) bound(another func(figure int) (a, b float64, known bool)) {
	for i := range c.Rows {
		at := slices.IndexFunc(figures, func(f figure) bool { return f.metric == c.Rows[i].Metric })
		var ratios []float64
		for range resamples {
			if a, b, known := another(at); known && a > 0 {
				ratios = append(ratios, b/a)
			}
		}
		if len(ratios) < resamples {
			continue
		}
		slices.Sort(ratios)
		low, high := quantile(ratios, 0.025), quantile(ratios, 0.975)
		c.Rows[i].Low, c.Rows[i].High = &low, &high
	}
}

// sample is a choice of requests.
type sample struct {
	ttft, e2e, tpot []float64 // in order of size
	gaps            float64   // ms between all their tokens
	tokens          int       // after the first ones
}

// pool is what requests are drawn from.
type pool struct {
	*Samples
	tpot  []float64 // mean times between a request's tokens; 0 of a single one
	order [3][]int  // the requests, in order of ttft, e2e, tpot
	times []int     // memory for draw
}

func newPool(s *Samples) *pool {
	order := func(v []float64) []int {
		all := make([]int, len(v))
		for i := range all {
			all[i] = i
		}
		slices.SortFunc(all, func(a, b int) int { return cmp.Compare(v[a], v[b]) })
		return all
	}
	tpot := s.tpot()
	return &pool{s, tpot, [3][]int{order(s.TTFT), order(s.E2E), order(tpot)}, make([]int, len(s.TTFT))}
}

// draw says how many times each request was drawn. The next draw overwrites it.
func (p *pool) draw(random *rand.Rand) []int {
	clear(p.times)
	for range p.times {
		p.times[random.IntN(len(p.times))]++
	}
	return p.times
}

// choose is each request so many times. Going through them in order leaves
// nothing to sort.
func (p *pool) choose(times []int) *sample {
	sorted := func(order []int, of []float64) []float64 {
		out := make([]float64, 0, len(times))
		for _, i := range order {
			for range times[i] {
				out = append(out, of[i])
			}
		}
		return out
	}
	c := &sample{ttft: sorted(p.order[0], p.TTFT), e2e: sorted(p.order[1], p.E2E), tpot: sorted(p.order[2], p.tpot)}
	for i, n := range times {
		if p.Output[i] > 1 {
			c.gaps += float64(n) * (p.E2E[i] - p.TTFT[i])
			c.tokens += n * (p.Output[i] - 1)
		}
	}
	return c
}

// tpot is each request's mean time between tokens, in ms.
func (s *Samples) tpot() []float64 {
	out := make([]float64, len(s.TTFT))
	for i := range out {
		if s.Output[i] > 1 {
			out[i] = (s.E2E[i] - s.TTFT[i]) / float64(s.Output[i]-1)
		}
	}
	return out
}

// tpot is a quantile of the requests' mean times between tokens; not a number
// when the report has no requests.
func (r *Report) tpot(q float64) float64 {
	if !r.sampled() {
		return math.NaN()
	}
	return quantile(slices.Sorted(slices.Values(r.Samples.tpot())), q)
}

func (s *sample) figures() []float64 {
	all := make([]float64, len(figures))
	for i, f := range figures {
		if f.sampled != nil {
			all[i] = f.sampled(s)
		}
	}
	return all
}

func meanOf(runs []*Report, of func(*Report) float64) float64 {
	sum := 0.0
	for _, r := range runs {
		sum += of(r)
	}
	return sum / float64(len(runs))
}

func mean(v []float64) float64 {
	sum := 0.0
	for _, x := range v {
		sum += x
	}
	return sum / float64(max(1, len(v)))
}

// quantile of sorted values, interpolated linearly.
func quantile(v []float64, q float64) float64 {
	x := q * float64(len(v)-1)
	i := int(x)
	return v[i] + (x-float64(i))*(v[min(i+1, len(v)-1)]-v[i])
}

// WriteText writes the comparison for people.
func (c *Comparison) WriteText(w io.Writer) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintf(t, "a\t%s\nb\t%s\n", c.A, c.B)
	for i, d := range c.Differs {
		fmt.Fprintf(t, "%s\t%s\n", when(i == 0, "differ in"), d)
	}
	fmt.Fprintf(t, "intervals\t%s\n", c.Basis)
	if err := t.Flush(); err != nil {
		return err
	}
	t = tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintf(t, "\nfigure\tunit\ta\tb\tb/a\t95%%\ta/a\t\n")
	for _, r := range c.Rows {
		interval := "–"
		if r.Low != nil && r.High != nil {
			interval = fmt.Sprintf("%s–%s", Quotient(*r.Low, 3), Quotient(*r.High, 3))
		}
		fmt.Fprintf(t, "%s\t%s\t%.2f\t%.2f\t%s\t%s\t%s\t\n", r.Metric, r.Unit, r.A, r.B, Quotient(r.Ratio, 3), interval, Quotient(r.AA, 3))
	}
	return t.Flush()
}

// Quotient writes a ratio with so many decimals, and one below 0.1 with two
// digits that say something; 0 is none.
func Quotient(x float64, decimals int) string {
	if x == 0 {
		return "–"
	}
	if x > 0 && x < 0.1 {
		decimals = 1
		for y := x; y < 1 && decimals < 12; y *= 10 {
			decimals++
		}
	}
	return strconv.FormatFloat(x, 'f', decimals, 64)
}
