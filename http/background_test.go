package http

import (
	"encoding/json"
	"fmt"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/troupe-llm/troupe/actors"
	"github.com/troupe-llm/troupe/http/internal/sse"
)

// backgroundResponse is what these tests read of one.
type backgroundResponse struct {
	ID, Status string
	Background bool
	Error      *struct{ Code, Message string }
	Output     []struct{ Content []struct{ Text string } }
}

// ask asks a server and reads a response.
func (h *served) ask(method, path, body string) (status int, r backgroundResponse) {
	h.t.Helper()
	status, text := h.read(h.do(method, path, body))
	if status == 200 {
		if err := json.Unmarshal([]byte(text), &r); err != nil {
			h.t.Fatalf("%s: %v", text, err)
		}
	}
	return status, r
}

// events are those of a stream that has ended.
func (h *served) events(path string) (events []string) {
	h.t.Helper()
	status, text := h.read(h.do("GET", path, ""))
	if status != 200 {
		h.t.Fatalf("%s: %d %s", path, status, text)
	}
	return strings.SplitAfter(masked(text), "\n\n")
}

// A response in the background is answered at once; it can be asked for while it is
// made, followed from any event on, and continued when it has ended.
func TestBackground(t *testing.T) {
	reply := newFakeStream(started("Hi"))
	second := newFakeStream(started("Hi"), says("x"), ends("stop", 2, 1))
	eng := engineOf(func(n int, _ *actors.Request) (*fakeStream, error) { return []*fakeStream{reply, second}[n], nil })
	h := start(t, eng, Config{})
	_, created := h.ask("POST", "/v1/responses", `{"input":"Hi","background":true}`)
	if created.Status != "queued" || !created.Background {
		t.Fatalf("created as %+v", created)
	}
	path := "/v1/responses/" + created.ID
	if _, r := h.ask("GET", path, ""); r.Status != "in_progress" || len(r.Output) != 0 {
		t.Errorf("while it is made: %+v", r)
	}
	if status, text := h.read(h.post("/v1/responses", `{"input":"b","previous_response_id":"`+created.ID+`"}`)); status != 400 || !strings.Contains(text, "still being made") {
		t.Errorf("continued while it is made: %d %s", status, text)
	}
	// One client follows from the beginning, as it is made.
	following := h.do("GET", path+"?stream=true", "")
	if line, err := following.body.ReadString('\n'); err != nil || line != "event: response.created\n" {
		t.Fatalf("%q, %v", line, err)
	}
	reply.push(says("Once "), says("upon"), ends("stop", 2, 9))
	if status, text := h.read(following); status != 200 || !strings.HasSuffix(text, "\n\n") || !strings.Contains(text, "response.completed") {
		t.Errorf("followed: %d %s", status, text)
	}
	all := h.events(path + "?stream=true")
	golden(t, "responses_background.txt", "# a response that is made in the background, as events that are asked for later\nPOST /v1/responses\n"+
		`{"input":"Hi","background":true}`+"\nGET /v1/responses/{id}?stream=true\n\n"+strings.Join(all, ""))
	for n := range all[:len(all)-1] { // behind the last there is nothing, and that is over
		if got := h.events(fmt.Sprintf("%s?stream=true&starting_after=%d", path, n)); strings.Join(got, "") != strings.Join(all[n+1:], "") {
			t.Errorf("behind event %d: %q, want %q", n, got, all[n+1:])
		}
	}
	if _, r := h.ask("GET", path, ""); r.Status != "completed" || len(r.Output) != 1 || r.Output[0].Content[0].Text != "Once upon" {
		t.Errorf("when it has ended: %+v", r)
	}
	if status, r := h.ask("POST", path+"/cancel", ""); status != 200 || r.Status != "completed" {
		t.Errorf("cancelled when it has ended: %d %+v", status, r)
	}
	if status, r := h.ask("POST", "/v1/responses", `{"input":"b","previous_response_id":"`+created.ID+`"}`); status != 200 || r.Background {
		t.Errorf("continued: %d %+v", status, r)
	}
	for _, tc := range []struct{ path, param string }{
		{path + "?stream=null", "stream"},
		{path + "?stream=", "stream"},
		{path + "?starting_after=", "starting_after"},
		{path + "/input_items?limit=", "limit"},
		{path + "/input_items?order=", "order"},
		{path + "?starting_after=-1", "starting_after"},
		{path + "?stream=true&starting_after=99", "starting_after"},
		{path + "?stream=true&starting_after=-1", "starting_after"},
		{path + "?stream=true&starting_after=x", "starting_after"},
	} {
		status, text := h.read(h.do("GET", tc.path, ""))
		if status != 400 || !strings.Contains(text, `"param":"`+tc.param+`"`) {
			t.Errorf("%s: %d %s", tc.path, status, text)
		}
	}
}

// A client that follows what it asked for may go: the response is made all the same.
func TestBackgroundOutlivesItsClient(t *testing.T) {
	reply := newFakeStream(started("Hi"))
	h := start(t, engineOf(func(int, *actors.Request) (*fakeStream, error) { return reply, nil }), Config{})
	resp := h.post("/v1/responses", `{"input":"Hi","background":true,"stream":true}`)
	var id string
	for id == "" {
		line, err := resp.body.ReadString('\n')
		if err != nil {
			t.Fatal(err)
		}
		if _, rest, is := strings.Cut(line, `"id":"resp_`); is {
			id, _, _ = strings.Cut("resp_"+rest, `"`)
		}
	}
	if err := resp.close(); err != nil {
		t.Error(err)
	}
	reply.push(says("Once"), ends("stop", 2, 1))
	if events := h.events("/v1/responses/" + id + "?stream=true&starting_after=2"); !strings.HasPrefix(events[len(events)-2], "event: response.completed\n") {
		t.Errorf("%q", events)
	}
}

// What is cancelled ends at once, as what it came to.
func TestBackgroundIsCancelled(t *testing.T) {
	reply := newFakeStream(started("Hi"), says("Once"))
	h := start(t, engineOf(func(int, *actors.Request) (*fakeStream, error) { return reply, nil }), Config{})
	_, created := h.ask("POST", "/v1/responses", `{"input":"Hi","background":true}`)
	path := "/v1/responses/" + created.ID
	for range 2 { // doing it again changes nothing
		if status, r := h.ask("POST", path+"/cancel", ""); status != 200 || r.Status != "cancelled" || r.ID != created.ID {
			t.Errorf("%d %+v", status, r)
		}
	}
	happens(t, "cancelling the engine's request", reply.canceled)
	events := h.events(path + "?stream=true")
	if last := events[len(events)-2]; !strings.HasPrefix(last, "event: response.incomplete\n") || !strings.Contains(last, `"status":"cancelled"`) {
		t.Errorf("the last event is %s", last)
	}
}

// What is deleted while it is made is cancelled and not kept; what fails says why.
func TestBackgroundEnds(t *testing.T) {
	deleted, failing := newFakeStream(started("Hi")), newFakeStream(started("Hi"))
	h := start(t, engineOf(func(n int, _ *actors.Request) (*fakeStream, error) { return []*fakeStream{deleted, failing}[n], nil }), Config{})
	_, created := h.ask("POST", "/v1/responses", `{"input":"Hi","background":true}`)
	path := "/v1/responses/" + created.ID
	if status, _ := h.ask("DELETE", path, ""); status != 200 {
		t.Errorf("deleting: %d", status)
	}
	happens(t, "cancelling the engine's request", deleted.canceled)
	if status, _ := h.ask("GET", path, ""); status != 404 {
		t.Errorf("it is there after it was deleted: %d", status)
	}
	_, created = h.ask("POST", "/v1/responses", `{"input":"Hi","background":true}`)
	path = "/v1/responses/" + created.ID
	following := h.do("GET", path+"?stream=true", "")
	failing.push(says("a"), fails(actors.ErrFailed))
	if _, text := h.read(following); !strings.Contains(text, "event: response.failed\n") {
		t.Errorf("%s", text)
	}
	if _, r := h.ask("GET", path, ""); r.Status != "failed" || r.Error == nil || r.Error.Code != "server_error" {
		t.Errorf("%+v", r)
	}
	waitFor(t, "no answer under way", func() bool { return h.answers.Load() == 0 })
}

// Memory for events is bounded: a response whose events have no room is made all the same.
func TestBackgroundEventsAreBounded(t *testing.T) {
	story := []actors.Output{started("Hi"), says(strings.Repeat("word ", 100)), ends("stop", 2, 1)}
	h := start(t, engineOf(func(int, *actors.Request) (*fakeStream, error) { return newFakeStream(story...), nil }), Config{ResponseBytes: 6000})
	for range 3 {
		_, created := h.ask("POST", "/v1/responses", `{"input":"Hi","background":true}`)
		path := "/v1/responses/" + created.ID
		if _, text := h.read(h.do("GET", path+"?stream=true", "")); strings.Contains(text, "response.completed") {
			t.Errorf("there was room for all events: %d bytes", len(text))
		}
		waitFor(t, "the response", func() bool {
			_, r := h.ask("GET", path, "")
			return r.Status == "completed" && r.Output[0].Content[0].Text == string(story[1].Text)
		})
		if status, text := h.read(h.do("GET", path+"?stream=true&starting_after=0", "")); status != 400 {
			t.Errorf("a part of the events is kept: %d %s", status, text)
		}
	}
}

// A log is followed from anywhere while it grows, by whoever comes.
func TestLog(t *testing.T) {
	left := 20
	log := sse.NewLog(func(n int) bool {
		if n > left {
			return false
		}
		left -= n
		return true
	})
	log.Append([]byte("a\n\nbb\n\n"))
	woken := 0
	f := log.Follow(1, func() { woken++ })
	if log.Follow(3, nil) != nil || log.Follow(-1, nil) != nil {
		t.Error("followed from an event that there is not")
	}
	read := func(want string, ended bool) {
		t.Helper()
		if got, over := f.Read(nil); string(got) != want || over != ended {
			t.Errorf("%q, over: %v, want %q, %v", got, over, want, ended)
		}
	}
	read("bb\n\n", false)
	log.Append([]byte("ccc\n\n"))
	read("ccc\n\n", false)
	log.Append([]byte("too much for it\n\n"))
	read("", true)
	if f.Close(); woken != 2 {
		t.Errorf("woken %d times, want 2", woken)
	}
	if log.Drop(); left != 20 || log.Follow(1, nil) != nil {
		t.Errorf("%d bytes are free of 20 when all was dropped", left)
	}
}

// waitFor looks until something is so.
func waitFor(t *testing.T, what string, is func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !is(); runtime.Gosched() {
		if time.Now().After(end) {
			t.Fatalf("%s did not come", what)
		}
	}
}
