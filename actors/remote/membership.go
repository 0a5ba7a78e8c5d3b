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
// has heard of lately; so who knows one comes to know all.
//
// The library's own provider for lists of hosts, automanaged, asks over plain HTTP, which it serves on
// every address of the machine: anyone could answer, whatever secret there is. It takes a member that
// fails one answer for gone, which is for good, and knows only hosts that are listed. This one says the
// same over the connections that need the secret.
type roster struct {
	self    *cluster.Member
	cluster *cluster.Cluster
	blocked func() // called when another host says that this one had left

	mu   sync.Mutex
	seen map[string]*sighting // guarded by mu, by address; nil: one to begin with that was not heard of
	last int64                // guarded by mu: when all were told last
	stop chan struct{}
}

// sighting is a member that was heard of.
type sighting struct {
	member *cluster.Member
	at     int64 // when, as batch.Now
}

const (
	tellEvery = time.Second
	// absence is after how long a member that is not heard of has left. Whose requests it has others
	// compute long before: see silence. To have left is for good: a host that comes back has to
	// begin anew, and so it should not be for every pause.
	absence = time.Minute
)

const rosterName = "roster"

func newRoster(join []string, blocked func()) *roster {
	r := &roster{blocked: blocked, seen: map[string]*sighting{}, stop: make(chan struct{})}
	for _, address := range join {
		r.seen[address] = nil
	}
	return r
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

// hosts are those that are told.
func (r *roster) hosts() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Collect(maps.Keys(r.seen))
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
	r.mu.Lock()
	from := address(view.Members[0])
	old := r.seen[from]
	r.seen[from] = &sighting{view.Members[0], now}
	for _, m := range view.Members[1:] {
		if _, known := r.seen[address(m)]; !known && m.Id != r.self.Id {
			r.seen[address(m)] = nil // to be told; what it says counts
		}
	}
	news := old == nil || old.member.Id != view.Members[0].Id
	r.mu.Unlock()
	if news {
		r.tell(now)
	}
}

// tell has the cluster know who is there, and the others, too.
func (r *roster) tell(now int64) {
	r.mu.Lock()
	if late := now - r.last - int64(2*tellEvery); r.last > 0 && late > 0 { // this host was paused, not the others
		for _, s := range r.seen {
			if s != nil {
				s.at += late
			}
		}
	}
	r.last = now
	members, to := cluster.Members{r.self}, []string(nil)
	for at, s := range r.seen {
		to = append(to, at)
		if s == nil {
			continue
		}
		if now-s.at > int64(absence) {
			r.seen[at] = nil
			continue
		}
		members = append(members, s.member)
	}
	r.mu.Unlock()
	r.cluster.MemberList.UpdateClusterTopology(slices.Clone(members))
	view := &cluster.ClusterTopology{Members: members, Blocked: r.cluster.GetBlockedMembers().ToSlice()}
	for _, at := range to {
		if at != address(r.self) {
			r.cluster.ActorSystem.Root.Send(actor.NewPID(at, rosterName), view)
		}
	}
}

// address is where a member is, also one with an address of IPv6.
func address(m *cluster.Member) string { return net.JoinHostPort(m.Host, strconv.Itoa(int(m.Port))) }

// nobody finds virtual actors: there are none.
type nobody struct{}

func (nobody) Get(*cluster.ClusterIdentity) *actor.PID        { return nil }
func (nobody) RemovePid(*cluster.ClusterIdentity, *actor.PID) {}
func (nobody) Setup(*cluster.Cluster, []string, bool)         {}
func (nobody) Shutdown()                                      {}
