package http

import (
	"bytes"
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rs/zerolog"
	"github.com/valyala/fasthttp/fasthttputil"
)

func write(t *testing.T, name, text string) {
	t.Helper()
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestReadKeys(t *testing.T) {
	file := filepath.Join(t.TempDir(), "keys")
	write(t, file, "# who: key\n\nann: sesame\n  bob :  s3cr3t:with:colons \r\n")
	keys, err := readKeys(file)
	if err != nil || len(keys) != 2 {
		t.Fatalf("%v, %v", keys, err)
	}
	k := keyring{fixed: keys}
	for key, want := range map[string]string{"sesame": "ann", "s3cr3t:with:colons": "bob", "sesam": "", "ann": "", "": ""} {
		if got, known := k.find([]byte(key)); got != want || known != (want != "") {
			t.Errorf("%q is %q's, %v; want %q", key, got, known, want)
		}
	}
	for text, want := range map[string]string{
		"":                                "there is no key",
		"# nothing\n":                     "there is no key",
		"sesame":                          `line 1: it must be "name: key"`,
		"a: x\nb:\n":                      `line 2: it must be "name: key"`,
		": sesame":                        `line 1: it must be "name: key"`,
		"a: open sesame":                  "line 1: a key is of printable ASCII",
		"a: sesame\x01":                   "line 1: a key is of printable ASCII",
		"a: sesame\n\na: other":           "line 3: its name is that of line 1",
		"a: sesame\nb: sesame":            "line 2: its key is another's",
		"a\nb: open sesame\nc: x\nc: y\n": "line 4: its name",
	} {
		write(t, file, text)
		if _, err := readKeys(file); err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "sesame") {
			t.Errorf("%q: %v, want %s and no key", text, err, want)
		}
	}
}

// A file is looked at again after a second, and what cannot be read leaves what
// there was.
func TestFresh(t *testing.T) {
	file := filepath.Join(t.TempDir(), "value")
	write(t, file, "one")
	now := time.Unix(1000, 0)
	var told []error
	read := func() (string, error) {
		text, err := os.ReadFile(file)
		if string(text) == "bad" {
			err = errors.New("bad")
		}
		return string(text), err
	}
	f, err := newFresh(read, func(err error) { told = append(told, err) }, func() time.Time { return now }, file)
	if err != nil {
		t.Fatal(err)
	}
	for _, step := range []struct {
		text  string // of the file from now on; "" it is gone
		after time.Duration
		want  string
		told  int // so far
	}{
		{"three", 0, "one", 0},
		{"three", freshFor, "three", 0},
		{"bad", freshFor, "three", 1},
		{"bad", freshFor, "three", 1}, // told once
		{"", freshFor, "three", 2},
		{"", freshFor, "three", 2},
		{"seven", freshFor, "seven", 2},
		{"bad", freshFor, "seven", 3},
	} {
		if got, _ := os.ReadFile(file); string(got) != step.text {
			os.Remove(file)
			if step.text != "" {
				write(t, file, step.text)
			}
		}
		now = now.Add(step.after)
		if got := f.get(); got != step.want || len(told) != step.told {
			t.Errorf("with %q it is %q, want %q; told %v", step.text, got, step.want, told)
		}
	}
	if _, err := newFresh(read, nil, time.Now, filepath.Join(t.TempDir(), "none")); err == nil {
		t.Error("a file that is not there is read")
	}
}

// Requests with keys from a file are let in, and logged by name; a second after
// a key has gone from it, no more.
func TestKeysFromFile(t *testing.T) {
	file := filepath.Join(t.TempDir(), "keys")
	write(t, file, "ann: sesame\n")
	var log bytes.Buffer // written before an answer is, and read after
	s, err := newServer(Config{APIKeyFile: file, APIKeys: []string{"first"}}, answers(), zerolog.New(&log))
	if err != nil {
		t.Fatal(err)
	}
	var later atomic.Int64 // than now
	s.keys.file.now = func() time.Time { return time.Now().Add(time.Duration(later.Load())) }
	ln := fasthttputil.NewInmemoryListener()
	h := serving(t, ln, func(context.Context, string, string) (net.Conn, error) { return ln.Dial() }, s)
	for header, want := range map[string]int{
		"Authorization: Bearer sesame": 200, "authorization: bearer sesame": 200, "X-Api-Key: sesame": 200, "X-Api-Key: first": 200,
		"X-Api-Key: other": 401, "Authorization: sesame": 401, "Cookie: sesame": 401,
	} {
		if status, body := h.read(h.post("/v1/completions", `{"prompt":"a"}`, header)); status != want {
			t.Errorf("%s: %d %s, want %d", header, status, body, want)
		}
	}
	write(t, file, "bob: another\n")
	later.Store(int64(freshFor))
	for key, want := range map[string]int{"sesame": 401, "another": 200} {
		if status, body := h.read(h.post("/v1/completions", `{"prompt":"a"}`, "X-Api-Key: "+key)); status != want {
			t.Errorf("then %s: %d %s, want %d", key, status, body, want)
		}
	}
	if got := log.String(); strings.Count(got, `"key":"ann"`) != 3 || strings.Count(got, `"key":"api-key-1"`) != 1 || strings.Contains(got, "sesame") {
		t.Errorf("the log has\n%s", got)
	}
}
