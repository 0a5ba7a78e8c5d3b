package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/signal"
	"strconv"
	"syscall"
	"time"

	"github.com/rs/zerolog"
	"github.com/spf13/cobra"

	"github.com/troupe-llm/troupe/actors"
	"github.com/troupe-llm/troupe/bench"
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
	sections := append([]section{{"Server", &cfg.Server}, {"Who may use it, and how much", &cfg.Access}}, cfg.engineSections()...)
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
	signal.Ignore(syscall.SIGPIPE) // a log's reader that goes away does not end the server
	log := cfg.Log.newLogger(cmd.ErrOrStderr())
	// The port before the model: loading may take minutes, a port in use is
	// known at once.
	began := time.Now()
	listener, restarts, err := inherited()
	if listener == nil && err == nil {
		listener, err = listen(&cfg.Server)
	}
	if err != nil {
		return err
	}
	defer listener.Close()
	limitMemory(os.DirFS("/"), log)
	settings, admin, err := front(cfg, log)
	if err != nil {
		return err
	}
	if cfg.Server.OTLPEndpoint != "" {
		exporter, err := newExporter(cfg.Server.OTLPEndpoint, log)
		if err != nil {
			return err
		}
		defer flushSpans(exporter, 5*time.Second, log)
		settings.Spans = exporter
	}
	log.Info().Str("model", cfg.Engine.Model).Str("device", cfg.Engine.Device).Msg("loading")
	engine, err := cfg.engine(cmd, log)
	if err != nil {
		return err
	}
	if cfg.Server.Trace != "" {
		engine.Trace = actors.NewTrace(1 << 20)
	}
	system, err := actors.Open(engine)
	if err != nil {
		return err
	}
	dev := system.Device()
	log.Info().Str("device", dev.Name).Str("hardware", dev.Hardware).Str("dtype", string(dev.DType)).
		Int64("weight_bytes", dev.WeightBytes).Int64("kv_bytes", dev.KVBytes).Int("kv_tokens", dev.NumPages*dev.PageSize).
		Int("max_running_requests", dev.Slots).Int("max_prefill_length", dev.MaxStepTokens).Int("max_seq_len", dev.MaxSeqLen).
		Msg("loaded")
	if what := lacking(system); what != "" {
		log.Warn().Str("model", system.Model().Name).Msg(what)
	}
	server, err := http.New(settings, system, log)
	if err != nil {
		return errors.Join(err, system.Close())
	}

	stop := make(chan os.Signal, 1)
	signal.Notify(stop, stopSignals...)
	if !signal.Ignored(syscall.SIGHUP) { // as nohup has it
		signal.Notify(stop, syscall.SIGHUP)
	}
	served := make(chan error, 2)
	go func() { served <- server.Serve(listener) }()
	if admin != nil {
		go func() { served <- server.ServeAdmin(admin) }()
	}
	scheme := "http"
	if settings.TLS != nil {
		scheme = "https"
	}
	fmt.Fprintf(cmd.OutOrStdout(), "Ready: %s on %s at %s://%s/v1\n", cfg.servedName(system), dev.Name, scheme, listener.Addr())

	select {
	case err := <-served:
		return errors.Join(err, system.Close())
	case <-stop:
		go func() {
			<-stop
			log.Warn().Msg("stopping at once")
			os.Exit(130)
		}()
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
	spans, _ := engine.Trace.Spans()
	return errors.Join(err, writeTo(cfg.Server.Trace, cmd.OutOrStdout(), func(w io.Writer) error { return bench.WritePerfetto(w, spans) }))
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
func succeed(listener net.Listener, restarts int, server *http.Server, system *actors.System, log zerolog.Logger) error {
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

// newExporter sends spans to a collector.
func newExporter(endpoint string, log zerolog.Logger) (*otlp.Exporter, error) {
	e, err := otlp.New(otlp.Config{
		Endpoint: endpoint, Log: log,
		Resource: []otlp.Attr{
			{Key: "service.name", Value: "troupe"},
			{Key: "service.version", Value: thisBuild().Version},
			{Key: "service.instance.id", Value: rand.Text()},
			{Key: "process.pid", Value: int64(os.Getpid())},
		},
	})
	if err != nil {
		return nil, fmt.Errorf("--otlp-endpoint: %w", err)
	}
	return e, nil
}

// flushSpans sends what spans are left. That it fails is not the end's failure.
func flushSpans(e *otlp.Exporter, within time.Duration, log zerolog.Logger) {
	ctx, cancel := context.WithTimeout(context.Background(), within)
	defer cancel()
	if err := e.Close(ctx); err != nil {
		log.Warn().Err(err).Msg("the last spans are lost")
	}
}

// drain lets running requests finish, as long as they may take, and closes all.
func drain(cfg *Config, system *actors.System, server *http.Server, log zerolog.Logger) error {
	log.Info().Int("open_requests", system.Stats().OpenRequests).Stringer("at_most", cfg.Server.DrainTimeout).
		Msg("draining; a second signal stops at once")
	ctx, cancel := context.WithTimeout(context.Background(), cfg.Server.DrainTimeout)
	defer cancel()
	err := server.Shutdown(ctx)
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

func listen(s *Server) (net.Listener, error) {
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
