package kernel_test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/troupe-llm/troupe/gpu/kernel"
	"github.com/troupe-llm/troupe/gpu/kernel/ref"
	"github.com/troupe-llm/troupe/gpu/model"
)

// job is what testdata/emulate's programs run: see rows.cpp.
type job struct{ N, In, Out, Ld, Groups, Form, Bytes, Clusters, Variant, Seed, Split int32 }

// emulating says that kernels' sources are run on the processor: with the build tag cuda,
// since compiling and running them takes a minute of two cores.
var emulating bool

// emulated builds a program that runs a kernel's source on the processor.
func emulated(t *testing.T, name string, defines ...string) string {
	t.Helper()
	if given := os.Getenv("EMULATED"); given != "" { // built already
		return filepath.Join(given, name)
	}
	compiler, err := exec.LookPath("g++")
	if err != nil || !emulating || testing.Short() {
		t.Skip("no g++, no build tag cuda, or short")
	}
	program := filepath.Join(t.TempDir(), name)
	args := append([]string{"-std=c++17", "-O1", "-w", "-o", program, filepath.Join("testdata/emulate", name+".cpp")}, defines...)
	if out, err := exec.Command(compiler, args...).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return program
}

// emulate runs a program on a job, which has y's bytes, and what it reads, y last: it is
// what y becomes.
func emulate(t *testing.T, program string, job any, y []byte, reads ...any) []byte {
	t.Helper()
	var b bytes.Buffer
	for _, part := range append(append([]any{job}, reads...), y) {
		if err := binary.Write(&b, binary.LittleEndian, part); err != nil {
			t.Fatal(err)
		}
	}
	file := filepath.Join(t.TempDir(), "job")
	if err := os.WriteFile(file, b.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command(program, file).CombinedOutput(); err != nil {
		t.Fatalf("%+v: %v\n%s", job, err, out)
	}
	after, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return after[b.Len()-len(y):]
}

// The kernels for few rows, run on the processor by their own source, find what Pack
// packed: each part of the work is done once, whatever it is shared out among, and no
// copy is missed.
func TestEmulatedRows(t *testing.T) {
	program := emulated(t, "rows")
	r := rand.New(rand.NewPCG(7, 8))
	for variant, most := range []int{8, 8, 16, 16, 8} {
		for i, c := range []struct{ out, in, group, clusters int }{{224, 384, 128, 2}, {96, 256, 64, 3}, {32, 128, 32, 1}, {64, 1152, 128, 1}} {
			for form := range int32(4) {
				if variant > 2 && (i > 0 || form < 2) { // those that are as on a GPU take long
					continue
				}
				n := 1 + r.IntN(most)
				if form == 0 {
					n = most
				}
				numbers, _, packed := random4(r, c.out, c.in, c.group)
				j := job{N: int32(n), In: int32(c.in), Out: int32(c.out), Groups: int32(128 / c.group), Form: form, Clusters: int32(c.clusters), Variant: int32(variant), Seed: int32(i + 1)}
				t.Run(fmt.Sprintf("%+v", j), func(t *testing.T) {
					checkEmulated(t, program, j, r, numbers, packed, 1e-5)
				})
			}
		}
	}
}

// The same of those that compute in whole numbers. Rows are rounded to 16 bits of the
// largest of 128 inputs.
func TestEmulatedBytes(t *testing.T) {
	program := emulated(t, "bytes")
	r := rand.New(rand.NewPCG(11, 12))
	for variant, most := range []int{4, 4} {
		for i, c := range []struct{ out, in, group, clusters, split int }{{224, 384, 128, 2, 2}, {96, 512, 64, 3, 4}, {32, 128, 32, 1, 2}, {64, 1152, 128, 1, 2}} {
			for form := range int32(4) {
				if variant > 0 && i > 0 { // which is as on a GPU, and takes long
					continue
				}
				n := 1 + r.IntN(most)
				if form == 0 {
					n = most
				}
				numbers, _, packed := random4(r, c.out, c.in, c.group)
				j := job{N: int32(n), In: int32(c.in), Out: int32(c.out), Groups: int32(128 / c.group), Form: form, Clusters: int32(c.clusters), Variant: int32(variant), Seed: int32(i + 1), Split: int32(c.split)}
				t.Run(fmt.Sprintf("%+v", j), func(t *testing.T) {
					checkEmulated(t, program, j, r, numbers, packed, 1e-5, ref.Sixteen)
				})
			}
		}
	}
}

// checkEmulated holds a job against ref.Product of weights that are numbers, to so
// much of what sums of that size lose.
func checkEmulated(t *testing.T, program string, j job, r *rand.Rand, numbers []float32, packed []byte, loss float64, rounds ...func([]float32)) {
	n, in, out := int(j.N), int(j.In), int(j.Out)
	gate, columns, size := j.Form == 3, out, 4
	if gate {
		columns = out / 2
	}
	if gate || j.Form == kernel.Int4Rounded {
		size = 2
	}
	ld := columns + 4
	j.Ld = int32(ld)
	bits, x := make([]uint16, n*in), make([]float32, n*in)
	for i := range x {
		bits[i] = model.ToBF16(float32(r.NormFloat64() + 0.3))
		x[i] = model.FromBF16(bits[i])
	}
	for _, round := range rounds {
		round(x)
	}
	y, before := bytes.Repeat([]byte{0xff}, n*ld*size), make([]float32, n*ld)
	if j.Form == kernel.Int4Adds {
		for i := range before {
			before[i] = float32(r.NormFloat64())
			binary.LittleEndian.PutUint32(y[4*i:], math.Float32bits(before[i]))
		}
	}
	j.Bytes = int32(len(y))
	got := emulate(t, program, j, y, packed, bits)
	want, squares := ref.Product(x, numbers, in), ref.Product(squared(x), squared(numbers), in)
	within := func(i int) float64 { return loss * math.Sqrt(float64(squares[i])*float64(in)) }
	for row := range n {
		for column := range ld {
			at := row*ld + column
			var g float64
			if size == 4 {
				g = float64(math.Float32frombits(binary.LittleEndian.Uint32(got[4*at:])))
			} else {
				g = float64(model.FromBF16(binary.LittleEndian.Uint16(got[2*at:])))
			}
			if column >= columns {
				if same := bytes.Equal(got[at*size:][:size], y[at*size:][:size]); !same {
					t.Fatalf("row %d: column %d behind the last is written: %v", row, column, g)
				}
				continue
			}
			i := row*out + column
			w, far := float64(want[i]), within(i)
			switch {
			case gate:
				u, up := float64(want[i+columns]), within(i+columns)
				far = 1e-5 + 1.1*far*math.Abs(u) + up*(math.Abs(w)+1.1*far)
				w = w / (1 + math.Exp(-w)) * u
			case j.Form == kernel.Int4Adds:
				w += float64(before[at])
				far += 1e-6
			}
			if size == 2 {
				far += math.Abs(w) / 256
			}
			if !(math.Abs(g-w) <= far) {
				t.Fatalf("row %d, column %d is %v, want %v to %v", row, column, g, w, far)
			}
		}
	}
}

// The same of those for many rows whose blocks share a tile's inputs.
func TestEmulatedSplit(t *testing.T) {
	program := emulated(t, "split")
	r := rand.New(rand.NewPCG(9, 10))
	for i, c := range []struct{ out, in, group, n, clusters, variant int }{
		{288, 256, 128, 70, 4, 2}, {256, 256, 64, 9, 1, 2}, {256, 384, 32, 65, 2, 1},
	} {
		for form := range int32(3) {
			_, rounded, packed := random4(r, c.out, c.in, c.group)
			j := job{N: int32(c.n), In: int32(c.in), Out: int32(c.out), Groups: int32(128 / c.group), Form: form, Clusters: int32(c.clusters), Variant: int32(c.variant), Seed: int32(i + 1)}
			t.Run(fmt.Sprintf("%+v", j), func(t *testing.T) { checkEmulated(t, program, j, r, rounded, packed, 1e-5) })
		}
	}
}
