package http

import (
	"crypto/tls"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/troupe-llm/troupe/http/internal/dialect/model"
	"github.com/troupe-llm/troupe/http/otlp"
	"github.com/troupe-llm/troupe/tokenize/reply"
)

// Config is what the server can be told. Zero values take the default.
type Config struct {
	// Models are the names clients may ask for; answers and /v1/models give
	// the first. Default: the engine's name of its model.
	Models []string
	// APIKeys, when there are any, must come as "Authorization: Bearer KEY" or
	// "X-Api-Key: KEY" with every request but those of /health, /ready, /metrics,
	// /stats, /version and the page at /.
	APIKeys []string
	// APIKeyFile has more keys, "name: key" a line. Logs name who sent a request.
	// The file is read again when it changes.
	APIKeyFile string
	// KeyLimits are for each key, by its name; AddressLimits for each address
	// that requests come from, with a key or without. Default: no limits.
	KeyLimits, AddressLimits Limits
	// Proxies are the addresses and networks of proxies, or "unix" for whoever connects
	// to a Unix socket, that are believed when X-Forwarded-For or Forwarded says whose
	// request it is. Default: none; the address is that of the connection.
	Proxies []string
	// Hosts are the names by which requests may call this server in their Host
	// field, beside localhost and addresses; "*" is all. Default: none.
	Hosts []string
	// Origins are those whose pages may call this server from a browser
	// ("https://example.org"), beside its own; "*" is all. Default: none.
	Origins []string
	// TLS encrypts connections, those of ServeAdmin too. Default: none does.
	TLS *tls.Config
	// Admin leaves /metrics, /stats and profiles to ServeAdmin.
	Admin bool
	// Version is what /version says, Revision the commit it was built from, if known.
	Version, Revision string
	// RootPath is where a proxy serves this server, such as /llm, if not at /. Whether
	// it takes that off the paths that it hands on makes no difference.
	RootPath string
	// ToolCallParser is how the model writes tool calls: "auto" (the default)
	// goes by its chat template; "none" leaves them in the text; ToolCallParsers
	// lists families' ways, among them vLLM's names.
	ToolCallParser string
	// ReasoningParser is whether the model puts reasoning before its answers:
	// "auto" (the default) goes by its chat template; "none" leaves it in the
	// text; "think" looks for <think>…</think>; ReasoningParsers lists the others.
	ReasoningParser string
	// Spans takes the spans of each request that is over, as an otlp.Exporter
	// does, and must not block. Default: none are made.
	Spans interface{ Send([]otlp.Span) }
	// Sampler says of which requests. Default: of those whose caller wants it, and
	// of those that come without a traceparent.
	Sampler otlp.Sampler
	// Profiling serves /debug/pprof, to those who have a key.
	Profiling bool

	// MaxBody is the most bytes a request's body may have. Default: 16 MiB.
	MaxBody int
	// BodyBudget is the most bytes that the bodies being read or decoded may
	// take together; more get a 429. Default: 4 times MaxBody, with keys 16 times.
	BodyBudget int
	// ResponseBytes is how much memory responses take that are kept for requests to
	// go on from, each for ResponseTime at most. Default: 64 MiB and 24 hours.
	ResponseBytes int
	ResponseTime  time.Duration
	// ResponseStore is a directory where they are kept, too, so that they outlast
	// the process: ResponseDisk bytes of them. Default: none; 16 GiB.
	ResponseStore string
	ResponseDisk  int
	// MaxConnections may be open at once. Default: 16384.
	MaxConnections int
	// MaxOpen answers may be under way at once; more get a 429. Default: 8192.
	MaxOpen int
	// MaxChoices bounds a request's prompts times n. Default: 128.
	MaxChoices int
	// MaxStops bounds a request's stop strings. Default: 16, of 1024 bytes each.
	MaxStops int

	// StrictFields refuses requests with fields that are not known. Default: those
	// are ignored, and responses say which, in X-Ignored-Fields.
	StrictFields bool

	// ReadTimeout bounds how long a request may take to arrive. Default: 30 s.
	ReadTimeout time.Duration
	// IdleTimeout closes connections that ask for nothing. Default: 2 min.
	IdleTimeout time.Duration
	// StallTimeout ends an answer whose client has stopped reading. Default: 1 min.
	StallTimeout time.Duration
	// QueueTimeout is how long a request may wait to be computed, once it has been read.
	// Then it gets status 503. Default: as long as it takes.
	QueueTimeout time.Duration
	// RequestTimeout and StreamTimeout are how long an answer may take from the arrival
	// of its request to its end: one that is sent whole, and one that is streamed. One
	// that takes longer gets status 504, or an error event. Default: as long as they take.
	RequestTimeout, StreamTimeout time.Duration
	// KeepAlive is how often a stream without tokens sends a comment, so that
	// proxies do not take it for dead. Default: 15 s.
	KeepAlive time.Duration
}

const maxStopBytes = 1024

// leastBodies of the largest size are what there must be memory for. One needs
// two, as it is there twice when its parts are joined, and half of that is for
// small ones.
const leastBodies = 4

const parserNone = "none"

// What can be configured.
var (
	ToolCallParsers  = append([]string{model.ParserAuto, parserNone}, reply.FormatNames()...)
	ReasoningParsers = append([]string{model.ParserAuto, parserNone, model.ParserChannels}, reply.ReasoningNames()...)
)

// Check says all that is wrong with the configuration, as New would.
func (c Config) Check() error {
	_, err := c.complete()
	return err
}

// complete returns the configuration with its defaults, or all that is wrong
// with it. What Models is by default the engine knows.
func (c Config) complete() (Config, error) {
	faults := c.completeNames()
	faults = append(faults, initial("MaxBody", &c.MaxBody, 16<<20))
	keyed, budgets := len(c.APIKeys) > 0 || c.APIKeyFile != "", leastBodies
	if keyed {
		budgets = 16
	}
	for _, f := range []struct {
		name    string
		value   *int
		initial int
	}{
		{"BodyBudget", &c.BodyBudget, budgets * max(c.MaxBody, nextPart)},
		{"ResponseBytes", &c.ResponseBytes, 64 << 20},
		{"ResponseDisk", &c.ResponseDisk, 16 << 30},
		{"MaxConnections", &c.MaxConnections, 16384},
		{"MaxOpen", &c.MaxOpen, 8192},
		{"MaxChoices", &c.MaxChoices, 128},
		{"MaxStops", &c.MaxStops, 16},
	} {
		faults = append(faults, initial(f.name, f.value, f.initial))
	}
	if least := leastBodies * max(c.MaxBody, nextPart); c.BodyBudget < least {
		faults = append(faults, fmt.Errorf("BodyBudget must be at least %d for a MaxBody of %d, got %d", least, c.MaxBody, c.BodyBudget))
	}
	for _, l := range []Limits{c.KeyLimits, c.AddressLimits} {
		if l.Requests < 0 || l.Open < 0 || l.Tokens < 0 {
			faults = append(faults, fmt.Errorf("limits must not be negative, got %+v", l))
		}
	}
	if !c.KeyLimits.none() && !keyed {
		faults = append(faults, errors.New("there are limits for keys and no keys"))
	}
	for _, f := range []struct {
		name    string
		value   *time.Duration
		initial time.Duration
	}{
		{"ResponseTime", &c.ResponseTime, 24 * time.Hour},
		{"ReadTimeout", &c.ReadTimeout, 30 * time.Second},
		{"IdleTimeout", &c.IdleTimeout, 2 * time.Minute},
		{"StallTimeout", &c.StallTimeout, time.Minute},
		{"KeepAlive", &c.KeepAlive, 15 * time.Second},
	} {
		faults = append(faults, initial(f.name, f.value, f.initial))
	}
	for _, d := range []time.Duration{c.QueueTimeout, c.RequestTimeout, c.StreamTimeout} {
		if d < 0 {
			faults = append(faults, fmt.Errorf("QueueTimeout, RequestTimeout and StreamTimeout must not be negative, got %v", d))
		}
	}
	return c, errors.Join(faults...)
}

// completeNames checks and completes what is a name, an address, a path or a key.
func (c *Config) completeNames() (faults []error) {
	for _, key := range c.APIKeys {
		if strings.TrimSpace(key) == "" {
			faults = append(faults, errors.New("an API key is empty"))
		}
	}
	if c.APIKeyFile != "" {
		_, err := readKeys(c.APIKeyFile)
		faults = append(faults, err)
	}
	_, err := parseProxies(c.Proxies)
	faults = append(faults, err)
	if p := c.RootPath; p != "" && (p[0] != '/' || path.Clean(p) != p || p == "/" || strings.ContainsAny(p, "?#% ")) {
		faults = append(faults, fmt.Errorf("RootPath is %q; it must be such as /llm, without a slash at the end", p))
	}
	c.Hosts = slices.Clone(c.Hosts)
	for i, host := range c.Hosts {
		if strings.ContainsAny(host, "/: ") || host == "" {
			faults = append(faults, fmt.Errorf("host %q: expected \"*\" or a name without a port, like llm.example.org", host))
		}
		c.Hosts[i] = strings.ToLower(host)
	}
	for _, origin := range c.Origins {
		if origin != "*" && !strings.Contains(origin, "://") {
			faults = append(faults, fmt.Errorf("origin %q: expected \"*\" or a scheme and host like https://example.org", origin))
		}
	}
	return append(faults, checkModel(c.Models, &c.ToolCallParser, &c.ReasoningParser)...)
}

// checkModel checks and completes what is said of a model.
func checkModel(names []string, toolCallParser, reasoningParser *string) (faults []error) {
	for _, name := range names {
		if name == "" {
			faults = append(faults, errors.New("a served model's name is empty"))
		}
	}
	for _, f := range []struct {
		name  string
		value *string
		known []string
	}{
		{"ToolCallParser", toolCallParser, ToolCallParsers},
		{"ReasoningParser", reasoningParser, ReasoningParsers},
	} {
		if *f.value == "" {
			*f.value = model.ParserAuto
		}
		if !slices.Contains(f.known, *f.value) {
			faults = append(faults, fmt.Errorf("%s: %q is not known, only %s are", f.name, *f.value, strings.Join(f.known, ", ")))
		}
	}
	return faults
}

func initial[T int | time.Duration](name string, value *T, initial T) error {
	if *value < 0 {
		return fmt.Errorf("%s must not be negative, got %v", name, *value)
	}
	if *value == 0 {
		*value = initial
	}
	return nil
}
