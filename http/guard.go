package http

import (
	"bytes"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"

	"github.com/troupe-llm/troupe/http/internal/dialect/apierr"
	"github.com/valyala/fasthttp"
)

// What a request's header alone condemns is refused before its body is waited
// for: a host that is not this server, a page of another site, a body too
// large, and a key that is none.

// unreadBody is a header field that received adds, to say why handle will find
// no body. No client can send it: its name is none.
const unreadBody = "\x00unread"

// received looks at a request whose header has come. One that is going to be
// refused loses its body: fasthttp then hands it over at once, and hangs up.
func (s *Server) received(h *fasthttp.RequestHeader) (none fasthttp.RequestConfig) {
	s.leaveRoot(h)
	length := h.ContentLength()
	if length == 0 || length == bodyNone {
		return none
	}
	why := ""
	switch e := s.refusal(h); {
	case e == s.errLarge:
		why = "large"
	case e != nil:
		why = "refused"
	case !h.IsOptions() && s.keys.required() && !slices.Contains(openPaths, string(h.RequestURI())):
		if _, known := s.keys.holder(h); !known {
			why = "refused" // by guarded
		}
	}
	if why != "" {
		h.SetContentLength(0)
		h.Del(fasthttp.HeaderExpect)
		h.Set(unreadBody, why)
	}
	return none
}

// leaveRoot takes Config.RootPath off a path where a proxy has left it on.
func (s *Server) leaveRoot(h *fasthttp.RequestHeader) {
	root := s.cfg.RootPath
	if uri := h.RequestURI(); root != "" && len(uri) > len(root) && uri[len(root)] == '/' && string(uri[:len(root)]) == root {
		h.SetRequestURIBytes(uri[len(root):])
	}
}

// bodyNone is fasthttp's length of the body of a request that has none.
const bodyNone = -2

// refusal is why a request is turned away for what its header says, whoever
// sends it; nil: it is not.
func (s *Server) refusal(h *fasthttp.RequestHeader) *Error {
	switch {
	case !s.knowsHost(h.Host()):
		return errHost
	case s.foreign(h):
		return errForeign
	case h.ContentLength() > s.cfg.MaxBody, string(h.Peek(unreadBody)) == "large":
		return s.errLarge
	}
	return nil
}

// errHost and errForeign quote nothing: a page could have written it.
var (
	errHost = &Error{
		Status: fasthttp.StatusMisdirectedRequest, Type: apierr.TypeInvalid, Code: "unknown_host",
		Message: "this server goes by another name than the one in Host: --allowed-hosts adds names",
	}
	errForeign = &Error{
		Status: fasthttp.StatusForbidden, Type: apierr.TypeInvalid, Code: "foreign_origin",
		Message: "pages of other sites may not use this server: --allowed-origins adds sites",
	}
)

func tooLarge(most int) *Error {
	return &Error{
		Status: fasthttp.StatusRequestEntityTooLarge, Type: apierr.TypeInvalid,
		Message: fmt.Sprintf("the body is larger than %d bytes", most),
	}
}

// knowsHost reports whether a Host field names this server. A page whose own
// name was made to lead here (DNS rebinding) sends that name; to an address it
// has no name to lead, and localhost leads nowhere else.
func (s *Server) knowsHost(field []byte) bool {
	if len(field) == 0 { // HTTP/1.0; browsers send it
		return true
	}
	host := strings.ToLower(string(field))
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	host = strings.TrimSuffix(strings.Trim(host, "[]"), ".")
	if host == "localhost" || strings.HasSuffix(host, ".localhost") || slices.Contains(s.cfg.Hosts, host) || slices.Contains(s.cfg.Hosts, "*") {
		return true
	}
	_, err := netip.ParseAddr(host)
	return err == nil
}

// foreign reports whether a page of another site sends this, which is not
// allowed to. Browsers say which site's it is with what could do harm; what
// they send without, such as an image's address, they mark as cross-site. A
// link from elsewhere to a page here is no harm.
func (s *Server) foreign(h *fasthttp.RequestHeader) bool {
	if origin := h.Peek(fasthttp.HeaderOrigin); len(origin) > 0 {
		_, host, _ := bytes.Cut(origin, []byte("://"))
		return !s.allowsOrigin(origin) && (len(host) == 0 || !bytes.EqualFold(host, h.Host()))
	}
	if string(h.Peek("Sec-Fetch-Site")) != "cross-site" || slices.Contains(s.cfg.Origins, "*") {
		return false
	}
	link := (h.IsGet() || h.IsHead()) && string(h.Peek("Sec-Fetch-Mode")) == "navigate" && string(h.Peek("Sec-Fetch-Dest")) == "document"
	return !link
}

func (s *Server) allowsOrigin(origin []byte) bool {
	return slices.ContainsFunc(s.cfg.Origins, func(allowed string) bool { return allowed == "*" || allowed == string(origin) })
}
