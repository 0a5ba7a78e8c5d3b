package http

import (
	"github.com/troupe-llm/troupe/actors"
)

// writeStats writes what the engine counts.
func writeStats(w *exposition, st *actors.Stats) {
	w.gauge("troupe_num_requests_running", "Requests in the batch.", float64(st.Running))
	w.gauge("troupe_num_requests_waiting", "Requests waiting to run.", float64(st.Waiting))
	w.gauge("troupe_num_requests_open", "Requests accepted and not ended.", float64(st.OpenRequests))
	writeReady(w, st.Ready)

	pages := st.PagesUsed + st.PagesCached + st.PagesFree
	w.gauge("troupe_kv_cache_usage_ratio", "Share of the KV pages that running requests hold.", float64(st.PagesUsed)/float64(max(pages, 1)))
	w.head("troupe_kv_pages", "gauge", "KV pages by what they hold: a running request's tokens, a prefix kept for others, nothing.")
	w.value("troupe_kv_pages", `state="used"`, float64(st.PagesUsed))
	w.value("troupe_kv_pages", `state="cached"`, float64(st.PagesCached))
	w.value("troupe_kv_pages", `state="free"`, float64(st.PagesFree))
	w.counter("troupe_kv_pages_evicted_total", "Cached pages given up for others.", float64(st.Evicted))

	w.counter("troupe_prefix_cache_queries_total", "Prompt tokens of admitted requests.", float64(st.PromptTokens))
	w.counter("troupe_prefix_cache_hits_total", "Of those, tokens found in the prefix cache.", float64(st.CachedTokens))
	w.counter("troupe_num_preemptions_total", "Requests put back because pages ran out, or to make way for another client.", float64(st.Preempted))
	w.counter("troupe_steps_total", "Steps launched.", float64(st.Steps))
	w.counter("troupe_gpu_busy_seconds_total", "Time the device computed steps.", st.Device.Busy.Seconds())
	w.counter("troupe_gpu_idle_seconds_total", "Time the device waited for a step though there were requests. Its share of both is what scheduling costs.", st.Device.Idle.Seconds())
	w.gauge("troupe_steps_outstanding", "Steps launched and not yet done.", float64(st.Outstanding))
	w.counter("troupe_computed_tokens_total", "Tokens computed, prompts and answers.", float64(st.Computed))
	w.counter("troupe_sampled_tokens_total", "Tokens drawn.", float64(st.Generated))
	w.counter("troupe_draft_tokens_total", "Draft tokens computed by speculation.", float64(st.Drafted))
	w.counter("troupe_accepted_tokens_total", "Of those, tokens that were accepted: drawn without a step of their own.", float64(st.Accepted))
	w.counter("troupe_wasted_rows_total", "Rows computed for requests that had just ended.", float64(st.Wasted))
	writeEngines(w, st)
	writeActors(w, st.Actors)
}

// writeEngines writes how each of several engines does.
func writeEngines(w *exposition, st *actors.Stats) {
	if len(st.Engines) == 0 {
		return
	}
	w.counter("troupe_requests_resumed_total", "Requests that went on with another engine, theirs being lost.", float64(st.Resumed))
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
		w.head(m.name, m.kind, m.help)
		for i := range st.Engines {
			w.value(m.name, label1("engine", st.Engines[i].Name), m.of(&st.Engines[i]))
		}
	}
}

func truth(so bool) float64 {
	if so {
		return 1
	}
	return 0
}

func writeReady(w *exposition, ready bool) {
	w.gauge("troupe_ready", "1 while requests are taken and computed.", truth(ready))
}

// writeActors writes how the actors' mailboxes do.
func writeActors(w *exposition, all []actors.ActorStats) {
	w.head("troupe_mailbox_depth", "gauge", "Messages waiting in an actor's mailbox.")
	for i := range all {
		w.value("troupe_mailbox_depth", label1("actor", all[i].Name), float64(all[i].Depth))
	}
	w.head("troupe_actor_busy_seconds_total", "counter", "Time an actor spent on its messages.")
	for i := range all {
		w.value("troupe_actor_busy_seconds_total", label1("actor", all[i].Name), all[i].BusySum)
	}
	const delay = "troupe_mailbox_delay_seconds"
	w.head(delay, "histogram", "How long messages waited in an actor's mailbox.")
	for i := range all {
		a := &all[i]
		of := label1("actor", a.Name)
		var n int64
		for b, count := range a.Delay {
			n += count
			bound := `le="+Inf"`
			if b < len(actors.DelayBuckets) {
				bound = w.bound(actors.DelayBuckets[b])
			}
			w.value(delay+"_bucket", of+","+bound, float64(n))
		}
		w.value(delay+"_sum", of, a.DelaySum)
		w.value(delay+"_count", of, float64(n))
	}
}
