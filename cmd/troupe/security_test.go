package main

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// SECURITY.md and the README's table of who may use the server name tests and
// flags that there are.
func TestSecurityNamesWhatThereIs(t *testing.T) {
	text := read(t, "../../SECURITY.md")
	namesTests(t, text, 20, ".", "../../http", "../../actors/engine", "../../actors/front", "../../actors/internal/turns", "../../actors/plan", "../../actors/remote")
	_, section, _ := strings.Cut(read(t, "../../README.md"), "### Who may use it")
	section, _, _ = strings.Cut(section, "\n### ")
	serve := newServe()
	for _, m := range regexp.MustCompile(`--([a-z][a-z-]+)`).FindAllStringSubmatch(text+section, -1) {
		if serve.Flags().Lookup(m[1]) == nil {
			t.Errorf("troupe serve has no flag --%s", m[1])
		}
	}
}

// What RELIABILITY.md says is held by tests that there are.
func TestReliabilityNamesWhatThereIs(t *testing.T) {
	namesTests(t, read(t, "../../RELIABILITY.md"), 30, ".", "../../http", "../../http/otlp", "../../actors", "../../actors/front", "../../actors/remote", "../../gpu/gang", "../../gpu/cuda",
		"../../gpu/model", "../../gpu/internal/gguf", "../../tokenize", "../../tokenize/grammar", "../../tokenize/jinja", "../../tokenize/reply",
		"../../bench", "../../http/internal/dialect/field", "../../http/internal/dialect/jsonenc", "../../http/internal/dialect/responses")
}

// namesTests reports tests that a text names and none of the directories has, and whether it names too few.
func namesTests(t *testing.T, text string, least int, dirs ...string) {
	t.Helper()
	sources := ""
	for _, dir := range dirs {
		files, err := filepath.Glob(filepath.Join(dir, "*_test.go"))
		if err != nil || len(files) == 0 {
			t.Fatal(dir, err)
		}
		for _, file := range files {
			sources += read(t, file)
		}
	}
	tests := regexp.MustCompile("`((?:Test|Fuzz)\\w+)`").FindAllStringSubmatch(text, -1)
	if len(tests) < least {
		t.Errorf("only %d tests are named", len(tests))
	}
	for _, m := range tests {
		if !strings.Contains(sources, "\nfunc "+m[1]+"(") {
			t.Errorf("there is no %s", m[1])
		}
	}
}

func read(t *testing.T, file string) string {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
