package bench

import (
	"encoding/json"
	"strconv"

	"github.com/troupe-llm/troupe/actors"
)

// counters writes, for each engine, how many requests it had, which KV pages, what rows its steps had,
// what became of draft tokens, and whether the device idled.
func (p *perfetto) counters(spans []actors.Span) {
	for i := range p.rec.Samples {
		s := &p.rec.Samples[i]
		p.counter("requests", s.Engine, s.At, field{"running", s.Running}, field{"waiting", s.Waiting})
		p.counter("KV pages", s.Engine, s.At, field{"used", s.PagesUsed}, field{"cached", s.PagesCached}, field{"free", s.PagesFree})
	}
	ended, drafts := map[uint8]int64{}, map[uint8]bool{}
	for i := range spans {
		s := &spans[i]
		if s.Kind != actors.SpanCompute {
			continue
		}
		if last, ok := ended[s.Engine]; ok && last < s.Began {
			p.counter("device", s.Engine, last, field{"idle", 1})
			p.counter("device", s.Engine, s.Began, field{"idle", 0})
		}
		ended[s.Engine] = s.Ended
		p.counter("step", s.Engine, s.Began, field{"decode rows", int32(s.Decode)}, field{"prefill tokens", s.Prefill})
		if has := s.Drafts > 0; has || drafts[s.Engine] {
			drafts[s.Engine] = has
			p.counter("draft tokens", s.Engine, s.Began, field{"accepted", int32(s.Accepted)}, field{"rejected", int32(s.Drafts) - int32(s.Accepted)})
		}
	}
}

// field is one of a counter's values.
type field struct {
	name  string
	value int32
}

// counter writes the values that a counter has from a time on.
func (p *perfetto) counter(name string, engine uint8, at int64, fields ...field) {
	if engine > 0 {
		name = "engine " + strconv.Itoa(int(engine)) + ": " + name
	}
	b := append(p.open(`"ph":"C"`, trackID{pidDevice, tidDevice + tidEngine*uint64(engine)}, name, at), `,"args":{`...)
	for i, f := range fields {
		if i > 0 {
			b = append(b, ',')
		}
		b = appendField(append(append(append(b, '"'), f.name...), '"', ':'), "", int64(f.value))
	}
	p.line(append(b, "}}"...))
}

// idling has a track say why the device stood still between steps: what the next one was waiting for.
func (p *perfetto) idling(spans []actors.Span) {
	engines := map[uint8]bool{}
	for i := range spans {
		if spans[i].Kind == actors.SpanCompute {
			engines[spans[i].Engine] = true
		}
	}
	for engine := range engines {
		own := ofOneEngine(spans, engine)
		at := trackID{pidDevice, tidIdle + tidEngine*uint64(engine)}
		for _, g := range gaps(wholeSteps(own), own) {
			if g.why != forMasks { // which have a track
				p.add(at, slice{began: g.from, ended: g.to, label: causeNames[g.why]})
			}
		}
	}
}

// about says what the trace is of, by a slice over all of it.
func (p *perfetto) about(spans []actors.Span, env *Environment) {
	if env == nil || len(spans) == 0 {
		return
	}
	from, to := spans[0].Began, spans[0].Ended
	for i := range spans {
		to = max(to, spans[i].Ended)
	}
	args, err := json.Marshal(map[string]any{
		"model": env.Model, "parameters": env.Parameters, "weights": env.DType, "device": env.Device, "hardware": env.Hardware, "driver": env.Driver,
		"version": env.Version, "commit": env.Commit, "go": env.Go, "platform": env.Platform, "slots": env.Slots, "page_size": env.PageSize, "kv_pages": env.NumPages,
		"overlap": env.Overlap, "began": env.Time, "spans_forgotten": p.rec.Forgotten,
	})
	if err != nil {
		p.err = err
		return
	}
	label, err := json.Marshal(env.Model + " on " + env.Device)
	if err != nil {
		p.err = err
		return
	}
	p.add(trackID{pidAbout, tidAbout}, slice{began: from, ended: to, label: string(label[1 : len(label)-1]), args: string(args[1 : len(args)-1])})
}
