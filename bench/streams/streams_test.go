package streams

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"
)

// event is one event of a text completion as the server writes it.
func event(text, ids, finish string) string {
	return fmt.Sprintf(`data: {"id":"x","choices":[{"index":0,"text":"%s","logprobs":null,"finish_reason":%s,"token_ids":[%s]}]}`+"\n\n", text, finish, ids)
}

const done = "data: [DONE]\n\n"

// response is HTTP around events, cut into chunks at random places.
func response(random *rand.Rand, events string) string {
	var b strings.Builder
	b.WriteString("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
	for len(events) > 0 {
		n := 1 + random.IntN(len(events))
		fmt.Fprintf(&b, "%x\r\n%s\r\n", n, events[:n])
		events = events[n:]
	}
	return b.String() + "0\r\n\r\n"
}

// read feeds a response in random pieces to a reply that wants n tokens, and
// reports whether it ended.
func read(random *rand.Rand, w *wire, l *lore, n int, bytes string) (ended bool, err error) {
	r := reply{lore: l, want: n}
	for len(bytes) > 0 && !ended && err == nil {
		k := min(1+random.IntN(200), len(bytes))
		ended, err = w.feed([]byte(bytes[:k]), func(data []byte) error {
			_, err := r.event(data)
			return err
		})
		bytes = bytes[k:]
	}
	return ended && bytes == "", err
}

// However a reply is cut into events, chunks and reads, it is the same reply.
func TestPiecesDoNotMatter(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 1))
	for range 200 {
		var l lore
		one := response(random, event("a\\nb", "1", "null")+": keep-alive\n\n"+event("", "22", "null")+event("cd", "3", "null")+event("e", "4", `"length"`)+done)
		two := response(random, event("a\\nbcd", "1,22,3", "null")+event("", "4", `"length"`)+done)
		var w wire
		for i, bytes := range []string{one, two, one} {
			if ended, err := read(random, &w, &l, 4, bytes); !ended || err != nil {
				t.Fatalf("reply %d: ended %v, %v", i, ended, err)
			}
		}
		if string(l.text) != "a\\nb" || len(l.ids) != 4 {
			t.Fatalf("learnt %+v", l)
		}
	}
}

func TestWhatIsWrongIsFound(t *testing.T) {
	random := rand.New(rand.NewPCG(2, 2))
	good := event("a", "1", "null") + event("b", "2", "null") + event("", "3", `"length"`) + done
	for name, c := range map[string]struct{ bytes, want string }{
		"a token lost":       {response(random, event("a", "1", "null")+event("", "3", `"length"`)+done), "token 1 of a reply is 3"},
		"tokens reordered":   {response(random, event("b", "2", "null")+event("a", "1", "null")), "token 0 of a reply is 2"},
		"a token doubled":    {response(random, event("a", "1,1", "null")), "token 1 of a reply is 1"},
		"other text":         {response(random, event("x", "1", "null")+event("b", "2", "null")), "byte 0 of a reply's text"},
		"too short":          {response(random, event("a", "1", "null")+event("", "2", `"length"`)+done), "done after 2 tokens of 3"},
		"no end":             {response(random, event("a", "1", "null")+event("b", "2", "null")+event("", "3", "null")+done), "done after 3 tokens of 3"},
		"another end":        {response(random, event("", "1", `"abort"`)), "otherwise than by its length"},
		"an error":           {response(random, `data: {"error":{"message":"no"}}`+"\n\n"), "without token_ids"},
		"no event":           {response(random, "hello\n\n"), "no event"},
		"half an event":      {response(random, "data: {"), "ended within an event"},
		"a status":           {"HTTP/1.1 429 Too Many\r\nContent-Length: 4\r\n\r\nbusy", `HTTP/1.1 429 Too Many: busy`},
		"a chunk's length":   {"HTTP/1.1 200 OK\r\n\r\nzz\r\n", `a chunk's size is "zz"`},
		"a chunk too long":   {"HTTP/1.1 200 OK\r\n\r\n1\r\nab\r\n", "a chunk goes on"},
		"more after the end": {"HTTP/1.1 200 OK\r\n\r\n0\r\nab\r\n", "after the last chunk"},
	} {
		var l lore
		if _, err := read(random, new(wire), &l, 3, response(random, good)); err != nil {
			t.Fatal(err)
		}
		whole := wire{} // a status comes in one read, so its body is shown
		r := reply{lore: &l, want: 3}
		_, err := whole.feed([]byte(c.bytes), func(data []byte) error {
			_, err := r.event(data)
			return err
		})
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error %v, want %q", name, err, c.want)
		}
	}
}

func TestHistogram(t *testing.T) {
	var h histogram
	for i := 1; i <= 100; i++ {
		h.add(time.Duration(i)*time.Millisecond-tick/2, 2)
	}
	h.add(5*time.Second, 1)
	if h.quantile(0.5) != 50*time.Millisecond+tick && h.quantile(0.5) != 51*time.Millisecond || h.longest != 5*time.Second {
		t.Errorf("p50 %v, longest %v", h.quantile(0.5), h.longest)
	}
}

func TestGoneIsNotedOnce(t *testing.T) {
	idle := Sample{Goroutines: 10}
	var g Gone
	g.note(&Sample{Open: 1, PagesUsed: 2, Goroutines: 100}, &idle, 1)
	g.note(&Sample{Open: 0, PagesUsed: 2, Goroutines: 100}, &idle, 2)
	if !g.left() {
		t.Error("pages are left")
	}
	g.note(&Sample{Open: 0, PagesUsed: 0, Goroutines: 12}, &idle, 3)
	if g.left() || g != (Gone{2, 3, 3}) {
		t.Errorf("%+v", g)
	}
}

func TestReportFromSamples(t *testing.T) {
	r := Report{Streams: 1, Elapsed: time.Second, Samples: []Sample{
		{User: time.Second, System: time.Second, Delivered: 1000, Delivery: map[string]float64{"0.001": 500, "0.01": 900, "+Inf": 1000}},
		{User: 3 * time.Second, System: 2 * time.Second, Delivered: 1001000, Delivery: map[string]float64{"0.001": 600500, "0.01": 999900, "+Inf": 1001000}},
	}}
	if user, system := r.Cost(); user != 2*time.Microsecond || system != time.Microsecond {
		t.Errorf("a token costs %v and %v", user, system)
	}
	if b, ok := r.Delivery(0.5); b != time.Millisecond || !ok {
		t.Errorf("p50 is %v, %v", b, ok)
	}
	if b, ok := r.Delivery(0.99); b != 10*time.Millisecond || !ok {
		t.Errorf("p99 is %v, %v", b, ok)
	}
	if _, ok := r.Delivery(0.9999); ok {
		t.Error("p99.99 has a bound")
	}
}
