package main

import (
	"cmp"
	"fmt"
	"io"
	"net"
	"net/netip"
	"net/url"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/rs/zerolog"

	"github.com/troupe-llm/troupe/actors"
	"github.com/troupe-llm/troupe/actors/plan"
	"github.com/troupe-llm/troupe/gpu/gang"
	"github.com/troupe-llm/troupe/gpu/model"
	"github.com/troupe-llm/troupe/http"
	"github.com/troupe-llm/troupe/http/otlp"
)

// Config is everything that can be set on the command line; flags.go makes the
// flags of it. Each command offers the sections it uses. It is filled by
// defaults, parsed once, checked once, and does not change after that. What the
// command line does not say, the environment and a file may: settings.go.
type Config struct {
	Engine   Engine
	Schedule Schedule
	Server   Server
	Access   Access
	Cluster  Cluster
	Remote   Remote
	Sampling Sampling
	Log      Log
}

// Engine says which model runs on what.
type Engine struct {
	Models       []string `flag:"model,m" value:"NAME|DIR|FILE|builtin" help:"a model on Hugging Face, OWNER/NAME, OWNER/NAME:REVISION or, of GGUF files, OWNER/NAME:QUANTISATION, pulled when it is not there yet; a checkpoint's directory; a GGUF file; or the one inside this program"`
	Device       string   `flag:"device" value:"auto|cpu|cuda[:N,…]|sim:NAME" help:"where it runs; auto takes the best there is (see troupe doctor); cuda:0,2 are two GPUs that share the model"`
	TP           int      `flag:"tp" value:"N" min:"0" max:"64" help:"devices that share the model (tensor parallelism): N GPUs from the first on, or for trying it N parts of the processor or N simulated GPUs; N divides the model's heads (0: as many as --device names)"`
	DP           int      `flag:"dp" value:"N" min:"1" max:"64" help:"engines among which requests are shared out (data parallelism), each with a device, a scheduler and memory of its own; sizes are those of each, and when one is lost the others go on with its requests. In troupe serve each is a process, with its share of the GPUs of --device; elsewhere they are one, on the processor or simulated GPUs"`
	DType        string   `flag:"dtype" choices:"auto,float32,bfloat16,int8,int4" help:"type of the weights in memory; auto takes the checkpoint's (on a GPU 4 bits where projections have them, bfloat16 where others are quantised); int8, on a processor alone, and int4 round them to 8 or 4 bits, on a processor activations to 8: half and a third of the memory, and there several times as fast"`
	KVDType      string   `flag:"kv-dtype" choices:"auto,bf16,fp8,int8,float32" help:"type of keys and values in memory; auto takes bf16, or float32 beside weights that are; fp8 is a GPU's, int8 and float32 are a processor's"`
	Quantization string   `flag:"quantization" choices:"auto,fp8" help:"fp8 has a Hopper GPU round the weights of layers to 8 bits while they are loaded, each output with a scale of its own: half of bfloat16's memory, and faster; auto takes them as the checkpoint has them"`
	DummyWeights bool     `flag:"dummy-weights" help:"random weights: to measure speed with no more than a config.json, or a published model's name"`
}

// Model is the first of the models: but for serve --front-only there is no other.
func (e *Engine) Model() string { return e.Models[0] }

// Schedule sizes the device's memory and says what shares a step.
type Schedule struct {
	MaxRunningRequests int           `flag:"max-running-requests" value:"N" min:"0" help:"requests in one step (0: what suits the device)"`
	MaxPrefillLength   int           `flag:"max-prefill-length" value:"N" min:"0" help:"tokens in one step; longer prompts take several (0: what suits the device)"`
	PageSize           int           `flag:"page-size" value:"N" min:"0" max:"256" help:"tokens a page of KV memory, a power of two (0: what suits the device)"`
	NumPages           int           `flag:"num-pages" value:"N" min:"0" help:"pages of KV memory (0: what --memory-ratio allows)"`
	MemoryRatio        float64       `flag:"memory-ratio" value:"R" min:"0" max:"1" help:"share of the device's free memory to use (0: what suits the device)"`
	MaxSeqLen          int           `flag:"max-seq-len" value:"N" min:"0" help:"tokens of prompt and reply together (0: the model's own limit, as memory allows)"`
	CUDAGraphMaxBS     int           `flag:"cuda-graph-max-bs" value:"N" min:"-1" help:"most decode rows for which a GPU has a CUDA graph (0: what suits the device; -1: no graphs)"`
	AttentionBackend   string        `flag:"attention-backend" choices:"auto,hopper,portable" help:"a GPU's kernels for prompts: auto takes hopper where the GPU is one, for it is faster"`
	Deterministic      bool          `flag:"deterministic" help:"on a GPU, compute every token to the same bits whatever else is in its step, so that a request's reply depends neither on other requests nor on what of it is cached or computed again: slower; on a processor replies are so anyway"`
	Cache              string        `flag:"cache" choices:"radix,naive" help:"radix shares what prompts begin with in common, naive shares nothing"`
	Schedule           string        `flag:"schedule" choices:"mixed,prefill-first" help:"mixed fills steps of decodes up with prefill, prefill-first keeps them apart"`
	Policy             string        `flag:"policy" choices:"fcfs,priority,longest-prefix" help:"which of one client's waiting requests is next, after that of the client (key or address) served least; priority is of all clients' requests"`
	TargetITL          time.Duration `flag:"target-itl" value:"DURATION" min:"0" help:"most time from one token of a reply to the next, as far as prompts beside it are what makes it wait: they are cut to what is predicted to fit, and their own first tokens come later (0: prompts as whole as --max-prefill-length allows, for the most tokens a second)"`
	Speculative        string        `flag:"speculative" choices:"off,ngram" help:"ngram drafts tokens to be what followed the last few where prompt or reply had them before, and computes drafts where that pays: replies are the same, sooner where they repeat something; a request's speculative comes first"`
	StepTimeout        time.Duration `flag:"step-timeout" value:"DURATION" min:"0" help:"a step that takes longer means that the device hangs, and another process begins anew (0: on a GPU the longer of 30s and 100 times what is predicted; on a processor as long as it takes)"`
	Overlap            bool          `flag:"overlap" help:"prepare the next step while the device computes this one; --overlap=false waits for it"`
}

// Server is how clients reach it.
type Server struct {
	Host            string        `flag:"host" value:"ADDR" help:"address to listen on; 0.0.0.0 is every IPv4 address of this machine, :: every address"`
	Port            int           `flag:"port,p" value:"N" min:"0" max:"65535" help:"port to listen on; 0 picks a free one"`
	UDS             string        `flag:"uds" value:"FILE" help:"listen on this Unix socket instead"`
	RootPath        string        `flag:"root-path" value:"PATH" help:"where a proxy serves this server, such as /llm, whether it takes that off the paths that it hands on or not"`
	ServedModelName []string      `flag:"served-model-name" value:"NAME" help:"name clients ask for, instead of the model's own; may be repeated; of several models MODEL=NAME, with a --model"`
	ToolCallParser  string        `flag:"tool-call-parser" value:"FAMILY" help:"how the model writes tool calls: auto (as its chat template shows), none, or a family by vLLM's names: hermes, llama3_json, pythonic, mistral, qwen3_coder, deepseek_v31, glm45, kimi_k2, minimax_m2, openai, granite, … (a wrong one lists all); of several models also MODEL=FAMILY,…, with a --model"`
	ReasoningParser string        `flag:"reasoning-parser" value:"FAMILY" help:"what sets reasoning apart from answers: auto (as the chat template shows), none, think (<think>…</think>), or a family by vLLM's names: qwen3, deepseek_r1, seed_oss, mistral, granite, … (a wrong one lists all); of several models also MODEL=FAMILY,…"`
	MaxOpenRequests int           `flag:"max-open-requests" value:"N" min:"1" help:"requests accepted at once, waiting and running; others get status 429"`
	MaxAnswers      int           `flag:"max-answers" value:"N" min:"0" help:"answers under way at once, streamed or not, each of one request or more; others get status 429 (0: as many as requests)"`
	MaxConnections  int           `flag:"max-connections" value:"N" min:"0" help:"connections open at once (0: twice the requests, and at least 16384, as files allow)"`
	MaxBody         int           `flag:"max-body" value:"BYTES" min:"1" help:"largest body of a request; others get status 413"`
	BodyBudget      int           `flag:"body-budget" value:"BYTES" min:"0" help:"memory for bodies being read, of all requests together; others get status 429 (0: 4 times --max-body, with keys 16 times)"`
	ResponseStore   string        `flag:"response-store" value:"DIR" help:"keep responses (/v1/responses) in this directory, too, so that conversations go on when the server was restarted"`
	MaxChoices      int           `flag:"max-choices" value:"N" min:"1" help:"most replies one request may ask for: n times its prompts"`
	MaxStops        int           `flag:"max-stops" value:"N" min:"1" help:"most stop strings of a request"`
	StrictFields    bool          `flag:"strict-fields" help:"refuse requests with fields that are not known, instead of ignoring those and saying so in X-Ignored-Fields"`
	ReadTimeout     time.Duration `flag:"read-timeout" value:"DURATION" min:"0.001" help:"how long a request may take to arrive; others get status 408"`
	IdleTimeout     time.Duration `flag:"idle-timeout" value:"DURATION" min:"0.001" help:"close connections that ask for nothing this long"`
	StallTimeout    time.Duration `flag:"stall-timeout" value:"DURATION" min:"0.001" help:"end a reply whose client has not read for this long"`
	KeepAlive       time.Duration `flag:"keep-alive" value:"DURATION" min:"0.001" help:"send a comment on streams that were silent this long, so that proxies keep them open"`
	QueueTimeout    time.Duration `flag:"queue-timeout" value:"DURATION" min:"0" help:"how long a request may wait to be computed; then it gets status 503 (0: as long as it takes)"`
	RequestTimeout  time.Duration `flag:"request-timeout" value:"DURATION" min:"0" help:"how long a reply that is sent whole may take, from the request's arrival; then it gets status 504 (0: as long as it takes)"`
	StreamTimeout   time.Duration `flag:"stream-timeout" value:"DURATION" min:"0" help:"how long a streamed reply may take, from the request's arrival to its end; then it ends with an error event (0: as long as it takes)"`
	LameDuck        time.Duration `flag:"lame-duck" value:"DURATION" min:"0" help:"after SIGTERM: how long /ready says 503 while requests are still taken, for load balancers to see it, before draining begins"`
	DrainTimeout    time.Duration `flag:"drain-timeout" value:"DURATION" min:"0" help:"after SIGTERM or Ctrl-C: how long running requests may take to finish"`
	Trace           string        `flag:"trace" value:"FILE" writes:"true" help:"at the end, write what every actor and the device did, for ui.perfetto.dev; the last million things"`
	OTLPEndpoint    string        `flag:"otlp-endpoint" value:"URL" help:"send a span of each request and its phases to this OpenTelemetry collector, such as http://127.0.0.1:4318 (default: what OTEL_EXPORTER_OTLP_ENDPOINT says)"`
	Profiling       bool          `flag:"profiling" help:"serve Go's profiles under /debug/pprof"`
}

// Access is who may use the server, and how much.
type Access struct {
	APIKey          []string `flag:"api-key" value:"KEY|@FILE" secret:"true" help:"turn away who does not send this bearer token; @FILE reads it from a file; may be repeated"`
	APIKeyFile      string   `flag:"api-key-file" value:"FILE" help:"more keys, a line of \"name: key\" each, read again when the file changes; logs say whose a request was"`
	AllowedHosts    []string `flag:"allowed-hosts" value:"NAME" help:"answer requests that call the server by this name, too, besides localhost, addresses and this machine's name; * is any, as with TLS; may be repeated"`
	AllowedOrigins  []string `flag:"allowed-origins" value:"ORIGIN" help:"let web pages of this origin call the server; * is any; may be repeated"`
	TrustedProxies  []string `flag:"trusted-proxies" value:"ADDR|NETWORK|unix" help:"believe these proxies (an address, a network such as 10.0.0.0/8, or whoever connects to a Unix socket) when X-Forwarded-For or Forwarded says whose request it is; may be repeated"`
	KeyRequests     int      `flag:"key-requests" value:"N" min:"0" help:"requests a minute that one API key may make; others get status 429, as with the next five (0: any)"`
	KeyOpen         int      `flag:"key-open" value:"N" min:"0" help:"requests that one API key may have under way (0: any)"`
	KeyTokens       int      `flag:"key-tokens" value:"N" min:"0" help:"tokens a minute, of prompts and replies, that one API key may use (0: any)"`
	AddressRequests int      `flag:"address-requests" value:"N" min:"0" help:"requests a minute from one address, or one /64 of IPv6 (0: any)"`
	AddressOpen     int      `flag:"address-open" value:"N" min:"0" help:"requests under way from one address (0: any)"`
	AddressTokens   int      `flag:"address-tokens" value:"N" min:"0" help:"tokens a minute for one address (0: any)"`
	TLSCert         string   `flag:"tls-cert" value:"FILE" help:"encrypt connections: the certificate, with those that sign it, in PEM; read again when it changes"`
	TLSKey          string   `flag:"tls-key" value:"FILE" help:"the certificate's private key, in PEM"`
	TLSClientCA     string   `flag:"tls-client-ca" value:"FILE" help:"take only clients with a certificate that one of these has signed"`
	AdminListen     string   `flag:"admin-listen" value:"ADDR:PORT" help:"serve /metrics, /stats and profiles here, and no more where clients ask"`
}

// Remote names a server to talk to instead of loading a model.
type Remote struct {
	URL    string `flag:"url" value:"URL" help:"talk to this OpenAI-compatible server, such as localhost:1919, rather than load a model"`
	APIKey string `flag:"api-key" value:"KEY|@FILE" secret:"true" help:"bearer token for that server; @FILE reads it from a file"`
	Name   string `flag:"remote-model" value:"NAME" help:"model to ask that server for (default: the first it offers)"`
}

// Sampling is how a reply is drawn. What is not given is the model's own
// default.
type Sampling struct {
	MaxTokens   int      `flag:"max-tokens,n" value:"N" min:"0" help:"tokens of the reply at most (0: until the model ends it)"`
	Temperature *float64 `flag:"temperature,t" value:"T" min:"0" max:"2" help:"0 always takes the likeliest token (default: the model's)"`
	TopP        *float64 `flag:"top-p" value:"P" min:"0" max:"1" help:"draw from the likeliest tokens that make up this probability (default: the model's)"`
	TopK        *int     `flag:"top-k" value:"K" min:"0" help:"draw from the K likeliest tokens; 0 is all (default: the model's)"`
	MinP        *float64 `flag:"min-p" value:"P" min:"0" max:"1" help:"draw from tokens at least this fraction as likely as the likeliest (default: the model's)"`
	Seed        *uint64  `flag:"seed" value:"N" help:"the same seed gives the same reply, on a GPU among the same requests (default: another one each time)"`
	Stop        []string `flag:"stop" value:"TEXT" help:"end the reply before this text; may be repeated"`
}

// Log is what is told on standard error.
type Log struct {
	Level  string `flag:"log-level" choices:"debug,info,warn,error,off" help:"least important messages to log"`
	Format string `flag:"log-format" choices:"auto,console,json" help:"auto is console on a terminal and JSON elsewhere"`
}

func defaultConfig() *Config {
	return &Config{
		Engine:   Engine{Models: []string{model.Builtin}, Device: "auto", DP: 1, DType: "auto", Quantization: "auto", KVDType: "auto"},
		Schedule: Schedule{AttentionBackend: "auto", Cache: string(plan.Radix), Schedule: string(plan.Mixed), Policy: string(plan.FCFS), Speculative: string(actors.NoSpeculation), Overlap: true},
		Server: Server{
			Host: "127.0.0.1", Port: 1919, MaxOpenRequests: 4096, DrainTimeout: 30 * time.Second,
			MaxBody: 16 << 20, MaxChoices: 128, MaxStops: 16,
			ReadTimeout: 30 * time.Second, IdleTimeout: 2 * time.Minute, StallTimeout: time.Minute, KeepAlive: 15 * time.Second,
			ToolCallParser: "auto", ReasoningParser: "auto",
		},
		Log: Log{Level: "info", Format: "auto"},
	}
}

func (c *Config) engineSections() []section {
	return []section{{"Model and device", &c.Engine}, {"Memory and scheduling", &c.Schedule}}
}

// check adds what no single flag can tell.
func (c *Config) check(found *faults) {
	kinds := []string{"auto", "cpu", "cuda", "sim"}
	kind, rest, named := strings.Cut(c.Engine.Device, ":")
	switch kind {
	case "auto", "cpu":
		if named {
			found.add("--device is %q; there is only one %s: did you mean --device %s?", c.Engine.Device, kind, kind)
		}
	case "cuda":
	case "sim":
		if rest == "" {
			found.add("--device is %q; say which device to simulate, for instance sim:h200", c.Engine.Device)
		}
	case "gpu":
		found.add("--device is %q: did you mean cuda%s?", c.Engine.Device, c.Engine.Device[len(kind):])
	default:
		found.add("--device is %q; it must be auto, cpu, cuda, cuda:N, cuda:M,N or sim:NAME%s", c.Engine.Device, didYouMean(closest(kind, kinds)))
	}
	if _, err := gang.Names(c.Engine.Device, c.Engine.TP); err != nil {
		found.add("--device and --tp: %w", err)
	}
	if c.Engine.DP > 1 && kind == "cuda" {
		if _, err := shares(c.Engine.Device, c.Engine.TP, c.Engine.DP); err != nil {
			found.add("%w", err)
		}
	}
	if n := c.Schedule.PageSize; n&(n-1) != 0 {
		found.add("--page-size is %d; it must be a power of two", n)
	}
	if slices.Contains(c.Engine.Models, "") {
		found.add("--model is empty; it must be OWNER/NAME, a directory or %s", model.Builtin)
	}
	c.checkModels(found)
	if c.Server.OTLPEndpoint != "" {
		if _, err := otlp.Endpoint(c.Server.OTLPEndpoint); err != nil {
			found.add("--otlp-endpoint: %w", err)
		}
	}
	for i, key := range c.Access.APIKey {
		c.Access.APIKey[i] = readSecret("api-key", key, found)
	}
	c.Access.check(found)
	c.Cluster.check(c, found)
	if most, ok := room(); ok && c.Server.MaxConnections > most {
		found.add("--max-connections is %d, but this process may have files open for %d: raise that limit (ulimit -n, or LimitNOFILE= of systemd) or ask for fewer", c.Server.MaxConnections, most)
	}
	if c.Remote.URL != "" && !strings.Contains(c.Remote.URL, "://") { // localhost:1919
		c.Remote.URL = "http://" + c.Remote.URL
	}
	if u, err := url.Parse(c.Remote.URL); c.Remote.URL != "" && (err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https") {
		found.add("--url is %q; it must be such as http://127.0.0.1:1919", c.Remote.URL)
	}
	c.Remote.APIKey = readSecret("api-key", c.Remote.APIKey, found)
	if len(found.all) == 0 { // else it may tell the same again
		if err := c.http().Check(); err != nil {
			found.add("%s", asFlags.Replace(err.Error()))
		}
	}
}

// asFlags calls what package http finds at fault as it is called here.
var asFlags = strings.NewReplacer("ToolCallParser", "--tool-call-parser", "ReasoningParser", "--reasoning-parser",
	"BodyBudget", "--body-budget", "MaxBody", "--max-body", "RootPath", "--root-path", "proxy ", "--trusted-proxies ")

// check adds what no single flag of these can tell.
func (a *Access) check(found *faults) {
	if (a.TLSCert == "") != (a.TLSKey == "") {
		found.add("--tls-cert and --tls-key go together: one of them is missing")
	}
	if a.TLSClientCA != "" && a.TLSCert == "" {
		found.add("--tls-client-ca needs --tls-cert and --tls-key")
	}
	if _, _, err := net.SplitHostPort(a.AdminListen); a.AdminListen != "" && err != nil {
		found.add("--admin-listen is %q; it must be an address and a port, such as 127.0.0.1:9090", a.AdminListen)
	}
}

// connections is how many may be open at once.
func (s *Server) connections(log zerolog.Logger) int {
	if s.MaxConnections > 0 {
		return s.MaxConnections
	}
	most := max(16384, 2*s.MaxOpenRequests)
	if n, ok := room(); ok && most > n {
		log.Warn().Int("connections", n).Int("usual", most).Msg("fewer connections than usual, as files may be open: see ulimit -n")
		return n
	}
	return most
}

// room is for how many connections the system lets this process have files
// open, besides those of models and devices; false: it sets no limit that is
// known.
func room() (int, bool) {
	files, ok := openFiles()
	return files - min(256, files/4), ok
}

// hosts are the names that clients may call the server by.
func (c *Config) hosts() []string {
	if c.Access.TLSCert != "" && len(c.Access.AllowedHosts) == 0 { // clients hold the name against the certificate
		return []string{"*"}
	}
	names := slices.Clone(c.Access.AllowedHosts)
	if _, err := netip.ParseAddr(c.Server.Host); err != nil && c.Server.Host != "" {
		names = append(names, c.Server.Host)
	}
	if name, err := os.Hostname(); err == nil {
		names = append(names, name, name+".local")
	}
	return names
}

// readSecret replaces @FILE by what the file holds.
func readSecret(flag, text string, found *faults) string {
	file, is := strings.CutPrefix(text, "@")
	if !is {
		return text
	}
	data, err := os.ReadFile(file)
	secret := strings.TrimSpace(string(data))
	switch {
	case err != nil:
		found.add("--%s: %w", flag, err)
	case secret == "":
		found.add("--%s: %s is empty", flag, file)
	}
	return secret
}

// kvTypes are what keys and values may be, by the names that vLLM has for them.
var kvTypes = map[string]model.DType{"bf16": model.BFloat16, "fp8": model.Float8, "int8": model.Int8, "float32": model.Float32}

// actors is the configuration of the system that serves the model.
func (c *Config) actors(log zerolog.Logger, stderr io.Writer) actors.Config {
	dtype, quantization := model.DType(c.Engine.DType), c.Engine.Quantization
	if dtype == "auto" {
		dtype = ""
	}
	if quantization == "auto" {
		quantization = ""
	}
	return actors.Config{
		Model: c.Engine.Model(), DummyWeights: c.Engine.DummyWeights, Device: c.Engine.Device, TP: c.Engine.TP, DP: c.Engine.DP, DType: dtype, Quantization: quantization, KVDType: kvTypes[c.Engine.KVDType],
		MaxRunningRequests: c.Schedule.MaxRunningRequests, MaxPrefillLength: c.Schedule.MaxPrefillLength,
		PageSize: c.Schedule.PageSize, NumPages: c.Schedule.NumPages, MemoryRatio: c.Schedule.MemoryRatio,
		MaxSeqLen: c.Schedule.MaxSeqLen, Cache: plan.Cache(c.Schedule.Cache), Schedule: plan.Schedule(c.Schedule.Schedule),
		Policy: plan.Policy(c.Schedule.Policy), NoOverlap: !c.Schedule.Overlap, TargetITL: c.Schedule.TargetITL, Speculative: actors.Speculation(c.Schedule.Speculative), StepTimeout: c.Schedule.StepTimeout, MaxOpenRequests: c.Server.MaxOpenRequests,
		GraphRows: c.Schedule.CUDAGraphMaxBS, Attention: c.Schedule.AttentionBackend, Deterministic: c.Schedule.Deterministic,
		Cluster: c.Cluster.actors(), Log: log, Progress: showProgress(stderr, log, "loading", true), Capturing: showProgress(stderr, log, "capturing graphs", false),
	}
}

// http is the configuration of the server. TLS is left to serve.
func (c *Config) http() http.Config {
	s, a := &c.Server, &c.Access
	own := http.Model{Names: s.ServedModelName, ToolCallParser: s.ToolCallParser, ReasoningParser: s.ReasoningParser}
	if c.several() { // see ofModels
		own = http.Model{}
	}
	return http.Config{
		Models: own.Names, APIKeys: a.APIKey, APIKeyFile: a.APIKeyFile, Hosts: c.hosts(), Origins: a.AllowedOrigins,
		KeyLimits:     http.Limits{Requests: a.KeyRequests, Open: a.KeyOpen, Tokens: a.KeyTokens},
		AddressLimits: http.Limits{Requests: a.AddressRequests, Open: a.AddressOpen, Tokens: a.AddressTokens},
		BodyBudget:    s.BodyBudget, Admin: a.AdminListen != "",
		Version: thisBuild().Version, Revision: thisBuild().Commit, Profiling: s.Profiling,
		Proxies: a.TrustedProxies, RootPath: s.RootPath, QueueTimeout: s.QueueTimeout, RequestTimeout: s.RequestTimeout, StreamTimeout: s.StreamTimeout,
		MaxOpen: cmp.Or(s.MaxAnswers, s.MaxOpenRequests), MaxConnections: s.MaxConnections,
		ResponseStore: s.ResponseStore, MaxBody: s.MaxBody, MaxChoices: s.MaxChoices, MaxStops: s.MaxStops, StrictFields: s.StrictFields,
		ReadTimeout: s.ReadTimeout, IdleTimeout: s.IdleTimeout, StallTimeout: s.StallTimeout, KeepAlive: s.KeepAlive,
		ToolCallParser: own.ToolCallParser, ReasoningParser: own.ReasoningParser,
	}
}

// newLogger logs to w as the configuration says.
func (l *Log) newLogger(w io.Writer) zerolog.Logger {
	level := zerolog.Disabled
	if l.Level != "off" {
		var err error
		if level, err = zerolog.ParseLevel(l.Level); err != nil {
			panic(fmt.Sprintf("log level %q passed its check", l.Level))
		}
	}
	if l.Format == "json" || l.Format == "auto" && !isTerminal(w) {
		return zerolog.New(w).Level(level).With().Timestamp().Logger()
	}
	console := zerolog.ConsoleWriter{Out: w, TimeFormat: time.TimeOnly, NoColor: !isTerminal(w)}
	return zerolog.New(console).Level(level).With().Timestamp().Logger()
}

// servedName is what clients call the model.
func (c *Config) servedName(system *actors.System) string {
	if len(c.Server.ServedModelName) > 0 {
		return c.Server.ServedModelName[0]
	}
	return system.Model().Name
}
