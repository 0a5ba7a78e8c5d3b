package cuda

import (
	"errors"
	"os"
	"slices"
	"testing"
)

// What was timed once is not timed again where all is the same, and is where a file
// cannot be read, the fingerprint is another or the way is not to be had any more.
func TestWays(t *testing.T) {
	dir := t.TempDir()
	var timed []string
	choose := func(w *ways, names ...string) string {
		t.Helper()
		timed = nil
		way, err := w.choose("a product", names, func(name string) (int64, error) {
			timed = append(timed, name)
			return map[string]int64{"slow": 30, "fast": 10, "fair": 20}[name], nil
		})
		if err != nil {
			t.Fatal(err)
		}
		w.keep()
		return way
	}
	for _, c := range []struct {
		what, fingerprint string
		names             []string
		want              string
		times             bool
		before            func(path string) error
	}{
		{what: "the first time", fingerprint: "a", names: []string{"slow", "fast", "fair"}, want: "fast", times: true},
		{what: "again", fingerprint: "a", names: []string{"slow", "fast", "fair"}, want: "fast"},
		{what: "another device", fingerprint: "b", names: []string{"slow", "fair"}, want: "fair", times: true},
		{what: "the first device again", fingerprint: "a", names: []string{"fast", "fair"}, want: "fast"},
		{what: "without what was fastest", fingerprint: "a", names: []string{"slow", "fair"}, want: "fair", times: true},
		{
			what: "a broken file", fingerprint: "a", names: []string{"slow", "fast"}, want: "fast", times: true,
			before: func(path string) error { return os.WriteFile(path, []byte("{"), 0o600) },
		},
		{
			what: "a file of nothing", fingerprint: "a", names: []string{"slow", "fast"}, want: "fast", times: true,
			before: func(path string) error { return os.WriteFile(path, []byte("null"), 0o600) },
		},
	} {
		if c.before != nil {
			if err := c.before(openWays(dir, c.fingerprint).path); err != nil {
				t.Fatal(err)
			}
		}
		if got := choose(openWays(dir, c.fingerprint), c.names...); got != c.want || (len(timed) > 0) != c.times {
			t.Errorf("%s: %s, timed %v", c.what, got, timed)
		}
	}
	if files, err := os.ReadDir(dir); err != nil || len(files) != 2 {
		t.Errorf("files %v, %v; want one for each device", files, err)
	}
	if got := choose(openWays(""), "slow", "fast"); got != "fast" || !slices.Equal(timed, []string{"slow", "fast"}) {
		t.Errorf("without a directory: %s, timed %v", got, timed)
	}
	broken := errors.New("no such kernel")
	if _, err := openWays("").choose("a product", []string{"fast"}, func(string) (int64, error) { return 0, broken }); !errors.Is(err, broken) {
		t.Errorf("a way that fails gives %v", err)
	}
}

// Processes that open models at a time, on GPUs of a kind, keep each other's ways.
func TestWaysOfSeveralProcesses(t *testing.T) {
	dir, names := t.TempDir(), []string{"fast", "slow"}
	prefer := func(best string) func(string) (int64, error) {
		return func(name string) (int64, error) {
			if name == best {
				return 1, nil
			}
			return 2, nil
		}
	}
	list := []*ways{openWays(dir, "a"), openWays(dir, "a")}
	for i, best := range names {
		if way, err := list[i].choose("product of "+best, names, prefer(best)); err != nil || way != best {
			t.Fatalf("%s, %v; want %s", way, err, best)
		}
	}
	for _, w := range list {
		w.keep()
	}
	later := openWays(dir, "a")
	for _, best := range names {
		way, err := later.choose("product of "+best, names, func(string) (int64, error) { return 0, errors.New("timed again") })
		if err != nil || way != best {
			t.Errorf("later %s, %v; want %s", way, err, best)
		}
	}
}
