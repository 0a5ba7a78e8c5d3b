package http

import (
	"net"
	"strconv"
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
			otlp.Attr{Key: "gen_ai.request.model", Value: x.model.Names[0]},
			otlp.Attr{Key: "gen_ai.usage.input_tokens", Value: int64(o.usage.PromptTokens)},
			otlp.Attr{Key: "gen_ai.usage.output_tokens", Value: int64(o.usage.CompletionTokens)},
			otlp.Attr{Key: "troupe.cached_tokens", Value: int64(o.usage.CachedTokens)},
			otlp.Attr{Key: "troupe.accepted_tokens", Value: int64(o.usage.AcceptedTokens)},
			otlp.Attr{Key: "troupe.rejected_tokens", Value: int64(o.usage.RejectedTokens)},
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

// choiceSpans appends what one choice went through. What engines on other hosts did for it is within a
// span for each, on this host's clock.
func (x *exchange) choiceSpans(spans []otlp.Span, whole *otlp.Span, i int, f *actors.Final) []otlp.Span {
	add := func(parent otlp.SpanID, name string, began, ended int64, attrs ...otlp.Attr) *otlp.Span {
		if len(x.outcome.finals) > 1 {
			attrs = append(attrs, otlp.Attr{Key: "troupe.choice", Value: int64(i)})
		}
		spans = append(spans, otlp.Span{
			Trace: whole.Trace, ID: otlp.NewSpanID(), Parent: parent, State: whole.State,
			Name: name, Kind: otlp.Internal, Began: x.s.wall(began), Ended: x.s.wall(ended), Attrs: attrs,
		})
		return &spans[len(spans)-1]
	}
	if f.Elsewhere() {
		add(whole.ID, actors.SpanTokenize.String(), f.Times.Submitted, f.Attempts[0].Handed)
		for n := range f.Attempts {
			a := &f.Attempts[n]
			at := add(whole.ID, "engine", a.Handed, a.Left, engineAttrs(a, n)...)
			if at.Kind = otlp.Client; a.Lost {
				at.Error = "the engine is lost"
			}
			within := at.ID
			for _, p := range a.Phases() {
				add(within, p.Kind.String(), p.Began, p.Ended, phaseAttrs(p.Kind, &f.Usage, a.Tokens)...)
			}
		}
	} else {
		for _, p := range f.Times.Phases() {
			add(whole.ID, p.Kind.String(), p.Began, p.Ended, phaseAttrs(p.Kind, &f.Usage, f.Usage.CompletionTokens)...)
		}
	}
	if f.Times.Ended > 0 && whole.Ended.After(x.s.wall(f.Times.Ended)) {
		add(whole.ID, "write", f.Times.Ended, f.Times.Ended).Ended = whole.Ended
	}
	return spans
}

// engineAttrs say which engine an attempt was on, the n-th of its request, and how well its clock is known.
func engineAttrs(a *actors.Attempt, n int) []otlp.Attr {
	attrs := []otlp.Attr{
		{Key: "troupe.engine", Value: int64(a.Engine)},
		{Key: "troupe.attempt", Value: int64(n)},
		{Key: "troupe.clock_error_us", Value: float64(a.ClockError) / 1e3},
	}
	if host, port, err := net.SplitHostPort(a.Peer); err == nil {
		attrs = append(attrs, otlp.Attr{Key: "server.address", Value: host})
		if number, err := strconv.ParseInt(port, 10, 64); err == nil {
			attrs = append(attrs, otlp.Attr{Key: "server.port", Value: number})
		}
	}
	return attrs
}

// phaseAttrs say how much a phase was.
func phaseAttrs(kind actors.Kind, u *actors.Usage, drawn int) []otlp.Attr {
	switch kind {
	case actors.SpanPrefill:
		return []otlp.Attr{
			{Key: "gen_ai.usage.input_tokens", Value: int64(u.PromptTokens)},
			{Key: "troupe.cached_tokens", Value: int64(u.CachedTokens)},
		}
	case actors.SpanDecode:
		return []otlp.Attr{{Key: "gen_ai.usage.output_tokens", Value: int64(drawn)}}
	}
	return nil
}

// wall is the time of a moment as batch.Now has it.
func (s *Server) wall(now int64) time.Time { return s.epoch.Add(time.Duration(now)) }

// epoch is when batch.Now was 0.
func epoch() time.Time { return time.Now().Add(-time.Duration(batch.Now())) }
