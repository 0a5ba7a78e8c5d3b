package http

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"slices"
	"strings"
	"testing"

	"github.com/valyala/fasthttp/fasthttputil"

	"github.com/rs/zerolog"

	"github.com/troupe-llm/troupe/actors"
	"github.com/troupe-llm/troupe/gpu/batch"
)

// of is an engine of a model of this name, which says so, and that many tokens a vocabulary.
func of(name string, vocab int) *fakeEngine {
	eng := engineOf(func(int, *actors.Request) (*fakeStream, error) {
		return newFakeStream(started("ab"), says("I am "+name), ends("stop", 2, 9)), nil
	})
	eng.info.model, eng.info.vocab, eng.info.maxLen = name+"'s files", vocab, 10*vocab
	eng.info.slots = 3
	eng.info.sampling = batch.Sampling{Temperature: float32(vocab) / 1000}
	return eng
}

// startSeveral serves models a, also called alias, and b, of which none is there.
func startSeveral(t *testing.T, cfg Config) *served {
	t.Helper()
	s, err := NewLoading(cfg, zerolog.Nop())
	if err != nil {
		t.Fatal(err)
	}
	ln := fasthttputil.NewInmemoryListener()
	h := serving(t, ln, func(context.Context, string, string) (net.Conn, error) { return ln.Dial() }, s)
	if status, _ := h.read(h.post("/v1/completions", `{"model":"a","prompt":"x"}`)); status != 503 {
		t.Errorf("before it is known what is served: %d", status)
	}
	if err := s.Announce([]Model{{Names: []string{"a", "alias"}}, {Names: []string{"b"}, ReasoningParser: "think"}}); err != nil {
		t.Fatal(err)
	}
	return h
}

// Each API asks the engine of the model that the body names, whatever comes before the name, and says so.
func TestSeveralModels(t *testing.T) {
	h := startSeveral(t, Config{})
	h.attachModel(0, of("a", 200))
	h.attachModel(1, of("b", 250))
	for path, body := range map[string]string{
		"/v1/chat/completions": `{"messages":[{"role":"user","content":"hello"}],"model":%s}`,
		"/v1/completions":      `{"prompt":"hello","model":%s}`,
		"/v1/responses":        `{"input":"hello","model":%s}`,
		"/v1/messages":         `{"max_tokens":9,"messages":[{"role":"user","content":"hello"}],"model":%s}`,
	} {
		for asked, want := range map[string]string{`"a"`: "I am a", `"alias"`: "I am a", `"b"`: "I am b", `null`: "I am a"} {
			status, answer := h.read(h.post(path, fmt.Sprintf(body, asked)))
			if status != 200 || !strings.Contains(answer, want) || asked != "null" && !strings.Contains(answer, `"model":`+asked) {
				t.Errorf("%s of %s: %d %s", path, asked, status, answer)
			}
		}
		status, answer := h.read(h.post(path, fmt.Sprintf(body, `"c"`)))
		if status != 404 || !strings.Contains(answer, `the model \"c\" is not served here; \"a\" and \"b\" are`) {
			t.Errorf("%s of a model that is not there: %d %s", path, status, answer)
		}
		if path != "/v1/messages" && !strings.Contains(answer, `"param":"model","code":"model_not_found"`) {
			t.Errorf("%s: %s", path, answer)
		}
		if status, answer := h.read(h.post(path, fmt.Sprintf(body, `7`))); status != 400 || !strings.Contains(answer, "model: expected a string, got a number") {
			t.Errorf("%s of model 7: %d %s", path, status, answer)
		}
	}
	for path, c := range map[string]struct{ body, a, b string }{
		"/tokenize":                 {`{"prompt":"ab","model":%q}`, `"max_model_len":2000`, `"max_model_len":2500`},
		"/detokenize":               {`{"tokens":[220],"model":%q}`, "", `"prompt":`},
		"/v1/messages/count_tokens": {`{"messages":[{"role":"user","content":"x"}],"model":%q}`, `"input_tokens":`, `"input_tokens":`},
	} {
		for model, want := range map[string]string{"a": c.a, "b": c.b} {
			status, answer := h.read(h.post(path, fmt.Sprintf(c.body, model)))
			if (status == 200) != (want != "") || !strings.Contains(answer, want) {
				t.Errorf("%s of %s: %d %s", path, model, status, answer)
			}
		}
		if status, answer := h.read(h.post(path, fmt.Sprintf(c.body, "c"))); status != 404 {
			t.Errorf("%s of a model that is not there: %d %s", path, status, answer)
		}
	}
	if _, answer := h.read(h.do("GET", "/tokenizer_info?model=b", "")); !strings.Contains(answer, `"model_max_length":2500`) {
		t.Errorf("the second's tokenizer: %s", answer)
	}
	if status, _ := h.read(h.do("GET", "/tokenizer_info?model=c", "")); status != 404 {
		t.Errorf("no model's tokenizer: %d", status)
	}
}

// A model's defaults, vocabulary and parsers are its own.
func TestSeveralModelsDifferent(t *testing.T) {
	h := startSeveral(t, Config{})
	a, b := of("a", 200), of("b", 250)
	a.submit = func(int, *actors.Request) (*fakeStream, error) {
		return newFakeStream(started("ab"), thinks("<think>hm</think>yes"), ends("stop", 2, 9)), nil
	}
	b.submit = a.submit
	h.attachModel(0, a)
	h.attachModel(1, b)
	const body = `{"model":%q,"messages":[{"role":"user","content":"x"}],"logit_bias":{"220":1}}`
	if status, answer := h.read(h.post("/v1/chat/completions", fmt.Sprintf(body, "a"))); status != 400 || !strings.Contains(answer, `\"220\" is not a token id (0 to 199)`) {
		t.Errorf("a token that the first has not: %d %s", status, answer)
	}
	if _, answer := h.read(h.post("/v1/chat/completions", fmt.Sprintf(body, "b"))); !strings.Contains(answer, `"content":"yes"`) || !strings.Contains(answer, `"reasoning_content":"hm"`) {
		t.Errorf("the second's reasoning is not read: %s", answer)
	}
	if _, answer := h.read(h.post("/v1/chat/completions", `{"model":"a","messages":[{"role":"user","content":"x"}]}`)); !strings.Contains(answer, "<think>hm</think>yes") {
		t.Errorf("the first's is: %s", answer)
	}
	if len(a.requests) != 1 || len(b.requests) != 1 || a.requests[0].Sampling.Temperature != 0.2 || b.requests[0].Sampling.Temperature != 0.25 {
		t.Errorf("%d and %d requests", len(a.requests), len(b.requests))
	}
}

// A model that no engine has had yet is listed, and asked for again later; the others are served.
func TestModelThatIsAbsent(t *testing.T) {
	h := startSeveral(t, Config{})
	absent := func(model string) {
		t.Helper()
		resp := h.post("/v1/completions", fmt.Sprintf(`{"prompt":"x","model":%q}`, model))
		status, answer := h.read(resp)
		if status != 503 || resp.header.Get("Retry-After") != "5" || !strings.Contains(answer, `no engine of the model \"`+model[:1]) {
			t.Errorf("%s: %d %s", model, status, answer)
		}
	}
	ready := func(want int) {
		t.Helper()
		if got, _ := h.read(h.do("GET", "/ready", "")); got != want {
			t.Errorf("/ready says %d, want %d", got, want)
		}
	}
	absent("a")
	absent("alias")
	absent("b")
	ready(503)
	if status, answer := h.read(h.do("GET", "/stats", "")); status != 200 || !strings.Contains(answer, `{"name":"b","ready":false,"engines":0,`) {
		t.Errorf("/stats without an engine: %d %s", status, answer)
	}
	h.attachModel(1, of("b", 250))
	absent("a")
	ready(200)
	if status, answer := h.read(h.post("/v1/completions", `{"prompt":"x","model":"b"}`)); status != 200 {
		t.Errorf("%d %s", status, answer)
	}
	var list struct {
		Data []struct {
			ID, Root string
			Len      *int `json:"max_model_len"`
		}
		Last string `json:"last_id"`
	}
	_, answer := h.read(h.do("GET", "/v1/models", ""))
	if err := json.Unmarshal([]byte(answer), &list); err != nil {
		t.Fatal(err)
	}
	var ids []string
	for _, m := range list.Data {
		ids = append(ids, fmt.Sprint(m.ID, " of ", m.Root, ", ", m.Len != nil))
	}
	if want := []string{"a of a, false", "alias of a, false", "b of b, true"}; !slices.Equal(ids, want) || list.Last != "b" {
		t.Errorf("models %q, want %q", ids, want)
	}
	for name, want := range map[string]int{"a": 200, "alias": 200, "b": 200, "c": 404} {
		if status, _ := h.read(h.do("GET", "/v1/models/"+name, "")); status != want {
			t.Errorf("the model %s: %d, want %d", name, status, want)
		}
	}
}

// Names of one model have one root, the same before and after an engine comes, which no other model's have: two
// directories may be called the same.
func TestRoots(t *testing.T) {
	h := startSeveral(t, Config{})
	roots := func() (all string) {
		var list struct{ Data []struct{ Root string } }
		_, answer := h.read(h.do("GET", "/v1/models", ""))
		if err := json.Unmarshal([]byte(answer), &list); err != nil {
			t.Fatal(err)
		}
		for _, m := range list.Data {
			all += m.Root + " "
		}
		return all
	}
	before := roots()
	h.attachModel(0, of("final", 200))
	h.attachModel(1, of("final", 250))
	if after := roots(); before != "a a b " || after != before {
		t.Errorf("roots are %q, then %q", before, after)
	}
}

// A model is described while its first engine comes. The race detector is to see what is wrong with that.
func TestDescribedWhileAttached(t *testing.T) {
	for range 50 {
		h := startSeveral(t, Config{})
		m := (*h.models.Load())[0]
		begun, done := make(chan struct{}), make(chan struct{})
		go func() {
			defer close(done)
			close(begun)
			for !m.attached.Load() {
				h.appendModel(nil, m, "a")
			}
		}()
		<-begun
		h.attachModel(0, of("a", 200))
		<-done
	}
}

// Figures say which model they are of; /stats adds them up.
func TestFiguresOfModels(t *testing.T) {
	h := startSeveral(t, Config{})
	a, b := &engines{of("a", 200), 2}, &engines{of("b", 250), 1}
	h.attachModel(0, a)
	h.read(h.post("/v1/completions", `{"prompt":"x","model":"a"}`))
	_, text := h.read(h.do("GET", "/metrics", ""))
	got := scrape(t, text)
	for name, want := range map[string]float64{
		`troupe_prompt_tokens_total{served_model_name="a"}`:                           2,
		`troupe_prompt_tokens_total{served_model_name="b"}`:                           0,
		`troupe_request_success_total{served_model_name="a",finished_reason="stop"}`:  1,
		`troupe_time_to_first_token_seconds_bucket{served_model_name="a",le="+Inf"}`:  1,
		`troupe_ready{served_model_name="a"}`:                                         1,
		`troupe_ready{served_model_name="b"}`:                                         0,
		`troupe_engine_requests_running{served_model_name="a",engine="10.0.0.1:7"}`:   4,
		`troupe_kv_pages{served_model_name="a",state="free"}`:                         0,
		`troupe_mailbox_depth{served_model_name="a",actor="scheduler"}`:               3,
		`troupe_mailbox_delay_seconds_count{served_model_name="a",actor="scheduler"}`: 2,
		`troupe_http_requests_total{route="/v1/completions",status="200"}`:            1,
		`troupe_model_info{model="a's files",served_model_name="a",device="toy",hardware="a machine",weights="bfloat16",kv_dtype="int8",max_model_len="2000"}`: 1,
	} {
		if v, ok := got[name]; !ok || v != want {
			t.Errorf("%s is %v, want %v", name, v, want)
		}
	}
	if _, of := got[`troupe_num_requests_running{served_model_name="b"}`]; of {
		t.Error("there are figures of an engine that is not there")
	}
	h.attachModel(1, b)
	var s statsBody
	_, text = h.read(h.do("GET", "/stats?model=b", ""))
	if err := json.Unmarshal([]byte(text), &s); err != nil {
		t.Fatal(err)
	}
	numbers := map[int]bool{}
	for _, e := range s.Engines {
		numbers[e.Number] = true
	}
	if s.Requests.Running != 12 || s.Requests.Slots != 6 || len(s.Engines) != 3 || s.Engines[2].Model != "b" || len(numbers) != 3 || s.Sampling.Temperature != 0.25 {
		t.Errorf("%s", text)
	}
	if want := []modelBody{{Name: "a", Ready: true, Engines: 2, Running: 8}, {Name: "b", Ready: true, Engines: 1, Running: 4}}; !slices.Equal(s.Models, want) {
		t.Errorf("%+v, want %+v", s.Models, want)
	}
	if len(s.Open) != 2 || s.Open[0].Number == s.Open[1].Number || !numbers[s.Open[0].Engine] || !numbers[s.Open[1].Engine] || s.Open[0].Engine == s.Open[1].Engine {
		t.Errorf("open requests %+v", s.Open)
	}
	if len(s.Actors) != 2 || s.Actors[0].Name != "scheduler@a" || s.Actors[1].Name != "scheduler@b" {
		t.Errorf("actors %+v", s.Actors)
	}
	if status, _ := h.read(h.do("GET", "/stats?model=c", "")); status != 404 {
		t.Errorf("/stats of no model: %d", status)
	}
}

// engines is a front with several.
type engines struct {
	*fakeEngine
	n int
}

func (e *engines) Stats() actors.Stats {
	st := e.fakeEngine.Stats()
	st.Ready, st.Running = true, 4*e.n
	for i := range e.n {
		of := actors.EngineStats{Name: fmt.Sprintf("10.0.0.%d:7", i+1), Number: i, Ready: true}
		of.Running = 4
		st.Engines = append(st.Engines, of)
	}
	return st
}

func (e *engines) Requests(int) []actors.OpenRequest { return []actors.OpenRequest{{Number: 1}} }

// What is wrong with several models is told at once.
func TestAnnounce(t *testing.T) {
	s, err := NewLoading(Config{}, zerolog.Nop())
	if err != nil {
		t.Fatal(err)
	}
	err = s.Announce([]Model{{Names: []string{"a", "a"}}, {Names: []string{"b", "a"}}, {}, {Names: []string{"c"}, ToolCallParser: "shouting"}, {Names: []string{""}}})
	for _, want := range []string{`models 0 and 1 are both called "a"`, "model 2 has no name", `ToolCallParser: "shouting" is not known`, "name is empty"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %s", err, want)
		}
	}
	if err := s.Announce(nil); err == nil {
		t.Error("no models are taken")
	}
	if s.known() {
		t.Error("what is wrong is served")
	}
}
