package http

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/valyala/fasthttp"
)

// Whose request it is, is what trusted proxies say and nobody else.
func TestProxies(t *testing.T) {
	p, err := parseProxies([]string{"10.0.0.0/8", "2001:db8::1", "unix"})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ remote, headers, want string }{
		{"192.0.2.1", "X-Forwarded-For: 198.51.100.7", "192.0.2.1"}, // no proxy
		{"10.1.1.1", "", "10.1.1.1"},
		{"10.1.1.1", "X-Forwarded-For: 198.51.100.7", "198.51.100.7"},
		{"10.1.1.1", "x-forwarded-for: 203.0.113.9, 198.51.100.7:4711, 10.2.2.2", "198.51.100.7"}, // what the client wrote stands further left
		{"10.1.1.1", "X-Forwarded-For: 203.0.113.9\nX-Forwarded-For: 198.51.100.7", "198.51.100.7"},
		{"10.1.1.1", "X-Forwarded-For: 10.3.3.3, 10.2.2.2", "10.3.3.3"}, // proxies all the way
		{"10.1.1.1", "X-Forwarded-For: 203.0.113.9, unknown, 10.2.2.2", "10.2.2.2"},
		{"10.1.1.1", "X-Forwarded-For: ", "10.1.1.1"},
		{"10.1.1.1", "X-Forwarded-For: [2001:db8::7]:80", "2001:db8::7"},
		{"10.1.1.1", "X-Forwarded-For: ::ffff:198.51.100.7", "198.51.100.7"},
		{"2001:db8::1", "X-Forwarded-For: 2001:db8::2", "2001:db8::2"},
		{"10.1.1.1", `Forwarded: for=192.0.2.60;proto=http;by=203.0.113.43`, "192.0.2.60"},
		{"10.1.1.1", `Forwarded: for=203.0.113.9, Proto=https; For="[2001:db8:cafe::17]:4711"`, "2001:db8:cafe::17"},
		{"10.1.1.1", `Forwarded: for=203.0.113.9, for=_hidden`, "10.1.1.1"},
		{"10.1.1.1", `Forwarded: proto=https`, "10.1.1.1"},
		{"10.1.1.1", "X-Forwarded-For: 198.51.100.7\nForwarded: for=198.51.100.7", "198.51.100.7"},
		{"10.1.1.1", "X-Forwarded-For: 198.51.100.7\nForwarded: for=203.0.113.9", "10.1.1.1"}, // one of them is the client's own
		{"", "X-Forwarded-For: 198.51.100.7", "198.51.100.7"},                                 // a Unix socket
	} {
		var h fasthttp.RequestHeader
		for line := range strings.Lines(c.headers) {
			name, value, _ := strings.Cut(strings.TrimSuffix(line, "\n"), ": ")
			h.Add(name, value)
		}
		var remote netip.Addr
		if c.remote != "" {
			remote = netip.MustParseAddr(c.remote)
		}
		if got := p.client(remote, &h); got.String() != c.want {
			t.Errorf("%s, %q: %s, want %s", c.remote, c.headers, got, c.want)
		}
	}
	for _, bad := range []string{"", "example.org", "10.0.0.0/40", "10.0.0.1:80"} {
		if _, err := parseProxies([]string{bad}); err == nil {
			t.Errorf("%q is taken for a proxy", bad)
		}
	}
}

// Whatever headers say, a client that no proxy speaks for is itself, and none is
// taken from beyond what the nearest proxy wrote.
func FuzzProxies(f *testing.F) {
	f.Add("1.2.3.4, 10.0.0.1", "for=1.2.3.4")
	f.Add(",,", `for="[::1]:80";by=x,for=`)
	f.Fuzz(func(t *testing.T, old, standard string) {
		p := proxies{nets: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}}
		var h fasthttp.RequestHeader
		h.Add("X-Forwarded-For", old)
		h.Add("Forwarded", standard)
		outside, proxy := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("10.0.0.1")
		if got := p.client(outside, &h); got != outside {
			t.Errorf("it is taken for %v", got)
		}
		h.Del("Forwarded")
		h.Set("X-Forwarded-For", old+", 198.51.100.7")
		if got := p.client(proxy, &h); got != netip.MustParseAddr("198.51.100.7") {
			t.Errorf("a proxy's word is taken for %v", got)
		}
	})
}
