package http

import (
	"cmp"

	"github.com/troupe-llm/troupe/actors"
)

// modelStats are how a model's engines do.
type modelStats struct {
	label string        // as servedModel's
	stats *actors.Stats // nil: none has been there
}

// statsOfEach asks each model's engine.
func statsOfEach(all modelTable) (out []modelStats) {
	for _, m := range all {
		of := modelStats{label: m.label}
		if m.attached.Load() {
			st := m.engine.Stats()
			of.stats = &st
		}
		out = append(out, of)
	}
	return out
}

// statFamily is a metric of an engine, or several of which the label tells them apart.
type statFamily struct {
	name, kind, help string
	of               func(*actors.Stats) float64
	parts            func(st *actors.Stats, put func(label string, v float64)) // instead of of
}

var statFamilies = []statFamily{
	{name: "troupe_num_requests_running", help: "Requests in the batch.", of: func(st *actors.Stats) float64 { return float64(st.Running) }},
	{name: "troupe_num_requests_waiting", help: "Requests waiting to run.", of: func(st *actors.Stats) float64 { return float64(st.Waiting) }},
	{name: "troupe_num_requests_open", help: "Requests accepted and not ended.", of: func(st *actors.Stats) float64 { return float64(st.OpenRequests) }},
	{name: "troupe_ready", help: "1 while requests are taken and computed.", of: func(st *actors.Stats) float64 { return truth(st.Ready) }},
	{name: "troupe_kv_cache_usage_ratio", help: "Share of the KV pages that running requests hold.", of: func(st *actors.Stats) float64 {
		return float64(st.PagesUsed) / float64(max(st.PagesUsed+st.PagesCached+st.PagesFree, 1))
	}},
	{name: "troupe_kv_pages", help: "KV pages by what they hold: a running request's tokens, a prefix kept for others, nothing.", parts: func(st *actors.Stats, put func(string, float64)) {
		put(`state="used"`, float64(st.PagesUsed))
		put(`state="cached"`, float64(st.PagesCached))
		put(`state="free"`, float64(st.PagesFree))
	}},
	counted("troupe_kv_pages_evicted_total", "Cached pages given up for others.", func(st *actors.Stats) uint64 { return st.Evicted }),
	counted("troupe_prefix_cache_queries_total", "Prompt tokens of admitted requests.", func(st *actors.Stats) uint64 { return st.PromptTokens }),
	counted("troupe_prefix_cache_hits_total", "Of those, tokens found in the prefix cache.", func(st *actors.Stats) uint64 { return st.CachedTokens }),
	counted("troupe_num_preemptions_total", "Requests put back because pages ran out, or to make way for another client.", func(st *actors.Stats) uint64 { return st.Preempted }),
	counted("troupe_steps_total", "Steps launched.", func(st *actors.Stats) uint64 { return st.Steps }),
	{name: "troupe_gpu_busy_seconds_total", kind: "counter", help: "Time the device computed steps.", of: func(st *actors.Stats) float64 { return st.Device.Busy.Seconds() }},
	{name: "troupe_gpu_idle_seconds_total", kind: "counter", help: "Time the device waited for a step though there were requests. Its share of both is what scheduling costs.", of: func(st *actors.Stats) float64 { return st.Device.Idle.Seconds() }},
	{name: "troupe_steps_outstanding", help: "Steps launched and not yet done.", of: func(st *actors.Stats) float64 { return float64(st.Outstanding) }},
	counted("troupe_computed_tokens_total", "Tokens computed, prompts and answers.", func(st *actors.Stats) uint64 { return st.Computed }),
	counted("troupe_sampled_tokens_total", "Tokens drawn.", func(st *actors.Stats) uint64 { return st.Generated }),
	counted("troupe_draft_tokens_total", "Draft tokens computed by speculation.", func(st *actors.Stats) uint64 { return st.Drafted }),
	counted("troupe_accepted_tokens_total", "Of those, tokens that were accepted: drawn without a step of their own.", func(st *actors.Stats) uint64 { return st.Accepted }),
	counted("troupe_wasted_rows_total", "Rows computed for requests that had just ended.", func(st *actors.Stats) uint64 { return st.Wasted }),
}

func counted(name, help string, of func(*actors.Stats) uint64) statFamily {
	return statFamily{name: name, kind: "counter", help: help, of: func(st *actors.Stats) float64 { return float64(of(st)) }}
}

// writeStats writes what engines count, model by model. Of a model that is not there it says that it is not ready.
func writeStats(w *exposition, all []modelStats) {
	there := make([]modelStats, 0, len(all))
	for _, m := range all {
		if m.stats != nil {
			there = append(there, m)
		}
	}
	for i := range statFamilies {
		f := &statFamilies[i]
		some := there
		if f.name == "troupe_ready" {
			some = all
		}
		if len(some) > 0 {
			f.write(w, some)
		}
	}
	writeEngines(w, there)
	if len(there) > 0 {
		writeActors(w, there)
	}
}

// write writes one, of each model.
func (f *statFamily) write(w *exposition, all []modelStats) {
	w.head(f.name, cmp.Or(f.kind, "gauge"), f.help)
	for _, m := range all {
		switch {
		case m.stats == nil:
			w.value(f.name, m.label, 0)
		case f.parts != nil:
			f.parts(m.stats, func(label string, v float64) { w.value(f.name, labels(m.label, label), v) })
		default:
			w.value(f.name, m.label, f.of(m.stats))
		}
	}
}

// writeEngines writes how each of several engines does.
func writeEngines(w *exposition, all []modelStats) {
	var some []modelStats
	for _, m := range all {
		if len(m.stats.Engines) > 0 {
			some = append(some, m)
		}
	}
	if len(some) == 0 {
		return
	}
	resumed := counted("troupe_requests_resumed_total", "Requests that went on with another engine, theirs being lost.", func(st *actors.Stats) uint64 { return st.Resumed })
	resumed.write(w, some)
	for _, m := range []struct {
		name, kind, help string
		of               func(*actors.EngineStats) float64
	}{
		{"troupe_engine_ready", "gauge", "1 while the engine computes requests.", func(e *actors.EngineStats) float64 { return truth(e.Ready) }},
		{"troupe_engine_requests_running", "gauge", "Requests in the engine's batch.", func(e *actors.EngineStats) float64 { return float64(e.Running) }},
		{"troupe_engine_requests_waiting", "gauge", "Requests waiting to run there.", func(e *actors.EngineStats) float64 { return float64(e.Waiting) }},
		{"troupe_engine_kv_pages_used", "gauge", "KV pages that running requests hold there.", func(e *actors.EngineStats) float64 { return float64(e.PagesUsed) }},
		{"troupe_engine_sampled_tokens_total", "counter", "Tokens drawn there.", func(e *actors.EngineStats) float64 { return float64(e.Generated) }},
		{"troupe_engine_clock_error_seconds", "gauge", "How far times that the engine tells may be off by this host's clock.", func(e *actors.EngineStats) float64 { return e.ClockError.Seconds() }},
		{"troupe_engine_kv_pages_free", "gauge", "KV pages there that hold nothing, or a prefix that no request uses.", func(e *actors.EngineStats) float64 { return float64(e.PagesFree + e.PagesCached) }},
		{"troupe_engine_prefix_cache_hits_total", "counter", "Prompt tokens found in the engine's prefix cache.", func(e *actors.EngineStats) float64 { return float64(e.CachedTokens) }},
	} {
		f := statFamily{name: m.name, kind: m.kind, help: m.help, parts: func(st *actors.Stats, put func(string, float64)) {
			for i := range st.Engines {
				put(label1("engine", st.Engines[i].Name), m.of(&st.Engines[i]))
			}
		}}
		f.write(w, some)
	}
}

func truth(so bool) float64 {
	if so {
		return 1
	}
	return 0
}

// writeActors writes how the actors' mailboxes do.
func writeActors(w *exposition, all []modelStats) {
	actor := func(name, kind, help string, of func(*actors.ActorStats) float64) {
		f := statFamily{name: name, kind: kind, help: help, parts: func(st *actors.Stats, put func(string, float64)) {
			for i := range st.Actors {
				put(label1("actor", st.Actors[i].Name), of(&st.Actors[i]))
			}
		}}
		f.write(w, all)
	}
	actor("troupe_mailbox_depth", "gauge", "Messages waiting in an actor's mailbox.", func(a *actors.ActorStats) float64 { return float64(a.Depth) })
	actor("troupe_actor_busy_seconds_total", "counter", "Time an actor spent on its messages.", func(a *actors.ActorStats) float64 { return a.BusySum })
	w.head(delayName, "histogram", "How long messages waited in an actor's mailbox.")
	for _, m := range all {
		for i := range m.stats.Actors {
			writeDelay(w, m.label, &m.stats.Actors[i])
		}
	}
}

const delayName = "troupe_mailbox_delay_seconds"

// writeDelay writes how long messages waited in one actor's mailbox.
func writeDelay(w *exposition, model string, a *actors.ActorStats) {
	of := labels(model, label1("actor", a.Name))
	var n int64
	for b, count := range a.Delay {
		n += count
		bound := `le="+Inf"`
		if b < len(actors.DelayBuckets) {
			bound = w.bound(actors.DelayBuckets[b])
		}
		w.value(delayName+"_bucket", of+","+bound, float64(n))
	}
	w.value(delayName+"_sum", of, a.DelaySum)
	w.value(delayName+"_count", of, float64(n))
}
