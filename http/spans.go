package http

import (
	"time"

	"github.com/valyala/fasthttp"

	"github.com/troupe-llm/troupe/actors"
	"github.com/troupe-llm/troupe/gpu/batch"
	"github.com/troupe-llm/troupe/http/otlp"
)

// continueTrace notes where in a trace the request belongs, when spans are
// wanted.
func (x *exchange) continueTrace() {
	if x.s.cfg.Spans == nil || x.method != fasthttp.MethodPost {
		return
	}
	h := &x.ctx.Request.Header
	x.trace = otlp.Continue(string(h.Peek("traceparent")), string(h.Peek("tracestate")))
	x.s.cfg.Sampler.Sample(&x.trace)
}

// sendSpans tells of a request that is over: one span of the whole, and within
// it, for each choice, one of each phase, and one of writing its last text.
func (x *exchange) sendSpans(ended time.Time) {
	if !x.trace.Sampled || x.route == "" {
		return
	}
	whole := otlp.Span{
		Trace: x.trace.Trace, ID: otlp.NewSpanID(), Parent: x.trace.Parent, State: x.trace.State,
		Name: x.method + " " + x.route, Kind: otlp.Server, Began: x.begun, Ended: ended,
		Attrs: []otlp.Attr{
			{Key: "http.request.method", Value: x.method},
			{Key: "http.route", Value: x.route},
			{Key: "http.response.status_code", Value: int64(x.status)},
			{Key: "troupe.request_id", Value: x.id},
		},
	}
	if x.status >= 500 || x.outcome != nil && x.outcome.finish == "error" {
		whole.Error = "the request failed"
		if x.err != nil {
			whole.Error = x.err.Error()
		}
	}
	spans := make([]otlp.Span, 1, 8)
	if o := x.outcome; o != nil {
		// Names are those of OpenTelemetry's conventions for generative AI.
		whole.Attrs = append(
			whole.Attrs,
			otlp.Attr{Key: "gen_ai.operation.name", Value: o.operation},
			otlp.Attr{Key: "gen_ai.request.model", Value: x.s.cfg.Models[0]},
			otlp.Attr{Key: "gen_ai.usage.input_tokens", Value: int64(o.usage.PromptTokens)},
			otlp.Attr{Key: "gen_ai.usage.output_tokens", Value: int64(o.usage.CompletionTokens)},
			otlp.Attr{Key: "troupe.cached_tokens", Value: int64(o.usage.CachedTokens)},
		)
		var finishes []string
		for i, f := range o.finals {
			finishes = append(finishes, string(f.Reason))
			spans = x.choiceSpans(spans, &whole, i, f)
		}
		whole.Attrs = append(whole.Attrs, otlp.Attr{Key: "gen_ai.response.finish_reasons", Value: finishes})
	}
	spans[0] = whole
	x.s.cfg.Spans.Send(spans)
}

// choiceSpans appends what one choice went through.
func (x *exchange) choiceSpans(spans []otlp.Span, whole *otlp.Span, i int, f *actors.Final) []otlp.Span {
	add := func(name string, began, ended time.Time, attrs ...otlp.Attr) {
		if len(x.outcome.finals) > 1 {
			attrs = append(attrs, otlp.Attr{Key: "troupe.choice", Value: int64(i)})
		}
		spans = append(spans, otlp.Span{
			Trace: whole.Trace, ID: otlp.NewSpanID(), Parent: whole.ID, State: whole.State,
			Name: name, Kind: otlp.Internal, Began: began, Ended: ended, Attrs: attrs,
		})
	}
	for _, p := range f.Times.Phases() {
		var attrs []otlp.Attr
		switch p.Kind {
		case actors.SpanPrefill:
			attrs = []otlp.Attr{
				{Key: "gen_ai.usage.input_tokens", Value: int64(f.Usage.PromptTokens)},
				{Key: "troupe.cached_tokens", Value: int64(f.Usage.CachedTokens)},
			}
		case actors.SpanDecode:
			attrs = []otlp.Attr{{Key: "gen_ai.usage.output_tokens", Value: int64(f.Usage.CompletionTokens)}}
		}
		add(p.Kind.String(), x.s.wall(p.Began), x.s.wall(p.Ended), attrs...)
	}
	if end := x.s.wall(f.Times.Ended); f.Times.Ended > 0 && whole.Ended.After(end) {
		add("write", end, whole.Ended)
	}
	return spans
}

// wall is the time of a moment as batch.Now has it.
func (s *Server) wall(now int64) time.Time { return s.epoch.Add(time.Duration(now)) }

// epoch is when batch.Now was 0.
func epoch() time.Time { return time.Now().Add(-time.Duration(batch.Now())) }
