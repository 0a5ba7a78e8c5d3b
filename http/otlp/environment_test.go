package otlp

import (
	"context"
	"encoding/binary"
	"maps"
	"slices"
	"strings"
	"testing"
)

func TestReadEnvironment(t *testing.T) {
	for _, tc := range []struct {
		env      string // a line each
		endpoint string
		headers  map[string]string
		resource []Attr
		sampler  Sampler
		ignored  []string // what each says
	}{
		{},
		{env: "OTEL_EXPORTER_OTLP_ENDPOINT=http://collector:4318/", endpoint: "http://collector:4318/v1/traces"},
		{env: "OTEL_EXPORTER_OTLP_ENDPOINT=http://a:1\nOTEL_EXPORTER_OTLP_TRACES_ENDPOINT=http://b:2/in", endpoint: "http://b:2/in"},
		{env: "OTEL_EXPORTER_OTLP_ENDPOINT=collector", ignored: []string{"OTEL_EXPORTER_OTLP_ENDPOINT"}},
		{env: "OTEL_EXPORTER_OTLP_HEADERS=api-key=a%3Db%20c, x = y", headers: map[string]string{"api-key": "a=b c", "x": "y"}},
		{env: "OTEL_EXPORTER_OTLP_HEADERS=k=1\nOTEL_EXPORTER_OTLP_TRACES_HEADERS=t=2", headers: map[string]string{"t": "2"}},
		{env: "OTEL_EXPORTER_OTLP_HEADERS=secret", ignored: []string{"OTEL_EXPORTER_OTLP_HEADERS: pair 1"}},
		{
			env:      "OTEL_RESOURCE_ATTRIBUTES=service.name=a,deployment.environment=prod\nOTEL_SERVICE_NAME=b",
			resource: []Attr{{"deployment.environment", "prod"}, {"service.name", "b"}},
		},
		{env: "OTEL_TRACES_SAMPLER=always_off", sampler: Sampler{alone: true, drop: 1}},
		{env: "OTEL_TRACES_SAMPLER=parentbased_traceidratio\nOTEL_TRACES_SAMPLER_ARG=0.25", sampler: Sampler{drop: .75}},
		{env: "OTEL_TRACES_SAMPLER=traceidratio", sampler: Sampler{alone: true}},
		{env: "OTEL_TRACES_SAMPLER=traceidratio\nOTEL_TRACES_SAMPLER_ARG=NaN", ignored: []string{"OTEL_TRACES_SAMPLER_ARG"}},
		{env: "OTEL_TRACES_SAMPLER=jaeger_remote", ignored: []string{"jaeger_remote"}},
	} {
		e := ReadEnvironment(func(name string) string {
			for line := range strings.Lines(tc.env) {
				if key, value, _ := strings.Cut(strings.TrimSuffix(line, "\n"), "="); key == name {
					return value
				}
			}
			return ""
		})
		if e.Endpoint != tc.endpoint || !maps.Equal(e.Headers, tc.headers) || !slices.Equal(e.Resource, tc.resource) || e.Sampler != tc.sampler {
			t.Errorf("%s: %+v", tc.env, e)
		}
		if len(e.Ignored) != len(tc.ignored) {
			t.Errorf("%s: ignored %v, want %v", tc.env, e.Ignored, tc.ignored)
			continue
		}
		for i, err := range e.Ignored {
			if !strings.Contains(err.Error(), tc.ignored[i]) || strings.Contains(err.Error(), "secret") {
				t.Errorf("%s: %v, want %s", tc.env, err, tc.ignored[i])
			}
		}
	}
}

func TestSample(t *testing.T) {
	parent := SpanID{1}
	trace := func(share float64) (id TraceID) { // the id's place among all
		binary.BigEndian.PutUint64(id[8:], uint64(share*(1<<63))<<1)
		return id
	}
	for _, tc := range []struct {
		name, arg string
		c         Context
		want      bool
	}{
		{"", "", Context{Trace: trace(0)}, true},
		{"", "", Context{Parent: parent}, false},
		{"", "", Context{Parent: parent, Sampled: true}, true},
		{"always_on", "", Context{Parent: parent}, true},
		{"always_off", "", Context{Parent: parent, Sampled: true, Trace: trace(.999)}, false},
		{"parentbased_always_off", "", Context{Parent: parent, Sampled: true}, true},
		{"parentbased_always_off", "", Context{Sampled: true, Trace: trace(.999)}, false},
		{"parentbased_traceidratio", "0.25", Context{Trace: trace(.7)}, false},
		{"parentbased_traceidratio", "0.25", Context{Trace: trace(.8)}, true},
	} {
		s, err := NewSampler(tc.name, tc.arg)
		if err != nil {
			t.Fatal(err)
		}
		if s.Sample(&tc.c); tc.c.Sampled != tc.want {
			t.Errorf("%s %s: %v, want %v", tc.name, tc.arg, tc.c.Sampled, tc.want)
		}
	}
}

func TestHeadersAreSent(t *testing.T) {
	c := collect(t, 200)
	got := c.headers()
	e, err := New(Config{Endpoint: c.URL, Headers: map[string]string{"api-key": "k"}})
	if err != nil {
		t.Fatal(err)
	}
	e.Send([]Span{{Name: "one"}})
	if err := e.Close(context.Background()); err != nil {
		t.Fatal(err)
	}
	if key := (<-got).Get("api-key"); key != "k" {
		t.Errorf("the key came as %q", key)
	}
}
