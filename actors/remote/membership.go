package remote

import (
	"maps"
	"net"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/asynkron/protoactor-go/actor"
	"github.com/asynkron/protoactor-go/cluster"

	"github.com/troupe-llm/troupe/gpu/batch"
)

// roster is the members of a cluster that knows some hosts to begin with: a provider of protoactor's
// cluster, which takes from it who is there, tells who joined and left, and lets none come back that
// has left. Every host tells every other one that it knows, each second, of itself and of those it
// has heard of lately; so who knows one comes to know all. Which those are to begin with it is told by
// addresses, by names, whose addresses are looked up time and again (hosts.go), and by whoever else knows.
//
// The library's own provider for lists of hosts, automanaged, asks over plain HTTP, which it serves on
// every address of the machine: anyone could answer, whatever secret there is. It takes a member that
// fails one answer for gone, which is for good, and knows only hosts that are listed. This one says the
// same over the connections that need the secret.
type roster struct {
	self      *cluster.Member
	cluster   *cluster.Cluster
	directory *directory
	blocked   func() // called when another host says that this one had left

	mu   sync.Mutex
	seen map[string]*sighting // guarded by mu, by address
	last int64                // guarded by mu: when all were told last
	stop chan struct{}
}

// sighting is a host that there is, or was.
type sighting struct {
	member *cluster.Member // nil: it was not heard of, or is absent
	at     int64           // when it was heard of, or told of, as batch.Now
	given  bool            // it is one to begin with
}

const (
	tellEvery = time.Second
	// absence is after how long a member that is not heard of has left. Whose requests it has others
	// compute long before: see silence. To have left is for good: a host that comes back has to
	// begin anew, and so it should not be for every pause.
	absence = time.Minute
	// oblivion is after how long one that is absent is not told any more, unless it was given: in a cluster
	// whose hosts are forever other ones there would be more and more of them.
	oblivion = time.Hour
)

const rosterName = "roster"

func newRoster(cfg *Config, blocked func()) *roster {
	r := &roster{blocked: blocked, seen: map[string]*sighting{}, stop: make(chan struct{})}
	var given []string
	r.directory, given = newDirectory(cfg)
	for _, at := range given {
		r.seen[at] = &sighting{given: true}
	}
	return r
}

// found has hosts be told that there may be.
func (r *roster) found(hosts []string, now int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, at := range hosts {
		if r.seen[at] == nil {
			r.seen[at] = &sighting{}
		}
		if s := r.seen[at]; s.member == nil {
			s.at = now
		}
	}
}

// StartMember begins to tell others, and to listen.
func (r *roster) StartMember(c *cluster.Cluster) error {
	host, port, err := c.ActorSystem.GetHostPort()
	if err != nil {
		return err
	}
	r.cluster, r.self = c, &cluster.Member{Host: host, Port: int32(port), Id: c.ActorSystem.ID, Kinds: c.GetClusterKinds()}
	props := actor.PropsFromFunc(func(ctx actor.Context) {
		if view, ok := ctx.Message().(*cluster.ClusterTopology); ok {
			r.hear(view, batch.Now())
		}
	})
	if _, err := c.ActorSystem.Root.SpawnNamed(props, rosterName); err != nil {
		return err
	}
	go r.run()
	go r.directory.run(r.stop, func(hosts []string) { r.found(hosts, batch.Now()) })
	return nil
}

// StartClient is for who is no member; here all are.
func (r *roster) StartClient(c *cluster.Cluster) error { return r.StartMember(c) }

// Shutdown ends it.
func (r *roster) Shutdown(bool) error {
	close(r.stop)
	return nil
}

func (r *roster) run() {
	every := time.NewTicker(tellEvery)
	defer every.Stop()
	for {
		r.tell(batch.Now())
		select {
		case <-every.C:
		case <-r.stop:
			return
		}
	}
}

// hosts are those that are told, and names of such, for another life to begin with.
func (r *roster) hosts() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	all := slices.Collect(maps.Keys(r.seen))
	for _, n := range r.directory.names {
		all = append(all, net.JoinHostPort(n.host, n.port))
	}
	return all
}

// hear takes what another host says of members, itself first.
func (r *roster) hear(view *cluster.ClusterTopology, now int64) {
	if len(view.Members) == 0 || view.Members[0].Id == r.self.Id {
		return
	}
	if slices.Contains(view.Blocked, r.self.Id) {
		r.blocked()
		return
	}
	if r.heard(view.Members, now) {
		r.tell(now)
	}
}

// heard notes who is there, and reports whether the one who says so is new.
func (r *roster) heard(members cluster.Members, now int64) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	first := members[0]
	s := r.seen[address(first)]
	if s == nil {
		s = &sighting{}
		r.seen[address(first)] = s
	}
	isNew := s.member == nil || s.member.Id != first.Id
	s.member, s.at = first, now
	for _, m := range members[1:] {
		if r.seen[address(m)] == nil && m.Id != r.self.Id {
			r.seen[address(m)] = &sighting{at: now} // to be told; what it says counts
		}
	}
	return isNew
}

// tell has the cluster know who is there, and the others, too.
func (r *roster) tell(now int64) {
	members, to := r.view(now)
	r.cluster.MemberList.UpdateClusterTopology(slices.Clone(members))
	view := &cluster.ClusterTopology{Members: members, Blocked: r.cluster.GetBlockedMembers().ToSlice()}
	for _, at := range to {
		if at != address(r.self) {
			r.cluster.ActorSystem.Root.Send(actor.NewPID(at, rosterName), view)
		}
	}
}

// view is who is there, itself first, and where to say so.
func (r *roster) view(now int64) (members cluster.Members, to []string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if late := now - r.last - int64(2*tellEvery); r.last > 0 && late > 0 { // this host was paused, not the others
		for _, s := range r.seen {
			s.at += late
		}
	}
	r.last = now
	members = cluster.Members{r.self}
	for at, s := range r.seen {
		away := now - s.at
		if away > int64(absence) {
			s.member = nil
		}
		if away > int64(oblivion) && !s.given {
			delete(r.seen, at)
			continue
		}
		if to = append(to, at); s.member != nil {
			members = append(members, s.member)
		}
	}
	return members, to
}

// address is where a member is, also one with an address of IPv6.
func address(m *cluster.Member) string { return net.JoinHostPort(m.Host, strconv.Itoa(int(m.Port))) }

// nobody finds virtual actors: there are none.
type nobody struct{}

func (nobody) Get(*cluster.ClusterIdentity) *actor.PID        { return nil }
func (nobody) RemovePid(*cluster.ClusterIdentity, *actor.PID) {}
func (nobody) Setup(*cluster.Cluster, []string, bool)         {}
func (nobody) Shutdown()                                      {}
