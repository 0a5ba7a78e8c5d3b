package http

import (
	"encoding/json"
	"net"
	"strings"
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
	// Models are those of a server of several. The figures above are of all of them together, Sampling of the one asked
	// for by model=, else the first that is there.
	Models []modelBody `json:"models,omitempty"`
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

// modelBody is one of several models.
type modelBody struct {
	Name      string `json:"name"`  // as answers have it
	Ready     bool   `json:"ready"` // requests for it are computed
	Engines   int    `json:"engines"`
	Open      int    `json:"open"`
	Waiting   int    `json:"waiting"`
	Running   int    `json:"running"`
	Generated uint64 `json:"generated"` // tokens drawn
}

// engineBody is one of several engines.
type engineBody struct {
	Model     string  `json:"model,omitempty"` // of several; else none
	Name      string  `json:"name"`            // where it is, or its number
	Number    int     `json:"number"`          // among the engines of this front
	Host      string  `json:"host,omitempty"`  // where it is, without a port; none: in this process
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

// stats answers with the engines' numbers as JSON; /metrics has more of them,
// for machines that keep them.
func stats(x *exchange) *Error {
	body, e := x.statsBody()
	if e != nil {
		return e
	}
	body.Uptime = time.Since(x.s.began).Seconds()
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

// statsBody is how the model does that is served, or several do together.
func (x *exchange) statsBody() (*statsBody, *Error) {
	t := *x.s.models.Load()
	first := &servedModel{} // whose defaults are shown; none is there
	if there := t.there(); len(there) > 0 {
		first = there[0]
	}
	if x.ctx.QueryArgs().Has("model") {
		if e := x.chooseByQuery(); e != nil {
			return nil, e
		}
		first = x.model
	}
	var sum actors.Stats
	var models []modelBody
	var engines []engineBody
	var open []openBody
	for i, m := range t {
		one := modelBody{Name: m.Names[0]}
		if m.attached.Load() {
			st := m.engine.Stats()
			one.Ready, one.Engines, one.Open, one.Waiting, one.Running, one.Generated = st.Ready, len(st.Engines), st.OpenRequests, st.Waiting, st.Running, st.Generated
			some, its := m.placed(i, &st)
			engines, open = append(engines, some...), append(open, its...)
			if m.label != "" {
				apart(&st, one.Name)
			}
			add(&sum, &st)
		}
		models = append(models, one)
	}
	body := statsOf(&sum)
	body.Engines, body.Open = engines, open[:min(len(open), mostOpen)]
	body.Requests.Slots, body.Pages.Size = first.info.slots, first.info.pageSize
	if len(t) > 1 {
		body.Models, body.Requests.Slots = models, t.slots()
	}
	body.Sampling = samplingOf(&first.info.sampling, &first.model.Family)
	return body, nil
}

// placed are a model's engines and where its open requests are, of a front that has several. It is the n-th of a
// server's: their numbers are none that another model's have.
func (m *servedModel) placed(n int, st *actors.Stats) (engines []engineBody, open []openBody) {
	for i := range st.Engines {
		e := engineBodyOf(&st.Engines[i])
		if e.Number += n * mostEngines; m.label != "" {
			e.Model = m.Names[0]
		}
		engines = append(engines, e)
	}
	if len(engines) == 0 {
		return nil, nil
	}
	for _, r := range m.engine.Requests(mostOpen) {
		o := openBody(r)
		if o.Number += uint64(n) << 44; o.Engine >= 0 {
			o.Engine += n * mostEngines
		}
		open = append(open, o)
	}
	return engines, open
}

// mostEngines is how many a model has at most.
const mostEngines = 256

// apart has the actors of a model's front be called otherwise than another model's. Those of an engine are
// called by where it is.
func apart(st *actors.Stats, model string) {
	for i := range st.Actors {
		if a := &st.Actors[i]; !strings.Contains(a.Name, "@") {
			a.Name += "@" + model
		}
	}
}

// add adds up what can be.
func add(sum, st *actors.Stats) {
	sum.Stats.Add(&st.Stats)
	sum.Device.Add(&st.Device)
	sum.OpenRequests += st.OpenRequests
	sum.Ready = sum.Ready || st.Ready
	sum.Resumed += st.Resumed
	sum.Actors = append(sum.Actors, st.Actors...)
}

// slots are those of all models' engines.
func (t modelTable) slots() (n int) {
	for _, m := range t.there() {
		n += m.info.slots
	}
	return n
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
