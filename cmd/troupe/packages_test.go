package main

import (
	"path"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// inTheOpen are packages that lie in no internal directory though only their own
// top-level folder imports them, and no embedder is meant to.
var inTheOpen = map[string]string{
	"actors/front":  "it declares what actors hands on, and so is where that is documented",
	"actors/remote": "engines on other hosts, by the path that documents and results have for them",
	"gpu/kernel":    "kernels are sources of their own, which results and tools name by their paths",
}

// A package that only its own top-level folder imports lies in the folder's
// internal, unless doc.go lists it for embedders, or it lies below one that is in the open.
func TestWhoImportsPackagesDecidesWhichAreInternal(t *testing.T) {
	embedders := map[string]bool{}
	for _, m := range regexp.MustCompile(`(?m)^//   - ([a-z/]+):`).FindAllStringSubmatch(read(t, "../../doc.go"), -1) {
		embedders[m[1]] = true
	}
	if len(embedders) < 5 {
		t.Errorf("doc.go lists %d packages", len(embedders))
	}
	folder := func(dir string) string { first, _, _ := strings.Cut(dir, "/"); return first }
	packages, usedOutside := map[string]bool{}, map[string]bool{}
	for file, imports := range sourceImports(t) {
		dir := path.Dir(file)
		packages[dir] = true
		for _, imported := range imports {
			if used, ok := strings.CutPrefix(imported, module+"/"); ok && folder(used) != folder(dir) {
				usedOutside[used] = true
			}
		}
	}
	for dir := range embedders {
		if !packages[dir] || strings.Contains(dir, "internal") {
			t.Errorf("doc.go lists %s, which nobody can import", dir)
		}
	}
	open := func(dir string) bool {
		for at := dir; at == dir || strings.Contains(at, "/"); at = path.Dir(at) { // but not all of a top-level folder
			if embedders[at] || inTheOpen[at] != "" || usedOutside[at] {
				return true
			}
		}
		return false
	}
	commands := []string{"gpu/cpu/neon", "bench/attacks"} // nobody can import a command
	for dir := range packages {
		if dir == "." || folder(dir) == "cmd" || slices.Contains(strings.Split(dir, "/"), "internal") || slices.Contains(commands, dir) {
			continue
		}
		if !open(dir) {
			t.Errorf("%s is imported by no other folder, and not for embedders: it belongs in %s/internal", dir, folder(dir))
		}
	}
	for dir := range inTheOpen {
		if !packages[dir] || embedders[dir] || usedOutside[dir] {
			t.Errorf("%s is no exception", dir)
		}
	}
}
