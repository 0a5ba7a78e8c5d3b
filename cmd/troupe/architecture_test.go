package main

import (
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/troupe-llm/troupe/gpu/device"
)

const architecture = "../../ARCHITECTURE.md"

// Files and directories that the documents name are there.
func TestDocumentsNameFilesThatThereAre(t *testing.T) {
	for _, file := range []string{architecture, "../../README.md", "../../CONTRIBUTING.md"} {
		text := read(t, file)
		named := regexp.MustCompile("`((?:[a-z0-9_.]+/)+[a-z0-9_.]+\\.(?:go|md|sh|json|py|yaml))`").FindAllStringSubmatch(text, -1)
		if len(named) < 3 {
			t.Errorf("%s names %d files", file, len(named))
		}
		for _, m := range named {
			if _, err := os.Stat(filepath.Join("../..", filepath.FromSlash(m[1]))); err != nil {
				t.Errorf("%s names %s: %v", file, m[1], err)
			}
		}
	}
}

// What the documents name of packages, in the form `package.Name`, is declared there.
func TestDocumentsNameWhatIsDeclared(t *testing.T) {
	sources := map[string]string{} // of all packages of a name
	for file := range sourceImports(t) {
		if !strings.HasSuffix(file, "_test.go") {
			sources[filepath.Base(filepath.Dir(file))] += read(t, filepath.Join("../..", file))
		}
	}
	named := 0
	for _, file := range []string{architecture, "../../README.md", "../../CONTRIBUTING.md", "../../RELIABILITY.md", "../../CHANGELOG.md"} {
		for _, m := range regexp.MustCompile("`([a-z]+)\\.([A-Z]\\w+)[`.]").FindAllStringSubmatch(read(t, file), -1) {
			if sources[m[1]] == "" { // of another library
				continue
			}
			named++
			declared := regexp.MustCompile(`(?m)^(?:func|type|var|const) ` + m[2] + `\b|^\t` + m[2] + ` +=|^func \([^)]*\) ` + m[2] + `\(`)
			if !declared.MatchString(sources[m[1]]) {
				t.Errorf("%s names %s.%s, which is not declared", file, m[1], m[2])
			}
		}
	}
	if named < 8 {
		t.Errorf("only %d names were found", named)
	}
}

// Flags that the documents name are flags.
func TestDocumentsNameFlagsThatThereAre(t *testing.T) {
	names := append(flagNames(newRoot(stdio{})), "help", "config", "list") // of the library, of every command, of ./task
	for _, file := range []string{architecture, "../../README.md", "../../CONTRIBUTING.md", "../../RELIABILITY.md", "../../CHANGELOG.md"} {
		for _, m := range regexp.MustCompile(`(?m)[ \x60(|]--([a-z][a-z-]+)`).FindAllStringSubmatch(read(t, file), -1) {
			if !slices.Contains(names, m[1]) {
				t.Errorf("%s names --%s, which no command has", file, m[1])
			}
		}
	}
}

// Every package has a place in the rooms that are drawn.
func TestArchitectureDrawsEveryPackage(t *testing.T) {
	_, rooms, _ := strings.Cut(read(t, architecture), "## Rooms")
	rooms, _, _ = strings.Cut(rooms, "\n## ")
	drawn := map[string]bool{}
	for file := range sourceImports(t) {
		dir := filepath.Dir(file)
		if drawn[dir] || dir == "." || strings.Contains(dir, "testdata") || strings.HasSuffix(file, "_test.go") {
			continue
		}
		drawn[dir] = true
		if base := filepath.Base(dir); !strings.Contains(rooms, dir) && !regexp.MustCompile(`\b`+base+`(/|,|;|\)|\b)`).MatchString(rooms) {
			t.Errorf("%s is in no room", dir)
		}
	}
}

func TestArchitectureListsTheDevicesMethods(t *testing.T) {
	m := regexp.MustCompile(`gpu/device/ +what a device is: ([A-Za-z, ]+);`).FindStringSubmatch(read(t, architecture))
	if m == nil {
		t.Fatal("it does not say what a device is")
	}
	said := strings.Split(m[1], ", ")
	slices.Sort(said)
	var methods []string
	for method := range reflect.TypeFor[device.Device]().Methods() {
		methods = append(methods, method.Name)
	}
	if !slices.Equal(said, methods) { // which come sorted
		t.Errorf("a device is said to have %v; it has %v", said, methods)
	}
}

// The locks that a request meets are those that are said.
func TestArchitectureListsLocks(t *testing.T) {
	text := read(t, architecture)
	before, said, _ := strings.Cut(text, " locks are taken")
	number := before[strings.LastIndexAny(before, " \n")+1:]
	said, _, _ = strings.Cut(said, "What crosses")
	inCode := slices.DeleteFunc(filesWith(t, `\bsync\.(RW)?Mutex\b`, "actors"), func(file string) bool {
		return strings.Contains(file, "/internal/toy/") // for tests
	})
	for _, file := range inCode {
		if !strings.Contains(said, "`"+file+"`") {
			t.Errorf("%s has a lock that is not told", file)
		}
	}
	numbers := []string{"Five", "Six", "Seven", "Eight", "Nine", "Ten"}
	if n := strings.Count(said, ".go`"); n != 5+slices.Index(numbers, number)+7 || n != len(inCode) {
		t.Errorf("%d locks are told, %s and seven are said, there are %v", n, number, inCode)
	}
}

// The environment is the program's to read; who else does is named.
func TestEnvironmentIsReadWhereItIsSaid(t *testing.T) {
	_, said, _ := strings.Cut(read(t, architecture), "The\nprogram alone reads the environment")
	said, _, _ = strings.Cut(said, "\n\n")
	for _, file := range filesWith(t, `\b(os|syscall)\.(Getenv|LookupEnv|Environ|ExpandEnv)\b`, "") {
		if dir := filepath.Dir(file); dir == "cmd/troupe" || dir == "gpu/model/modeltest" { // the latter is for tests
			continue
		}
		if !strings.Contains(said, "`"+file+"`") {
			t.Errorf("%s reads the environment", file)
		}
	}
}

// Every flag is made of a field: its help, its completion and its place in the
// environment and in files come from there.
func TestFlagsAreMadeOfFields(t *testing.T) {
	n := 0
	var visit func(cmd *cobra.Command)
	visit = func(cmd *cobra.Command) {
		cmd.LocalFlags().VisitAll(func(f *pflag.Flag) {
			// A field is a flagValue, or of a type that is a flag's by itself.
			if made := fmt.Sprintf("%T", f.Value); !strings.HasPrefix(made, "*pflag.") {
				n++
			} else if f.Name != "help" && f.Name != "version" {
				t.Errorf("%s --%s is made elsewhere", cmd.CommandPath(), f.Name)
			}
		})
		for _, c := range cmd.Commands() {
			visit(c)
		}
	}
	visit(newRoot(stdio{in: strings.NewReader("")}))
	if n < 100 {
		t.Errorf("only %d flags", n)
	}
}

// filesWith lists the module's Go files below a directory, without tests, in which
// a pattern is found.
func filesWith(t *testing.T, pattern, under string) (files []string) {
	t.Helper()
	re := regexp.MustCompile(pattern)
	for file := range sourceImports(t) {
		if isUnder(file, under) && !strings.HasSuffix(file, "_test.go") && re.MatchString(read(t, filepath.Join("../..", file))) {
			files = append(files, file)
		}
	}
	slices.Sort(files)
	if len(files) == 0 {
		t.Errorf("no file under %q has %s", under, pattern)
	}
	return files
}
