package otlp

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

// Environment is what OpenTelemetry's environment variables say
// (opentelemetry.io/docs/specs/otel/configuration/sdk-environment-variables,
// and …/protocol/exporter), of what an exporter of spans has a use for.
type Environment struct {
	Endpoint string            // "": none was named
	Headers  map[string]string // of each request
	Resource []Attr            // in order of their keys
	Sampler  Sampler
	// Ignored says which variables make no sense, and why: the specification
	// wants those ignored, with a warning.
	Ignored []error
}

// ReadEnvironment reads the variables.
func ReadEnvironment(getenv func(string) string) (e Environment) {
	e.Endpoint = getenv("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
	if base := getenv("OTEL_EXPORTER_OTLP_ENDPOINT"); e.Endpoint == "" && base != "" {
		e.Endpoint = strings.TrimSuffix(base, "/") + tracesPath
	}
	if e.Endpoint != "" {
		if _, err := Endpoint(e.Endpoint); err != nil {
			e.Ignored, e.Endpoint = append(e.Ignored, fmt.Errorf("OTEL_EXPORTER_OTLP_ENDPOINT: %w", err)), ""
		}
	}
	pairs := func(name string) map[string]string {
		all, err := readPairs(getenv(name))
		if err != nil {
			e.Ignored = append(e.Ignored, fmt.Errorf("%s: %w", name, err))
		}
		return all
	}
	e.Headers = pairs("OTEL_EXPORTER_OTLP_HEADERS")
	if own := pairs("OTEL_EXPORTER_OTLP_TRACES_HEADERS"); len(own) > 0 {
		e.Headers = own
	}
	resource := pairs("OTEL_RESOURCE_ATTRIBUTES")
	if name := getenv("OTEL_SERVICE_NAME"); name != "" {
		resource["service.name"] = name
	}
	for _, key := range slices.Sorted(maps.Keys(resource)) {
		e.Resource = append(e.Resource, Attr{key, resource[key]})
	}
	var err error
	if e.Sampler, err = NewSampler(getenv("OTEL_TRACES_SAMPLER"), getenv("OTEL_TRACES_SAMPLER_ARG")); err != nil {
		e.Ignored = append(e.Ignored, err)
	}
	return e
}

// readPairs reads "key=value,key=value", with what is special in URLs escaped.
// Nothing of what it cannot read is kept or quoted: headers hold keys.
func readPairs(text string) (map[string]string, error) {
	all := map[string]string{}
	for i, pair := range strings.Split(text, ",") {
		if strings.TrimSpace(pair) == "" {
			continue
		}
		key, value, is := strings.Cut(pair, "=")
		key, err1 := url.PathUnescape(strings.TrimSpace(key))
		value, err2 := url.PathUnescape(strings.TrimSpace(value))
		if !is || key == "" || err1 != nil || err2 != nil {
			return map[string]string{}, fmt.Errorf("pair %d is not key=value with values escaped as in URLs", i+1)
		}
		all[key] = value
	}
	return all, nil
}

// Override returns attributes with those of more in place of their like.
func Override(attrs, more []Attr) []Attr {
	out := slices.Clone(attrs)
	for _, a := range more {
		if i := slices.IndexFunc(out, func(b Attr) bool { return a.Key == b.Key }); i >= 0 {
			out[i] = a
		} else {
			out = append(out, a)
		}
	}
	return out
}

// Sampler says which traces are recorded. The zero value records all that the
// caller's traceparent does not leave out: parentbased_always_on.
type Sampler struct {
	alone bool    // whatever the caller says
	drop  float64 // this share of traces
}

// NewSampler is one by its name in OTEL_TRACES_SAMPLER, "" the default.
func NewSampler(name, arg string) (Sampler, error) {
	kind, based := strings.CutPrefix(cmp.Or(name, "parentbased_always_on"), "parentbased_")
	s := Sampler{alone: !based}
	switch kind {
	case "always_on":
	case "always_off":
		s.drop = 1
	case "traceidratio":
		keep, err := strconv.ParseFloat(cmp.Or(arg, "1"), 64)
		if err != nil || !(keep >= 0 && keep <= 1) {
			return Sampler{}, fmt.Errorf("OTEL_TRACES_SAMPLER_ARG is %q; it must be from 0 to 1", arg)
		}
		s.drop = 1 - keep
	default:
		return Sampler{}, fmt.Errorf("OTEL_TRACES_SAMPLER is %q; it must be always_on, always_off or traceidratio, each also with parentbased_ before it", name)
	}
	return s, nil
}

// Sample decides whether the trace of c is recorded.
func (s Sampler) Sample(c *Context) {
	if !s.alone && c.Parent != (SpanID{}) {
		return // c has what the caller decided
	}
	// By the trace's id, so that all servers on its way decide alike: as in
	// OpenTelemetry's SDKs.
	c.Sampled = float64(binary.BigEndian.Uint64(c.Trace[8:])>>1) >= s.drop*(1<<63)
}
