package http

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/valyala/fasthttp"
)

// digest stands for a key. Keys are found by it: how long that takes tells
// something of digests, and nothing of keys.
type digest [sha256.Size]byte

// keyNames are who holds which key.
type keyNames map[digest]string

// keyring knows the keys there are. It does not change, but for its file.
type keyring struct {
	fixed keyNames
	file  *fresh[keyNames] // nil: none
}

// newKeyring reads the keys of a configuration that was checked. failed is told
// when the file can no longer be read.
func newKeyring(cfg *Config, failed func(error)) (*keyring, error) {
	k := &keyring{fixed: keyNames{}}
	for i, key := range cfg.APIKeys {
		k.fixed[sha256.Sum256([]byte(key))] = "api-key-" + strconv.Itoa(i+1)
	}
	var err error
	if cfg.APIKeyFile != "" {
		k.file, err = newFresh(func() (keyNames, error) { return readKeys(cfg.APIKeyFile) }, failed, time.Now, cfg.APIKeyFile)
	}
	return k, err
}

// required reports whether there are keys.
func (k *keyring) required() bool { return len(k.fixed) > 0 || k.file != nil }

// holder is the name of who sends this: in Authorization, as OpenAI's clients
// do, or in X-Api-Key, as Anthropic's do. false: there is no key, or none that
// is known.
func (k *keyring) holder(h *fasthttp.RequestHeader) (name string, known bool) {
	const scheme = "Bearer "
	if given := h.Peek(fasthttp.HeaderAuthorization); len(given) > len(scheme) && strings.EqualFold(string(given[:len(scheme)]), scheme) {
		if name, known = k.find(given[len(scheme):]); known {
			return name, true
		}
	}
	if given := h.Peek(headerKey); len(given) > 0 {
		return k.find(given)
	}
	return "", false
}

const headerKey = "X-Api-Key"

func (k *keyring) find(key []byte) (name string, known bool) {
	d := sha256.Sum256(key)
	if name, known = k.fixed[d]; !known && k.file != nil {
		name, known = k.file.get()[d]
	}
	return name, known
}

// readKeys reads a file of keys: "name: key" a line. Empty lines and those that
// begin with # say nothing. What is wrong is said by the line's number, for the
// line may be a key.
func readKeys(file string) (keyNames, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	keys, names := keyNames{}, map[string]int{}
	var faults []error
	number := 0
	for line := range strings.Lines(string(text)) {
		number++
		if line = strings.TrimSpace(line); line == "" || line[0] == '#' {
			continue
		}
		name, key, is := strings.Cut(line, ":")
		name, key = strings.TrimSpace(name), strings.TrimSpace(key)
		fault := ""
		switch at, twice := names[name]; {
		case !is || name == "" || key == "":
			fault = `it must be "name: key"`
		case strings.ContainsFunc(key, func(r rune) bool { return r <= ' ' || r > '~' }):
			fault = "a key is of printable ASCII without spaces"
		case twice:
			fault = fmt.Sprintf("its name is that of line %d", at)
		case keys[sha256.Sum256([]byte(key))] != "":
			fault = "its key is another's, too"
		}
		if fault != "" {
			faults = append(faults, fmt.Errorf("%s: line %d: %s", file, number, fault))
			continue
		}
		names[name], keys[sha256.Sum256([]byte(key))] = number, name
	}
	if len(keys)+len(faults) == 0 {
		faults = append(faults, fmt.Errorf("%s: there is no key in it", file))
	}
	return keys, errors.Join(faults...)
}
