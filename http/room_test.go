package http

import (
	"fmt"
	"net"
	"testing"

	"github.com/valyala/fasthttp"

	"github.com/troupe-llm/troupe/actors"
)

// Who opens more connections than there may be, and asks nothing, keeps nobody out and
// breaks off no reply.
func TestIdleConnectionsMakeRoom(t *testing.T) {
	st := newFakeStream(started("a"))
	h := startTCP(t, engineOf(func(n int, _ *actors.Request) (*fakeStream, error) {
		if n == 0 {
			return st, nil
		}
		return newFakeStream(started("ab"), says("x"), ends("stop", 2, 1)), nil
	}), Config{MaxConnections: 128})
	reply := h.post("/v1/completions", streamed)
	for range 160 { // with what follows no more than there may be until closed ones are gone
		c, err := net.Dial("tcp", h.ln.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
	}
	for range 20 {
		h.client.CloseIdleConnections()
		if status, body := h.read(h.post("/v1/completions", `{"prompt":"ab"}`)); status != 200 {
			t.Fatalf("%d %s", status, body)
		}
	}
	st.push(says("b"), ends("stop", 1, 1))
	for data := ""; data != "[DONE]"; {
		data = nextEvent(t, reply.body)
	}
}

// at is a connection from an address.
type at struct {
	net.Conn
	addr   net.Addr
	closed *int
}

func (c *at) RemoteAddr() net.Addr { return c.addr }

func (c *at) Close() error {
	*c.closed++
	return nil
}

// Room is made by those who have most.
func TestRoomIsMadeByWhoHasMost(t *testing.T) {
	s, err := NewLoading(Config{MaxConnections: 20}, zerologNop)
	if err != nil {
		t.Fatal(err)
	}
	f := s.main
	closed := map[string]*int{}
	connect := func(ip string, state fasthttp.ConnState) {
		if closed[ip] == nil {
			closed[ip] = new(int)
		}
		c := &at{addr: &net.TCPAddr{IP: net.ParseIP(ip)}, closed: closed[ip]}
		f.connState(c, fasthttp.StateNew)
		f.connState(c, state)
	}
	for i := range 5 {
		connect(fmt.Sprintf("192.0.2.%d", i), fasthttp.StateIdle)
	}
	for range 10 {
		connect("198.51.100.1", fasthttp.StateActive) // busy, whoever it is
	}
	for range 5 {
		connect("203.0.113.1", fasthttp.StateNew)
	}
	for range 100 {
		connect("203.0.113.1", fasthttp.StateNew)
	}
	for i := range 4 {
		connect(fmt.Sprintf("192.0.2.%d", 100+i), fasthttp.StateIdle)
	}
	for ip, n := range closed {
		if want := 104; ip == "203.0.113.1" && *n != want || ip != "203.0.113.1" && *n != 0 {
			t.Errorf("%s lost %d", ip, *n)
		}
	}
	if len(f.conns) != 20 || f.from["203.0.113.1"] != 1 || f.from["198.51.100.1"] != 10 {
		t.Errorf("%d connections, by %v", len(f.conns), f.from)
	}
}
