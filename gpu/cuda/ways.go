package cuda

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
)

// ways are the fastest of several ways to compute something, by what it is. They are
// timed once, while a device is opened, and kept in a file beside the compiled kernels,
// so that the same sums are added up in the same order in every run. They belong to
// the opening goroutine.
type ways struct {
	path   string // "": nothing is kept
	chosen map[string]string
	fresh  bool // some are not in the file
}

// openWays reads what was chosen, in files in a directory, where all of a fingerprint was the
// same: the device, the versions of what runs on it, the kernels. A file that cannot
// be read costs time.
func openWays(dir string, fingerprint ...string) *ways {
	w := &ways{chosen: map[string]string{}}
	if dir == "" {
		return w
	}
	key := sha256.New()
	for _, s := range fingerprint {
		fmt.Fprintf(key, "%d %s", len(s), s)
	}
	w.path = filepath.Join(dir, "ways-"+hex.EncodeToString(key.Sum(nil)[:16])+".json")
	w.chosen = readWays(w.path)
	return w
}

// readWays is what a file has, none if it cannot be read.
func readWays(path string) map[string]string {
	var chosen map[string]string
	data, err := os.ReadFile(path)
	if err != nil || json.Unmarshal(data, &chosen) != nil || chosen == nil {
		return map[string]string{}
	}
	return chosen
}

// choose is the fastest of some ways by name, whose times, in nanoseconds, are asked
// for if none of them was chosen before.
func (w *ways) choose(what string, names []string, time func(name string) (int64, error)) (string, error) {
	if was, ok := w.chosen[what]; ok && slices.Contains(names, was) {
		return was, nil
	}
	best, least := "", int64(0)
	for i, name := range names {
		ns, err := time(name)
		if err != nil {
			return "", fmt.Errorf("cuda: timing %s by %s: %w", what, name, err)
		}
		if i == 0 || ns < least {
			best, least = name, ns
		}
	}
	w.chosen[what], w.fresh = best, true
	return best, nil
}

// keep writes the file, whole or not at all, with what other processes, which may serve
// other models, have put there meanwhile. One that cannot be written costs time.
func (w *ways) keep() {
	if !w.fresh || w.path == "" {
		return
	}
	all := readWays(w.path)
	maps.Copy(all, w.chosen)
	data, err := json.MarshalIndent(all, "", "\t")
	if err == nil {
		err = writeWhole(w.path, data)
	}
	w.fresh = err != nil
}

// writeWhole writes a file that others may read, whole or not at all.
func writeWhole(path string, data []byte) error {
	f, err := os.CreateTemp(filepath.Dir(path), "new")
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	if err = errors.Join(err, f.Close()); err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		_ = os.Remove(f.Name())
	}
	return err
}
