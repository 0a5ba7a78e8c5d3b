package http

import (
	"errors"
	"fmt"
	"hash/fnv"
	"slices"
	"strings"
	"sync/atomic"

	"github.com/valyala/fasthttp"

	"github.com/troupe-llm/troupe/actors"
	"github.com/troupe-llm/troupe/http/internal/dialect/apierr"
	"github.com/troupe-llm/troupe/http/internal/dialect/field"
	"github.com/troupe-llm/troupe/http/internal/dialect/model"
)

// Model says how clients ask for one of several models, and how its replies are read.
type Model struct {
	Names []string // as Config.Models, at least one
	// As the Config's.
	ToolCallParser, ReasoningParser string
}

// servedModel is a model that is served, or will be.
type servedModel struct {
	Model
	label   string // of its metrics, where there are several: served_model_name="…"
	metrics *metricSet

	// What attach brings; only to be looked at once attached says so.
	attached atomic.Bool
	engine   engine
	info     info
	model    model.Model
}

// modelTable is all that are served, at least one. It does not change.
type modelTable []*servedModel

// newTable is of one model, which is asked for by any name that its dialect takes.
func newTable(cfg *Config) *modelTable {
	return &modelTable{{Model: Model{cfg.Models, cfg.ToolCallParser, cfg.ReasoningParser}, metrics: newMetrics()}}
}

// Announce says that several models are served, each from when AttachModel brings it. Before that,
// requests for it get status 503, and whatever is asked before Announce does. Who names no model gets the first. It is
// called once, instead of Attach; Config.Models and the parsers of the Config are then of no use.
func (s *Server) Announce(all []Model) error {
	var t modelTable
	var faults []error
	whose := map[string]int{}
	for i, m := range all {
		if len(m.Names) == 0 {
			faults = append(faults, fmt.Errorf("model %d has no name", i))
			continue
		}
		for _, name := range m.Names {
			if other, taken := whose[name]; taken && other != i {
				faults = append(faults, fmt.Errorf("models %d and %d are both called %q", other, i, name))
			}
			whose[name] = i
		}
		faults = append(faults, checkModel(m.Names, &m.ToolCallParser, &m.ReasoningParser)...)
		t = append(t, &servedModel{Model: m, label: label1("served_model_name", m.Names[0]), metrics: newMetrics()})
	}
	if len(all) == 0 {
		faults = append(faults, errors.New("no models are announced"))
	}
	if err := errors.Join(faults...); err != nil {
		return err
	}
	s.models.Store(&t)
	s.announced.Store(true)
	return nil
}

// AttachModel brings one of the models that were announced, by its place there.
func (s *Server) AttachModel(n int, sys *actors.System) { s.attachModel(n, system{sys}) }

// attachModel is the same for any engine.
func (s *Server) attachModel(n int, eng engine) {
	m := (*s.models.Load())[n]
	m.engine, m.info = eng, eng.Info()
	if len(m.Names) == 0 {
		m.Names = []string{m.info.model}
	}
	m.model = newModel(&s.cfg, m, eng.Tokenizer())
	m.attached.Store(true)
}

// newModel is what dialects know of a model.
func newModel(cfg *Config, m *servedModel, tok model.Tokenizer) model.Model {
	i := &m.info
	h := fnv.New64a()
	fmt.Fprintf(h, "%q %q %d %d", cfg.Version, i.model, i.vocab, i.maxLen)
	return model.Model{
		Names: m.Names, Fingerprint: fmt.Sprintf("fp_%010x", h.Sum64()&(1<<40-1)),
		Vocab: i.vocab, Context: i.maxLen, Sampling: i.sampling, Tokenizer: tok,
		Family:     model.NewFamily(m.ToolCallParser, m.ReasoningParser, tok),
		MaxChoices: cfg.MaxChoices, MaxStops: cfg.MaxStops, MaxStopBytes: maxStopBytes,
	}
}

// known reports whether it is known what is served.
func (s *Server) known() bool { return s.announced.Load() || (*s.models.Load())[0].attached.Load() }

// several reports whether more than one model is served.
func (s *Server) several() bool { return len(*s.models.Load()) > 1 }

// there are the models that are served by now.
func (t *modelTable) there() (all []*servedModel) {
	for _, m := range *t {
		if m.attached.Load() {
			all = append(all, m)
		}
	}
	return all
}

// find is the model of a name, nil if there is none; "" is the first's.
func (t *modelTable) find(name string) *servedModel {
	if name == "" {
		return (*t)[0]
	}
	for _, m := range *t {
		if slices.Contains(m.Names, name) {
			return m
		}
	}
	return nil
}

// notFound says that there is no model of this name, and which there are.
func (t *modelTable) notFound(name string) *Error {
	if len(*t) == 1 {
		return (*t)[0].model.NotFound(name)
	}
	var names []string
	for _, m := range *t {
		names = append(names, fmt.Sprintf("%q", m.Names[0]))
	}
	last := len(names) - 1
	return model.NoSuch(name, strings.Join(names[:last], ", ")+" and "+names[last]+" are")
}

// absent is what is answered for a model of which no engine has been there.
func (m *servedModel) absent() *Error {
	return &Error{
		Status: fasthttp.StatusServiceUnavailable, Type: apierr.TypeServer, Param: "model", Code: "model_not_ready",
		Message: fmt.Sprintf("no engine of the model %q is there yet; try again soon", m.Names[0]), RetryAfter: apierr.RetryAbsent,
	}
}

// choose finds the model that the exchange is for, by a name.
func (x *exchange) choose(name string) *Error {
	t := x.s.models.Load()
	m := t.find(name)
	if m == nil {
		return t.notFound(name)
	}
	if !m.attached.Load() {
		return m.absent()
	}
	x.model = m
	return nil
}

// chooseBy finds it by the body. Where there is one model, what is wrong with a name the dialect says.
func (x *exchange) chooseBy(body []byte) *Error {
	if !x.s.several() {
		return x.choose("")
	}
	v, e := field.Parse(body)
	if e != nil {
		return e
	}
	for name, v := range v.Members() {
		if name == "model" && !v.Null() {
			name, err := v.Text()
			if err != nil {
				return apierr.InField("model", err)
			}
			return x.choose(name)
		}
	}
	return x.choose("")
}

// chooseByQuery finds it by model= in the query, of several.
func (x *exchange) chooseByQuery() *Error {
	if !x.s.several() {
		return x.choose("")
	}
	return x.choose(string(x.ctx.QueryArgs().Peek("model")))
}
