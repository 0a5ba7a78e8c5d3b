package hub

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/troupe-llm/troupe/gpu/internal/gguf"
)

// A repository of GGUF files has one model many times, each in a file, or in several,
// whose name ends with how it is quantised. A name on the hub says which with
// OWNER/NAME:Q4_K_M.

// GGUF is a model in a snapshot, or in a repository.
type GGUF struct {
	Quantisation string
	Files        []string // relative and with slashes; the first is the one to open
	Bytes        int64    // of all of them, in a snapshot
}

// ggufs are the models of which all files are among some, by quantisation, then name.
// Projectors of images are none.
func ggufs(names []string) (all []GGUF) {
	for _, name := range names {
		dir, file := path.Split(name)
		_, number, _, split := gguf.SplitName(file)
		if !isGGUF(name) || strings.HasPrefix(file, "mmproj") || split && number > 1 {
			continue
		}
		parts, err := gguf.Splits(file)
		if err != nil {
			continue
		}
		for i := range parts {
			parts[i] = dir + parts[i]
		}
		if !slices.ContainsFunc(parts, func(part string) bool { return !slices.Contains(names, part) }) {
			all = append(all, GGUF{Quantisation: gguf.Quantisation(file), Files: parts})
		}
	}
	slices.SortFunc(all, func(a, b GGUF) int {
		return cmp.Or(cmp.Compare(a.Quantisation, b.Quantisation), cmp.Compare(a.Files[0], b.Files[0]))
	})
	return all
}

// isGGUF tells by a name.
func isGGUF(name string) bool { return strings.HasSuffix(strings.ToLower(name), ".gguf") }

// choose finds the model that is quantised so.
func choose(all []GGUF, quantisation string) (GGUF, error) {
	var found []GGUF
	for _, g := range all {
		if strings.EqualFold(g.Quantisation, quantisation) {
			found = append(found, g)
		}
	}
	switch len(found) {
	case 0:
		return GGUF{}, fmt.Errorf("it has no GGUF file in %s; it has %s", quantisation, quantisations(all))
	case 1:
		return found[0], nil
	}
	return GGUF{}, fmt.Errorf("it has several models in %s: %s and %s", quantisation, found[0].Files[0], found[1].Files[0])
}

// quantisations lists those of some models.
func quantisations(all []GGUF) string {
	var names []string
	for _, g := range all {
		if g.Quantisation != "" && !slices.Contains(names, g.Quantisation) {
			names = append(names, g.Quantisation)
		}
	}
	if len(names) == 0 {
		return "none"
	}
	return strings.Join(names, ", ")
}

// gguf picks the files of the model that is quantised so.
func (l *listing) gguf(quantisation string) (files []File, err error) {
	byName := map[string]*sibling{}
	var names []string
	for i := range l.Siblings {
		s := &l.Siblings[i]
		if isGGUF(s.Name) && filepath.IsLocal(s.Name) {
			byName[s.Name] = s
			names = append(names, s.Name)
		}
	}
	g, err := choose(ggufs(names), quantisation)
	if err != nil {
		return nil, err
	}
	for _, name := range g.Files {
		f, err := byName[name].file()
		if err != nil {
			return nil, err
		}
		files = append(files, f)
	}
	return files, nil
}

// GGUFs are the models of a snapshot that are whole.
func (s *Snapshot) GGUFs() ([]GGUF, error) {
	bytes := map[string]int64{}
	var names []string
	err := filepath.WalkDir(s.Dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() || !isGGUF(path) {
			return err
		}
		info, err := os.Stat(path) // of what a link is to
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		name, relErr := filepath.Rel(s.Dir, path)
		if err = errors.Join(err, relErr); err == nil && info.Mode().IsRegular() {
			name = filepath.ToSlash(name)
			names, bytes[name] = append(names, name), info.Size()
		}
		return err
	})
	all := ggufs(names)
	for i := range all {
		for _, name := range all[i].Files {
			all[i].Bytes += bytes[name]
		}
	}
	return all, err
}

// gguf is the file to open of the model that is quantised so; that it is not there is
// fs.ErrNotExist.
func (s *Snapshot) gguf(quantisation string) (string, error) {
	all, err := s.GGUFs()
	if err != nil {
		return "", err
	}
	g, err := choose(all, quantisation)
	if err != nil {
		return "", notHere{err}
	}
	return filepath.Join(s.Dir, filepath.FromSlash(g.Files[0])), nil
}

// RemoveGGUF takes a model in GGUF files out of a cache, of a revision, and all of the
// repository when nothing else is in it. It returns how many bytes that frees. What is not
// there is fs.ErrNotExist.
func RemoveGGUF(cache, repo, revision, quantisation string) (freed int64, err error) {
	if !repoName.MatchString(repo) || strings.Contains(repo, "..") {
		return 0, fmt.Errorf("repository %q, want owner/name", repo)
	}
	s, err := Find(cache, repo, revision)
	if err != nil {
		return 0, err
	}
	all, err := s.GGUFs()
	if err != nil {
		return 0, err
	}
	g, err := choose(all, quantisation)
	if err != nil {
		return 0, notHere{err}
	}
	mine := map[string]bool{}
	for _, name := range g.Files {
		file := filepath.Join(s.Dir, filepath.FromSlash(name))
		if to, err := os.Readlink(file); err == nil {
			mine[filepath.Base(to)] = true
		} else if info, err := os.Stat(file); err == nil {
			freed += info.Size()
		}
		if err := os.Remove(file); err != nil {
			return freed, err
		}
	}
	left, err := snapshots(cache, repo)
	if err != nil {
		return freed, err
	}
	kept := map[string]bool{}
	for _, o := range left {
		linked(o.Dir, kept)
	}
	n, err := removeBlobs(repoDir(cache, repo), mine, kept)
	freed += n
	if err == nil && !slices.ContainsFunc(left, func(o Snapshot) bool { return o.Bytes > 0 }) {
		_, err = Remove(cache, repo, "")
	}
	return freed, err
}
