package main

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/signal"
	"runtime/debug"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/rs/zerolog"
	"github.com/spf13/cobra"

	"github.com/troupe-llm/troupe/actors"
	"github.com/troupe-llm/troupe/bench"
	"github.com/troupe-llm/troupe/gpu"
	"github.com/troupe-llm/troupe/http"
	"github.com/troupe-llm/troupe/http/otlp"
)

func newServe() *cobra.Command {
	cfg := defaultConfig()
	cmd := &cobra.Command{
		Use:   "serve [flags]",
		Short: "Serve a model over the OpenAI API",
		Long: `Serve loads a model and answers the OpenAI API at http://HOST:PORT/v1. One line on
standard output says when it is ready and where; logs go to standard error.

On SIGTERM, SIGHUP or Ctrl-C it takes no new requests, lets running ones finish and ends; a
second signal ends it at once.`,
		Example: `  troupe serve
  troupe serve --model ~/models/Qwen3-0.6B --port 8000
  curl -N http://127.0.0.1:1919/v1/chat/completions \
    -d '{"stream": true, "messages": [{"role": "user", "content": "Tell me a story about a fox"}]}'`,
		Args: noArgs,
	}
	sections := append([]section{{"Server", &cfg.Server}, {"Who may use it, and how much", &cfg.Access}, {"Several hosts", &cfg.Cluster}}, cfg.engineSections()...)
	found := bind(cmd, append(sections, section{"Logs", &cfg.Log})...)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if cfg.check(found); found.err() != nil {
			return found.err()
		}
		return serve(cmd, cfg)
	}
	return cmd
}

func serve(cmd *cobra.Command, cfg *Config) error {
	if cfg.Cluster.UntilEOF {
		go untilEOF(cmd.InOrStdin())
	}
	signal.Ignore(syscall.SIGPIPE) // a log's reader that goes away does not end the server
	log := cfg.Log.newLogger(cmd.ErrOrStderr())
	// The port before the model: loading may take minutes, a port in use is
	// known at once.
	began := time.Now()
	listener, heir, restarts, err := openListener(&cfg.Server)
	if err != nil {
		return err
	}
	defer listener.Close()
	limitMemory(os.DirFS("/"), log)
	settings, admin, err := front(cfg, log)
	if err != nil {
		return err
	}
	exporter, sampler, err := newExporter(cfg.Server.OTLPEndpoint, os.Getenv, log)
	if err != nil {
		return err
	}
	if exporter != nil {
		defer flushSpans(exporter, 5*time.Second, log)
		settings.Spans, settings.Sampler = exporter, sampler
	}
	server, err := http.NewLoading(settings, log)
	if err != nil {
		return err
	}
	super := newSupervisor(os.Getenv)
	served := make(chan error, 2)
	take := server.Serve
	if cfg.Cluster.EngineOnly {
		take = server.ServeAdmin
	}
	if !heir { // else clients have waited for a server before this one: a little longer is no refusal
		go func() { served <- take(listener) }()
	}
	if admin != nil {
		go func() { served <- server.ServeAdmin(admin) }()
	}
	if err := gpu.Idle(); err != nil && cfg.Engine.Device == "auto" {
		log.Warn().Err(err).Msg("the GPU cannot be used, the processor is; see troupe doctor")
	}
	log.Info().Str("model", strings.Join(cfg.Engine.Models, ", ")).Str("device", cfg.Engine.Device).Msg("loading")
	engine, err := cfg.engine(cmd, log)
	if err != nil {
		return err
	}
	if cfg.Engine.DP > 1 {
		engines, cluster, err := startChildren(cmd, cfg, log)
		if err != nil {
			return err
		}
		defer engines.close()
		engine.DP, engine.Cluster = 1, cluster
	}
	if cfg.Cluster.JoinCommand != "" {
		engine.Cluster.Hosts = startJoiner(&cfg.Cluster, cmd.ErrOrStderr(), log).hosts
	}
	if cfg.Server.Trace != "" {
		engine.Trace = actors.NewTrace(1 << 20)
	}
	engine.Version = thisBuild().Version
	stopping := sync.OnceValue(stopRequests) // until it is ready a signal ends it at once
	system, err := openServed(cmd, cfg, engine, server, log, func(name string, system *actors.System) {
		if heir {
			go func() { served <- take(listener) }()
		}
		stopping()
		dev := system.Device()
		where := fmt.Sprintf(" on %s (%s, keys and values %s)", dev.Name, dev.Formats(), dev.KVDType)
		if cfg.several() { // the first engine's of one of them
			where = ""
		}
		fmt.Fprintf(cmd.OutOrStdout(), "Ready: %s%s at %s\n", name, where, address(listener, settings.TLS != nil))
		if err := super.tell("READY=1"); err != nil {
			log.Warn().Err(err).Send()
		}
		go debug.FreeOSMemory() // what reading vocabularies and weights has left
	})
	if err != nil {
		return err
	}

	stop := stopping()
	select {
	case err := <-served:
		return errors.Join(err, system.Close())
	case sig := <-stop:
		go exitAtOnce(stop, log)
		_ = super.tell("STOPPING=1")
		if sig != os.Interrupt { // who presses Ctrl-C spreads no requests over servers
			if err := retire(cfg.Server.LameDuck, server, served, system.Failed(), log); err != nil {
				return errors.Join(err, system.Close())
			}
		}
	case <-cmd.Context().Done():
	case <-system.Failed():
		if time.Since(began) > shortLife {
			restarts = 0
		}
		return succeed(listener, restarts, server, system, log)
	}
	err = drain(cfg, system, server, log)
	if engine.Trace == nil {
		return err
	}
	return errors.Join(err, writeTo(cfg.Server.Trace, cmd.OutOrStdout(), func(w io.Writer) error {
		return bench.WritePerfetto(w, engine.Trace.Recording(), bench.Describe(environment(cmd, cfg), system.(*actors.System))) // --trace is of one model
	}))
}

// logLoaded tells, to a log that names the model, of the device and of what the model cannot do for want of files.
func logLoaded(system *actors.System, log zerolog.Logger) {
	dev := system.Device()
	log.Info().Str("device", dev.Name).Str("hardware", dev.Hardware).Str("weights", dev.Formats()).Str("kv_dtype", string(dev.KVDType)).Bool("deterministic", dev.Deterministic).
		Int64("weight_bytes", dev.WeightBytes).Int64("kv_bytes", dev.KVBytes).Int("kv_tokens", dev.NumPages*dev.PageSize).
		Int("max_running_requests", dev.Slots).Int("max_prefill_length", dev.MaxStepTokens).Int("max_seq_len", dev.MaxSeqLen).
		Msg("loaded")
	if what := lacking(system); what != "" {
		log.Warn().Msg(what)
	}
}

// stopRequests gets the signals that ask a server to end.
func stopRequests() <-chan os.Signal {
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, stopSignals...)
	if !signal.Ignored(syscall.SIGHUP) { // as nohup has it
		signal.Notify(stop, syscall.SIGHUP)
	}
	return stop
}

// exitAtOnce ends the program at the next signal, for who does not want to wait.
func exitAtOnce(stop <-chan os.Signal, log zerolog.Logger) {
	<-stop
	log.Warn().Msg("stopping at once")
	os.Exit(130)
}

// A GPU that faulted is of no use to the process any more, but works for the
// next. So the server begins anew when its device is lost for good, but not
// more than maxRestarts times in a row, none of which served for shortLife.
const (
	maxRestarts = 3
	shortLife   = time.Minute
)

// succeed ends this server, whose requests have all failed, and starts the
// next in its place. Connections made meanwhile wait.
func succeed(listener net.Listener, restarts int, server *http.Server, system serving, log zerolog.Logger) error {
	if restarts >= maxRestarts {
		return errors.Join(fmt.Errorf("the device failed in %d servers in a row, each within %v of its start", restarts+1, shortLife),
			server.Shutdown(context.Background()), system.Close())
	}
	left, err := legacy(listener)
	if err != nil {
		return errors.Join(fmt.Errorf("the device is lost to this process: %w", err), system.Close())
	}
	log.Error().Int("restarts", restarts+1).Msg("the device is lost to this process: starting another in its place")
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second) // to write what errors there are
	defer cancel()
	if err := errors.Join(server.Shutdown(ctx), system.Close()); err != nil {
		log.Warn().Err(err).Msg("ending")
	}
	return fmt.Errorf("the device is lost to this process, and no other could be started: %w", restart(left, restarts+1))
}

// newExporter sends spans to a collector: the one that was named, else the one
// that OpenTelemetry's variables name; nil when there is none.
func newExporter(endpoint string, getenv func(string) string, log zerolog.Logger) (*otlp.Exporter, otlp.Sampler, error) {
	env := otlp.ReadEnvironment(getenv)
	if endpoint = cmp.Or(endpoint, env.Endpoint); endpoint == "" || getenv("OTEL_SDK_DISABLED") == "true" {
		return nil, env.Sampler, nil
	}
	for _, err := range env.Ignored {
		log.Warn().Err(err).Msg("a variable of OpenTelemetry's is ignored")
	}
	e, err := otlp.New(otlp.Config{
		Endpoint: endpoint, Headers: env.Headers, Log: log,
		Resource: otlp.Override([]otlp.Attr{
			{Key: "service.name", Value: "troupe"},
			{Key: "service.version", Value: thisBuild().Version},
			{Key: "service.instance.id", Value: rand.Text()},
			{Key: "process.pid", Value: int64(os.Getpid())},
		}, env.Resource),
	})
	if err != nil {
		return nil, env.Sampler, fmt.Errorf("--otlp-endpoint: %w", err)
	}
	return e, env.Sampler, nil
}

// flushSpans sends what spans are left. That it fails is not the end's failure.
func flushSpans(e *otlp.Exporter, within time.Duration, log zerolog.Logger) {
	ctx, cancel := context.WithTimeout(context.Background(), within)
	defer cancel()
	if err := e.Close(ctx); err != nil {
		log.Warn().Err(err).Msg("the last spans are lost")
	}
}

// retire has who spreads requests over servers see that this one is about to
// end, before it does. With nothing left to serve with, because the device is lost,
// that is at once; when listening fails, it says why.
func retire(wait time.Duration, server *http.Server, served <-chan error, lost <-chan struct{}, log zerolog.Logger) error {
	if wait == 0 {
		return nil
	}
	log.Info().Stringer("for", wait).Msg("retiring: /ready says 503, requests are still taken; a second signal stops at once")
	server.Retire()
	over := time.NewTimer(wait)
	defer over.Stop()
	select {
	case <-over.C:
	case <-lost:
		log.Warn().Msg("the device is lost: retiring ends here")
	case err := <-served:
		return err
	}
	return nil
}

// drain lets running requests finish, as long as they may take, and closes all.
func drain(cfg *Config, system serving, server *http.Server, log zerolog.Logger) error {
	log.Info().Int("open_requests", system.OpenRequests()).Stringer("at_most", cfg.Server.DrainTimeout).
		Msg("draining; a second signal stops at once")
	ctx, cancel := context.WithTimeout(context.Background(), cfg.Server.DrainTimeout)
	defer cancel()
	system.Retire()
	err := server.Shutdown(ctx)
	if cfg.Cluster.Name != "" { // requests of other hosts
		err = errors.Join(err, system.Drain(ctx))
	}
	if errors.Is(err, context.DeadlineExceeded) {
		log.Warn().Msg("time is up: what still ran was cut short")
		err = nil
	}
	return errors.Join(err, system.Close())
}

// front is how the server is told to meet its clients, and where its operator:
// a listener that is nil without --admin-listen. What lies in files is read
// before the model, too.
func front(cfg *Config, log zerolog.Logger) (settings http.Config, admin net.Listener, err error) {
	a := &cfg.Access
	settings = cfg.http()
	settings.MaxConnections = cfg.Server.connections(log)
	if a.TLSCert != "" {
		if settings.TLS, err = (http.TLS{Cert: a.TLSCert, Key: a.TLSKey, ClientCA: a.TLSClientCA}).Load(log); err != nil {
			return settings, nil, fmt.Errorf("--tls-cert: %w", err)
		}
	}
	if a.AdminListen != "" {
		if admin, err = net.Listen("tcp", a.AdminListen); err != nil {
			return settings, nil, fmt.Errorf("cannot listen on --admin-listen %s: %w", a.AdminListen, err)
		}
		log.Info().Stringer("address", admin.Addr()).Msg("serving metrics and profiles")
	}
	return settings, admin, nil
}

// openListener is where clients come: what the process before this one left
// (then this one is its heir, and restarts counts the short-lived ones), what a
// supervisor passed, or what the configuration names.
func openListener(s *Server) (l net.Listener, heir bool, restarts int, err error) {
	if l, restarts, err = inherited(); l != nil || err != nil {
		return l, true, restarts, err
	}
	if l, err = activated(os.Getenv); l != nil || err != nil {
		return l, false, 0, err
	}
	l, err = listen(s)
	return l, false, 0, err
}

// address is how clients reach a listener.
func address(l net.Listener, encrypted bool) string {
	scheme := "http"
	if encrypted {
		scheme = "https"
	}
	if l.Addr().Network() == "unix" {
		return fmt.Sprintf("%s over the socket %s, path /v1", scheme, l.Addr())
	}
	return fmt.Sprintf("%s://%s/v1", scheme, l.Addr())
}

func listen(s *Server) (net.Listener, error) {
	if s.UDS != "" {
		return listenUnix(s.UDS)
	}
	network := "tcp"
	if ip, err := netip.ParseAddr(s.Host); err == nil && ip.Is4() { // else 0.0.0.0 means IPv6, too
		network = "tcp4"
	}
	l, err := net.Listen(network, net.JoinHostPort(s.Host, strconv.Itoa(s.Port)))
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return nil, fmt.Errorf("port %d of %s is in use; name another with --port, or 0 for a free one", s.Port, s.Host)
	case err != nil:
		return nil, fmt.Errorf("cannot listen on --host %s --port %d: %w", s.Host, s.Port, err)
	}
	return l, nil
}

// listenUnix listens on a Unix socket. One that a process left which ended
// badly is replaced; one that is in use is not.
func listenUnix(name string) (net.Listener, error) {
	if info, err := os.Lstat(name); err == nil {
		if info.Mode().Type() != os.ModeSocket {
			return nil, fmt.Errorf("--uds %s: there is a file of this name that is no socket", name)
		}
		if c, err := net.Dial("unix", name); err == nil {
			c.Close()
			return nil, fmt.Errorf("--uds %s is in use by another process", name)
		}
		if err := os.Remove(name); err != nil {
			return nil, fmt.Errorf("--uds: %w", err)
		}
	}
	l, err := net.Listen("unix", name)
	if err != nil {
		return nil, fmt.Errorf("cannot listen on --uds %s: %w", name, err)
	}
	return l, nil
}
