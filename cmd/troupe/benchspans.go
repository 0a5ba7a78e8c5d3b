package main

import (
	"cmp"
	"slices"
	"time"

	"github.com/troupe-llm/troupe/actors"
	"github.com/troupe-llm/troupe/bench"
	"github.com/troupe-llm/troupe/gpu/batch"
	"github.com/troupe-llm/troupe/http/otlp"
)

// otlpSpans are what was traced as one trace of OpenTelemetry's: below the run a
// span for each step and each request, and below these what was done for them.
func otlpSpans(spans []actors.Span) []otlp.Span {
	type subject struct {
		name string
		id   uint64
	}
	about := map[subject][]actors.Span{}
	for _, s := range spans {
		of := subject{"step", s.ID}
		switch s.Kind {
		case actors.SpanSocket, actors.SpanTokenize, actors.SpanQueue, actors.SpanPrefill, actors.SpanDecode, actors.SpanEngine, actors.SpanEngineLost,
			actors.HandleTokenize, actors.HandleWait, actors.HandleGenerate, actors.HandlePlace, actors.HandleNews, actors.HandlePrepared, actors.HandleFailed, actors.HandleCancel:
			of.name = "request"
		case actors.HandleLost, actors.HandleReopen, actors.HandleOpened:
			of = subject{name: "device"}
		}
		about[of] = append(about[of], s)
	}
	began := func(a, b actors.Span) int { return cmp.Compare(posted(a), posted(b)) }
	origin := time.Now().Add(-time.Duration(batch.Now()))
	at := func(ns int64) time.Time { return origin.Add(time.Duration(ns)) }
	run := otlp.Span{Trace: otlp.NewTraceID(), ID: otlp.NewSpanID(), Name: "bench trace", Kind: otlp.Internal}
	all := make([]otlp.Span, 1, 2*len(spans))
	for of, list := range about {
		slices.SortFunc(list, began)
		whole := otlp.Span{
			Trace: run.Trace, ID: otlp.NewSpanID(), Parent: run.ID, Name: of.name, Kind: otlp.Internal,
			Began: at(posted(list[0])), Attrs: []otlp.Attr{{Key: "troupe." + of.name, Value: int64(of.id)}},
		}
		for _, s := range list {
			attrs := []otlp.Attr{{Key: "troupe.track", Value: bench.TrackName(s.On)}}
			if s.Kind.Handles() {
				attrs = append(attrs, otlp.Attr{Key: "troupe.mailbox_us", Value: float64(s.Began-s.Posted) / 1e3})
			} else {
				attrs = append(attrs, otlp.Attr{Key: "troupe.n", Value: int64(s.N)})
			}
			all = append(all, otlp.Span{
				Trace: run.Trace, ID: otlp.NewSpanID(), Parent: whole.ID, Name: s.Kind.String(), Kind: otlp.Internal,
				Began: at(s.Began), Ended: at(s.Ended), Attrs: attrs,
			})
			if ended := at(s.Ended); ended.After(whole.Ended) {
				whole.Ended = ended
			}
		}
		all = append(all, whole)
		if run.Began.IsZero() || whole.Began.Before(run.Began) {
			run.Began = whole.Began
		}
		if whole.Ended.After(run.Ended) {
			run.Ended = whole.Ended
		}
	}
	all[0] = run
	return all
}

// posted is when a span's subject first took time: a message's, when it was
// posted.
func posted(s actors.Span) int64 {
	if s.Kind.Handles() {
		return s.Posted
	}
	return s.Began
}
