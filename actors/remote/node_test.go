package remote

import (
	"cmp"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/troupe-llm/troupe/actors/engine"
	"github.com/troupe-llm/troupe/actors/internal/toy"
	"github.com/troupe-llm/troupe/actors/plan"
	"github.com/troupe-llm/troupe/actors/wire"
	"github.com/troupe-llm/troupe/gpu/batch"
)

// patience is how long a test waits for what takes little, where a machine is not busy.
const patience = 40 * time.Second

// openEngine opens a shared engine on a toy.
func openEngine(t *testing.T, dev *toy.Device) *Shared {
	t.Helper()
	s := new(Shared)
	e, err := engine.Open(engine.Config{
		Open: toy.Opener(dev), Model: toy.Model(), Cache: plan.Naive, Compilers: 1, Digest: true, Log: zerolog.Nop(), Deliver: s.Deliver,
	})
	if err != nil {
		t.Fatal(err)
	}
	s.Engine = e
	t.Cleanup(func() {
		if err := e.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// start starts a node.
func start(t *testing.T, cfg Config) *Node {
	t.Helper()
	if cfg.Listen == "" {
		cfg.Listen = "127.0.0.1:0"
	}
	if cfg.Secret == "" {
		cfg.Secret = secret
	}
	cfg.Log, cfg.miss = zerolog.Nop(), cmp.Or(cfg.miss, patience)
	n, err := Start(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(n.Close)
	return n
}

// user is what a front is to links: it keeps what is delivered.
type user struct {
	mu      sync.Mutex
	outputs []wire.Output
	links   map[string]*Link
	news    chan struct{}
}

func newUser() *user { return &user{links: map[string]*Link{}, news: make(chan struct{}, 1)} }

func (u *user) poke() {
	select {
	case u.news <- struct{}{}:
	default:
	}
}

func (u *user) found(l *Link) {
	u.mu.Lock()
	u.links[l.Peer()] = l
	u.mu.Unlock()
	l.Bind(func(b *wire.Batch) {
		u.mu.Lock()
		u.outputs = append(u.outputs, b.Outputs...)
		u.mu.Unlock()
		u.poke()
	}, u.poke, nil)
	u.poke()
}

func (u *user) left(l *Link) {
	_ = l.Close()
	u.mu.Lock()
	delete(u.links, l.Peer())
	u.mu.Unlock()
	u.poke()
}

// until waits until something is so.
func (u *user) until(t *testing.T, what string, so func() bool) {
	t.Helper()
	again := time.NewTicker(10 * time.Millisecond) // for what nobody is told of
	defer again.Stop()
	for deadline := time.After(patience); ; {
		u.mu.Lock()
		ok := so()
		u.mu.Unlock()
		if ok {
			return
		}
		select {
		case <-u.news:
		case <-again.C:
		case <-deadline:
			t.Fatalf("%s: not so in time", what)
		}
	}
}

// ready waits for an engine at an address.
func (u *user) ready(t *testing.T, at string) *Link {
	t.Helper()
	var link *Link
	u.until(t, "an engine at "+at, func() bool { link = u.links[at]; return link != nil && link.State() == engine.Ready })
	return link
}

// ended waits for a request's end, and returns its tokens.
func (u *user) ended(t *testing.T, ref wire.Ref) (got []int32) {
	t.Helper()
	u.until(t, fmt.Sprint("the end of ", ref), func() (ended bool) { got, ended = u.tokens(ref); return ended })
	return got
}

// tokens are those of a request, and whether it has ended. Called with mu held.
func (u *user) tokens(ref wire.Ref) (got []int32, ended bool) {
	for _, o := range u.outputs {
		if o.Ref != ref {
			continue
		}
		if o.Token >= 0 {
			got = append(got, o.Token)
		}
		ended = ended || o.Ends()
	}
	return got, ended
}

// Requests are computed on another host, and tokens come in order.
func TestRemoteEngine(t *testing.T) {
	t.Parallel()
	u := newUser()
	far := start(t, Config{Engine: openEngine(t, toy.New())})
	near := start(t, Config{Found: u.found, Left: u.left, Identity: wire.Identity{Version: wire.Version}})
	near.Attach(far.Address())
	link := u.ready(t, far.Address())
	if info := link.Info(); info.Name != "toy" || info.Slots != 8 {
		t.Errorf("its device is %+v", info)
	}
	for i := range 20 {
		link.Submit(&wire.Request{Ref: wire.Ref{Slot: uint32(i), Epoch: 3}, Prompt: []int32{int32(i + 1)}, MaxTokens: 30, IgnoreEOS: true})
	}
	for i := range 20 {
		ref := wire.Ref{Slot: uint32(i), Epoch: 3}
		if got := u.ended(t, ref); !slices.Equal(got, toy.Tokens([]int32{int32(i + 1)}, 30)) {
			t.Errorf("request %d: %v", i, got)
		}
	}
	u.until(t, "its figures", func() bool { return link.Stats().Generated == 600 })
	if a := link.Stats().Actors; len(a) == 0 || !strings.HasSuffix(a[0].Name, "@"+far.Address()) {
		t.Errorf("its actors are %+v", a)
	}
}

// relay is a network between hosts: it carries connections to an address, until it is cut.
type relay struct {
	l  net.Listener
	to string

	mu      sync.Mutex
	open    []net.Conn
	carried int
	dark    bool // nothing comes through, and nobody is told
}

// unused reports whether there was a connection, and is none.
func (r *relay) unused() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.carried > 0 && len(r.open) == 0
}

func newRelay(t *testing.T) *relay {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	r := &relay{l: l}
	t.Cleanup(func() { l.Close(); r.drop() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go r.carry(c)
		}
	}()
	return r
}

// free is an address to listen on.
func free(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

func (r *relay) carry(c net.Conn) {
	defer c.Close()
	r.mu.Lock()
	to := r.to
	r.mu.Unlock()
	o, err := net.Dial("tcp", to)
	if err != nil {
		return
	}
	defer o.Close()
	r.mu.Lock()
	r.open = append(r.open, c, o)
	r.carried++
	r.mu.Unlock()
	go r.pour(c, o)
	r.pour(o, c)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.open = slices.DeleteFunc(r.open, func(x net.Conn) bool { return x == c || x == o })
}

// pour copies what is sent, while it is not dark: then it waits for the light, as packets that are
// sent again do.
func (r *relay) pour(to, from net.Conn) {
	b := make([]byte, 1<<16)
	for {
		n, err := from.Read(b)
		for r.isDark() {
			time.Sleep(10 * time.Millisecond)
		}
		if err != nil {
			to.Close()
			return
		}
		if _, err := to.Write(b[:n]); err != nil {
			return
		}
	}
}

func (r *relay) isDark() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.dark
}

// drop closes all connections.
func (r *relay) drop() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, c := range r.open {
		c.Close()
	}
	r.open = nil
}

// turn makes it dark, or light again.
func (r *relay) turn(dark bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.dark = dark
}

// A host whose connections are dropped, or that is cut off for longer than others wait, is used again
// afterwards; what was open in between is told to be lost, once.
func TestCutOff(t *testing.T) {
	for _, c := range []struct {
		name string
		cut  func(*relay, *user, *Link)
	}{
		{"dropped", func(r *relay, u *user, l *Link) { r.drop() }},
		{"dark", func(r *relay, u *user, l *Link) {
			r.turn(true)
			u.until(t, "it is missed", func() bool { return l.State() == engine.Lost })
			r.turn(false)
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			u, net := newUser(), newRelay(t)
			held := toy.New()
			gate := make(chan struct{})
			held.Gate = func(seq uint64) {
				if seq > 3 {
					<-gate
				}
			}
			net.to = free(t)
			far := start(t, Config{Listen: net.to, Engine: openEngine(t, held), Advertise: net.l.Addr().String()})
			near := start(t, Config{Found: u.found, Left: u.left, Identity: wire.Identity{Version: wire.Version}, miss: silence})
			near.Attach(far.Address())
			link := u.ready(t, far.Address())
			ref := wire.Ref{Slot: 1, Epoch: 1}
			link.Submit(&wire.Request{Ref: ref, Prompt: []int32{1}, MaxTokens: 30, IgnoreEOS: true})
			u.until(t, "three tokens", func() bool { got, _ := u.tokens(ref); return len(got) == 3 })
			c.cut(net, u, link)
			u.ended(t, ref)
			u.ready(t, far.Address())
			close(gate)
			again := wire.Ref{Slot: 1, Epoch: 2}
			link.Submit(&wire.Request{Ref: again, Prompt: []int32{1}, Given: toy.Tokens([]int32{1}, 3), MaxTokens: 30, IgnoreEOS: true})
			u.ended(t, again)
			all := toy.Tokens([]int32{1}, 30)
			if got := u.ended(t, ref); !slices.Equal(got, all[:3]) {
				t.Errorf("before: %v, want %v", got, all[:3])
			}
			if got := u.ended(t, again); !slices.Equal(got, all[3:]) {
				t.Errorf("after: %v, want %v", got, all[3:])
			}
		})
	}
}

// Hosts that know one of them come to know all; one that ends is missed and, when another is started
// in its place, used again.
func TestMembership(t *testing.T) {
	t.Parallel()
	u := newUser()
	same := wire.Identity{Version: wire.Version}
	first := start(t, Config{Cluster: "c", Engine: openEngine(t, toy.New())})
	second := start(t, Config{Cluster: "c", Join: []string{first.Address()}, Engine: openEngine(t, toy.New())})
	start(t, Config{Cluster: "c", Join: []string{second.Address()}, Found: u.found, Left: u.left, Identity: same})
	u.ready(t, first.Address())
	link := u.ready(t, second.Address())
	at := second.Address()
	second.Close()
	u.until(t, "the second is missed", func() bool { return link.State() == engine.Lost })
	start(t, Config{Listen: at, Cluster: "c", Join: []string{first.Address()}, Engine: openEngine(t, toy.New())})
	u.ready(t, at)
}

// A host that others have given up begins anew, and is used again.
func TestGivenUp(t *testing.T) {
	t.Parallel()
	u := newUser()
	far := start(t, Config{Cluster: "c", Engine: openEngine(t, toy.New())})
	near := start(t, Config{Cluster: "c", Join: []string{far.Address()}, Found: u.found, Left: u.left, Identity: wire.Identity{Version: wire.Version}})
	u.ready(t, far.Address())
	was := far.living().system.ID
	near.living().cluster.Remote.BlockList().Block(was)
	near.living().roster.tell(batch.Now())
	u.until(t, "another ID", func() bool { l := far.living(); return l != nil && l.system.ID != was })
	u.ready(t, far.Address())
}

// Who does not know the secret joins nothing and is used by nobody.
func TestStranger(t *testing.T) {
	t.Parallel()
	u := newUser()
	same := wire.Identity{Version: wire.Version}
	far := start(t, Config{Cluster: "c", Engine: openEngine(t, toy.New())})
	friend := start(t, Config{Cluster: "c", Join: []string{far.Address()}, Found: u.found, Left: u.left, Identity: same})
	for _, c := range []Config{{Cluster: "c", Secret: "known to nobody else"}} {
		stranger := newUser()
		c.Join, c.Engine, c.Found, c.Left, c.Identity = []string{far.Address(), friend.Address()}, openEngine(t, toy.New()), stranger.found, stranger.left, same
		n := start(t, c)
		n.Attach(far.Address()) // whatever membership says
		u.ready(t, far.Address())
		for range 30 { // as often as it would have been heard of
			n.living().roster.tell(batch.Now())
			u.mu.Lock()
			found := len(u.links)
			u.mu.Unlock()
			if found != 1 || stranger.links[far.Address()].State() == engine.Ready || len(n.living().cluster.MemberList.Members().Members()) != 1 {
				t.Fatalf("%+v has joined", c)
			}
			time.Sleep(20 * time.Millisecond)
		}
		if got := far.living().cluster.MemberList.Members().Len(); got != 2 {
			t.Errorf("there are %d members", got)
		}
	}
}
