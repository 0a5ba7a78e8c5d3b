package otlp

import (
	"encoding/hex"
	"fmt"
	"strconv"
)

// The messages of opentelemetry/proto/collector/trace/v1, as their JSON form
// has them: names in lowerCamelCase, ids in hexadecimal, 64-bit numbers as
// strings, enumerations as numbers.

type exportRequest struct {
	ResourceSpans []resourceSpans `json:"resourceSpans"`
}

type resourceSpans struct {
	Resource   resource     `json:"resource"`
	ScopeSpans []scopeSpans `json:"scopeSpans"`
}

type resource struct {
	Attributes []keyValue `json:"attributes"`
}

type scopeSpans struct {
	Scope scope  `json:"scope"`
	Spans []span `json:"spans"`
}

type scope struct {
	Name string `json:"name"`
}

type span struct {
	TraceID    string     `json:"traceId"`
	SpanID     string     `json:"spanId"`
	TraceState string     `json:"traceState,omitempty"`
	Parent     string     `json:"parentSpanId,omitempty"`
	Name       string     `json:"name"`
	Kind       Kind       `json:"kind"`
	Start      string     `json:"startTimeUnixNano"`
	End        string     `json:"endTimeUnixNano"`
	Attributes []keyValue `json:"attributes,omitempty"`
	Status     *status    `json:"status,omitempty"`
}

type status struct {
	Message string `json:"message,omitempty"`
	Code    int    `json:"code"`
}

const statusError = 2

type keyValue struct {
	Key   string         `json:"key"`
	Value map[string]any `json:"value"`
}

// request puts spans into a message.
func request(of []Attr, spans []Span) exportRequest {
	list := make([]span, len(spans))
	for i := range spans {
		s := &spans[i]
		list[i] = span{
			TraceID: hex.EncodeToString(s.Trace[:]), SpanID: hex.EncodeToString(s.ID[:]), TraceState: s.State,
			Name: s.Name, Kind: s.Kind, Attributes: attributes(s.Attrs),
			Start: strconv.FormatInt(s.Began.UnixNano(), 10), End: strconv.FormatInt(s.Ended.UnixNano(), 10),
		}
		if s.Parent != (SpanID{}) {
			list[i].Parent = hex.EncodeToString(s.Parent[:])
		}
		if s.Error != "" {
			list[i].Status = &status{s.Error, statusError}
		}
	}
	return exportRequest{[]resourceSpans{{
		Resource:   resource{attributes(of)},
		ScopeSpans: []scopeSpans{{scope{"github.com/troupe-llm/troupe"}, list}},
	}}}
}

func attributes(attrs []Attr) []keyValue {
	out := make([]keyValue, len(attrs))
	for i, a := range attrs {
		out[i] = keyValue{a.Key, anyValue(a.Value)}
	}
	return out
}

func anyValue(v any) map[string]any {
	switch v := v.(type) {
	case string:
		return map[string]any{"stringValue": v}
	case int64:
		return map[string]any{"intValue": strconv.FormatInt(v, 10)}
	case float64:
		return map[string]any{"doubleValue": v}
	case []string:
		values := make([]map[string]any, len(v))
		for i, s := range v {
			values[i] = anyValue(s)
		}
		return map[string]any{"arrayValue": map[string]any{"values": values}}
	}
	panic(fmt.Sprintf("otlp: an attribute of type %T", v))
}
