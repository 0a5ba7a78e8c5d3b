package main

import (
	"go/parser"
	"go/token"
	"io/fs"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const module = "github.com/troupe-llm/troupe"

// An importRule bans imports from the packages under a directory.
type importRule struct {
	under  string   // the directory and all below it; "" is every package
	except []string // directories below it that the rule leaves alone
	tests  bool     // test files must keep it too

	banned  []string // import paths, each with all below it
	allowed []string // when set: the only packages outside the standard library
	why     string
}

var importRules = []importRule{
	{
		under: "actors/plan", allowed: []string{module + "/gpu/batch", module + "/actors/plan"},
		why: "scheduling is a pure core: it must run in a test without actors, devices or a model",
	},
	{
		under: "actors/plan", banned: []string{"net", "os", "time", "sync", "context", "C"},
		why: "a planner decides by its inputs alone: the same requests in the same order make the same steps",
	},
	{
		under: "actors/route", allowed: []string{module + "/actors/plan", module + "/actors/wire"},
		why: "who computes a request is decided by what is told: the same for a front as in a simulation of a thousand engines",
	},
	{
		under: "actors", banned: []string{"C", "gorgonia.org/cu", "runtime/cgo", module + "/gpu/cuda"},
		why: "actors reach a device through gpu alone, so that they build and are tested without CUDA",
	},
	{
		under: "actors", banned: []string{module + "/http", "net/http", "github.com/valyala/fasthttp"},
		why: "the system is embedded without a web server, too",
	},
	{
		under: "actors/wire", allowed: []string{module + "/gpu/batch", module + "/tokenize/grammar", "google.golang.org/protobuf/encoding/protowire"},
		why: "what crosses is plain data: it knows neither of its ends",
	},
	{
		under: "actors/engine", tests: true, banned: []string{module + "/actors/front"},
		why: "an engine computes tokens: whose they are, and what they say, is the front's",
	},
	{
		under: "actors/front", banned: []string{module + "/gpu/cpu", module + "/gpu/sim", "gorgonia.org/cu"},
		why: "a front knows no device: its engines may be anywhere",
	},
	{
		under: "", except: []string{"actors/remote"}, banned: []string{"github.com/asynkron/protoactor-go/remote", "github.com/asynkron/protoactor-go/cluster", "google.golang.org/grpc"},
		why: "one package is among other hosts: what the library gets wrong is gone round at one place",
	},
	{
		under: "actors/remote", banned: []string{module + "/actors/front", module + "/gpu/model"},
		why: "who carries requests between hosts knows neither their clients nor their model",
	},
	{
		under: "actors/front", banned: []string{module + "/actors/remote"},
		why: "to a front all engines look alike, wherever they are",
	},
	{
		under: "actors/trace", allowed: []string{module + "/gpu/batch"},
		why: "a trace is written by all, and reads nothing",
	},
	{
		under: "http", banned: []string{"github.com/asynkron/protoactor-go", module + "/actors/plan"},
		why: "HTTP knows requests and streams, not who carries them",
	},
	{
		under: "http", banned: []string{
			module + "/gpu/cpu", module + "/gpu/cuda", module + "/gpu/sim", "gorgonia.org/cu",
		},
		why: "what HTTP says about a device it learns from the actors",
	},
	{
		under: "http/internal/dialect", allowed: []string{
			module + "/http/internal/dialect", module + "/http/internal/sse", module + "/actors", module + "/gpu/batch", module + "/tokenize", "github.com/valyala/fasthttp",
		},
		why: "an API is a request's text and an answer's: the server serves it, and it knows no server",
	},
	{
		under: "http/internal/dialect", banned: []string{module + "/http/internal/dialect/chat", module + "/http/internal/dialect/text", module + "/http/internal/dialect/messages", module + "/http/internal/dialect/responses"},
		why: "what dialects share lies below them: none is made of another",
	},
	{
		under: "http/internal/sse", allowed: []string{module + "/http/internal/sse", module + "/actors"},
		why: "events are frames and bytes: what is in them is a dialect's",
	},
	{
		under: "tokenize", tests: true, allowed: []string{
			module + "/tokenize", "golang.org/x/text",
		},
		why: "a tokenizer is of use without a server: it takes a file system and returns tokens",
	},
	{
		under: "tokenize/jinja", banned: []string{module},
		why: "templates know nothing of tokens",
	},
	{
		under: "tokenize/reply", tests: true, allowed: []string{module + "/tokenize/grammar"},
		why: "what a reply means is a matter of its text, and the same descriptions say what a model may write",
	},
	{
		under: "tokenize/grammar", banned: []string{module},
		why: "a grammar is of bytes: it is told a vocabulary, and knows no tokenizer, request or device",
	},
	{
		under: "gpu", banned: []string{module + "/actors", module + "/http", module + "/tokenize", "github.com/asynkron/protoactor-go"},
		why: "a device runs steps: what a request is, or text, lies above it",
	},
	{
		under: "gpu/batch", allowed: []string{module + "/gpu/batch"},
		why: "a step is plain data which everything may share",
	},
	{
		under: "gpu/program", allowed: []string{module + "/gpu/program"},
		why: "a pass is data that devices compile, simulators price and families write: it knows none of them",
	},
	{
		under: "gpu/internal/arch", allowed: []string{module + "/gpu/program", module + "/gpu/internal/jsonfile"},
		why: "a family is its configuration and its pass: it knows no files, no tensors' bytes, no device",
	},
	{
		under: "gpu/gang", banned: []string{module + "/gpu/cpu", module + "/gpu/cuda", module + "/gpu/sim"},
		why: "ranks are devices of any kind, told how to open one",
	},
	{
		under: "gpu/kernel", banned: []string{module + "/gpu/cuda", module + "/gpu/sim", "gorgonia.org/cu"},
		why: "which kernels a pass consists of is known without a GPU, for those who price it",
	},
	{
		under: "gpu/model", banned: []string{module + "/gpu/cpu", module + "/gpu/cuda", module + "/gpu/sim"},
		why: "one description, and every device runs it",
	},
	{
		under: "", except: []string{"gpu/cuda"}, banned: []string{"gorgonia.org/cu"},
		why: "one package owns the CUDA context and its thread; a build without the tag needs no CUDA at all",
	},
	{
		under: "", except: []string{"gpu/cuda"}, banned: []string{"C"},
		why: "the default binary is pure Go: it cross-compiles and runs anywhere",
	},
	{
		under: "bench", banned: []string{module + "/http", "github.com/asynkron/protoactor-go"},
		why: "what is measured is the actors in this process or a server on the wire, whosever",
	},
	{
		under: "", except: []string{"bench/wildchat"}, banned: []string{"github.com/parquet-go"},
		why: "one package reads the data set, and who does not need it does not link a library of that size",
	},
	{
		under: "bench/internal/plot", tests: true, allowed: []string{},
		why: "charts know numbers, not what they are of",
	},
	{
		under: "http/otlp", tests: true, allowed: []string{"github.com/rs/zerolog"},
		why: "spans are sent with the standard library alone: that is why this package was written",
	},
	{
		under: "", except: []string{"cmd"}, tests: true, banned: []string{"github.com/spf13", "github.com/schollz", "github.com/reeflective", "golang.org/x/term", "go.yaml.in"},
		why: "flags, files of settings and terminals are the program's",
	},
	{
		under: "", banned: []string{module + "/gpu/model/modeltest", module + "/actors/internal/toy", "testing"}, except: []string{"gpu/model/modeltest", "actors/internal/toy"},
		why: "what only tests need stays out of the program",
	},
	{
		under: "gpu", except: []string{"gpu/model/hub"}, banned: []string{"net"},
		why: "only fetching a checkpoint touches the network",
	},
}

func TestImportRules(t *testing.T) {
	for file, imports := range sourceImports(t) {
		for _, rule := range importRules {
			if !rule.covers(file) {
				continue
			}
			for _, imported := range imports {
				if !rule.permits(imported) {
					t.Errorf("%s imports %s: %s", file, imported, rule.why)
				}
			}
		}
	}
}

// A rule over a directory that is gone guards nothing.
func TestImportRulesAreOverSomething(t *testing.T) {
	files := sourceImports(t)
	for _, rule := range importRules {
		covered := false
		for file := range files {
			covered = covered || rule.covers(file)
		}
		if !covered {
			t.Errorf("no file under %q, except %q", rule.under, rule.except)
		}
	}
}

func TestImportRuleMatching(t *testing.T) {
	rule := importRule{under: "http", except: []string{"http/x"}, banned: []string{"net/http", module + "/gpu"}}
	for file, want := range map[string]bool{
		"http/a.go": true, "http/y/a.go": true, "http/x/a.go": false, "https/a.go": false, "http/a_test.go": false,
	} {
		if got := rule.covers(file); got != want {
			t.Errorf("covers(%s) = %v", file, got)
		}
	}
	for imported, want := range map[string]bool{
		"net/http": false, "net/http/httptest": false, "net": true, module + "/gpu/cpu": false, module + "/gpus": true,
	} {
		if got := rule.permits(imported); got != want {
			t.Errorf("permits(%s) = %v", imported, got)
		}
	}
	strict := importRule{allowed: []string{"golang.org/x/text"}}
	for imported, want := range map[string]bool{
		"strings": true, "encoding/json": true, "golang.org/x/text/unicode/norm": true, "golang.org/x/sys": false, module: false,
	} {
		if got := strict.permits(imported); got != want {
			t.Errorf("with allowed set, permits(%s) = %v", imported, got)
		}
	}
}

func (r *importRule) covers(file string) bool {
	if !r.tests && strings.HasSuffix(file, "_test.go") {
		return false
	}
	dir := path.Dir(file)
	return isUnder(dir, r.under) && !slices.ContainsFunc(r.except, func(e string) bool { return isUnder(dir, e) })
}

func (r *importRule) permits(imported string) bool {
	within := func(p string) bool { return isUnder(imported, p) }
	if slices.ContainsFunc(r.banned, within) {
		return false
	}
	first, _, _ := strings.Cut(imported, "/")
	standard := !strings.Contains(first, ".")
	return r.allowed == nil || standard || slices.ContainsFunc(r.allowed, within)
}

// isUnder reports whether path p is root or lies below it.
func isUnder(p, root string) bool {
	return root == "" || p == root || strings.HasPrefix(p, root+"/")
}

// sourceImports maps every Go file of the module, whatever its build tags, by
// its slash-separated path from the root, to the paths it imports.
func sourceImports(t *testing.T) map[string][]string {
	t.Helper()
	root := filepath.Join("..", "..")
	files := map[string][]string{}
	err := filepath.WalkDir(root, func(name string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(root, name)
		if err != nil {
			return err
		}
		rel = filepath.ToSlash(rel)
		if entry.IsDir() {
			if rel != "." && (strings.HasPrefix(entry.Name(), ".") || entry.Name() == "testdata" || hasModule(name)) {
				return fs.SkipDir
			}
			return nil
		}
		if !strings.HasSuffix(rel, ".go") {
			return nil
		}
		parsed, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.ImportsOnly)
		if err != nil {
			return err
		}
		files[rel] = []string{}
		for _, spec := range parsed.Imports {
			imported, err := strconv.Unquote(spec.Path.Value)
			if err != nil {
				return err
			}
			files[rel] = append(files[rel], imported)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// hasModule reports whether a directory below the root is a module of its own.
func hasModule(dir string) bool {
	found, err := filepath.Glob(filepath.Join(dir, "go.mod"))
	return err == nil && len(found) > 0
}
