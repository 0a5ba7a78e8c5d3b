package remote

import (
	"crypto/tls"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"math"
	"net"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/asynkron/protoactor-go/actor"
	"github.com/asynkron/protoactor-go/cluster"
	"github.com/asynkron/protoactor-go/remote"
	"github.com/rs/zerolog"
	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	grpctls "google.golang.org/grpc/credentials"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/troupe-llm/troupe/actors/internal/shell"
	"github.com/troupe-llm/troupe/actors/wire"
)

// life is what a node is until it has to begin anew: an actor system that others know by an ID, which
// protoactor's cluster lets come back never. This file has all that is protoactor's, and what of it
// needs going round; what can be seen from outside has a test in life_test.go or node_test.go:
//
//   - The remote encodes protobuf's own generated messages only, whatever serializer is asked for: frames
//     are bytes in one of those.
//   - What it cannot read (a type that is not known, an index out of range) panics in gRPC's goroutine and
//     would end the process: guarded.
//   - Start panics where it cannot listen.
//   - Messages larger than gRPC's 4 MB break a connection for good, and a thousand are sent as one.
//   - A queue of 16 MB is made for every host; connecting is tried five times, two seconds apart, while
//     what was sent waits, only to be dropped.
//   - A connection to a host that hangs is never given up: gRPC is told to.
//   - Whom the cluster blocks is told so and heard all the same: sessions see to that (session.go).
//   - Shutdown leaves connections to others open, or waits ten seconds for those that never end.
//   - gRPC's logger is set anew with every Start, without a lock (grpclog.SetLoggerV2, internal.NewLoggerV2): one life begins at
//     a time. That others log meanwhile is a race where several lives are in one process, which only tests have.
//   - Sets of who is blocked and of members are exchanged under locks and read without (remote.(*BlockList).Block,
//     cluster.(*MemberList).ContainsMemberID): what is read is one of both, as the sets themselves do not change. All lives
//     of a process draw from one source of random numbers, which has no lock (cluster.(*Informer).SendState), and a host's gossip of itself is
//     brought up to date while it is being sent (cluster.setKey); nothing here depends on either. These and the logger the
//     race detector passes over in tests (testdata/races.txt), and nothing else.
type life struct {
	system  *actor.ActorSystem
	cluster *cluster.Cluster // nil: without membership
	remote  *remote.Remote
	roster  *roster
	self    *actor.PID
	on      events
	over    atomic.Bool // it ends: nothing is told any more

	mu    sync.Mutex
	peers map[string]struct{} // guarded by mu: whom something was sent to
}

// events are what a life tells of.
type events struct {
	frame   func(from string, f *wire.Frame)
	members func(engines []string, left []string) // addresses of all engines, and of who has left
	gone    func(address string)                  // a connection is lost
	blocked func()                                // others take this life for over
}

// kinds of members.
const (
	kindFront  = "front"
	kindEngine = "engine"
)

const (
	nodeName    = "node" // the actor that takes frames
	atOnce      = 64     // messages to one host that are sent as one, if so many wait
	firstQueue  = 256
	pingEvery   = 10 * time.Second // the least that gRPC takes
	pingTimeout = 3 * time.Second
	connecting  = 2 * time.Second
	// window is how much may be under way in a connection. Were it not told, gRPC would ask with every
	// frame how long the way is, to choose it.
	window = 4 << 20
)

var beginning sync.Mutex // held while a life begins

// newLife listens and, with a name of a cluster, joins.
func newLife(cfg *Config, on events) (l *life, err error) {
	defer shell.Recovered(&err)
	beginning.Lock()
	defer beginning.Unlock()
	settings, err := cfg.remoting()
	if err != nil {
		return nil, err
	}
	l = &life{on: on, peers: map[string]struct{}{}, system: actor.NewActorSystem(actor.WithLoggerFactory(func(*actor.ActorSystem) *slog.Logger {
		return slog.New(slog.NewTextHandler(io.Discard, nil)) // what matters of it is logged by sessions
	}))}
	l.system.EventStream.Subscribe(l.event)
	here := actor.WithDispatcher(actor.NewSynchronizedDispatcher(atOnce)) // on gRPC's goroutine: hearing a frame waits for nothing
	if _, err := l.system.Root.SpawnNamed(actor.PropsFromFunc(l.receive, here), nodeName); err != nil {
		return nil, err
	}
	if cfg.Cluster == "" {
		l.remote = remote.NewRemote(l.system, settings)
		l.remote.Start()
	} else {
		l.join(cfg, settings)
	}
	l.self = l.system.NewLocalPID(nodeName)
	return l, nil
}

// join begins membership.
func (l *life) join(cfg *Config, settings *remote.Config) {
	var kinds []cluster.ConfigOption
	if cfg.Found != nil {
		kinds = append(kinds, cluster.WithKinds(cluster.NewKind(kindFront, nothing)))
	}
	if cfg.Engine != nil {
		kinds = append(kinds, cluster.WithKinds(cluster.NewKind(kindEngine, nothing)))
	}
	l.roster = newRoster(cfg, sync.OnceFunc(l.on.blocked))
	c := cluster.Configure(cfg.Cluster, l.roster, nobody{}, settings, kinds...)
	c.GossipInterval, c.HeartbeatExpiration = tellEvery, 5*absence // who left is the roster's to say
	l.cluster = cluster.New(l.system, c)
	l.cluster.StartMember()
	l.remote = l.cluster.Remote
}

// nothing is what virtual actors of a kind would be: there are none.
var nothing = actor.PropsFromFunc(func(actor.Context) {})

// remoting is how protoactor's remote is set up.
func (cfg *Config) remoting() (*remote.Config, error) {
	host, port, err := where(cfg.Listen, cfg.Advertise != "")
	if err != nil {
		return nil, err
	}
	probe, err := net.Listen("tcp", cfg.Listen) // the library panics
	if err != nil {
		return nil, fmt.Errorf("listening for other hosts: %w", err)
	}
	if err := probe.Close(); err != nil {
		return nil, err
	}
	known, err := credentials(cfg.Cluster, cfg.Secret)
	if err != nil {
		return nil, err
	}
	settings := remote.Configure(host, port,
		remote.WithEndpointWriterBatchSize(atOnce), remote.WithEndpointWriterQueueSize(firstQueue),
		remote.WithServerOptions(serving(known, cfg.Log)...), remote.WithDialOptions(dialing(known)...),
	)
	settings.MaxRetryCount = 1
	settings.AdvertisedHost = cfg.Advertise
	return settings, nil
}

// where is an address and a port to listen on, as the library wants them: one by which this host is
// reached, if not any.
func where(listen string, all bool) (string, int, error) {
	host, service, err := net.SplitHostPort(listen)
	if err != nil {
		return "", 0, err
	}
	port, err := strconv.ParseUint(service, 10, 16)
	if err != nil {
		return "", 0, fmt.Errorf("address %s: the port must be a number up to 65535", listen)
	}
	ip := net.ParseIP(host)
	if !all && (host == "" || ip != nil && ip.IsUnspecified()) {
		return "", 0, fmt.Errorf("address %s: it must be the one address by which other hosts reach this one, or that must be said apart", listen)
	}
	if ip != nil && ip.To4() == nil {
		host = "[" + host + "]"
	}
	return host, int(port), nil
}

// serving is how others' connections are taken.
func serving(known *tls.Config, log zerolog.Logger) []grpc.ServerOption {
	return []grpc.ServerOption{
		grpc.Creds(grpctls.NewTLS(known)),
		grpc.MaxRecvMsgSize(math.MaxInt32),
		grpc.StaticStreamWindowSize(window), grpc.StaticConnWindowSize(window),
		grpc.KeepaliveParams(keepalive.ServerParameters{Time: pingEvery, Timeout: pingTimeout}),
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: pingEvery / 2, PermitWithoutStream: true}),
		grpc.ChainStreamInterceptor(func(server any, stream grpc.ServerStream, _ *grpc.StreamServerInfo, handle grpc.StreamHandler) (err error) {
			defer func() {
				if r := recover(); r != nil {
					err = shell.PanicError(r)
					log.Error().Err(err).Msg("what another host sent cannot be read: is it of another version?")
				}
			}()
			return handle(server, stream)
		}),
	}
}

// dialing is how connections to others are made.
func dialing(known *tls.Config) []grpc.DialOption {
	return []grpc.DialOption{
		grpc.WithTransportCredentials(grpctls.NewTLS(known)),
		grpc.WithNoProxy(),
		grpc.WithStaticStreamWindowSize(window), grpc.WithStaticConnWindowSize(window),
		grpc.WithConnectParams(grpc.ConnectParams{Backoff: backoff.DefaultConfig, MinConnectTimeout: connecting}),
		grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: pingEvery, Timeout: pingTimeout, PermitWithoutStream: true}),
	}
}

// receive takes what others send.
func (l *life) receive(c actor.Context) {
	m, is := c.Message().(*wrapperspb.BytesValue)
	if !is || c.Sender() == nil {
		return
	}
	if f, err := wire.DecodeFrame(m.Value); err == nil {
		l.on.frame(c.Sender().Address, f)
	} // else it is missing, which the next one tells
}

// event takes what the library tells.
func (l *life) event(e any) {
	if l.over.Load() {
		return
	}
	switch e := e.(type) {
	case *remote.EndpointTerminatedEvent:
		l.on.gone(e.Address)
	case *cluster.ClusterTopology:
		there, engines, left := map[string]bool{}, []string(nil), []string(nil)
		for _, m := range e.Members {
			there[address(m)] = true
			if m.HasKind(kindEngine) && m.Id != l.system.ID {
				engines = append(engines, address(m))
			}
		}
		for _, m := range e.Left {
			if !there[address(m)] { // else another one took its place
				left = append(left, address(m))
			}
		}
		l.on.members(engines, left)
	}
}

// send posts a frame to a host.
func (l *life) send(to string, f *wire.Frame) {
	l.mu.Lock()
	l.peers[to] = struct{}{}
	l.mu.Unlock()
	l.system.Root.RequestWithCustomSender(actor.NewPID(to, nodeName), wrapperspb.Bytes(f.Encode()), l.self)
}

// sentTo are the hosts that something was sent to.
func (l *life) sentTo() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Collect(maps.Keys(l.peers))
}

// end ends it: it does not listen any more, and has no connection.
func (l *life) end() {
	l.over.Store(true)
	if l.roster != nil {
		_ = l.roster.Shutdown(false)
	}
	for _, to := range l.sentTo() {
		l.system.EventStream.Publish(&remote.EndpointTerminatedEvent{Address: to})
	}
	l.system.Shutdown()
	l.remote.Shutdown(false)
}
