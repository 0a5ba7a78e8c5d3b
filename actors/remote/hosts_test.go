package remote

import (
	"context"
	"errors"
	"net"
	"slices"
	"testing"
	"time"

	"github.com/asynkron/protoactor-go/cluster"

	"github.com/troupe-llm/troupe/actors/internal/toy"
	"github.com/troupe-llm/troupe/actors/wire"
)

// Names stand for the addresses that they have, one that has none for nobody.
func TestDirectory(t *testing.T) {
	has := map[string][]string{"engines.test": {"10.0.0.2", "fd00::1"}}
	d, at := newDirectory(&Config{
		Join:   []string{"10.0.0.1:7946", "engines.test:7946", "[fd00::2]:1", "nobody.test:1"},
		Hosts:  func() []string { return []string{"10.0.0.9:1", "10.0.0.2:7946"} },
		lookUp: func(_ context.Context, name string) ([]string, error) { return has[name], errors.New("not all") },
	})
	if want := []string{"10.0.0.1:7946", "[fd00::2]:1"}; !slices.Equal(at, want) {
		t.Errorf("%q are addresses, want %q", at, want)
	}
	if got, want := d.find(t.Context()), []string{"10.0.0.2:7946", "10.0.0.9:1", "[fd00::1]:7946"}; !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
	has["engines.test"] = []string{"10.0.0.3"}
	if got, want := d.find(t.Context()), []string{"10.0.0.2:7946", "10.0.0.3:7946", "10.0.0.9:1"}; !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
}

// Hosts join by a name that both have, or by being told of.
func TestJoinByName(t *testing.T) {
	t.Parallel()
	first := start(t, Config{Cluster: "c", Engine: openEngine(t, toy.New())})
	host, port, err := net.SplitHostPort(first.Address())
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []Config{
		{Join: []string{"engines.test:" + port}, lookUp: func(context.Context, string) ([]string, error) { return []string{host}, nil }},
		{Hosts: func() []string { return []string{first.Address()} }},
	} {
		u := newUser()
		c.Cluster, c.Found, c.Left, c.Identity = "c", u.found, u.left, wire.Identity{Version: wire.Version}
		start(t, c)
		u.ready(t, first.Address())
	}
}

// Hosts that were not heard of for a minute are absent, for an hour forgotten, but for those given and found. A host that was
// paused itself does not hold that against others.
func TestAbsence(t *testing.T) {
	r := newRoster(&Config{Join: []string{"192.0.2.1:1", "engines.test:1"}}, func() {})
	member := func(id string, port int32) *cluster.Member {
		return &cluster.Member{Id: id, Host: "192.0.2.2", Port: port}
	}
	r.self = member("self", 9)
	now := int64(5)
	r.view(now)
	if !r.heard(cluster.Members{member("a", 1), member("self", 9), member("b", 2)}, now) || r.heard(cluster.Members{member("a", 1)}, now) || !r.heard(cluster.Members{member("a2", 1)}, now) {
		t.Error("who is new is not told from who is known")
	}
	r.found([]string{"192.0.2.3:1", "192.0.2.2:1"}, now)
	expect := func(what string, present []string, told ...string) {
		t.Helper()
		members, to := r.view(now)
		var ids []string
		for _, m := range members {
			ids = append(ids, m.Id)
		}
		slices.Sort(ids)
		if slices.Sort(to); !slices.Equal(ids, present) || !slices.Equal(to, told) {
			t.Errorf("%s: %q are there, %q are told; want %q and %q", what, ids, to, present, told)
		}
	}
	expect("at first", []string{"a2", "self"}, "192.0.2.1:1", "192.0.2.2:1", "192.0.2.2:2", "192.0.2.3:1")
	now += int64(2 * absence) // in one go
	expect("after a pause", []string{"a2", "self"}, "192.0.2.1:1", "192.0.2.2:1", "192.0.2.2:2", "192.0.2.3:1")
	pass := func(span time.Duration) {
		for range span / tellEvery {
			now += int64(tellEvery)
			r.view(now)
		}
	}
	pass(absence + 3*tellEvery)
	expect("a minute later", []string{"self"}, "192.0.2.1:1", "192.0.2.2:1", "192.0.2.2:2", "192.0.2.3:1")
	pass(oblivion / 2)
	r.found([]string{"192.0.2.3:1"}, now)
	pass(oblivion / 2)
	expect("an hour later", []string{"self"}, "192.0.2.1:1", "192.0.2.3:1")
	if got := r.hosts(); !slices.Contains(got, "engines.test:1") {
		t.Errorf("another life would begin with %q", got)
	}
}
