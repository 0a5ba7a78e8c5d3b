package http

import (
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/fasthttp/router"
	"github.com/valyala/fasthttp"
	"github.com/valyala/fasthttp/pprofhandler"

	"github.com/troupe-llm/troupe/http/internal/dialect"
	"github.com/troupe-llm/troupe/http/internal/dialect/apierr"
	"github.com/troupe-llm/troupe/http/internal/dialect/chat"
	"github.com/troupe-llm/troupe/http/internal/dialect/jsonenc"
	"github.com/troupe-llm/troupe/http/internal/dialect/messages"
	"github.com/troupe-llm/troupe/http/internal/dialect/responses"
	"github.com/troupe-llm/troupe/http/internal/dialect/text"
)

// handler answers one route's requests. What it returns becomes the response.
type handler func(*exchange) *Error

func (s *Server) routes() *router.Router {
	r := s.newRouter()
	post := func(path string, h handler) { r.POST(path, s.guarded(path, attached(h))) }
	for path, d := range s.dialects {
		post(path, generate(d))
	}
	post(countTokens, replied(messages.CountTokens))
	s.keptRoutes(r)
	post("/tokenize", tokenizePrompt)
	post("/detokenize", detokenize)
	get(r, "/v1/models", s.guarded("/v1/models", attached(models)))
	get(r, "/v1/models/{model:*}", s.guarded("/v1/models/{model}", attached(oneModel)))
	get(r, "/tokenizer_info", s.guarded("/tokenizer_info", attached(tokenizerInfo)))
	for _, path := range openPaths {
		if !s.cfg.Admin || !slices.Contains(adminPaths, path) {
			get(r, path, s.open(path, openRoutes[path]))
		}
	}
	if !s.cfg.Admin {
		s.profiles(r)
	}
	if root := s.cfg.RootPath; root != "" { // the page asks for what lies beside it
		get(r, root, s.open("/", func(x *exchange) *Error {
			x.ctx.Response.Header.Set(fasthttp.HeaderLocation, root+"/")
			x.ctx.SetStatusCode(fasthttp.StatusPermanentRedirect)
			return nil
		}))
	}
	return r
}

// adminRoutes are what ServeAdmin serves: what is the operator's, and what says
// how the server is.
func (s *Server) adminRoutes() *router.Router {
	r := s.newRouter()
	for _, path := range append([]string{"/", "/health", "/ready", "/version"}, adminPaths...) {
		get(r, path, s.open(path, openRoutes[path]))
	}
	s.profiles(r)
	return r
}

// newDialects are the APIs in which clients ask for text, by their paths.
func newDialects(kept *responses.Store) map[string]dialect.Dialect {
	return map[string]dialect.Dialect{
		"/v1/chat/completions": chat.Dialect{},
		"/v1/completions":      text.Dialect{},
		"/v1/responses":        responses.Dialect{Store: kept},
		"/v1/messages":         messages.Dialect{},
	}
}

const countTokens = "/v1/messages/count_tokens"

// common is the dialect of what is no dialect's own.
var common = text.Dialect{}

// spoken is the dialect in which errors are told at a path.
func (s *Server) spoken(path []byte) dialect.Dialect {
	if d, is := s.dialects[string(path)]; is {
		return d
	}
	if string(path) == countTokens {
		return messages.Dialect{}
	}
	return common
}

// openRoutes need no key.
var openRoutes = map[string]handler{
	"/": playgroundPage, "/stats": attached(stats),
	"/health": health, "/ready": ready, "/version": version, "/metrics": metrics, "/openapi.json": describe,
}

var (
	openPaths  = slices.Sorted(maps.Keys(openRoutes))
	adminPaths = []string{"/metrics", "/stats"} // with Config.Admin, there alone
)

func (s *Server) newRouter() *router.Router {
	r := router.New()
	r.RedirectTrailingSlash = false // a redirected POST loses its body
	r.RedirectFixedPath = false
	r.GlobalOPTIONS = s.open("", preflight)
	r.NotFound = s.open("", func(x *exchange) *Error {
		return &Error{
			Status: fasthttp.StatusNotFound, Type: apierr.TypeInvalid, Code: "unknown_url",
			Message: fmt.Sprintf("there is no %s here; %s", x.ctx.Path(), instead(x.ctx.Path())),
		}
	})
	r.MethodNotAllowed = s.open("", func(x *exchange) *Error {
		ctx := x.ctx
		return &Error{
			Status: fasthttp.StatusMethodNotAllowed, Type: apierr.TypeInvalid, Code: "method_not_allowed",
			Message: fmt.Sprintf("%s takes %s, not %s", ctx.Path(), ctx.Response.Header.Peek(fasthttp.HeaderAllow), ctx.Method()),
		}
	})
	return r
}

func get(r *router.Router, path string, h fasthttp.RequestHandler) {
	r.GET(path, h)
	r.HEAD(path, h) // fasthttp leaves the body out
}

// profiles serves Go's, where that is wanted. Guarded: what is served there
// shows the command line, keys and all.
func (s *Server) profiles(r *router.Router) {
	if s.cfg.Profiling {
		get(r, "/debug/pprof/{profile:*}", s.guarded("/debug/pprof", func(x *exchange) *Error {
			pprofhandler.PprofHandler(x.ctx)
			return nil
		}))
	}
}

// instead is where to go from a path that there is not.
func instead(path []byte) string {
	name := strings.TrimPrefix(strings.TrimPrefix(string(path), "/v1/"), "/v2/")
	switch strings.Trim(name, "/") {
	case "embeddings", "rerank", "score", "pooling", "classify":
		return "the served model writes text: it makes no embeddings and ranks no documents"
	}
	return "/openapi.json says what there is"
}

// open serves a route to everyone whose request may be answered at all.
func (s *Server) open(route string, h handler) fasthttp.RequestHandler {
	return func(ctx *fasthttp.RequestCtx) {
		x := ctx.UserValue(exchangeKey).(*exchange)
		x.route = route
		e := s.refusal(&ctx.Request.Header)
		if e == nil {
			e = h(x)
		}
		if e != nil {
			x.failed(e)
		}
	}
}

// attached serves what needs to know what is served, once that is so.
func attached(h handler) handler {
	return func(x *exchange) *Error {
		if !x.s.known() {
			return errLoading
		}
		return h(x)
	}
}

// guarded serves a route to those who have a key, within their limits.
func (s *Server) guarded(route string, h handler) fasthttp.RequestHandler {
	return s.open(route, func(x *exchange) *Error {
		if s.keys.required() {
			var known bool
			if x.holder, known = s.keys.holder(&x.ctx.Request.Header); !known {
				x.ctx.Response.Header.Set(fasthttp.HeaderWWWAuthenticate, "Bearer")
				return errKey
			}
		}
		if e := x.admit(); e != nil {
			return e
		}
		return h(x)
	})
}

var errKey = &Error{
	Status: fasthttp.StatusUnauthorized, Type: apierr.TypeAuth, Code: "invalid_api_key",
	Message: "a valid API key is required: Authorization: Bearer KEY, or X-Api-Key: KEY",
}

// send makes JSON the response.
func (x *exchange) send(body []byte) {
	x.ctx.SetContentType(typeJSON)
	x.ctx.SetBody(append(body, '\n'))
}

// models lists what is served, as OpenAI's clients and Anthropic's want it at once.
func models(x *exchange) *Error {
	var names []string
	dst := []byte(`{"object":"list","data":[`)
	for _, m := range *x.s.models.Load() {
		for _, name := range m.Names {
			dst = x.s.appendModel(jsonenc.Comma(dst, len(names)), m, name)
			names = append(names, name)
		}
	}
	dst = jsonenc.Quoted(append(dst, `],"has_more":false,"first_id":`...), names[0])
	dst = jsonenc.Quoted(append(dst, `,"last_id":`...), names[len(names)-1])
	x.send(append(dst, '}'))
	return nil
}

func oneModel(x *exchange) *Error {
	name, _ := x.ctx.UserValue("model").(string) // as it was sent: some clients write %2F for a slash
	if plain, err := url.PathUnescape(name); err == nil {
		name = plain
	}
	t := x.s.models.Load()
	m := t.find(name)
	if m == nil || name == "" {
		return t.notFound(name)
	}
	x.send(x.s.appendModel(nil, m, name))
	return nil
}

// appendModel describes a model by one of its names. Its sizes are its engines': while none has been there nothing is
// said of them.
func (s *Server) appendModel(dst []byte, m *servedModel, name string) []byte {
	var i info
	root := m.Names[0] // of several: two may have one name where their files are
	if m.label == "" {
		root = m.info.model
	}
	there := m.attached.Load()
	if there {
		i = m.info
	}
	count := func(key string, n int) {
		if there {
			dst = strconv.AppendInt(append(dst, key...), int64(n), 10)
		}
	}
	dst = append(dst, `{"id":`...)
	dst = jsonenc.Quoted(dst, name)
	dst = append(dst, `,"object":"model","created":`...)
	dst = strconv.AppendInt(dst, s.began.Unix(), 10)
	dst = append(dst, `,"owned_by":"troupe","root":`...)
	dst = jsonenc.Quoted(dst, root)
	count(`,"max_model_len":`, i.maxLen)
	count(`,"vocab_size":`, i.vocab)
	dst = jsonenc.Quoted(append(dst, `,"type":"model","lifecycle":"active","display_name":`...), name)
	dst = jsonenc.Quoted(append(dst, `,"created_at":`...), s.began.UTC().Format(time.RFC3339))
	count(`,"max_input_tokens":`, i.maxLen)
	return append(dst, '}')
}

// health says that the process lives.
func health(x *exchange) *Error {
	x.send([]byte(`{"status":"ok"}`))
	return nil
}

// ready says whether requests are taken.
func ready(x *exchange) *Error {
	if err := x.s.ready(); err != nil {
		return err
	}
	x.send([]byte(`{"status":"ready"}`))
	return nil
}

func version(x *exchange) *Error {
	x.send(append(jsonenc.Quoted([]byte(`{"version":`), x.s.cfg.Version), '}'))
	return nil
}
