package model

import (
	_ "embed"
	"encoding/json"
	"fmt"
	"io/fs"
	"strings"
	"sync"
)

// published are configurations known by name, as their makers published them:
// sizes for dummy weights and for simulated devices. The names are those on the
// hub without their owner, in lower case; the configurations have of config.json
// what makes a difference here.
//
//go:embed published.json
var publishedJSON []byte

var published = sync.OnceValue(func() (list []struct {
	Name   string          `json:"name"`
	Config json.RawMessage `json:"config"`
},
) {
	if err := json.Unmarshal(publishedJSON, &list); err != nil {
		panic(fmt.Sprintf("published.json: %v", err))
	}
	return list
})

// Published lists the names of published configurations that Open knows.
func Published() []string {
	var names []string
	for _, p := range published() {
		names = append(names, p.Name)
	}
	return names
}

// openPublished opens a configuration by name; "Qwen/Qwen3-0.6B" is
// "qwen3-0.6b" too.
func openPublished(spec string, dummy bool) (*Model, error) {
	name := strings.ToLower(spec[strings.LastIndexByte(spec, '/')+1:])
	for _, p := range published() {
		if p.Name != name {
			continue
		}
		if !dummy {
			return nil, fmt.Errorf("%q is a published configuration without its weights: give the directory of a downloaded checkpoint, or ask for dummy weights", name)
		}
		c, err := ParseConfig(p.Config, name)
		if err != nil {
			return nil, err
		}
		return &Model{Name: name, Config: c, Generation: Generation{EOS: c.EOS}}, nil
	}
	known := append([]string{Builtin}, Published()...)
	hint := ""
	if near := nearest(name, known); near != "" {
		hint = fmt.Sprintf(" did you mean %q?", near)
	}
	return nil, fmt.Errorf("no model %q: %w;%s there are directories, %q and, with dummy weights, %s", spec, fs.ErrNotExist, hint, Builtin, strings.Join(Published(), ", "))
}

// nearest returns the name that takes the fewest edits to reach, if they are
// few enough to be a slip.
func nearest(name string, known []string) string {
	best, fewest := "", 1+max(2, len(name)/3)
	for _, k := range known {
		if d := edits(name, k); d < fewest {
			best, fewest = k, d
		}
	}
	return best
}

// edits is the Levenshtein distance in bytes.
func edits(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost = 1 + min(diagonal, row[j], row[j+1])
			}
			diagonal, row[j+1] = row[j+1], cost
		}
	}
	return row[len(b)]
}
