package http

import (
	"bytes"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"

	"github.com/valyala/fasthttp"
)

// proxies are those that are believed when they say whose request they hand on.
type proxies struct {
	nets []netip.Prefix
	unix bool // whoever connects to a Unix socket
}

// proxyUnix is how Config.Proxies calls who connects to a Unix socket.
const proxyUnix = "unix"

// parseProxies reads addresses and networks.
func parseProxies(list []string) (p proxies, err error) {
	for _, text := range list {
		if text == proxyUnix {
			p.unix = true
			continue
		}
		net, err := netip.ParsePrefix(text)
		if err != nil {
			ip, err := netip.ParseAddr(text)
			if err != nil {
				return p, fmt.Errorf("proxy %q: expected an address, a network such as 10.0.0.0/8, or %s", text, proxyUnix)
			}
			net = netip.PrefixFrom(ip, ip.BitLen())
		}
		p.nets = append(p.nets, net.Masked())
	}
	return p, nil
}

// trusts reports whether ip is a proxy's. The one that is none is a Unix socket's.
func (p *proxies) trusts(ip netip.Addr) bool {
	if !ip.IsValid() {
		return p.unix
	}
	return slices.ContainsFunc(p.nets, func(n netip.Prefix) bool { return n.Contains(ip) })
}

// client is the address of who sent a request that came from remote: what the
// nearest proxy that is trusted says, who believes none that is not. A proxy writes
// one of two headers and may hand on the other as a client wrote it, so if they
// differ neither is believed.
func (p *proxies) client(remote netip.Addr, h *fasthttp.RequestHeader) netip.Addr {
	if !p.trusts(remote) {
		return remote
	}
	old, said := p.origin(remote, forwardedFor(h))
	standard, alsoSaid := p.origin(remote, forwarded(h))
	switch {
	case said && alsoSaid && old != standard:
		return remote
	case said:
		return old
	}
	return standard
}

// origin follows hops, the nearest last, as far as they can be trusted.
func (p *proxies) origin(remote netip.Addr, hops []string) (ip netip.Addr, said bool) {
	ip = remote
	for _, hop := range slices.Backward(hops) {
		if !p.trusts(ip) {
			break
		}
		next, ok := parseHop(hop)
		if !ok { // "unknown", or a name made up to hide one
			break
		}
		ip = next
	}
	return ip, len(hops) > 0
}

// forwardedFor are the hops of X-Forwarded-For.
func forwardedFor(h *fasthttp.RequestHeader) (hops []string) {
	for _, line := range h.PeekAll(fasthttp.HeaderXForwardedFor) {
		hops = append(hops, strings.Split(string(line), ",")...)
	}
	return hops
}

// forwarded are those of Forwarded (RFC 7239): of each element its "for".
func forwarded(h *fasthttp.RequestHeader) (hops []string) {
	for _, line := range h.PeekAll(fasthttp.HeaderForwarded) {
		for _, element := range bytes.Split(line, []byte(",")) {
			hop := ""
			for _, pair := range bytes.Split(element, []byte(";")) {
				if name, value, _ := bytes.Cut(bytes.TrimSpace(pair), []byte("=")); bytes.EqualFold(name, []byte("for")) {
					hop = strings.Trim(string(value), `"`)
				}
			}
			hops = append(hops, hop)
		}
	}
	return hops
}

// parseHop reads an address, with or without a port.
func parseHop(text string) (netip.Addr, bool) {
	text = strings.TrimSpace(text)
	if with, err := netip.ParseAddrPort(text); err == nil {
		return with.Addr().Unmap().WithZone(""), true
	}
	ip, err := netip.ParseAddr(strings.TrimSuffix(strings.TrimPrefix(text, "["), "]"))
	return ip.Unmap().WithZone(""), err == nil
}

// addressOf is the address at the other end of a connection; not valid where there
// is none, as on a Unix socket.
func addressOf(a net.Addr) netip.Addr {
	if t, is := a.(*net.TCPAddr); is {
		return t.AddrPort().Addr().Unmap().WithZone("")
	}
	return netip.Addr{}
}

// network is who sends from an address: of IPv6 the /64, since whoever has one
// address of it has them all.
func network(ip netip.Addr) string {
	switch {
	case !ip.IsValid():
		return "local"
	case ip.Is6():
		return netip.PrefixFrom(ip, 64).Masked().String()
	}
	return ip.String()
}
