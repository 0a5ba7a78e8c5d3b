package http

import (
	"encoding/json"
	"net"
	"time"

	"github.com/valyala/fasthttp"

	"github.com/troupe-llm/troupe/actors"
	"github.com/troupe-llm/troupe/gpu/batch"
	"github.com/troupe-llm/troupe/http/internal/dialect/conversation"
	"github.com/troupe-llm/troupe/http/internal/dialect/model"
)

// statsBody is what /stats says: how things stand, and counters since the
// start. Rates are left to the reader, who knows when it asked.
type statsBody struct {
	Uptime float64 `json:"uptime_seconds"`
	Ready  bool    `json:"ready"` // requests are taken and computed

	Requests struct {
		Open      int    `json:"open"`      // accepted and not ended
		Waiting   int    `json:"waiting"`   // to be computed
		Running   int    `json:"running"`   // computed by the steps under way
		Slots     int    `json:"slots"`     // as many may run
		Preempted uint64 `json:"preempted"` // put back because pages ran out
	} `json:"requests"`
	Pages struct { // of KV memory
		Used    int    `json:"used"`    // held by requests
		Cached  int    `json:"cached"`  // hold a prefix no request uses now
		Free    int    `json:"free"`    // hold nothing
		Size    int    `json:"size"`    // tokens a page
		Evicted uint64 `json:"evicted"` // cached ones given up for others
	} `json:"pages"`
	Steps struct {
		Decode      uint64 `json:"decode"`      // with decode rows alone
		Prefill     uint64 `json:"prefill"`     // with prefill rows alone
		Mixed       uint64 `json:"mixed"`       // with both
		Outstanding int    `json:"outstanding"` // launched and not yet done
	} `json:"steps"`
	Device struct { // time while there were requests
		Busy float64 `json:"busy_seconds"` // computing steps
		Idle float64 `json:"idle_seconds"` // waiting for a step
	} `json:"device"`
	Tokens struct {
		Prompt    uint64 `json:"prompt"`    // of admitted requests
		Cached    uint64 `json:"cached"`    // of those, found in the prefix cache
		Computed  uint64 `json:"computed"`  // prompts' and answers'
		Decoded   uint64 `json:"decoded"`   // of those, in decode rows
		Generated uint64 `json:"generated"` // drawn
		Drafted   uint64 `json:"drafted"`   // of those computed, drafted
		Accepted  uint64 `json:"accepted"`  // of those, that were accepted
		Wasted    uint64 `json:"wasted"`    // computed for requests that had just ended
	} `json:"tokens"`
	// Engines are those of a front with several, or with one elsewhere.
	Engines []engineBody `json:"engines,omitempty"`
	Resumed uint64       `json:"resumed,omitempty"` // requests that went on with another engine
	// Open are open requests, of a front with several engines: the first of them.
	Open []openBody `json:"open,omitempty"`

	Actors   []actorBody  `json:"actors"`
	Sampling samplingBody `json:"sampling"`
	// Request is how the request that was asked for by its id went, when it is
	// one of the last that ended.
	Request *journeyBody `json:"request,omitempty"`
}

// samplingBody is what requests get that do not say: fields as in the API.
type samplingBody struct {
	Temperature float32 `json:"temperature"`
	TopP        float32 `json:"top_p"`
	TopK        int32   `json:"top_k"` // 0: all tokens
	MinP        float32 `json:"min_p"`
	Repetition  float32 `json:"repetition_penalty"`
	Presence    float32 `json:"presence_penalty"`
	Frequency   float32 `json:"frequency_penalty"`
	// Efforts are the values that reasoning_effort may have.
	Efforts []string `json:"reasoning_efforts"`
}

// engineBody is one of several engines.
type engineBody struct {
	Name      string  `json:"name"`           // where it is, or its number
	Number    int     `json:"number"`         // among the engines of this front
	Host      string  `json:"host,omitempty"` // where it is, without a port; none: in this process
	Ready     bool    `json:"ready"`
	State     string  `json:"state"`               // ready, mending (its device, or it is leaving), lost
	Version   string  `json:"version,omitempty"`   // of its program
	Hardware  string  `json:"hardware,omitempty"`  // of its device
	Clock     float64 `json:"clock_error_seconds"` // how far times that it tells may be off here
	Waiting   int     `json:"waiting"`
	Running   int     `json:"running"`
	Used      int     `json:"pages_used"`
	Cached    int     `json:"pages_cached"`
	Free      int     `json:"pages_free"`
	Generated uint64  `json:"generated"` // tokens drawn
}

func engineBodyOf(e *actors.EngineStats) engineBody {
	b := engineBody{
		Name: e.Name, Number: e.Number, Ready: e.Ready, State: e.State.String(), Version: e.Version, Hardware: e.Hardware, Clock: e.ClockError.Seconds(),
		Waiting: e.Waiting, Running: e.Running, Used: e.PagesUsed, Cached: e.PagesCached, Free: e.PagesFree, Generated: e.Generated,
	}
	if host, _, err := net.SplitHostPort(e.Peer); err == nil {
		b.Host = host
	}
	return b
}

// openBody is where an open request is.
type openBody struct {
	Number uint64 `json:"number"`
	Engine int    `json:"engine"` // the number of the one that has it; -1: it is at the front
	Moves  int    `json:"moves"`  // engines that had it before
}

// mostOpen is how many open requests are told of: as many as can be told apart where they are drawn.
const mostOpen = 64

// actorBody is one actor and its mailbox.
type actorBody struct {
	Name     string  `json:"name"`
	Depth    int     `json:"depth"`         // messages waiting now
	Messages int64   `json:"messages"`      // handled
	Delay    float64 `json:"delay_seconds"` // what those waited, together
	Busy     float64 `json:"busy_seconds"`  // what handling them took
}

// stats answers with the engine's numbers as JSON; /metrics has more of them,
// for machines that keep them.
func stats(x *exchange) *Error {
	st := x.s.engine.Stats()
	body := statsOf(&st)
	body.Uptime = time.Since(x.s.began).Seconds()
	body.Requests.Slots, body.Pages.Size = x.s.info.slots, x.s.info.pageSize
	body.Sampling = samplingOf(&x.s.info.sampling, &x.s.model.Family)
	if len(body.Engines) > 0 {
		for _, r := range x.s.engine.Requests(mostOpen) {
			body.Open = append(body.Open, openBody(r))
		}
	}
	if id := x.ctx.QueryArgs().Peek("request"); len(id) > 0 {
		body.Request = x.s.journeys.find(x.s, string(id))
	}
	text, err := json.Marshal(body)
	if err != nil {
		return asError(err)
	}
	x.ctx.Response.Header.Set(fasthttp.HeaderCacheControl, "no-store")
	x.send(text)
	return nil
}

func statsOf(st *actors.Stats) *statsBody {
	b := &statsBody{Ready: st.Ready}
	r, p, s, t := &b.Requests, &b.Pages, &b.Steps, &b.Tokens
	r.Open, r.Waiting, r.Running, r.Preempted = st.OpenRequests, st.Waiting, st.Running, st.Preempted
	p.Used, p.Cached, p.Free, p.Evicted = st.PagesUsed, st.PagesCached, st.PagesFree, st.Evicted
	s.Decode, s.Prefill, s.Mixed, s.Outstanding = st.DecodeSteps, st.PrefillSteps, st.MixedSteps, st.Outstanding
	b.Device.Busy, b.Device.Idle = st.Device.Busy.Seconds(), st.Device.Idle.Seconds()
	t.Prompt, t.Cached, t.Computed, t.Decoded, t.Generated, t.Wasted = st.PromptTokens, st.CachedTokens, st.Computed, st.Decoded, st.Generated, st.Wasted
	t.Drafted, t.Accepted = st.Drafted, st.Accepted
	b.Resumed = st.Resumed
	for i := range st.Engines {
		b.Engines = append(b.Engines, engineBodyOf(&st.Engines[i]))
	}
	b.Actors = make([]actorBody, len(st.Actors))
	for i := range st.Actors {
		a := &st.Actors[i]
		b.Actors[i] = actorBody{Name: a.Name, Depth: a.Depth, Messages: a.Messages, Delay: a.DelaySum, Busy: a.BusySum}
	}
	return b
}

func samplingOf(s *batch.Sampling, f *model.Family) samplingBody {
	b := samplingBody{
		Temperature: s.Temperature, TopP: s.TopP, TopK: s.TopK, MinP: s.MinP,
		Repetition: s.Repetition, Presence: s.Presence, Frequency: s.Frequency, Efforts: []string{},
	}
	if b.TopP == 0 { // off
		b.TopP = 1
	}
	if b.Repetition == 0 { // off
		b.Repetition = 1
	}
	switch {
	case f.Efforts:
		b.Efforts = conversation.Efforts
	case f.Switch != "":
		b.Efforts = conversation.Efforts[:1]
	}
	return b
}
