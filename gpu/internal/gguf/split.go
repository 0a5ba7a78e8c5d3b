package gguf

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
)

// A model may be split into several files, NAME-00001-of-00003.gguf and so on, each a
// GGUF file: the first has the model's metadata, each some of its tensors.
const (
	splitNumber  = "split.no"
	splitCount   = "split.count"
	splitTensors = "split.tensors.count"
)

// quantisation ends a file's name: NAME-Q4_K_M.gguf, NAME.Q8_0.gguf, NAME-UD-Q4_K_XL.gguf.
var quantisation = regexp.MustCompile(`(?i)(?:^|[-._])((?:UD-)?(?:I?Q[1-8]|TQ[12]|MXFP4|BF16|F16|F32)(?:_[0-9A-Z]+)*)$`)

// Quantisation is what a file's name says of how its model is quantised, "" if nothing:
// by it people tell the files of one model apart.
func Quantisation(file string) string {
	base, _, _, is := SplitName(file)
	if !is {
		base = strings.TrimSuffix(file, ".gguf")
	}
	if m := quantisation.FindStringSubmatch(base); m != nil {
		return m[1]
	}
	return ""
}

// maxSplits is the most files of a model.
const maxSplits = 1 << 12

var splitName = regexp.MustCompile(`^(.+)-(\d{5})-of-(\d{5})\.gguf$`)

// SplitName takes the name of one file of several apart: what comes before
// -00002-of-00003.gguf, its number from 1 on, and how many there are.
func SplitName(file string) (base string, number, count int, is bool) {
	m := splitName.FindStringSubmatch(file)
	if m == nil {
		return "", 0, 0, false
	}
	number, _ = strconv.Atoi(m[2])
	count, _ = strconv.Atoi(m[3])
	return m[1], number, count, number >= 1 && number <= count
}

// Splits are the files that a model is in of which one has that name, the first
// first. The names say how many there are: nothing in a file leads to another.
func Splits(file string) ([]string, error) {
	base, _, count, is := SplitName(file)
	switch {
	case !is:
		return []string{file}, nil
	case count > maxSplits:
		return nil, fmt.Errorf("%s: a model in %d files, at most %d are taken", file, count, maxSplits)
	}
	var names []string
	for i := range count {
		names = append(names, fmt.Sprintf("%s-%05d-of-%05d.gguf", base, i+1, count))
	}
	return names, nil
}

// Join makes one of a model's files, the first first: its metadata, the tensors of all.
func Join(files []*File) (*File, error) {
	all := *files[0]
	all.Tensors = map[string]*Tensor{}
	for i, f := range files {
		if err := f.checkSplit(i, len(files)); err != nil {
			return nil, fmt.Errorf("%s: %w", f.Where, err)
		}
		for name, t := range f.Tensors {
			if other := all.Tensors[name]; other != nil {
				return nil, fmt.Errorf("%s: tensor %q is in %s, too", f.Where, name, other.Where)
			}
			all.Tensors[name] = t
		}
	}
	if v, is := all.Metadata[splitTensors]; is && len(files) > 1 {
		if n, ok := v.Int(); !ok || n != int64(len(all.Tensors)) {
			return nil, fmt.Errorf("%s: metadata: %q is %s, but its %d files have %d tensors", all.Where, splitTensors, v, len(files), len(all.Tensors))
		}
	}
	return &all, nil
}

// checkSplit holds what a file says of itself against the place that its name gives it.
func (f *File) checkSplit(i, n int) error {
	if n == 1 {
		if v, is := f.Metadata[splitCount]; is {
			if count, ok := v.Int(); !ok || count > 1 { // 0: files that were put together
				return fmt.Errorf("metadata: %q is %s: such files have to be named NAME-00001-of-0000N.gguf", splitCount, v)
			}
		}
		return nil
	}
	for key, want := range map[string]int{splitCount: n, splitNumber: i} {
		v, is := f.Metadata[key]
		if x, ok := v.Int(); !is || !ok || x != int64(want) {
			return fmt.Errorf("metadata: %q is %s, want %d of the file with this name", key, v, want)
		}
	}
	return nil
}
