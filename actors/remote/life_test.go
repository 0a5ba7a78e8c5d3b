package remote

import (
	"context"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/asynkron/protoactor-go/actor"
	"github.com/asynkron/protoactor-go/remote"
	"google.golang.org/grpc"

	"github.com/troupe-llm/troupe/actors/internal/toy"
	"github.com/troupe-llm/troupe/actors/wire"
)

// What cannot be listened on is an error.
func TestListenTwice(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if _, err := Start(Config{Listen: l.Addr().String(), Secret: secret}); err == nil || !strings.Contains(err.Error(), "listening for other hosts") {
		t.Errorf("Start = %v", err)
	}
}

// What another host sends that cannot be read ends its connection, not the process; nor does a frame
// that is none.
func TestUnreadable(t *testing.T) {
	t.Parallel()
	far := start(t, Config{Engine: openEngine(t, toy.New())})
	known, err := credentials("", secret)
	if err != nil {
		t.Fatal(err)
	}
	target := []*actor.PID{actor.NewPID(far.Address(), nodeName)}
	for name, batch := range map[string]*remote.MessageBatch{
		"a type that nobody knows": {TypeNames: []string{"no.such.type"}, Targets: target, Envelopes: []*remote.MessageEnvelope{{}}},
		"no type":                  {Targets: target, Envelopes: []*remote.MessageEnvelope{{TypeId: 5}}},
		"no target":                {TypeNames: []string{"google.protobuf.BytesValue"}, Envelopes: []*remote.MessageEnvelope{{Target: 3}}},
		"no frame":                 {TypeNames: []string{"google.protobuf.BytesValue"}, Targets: target, Senders: target, Envelopes: []*remote.MessageEnvelope{{Sender: 1, MessageData: []byte{0x0a, 0x01, 0xff}}, {TypeId: 9}}},
	} {
		conn, err := grpc.NewClient(far.Address(), dialing(known)...)
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		stream, err := remote.NewRemotingClient(conn).Receive(ctx, grpc.WaitForReady(true)) // a busy machine may not shake hands in time at first
		if err != nil {
			t.Fatal(err)
		}
		if err := stream.Send(&remote.RemoteMessage{MessageType: &remote.RemoteMessage_MessageBatch{MessageBatch: batch}}); err != nil {
			t.Fatal(err)
		}
		if _, err := stream.Recv(); err == nil || ctx.Err() != nil {
			t.Errorf("%s: it was read: %v", name, err)
		}
		cancel()
		conn.Close()
	}
	u := newUser()
	near := start(t, Config{Found: u.found, Left: u.left, Identity: wire.Identity{Version: wire.Version}})
	near.Attach(far.Address())
	u.ready(t, far.Address())
}

// A request of more than gRPC's usual four megabytes arrives, and many that were sent at once.
func TestLargeFrames(t *testing.T) {
	t.Parallel()
	u := newUser()
	far := start(t, Config{Engine: openEngine(t, toy.New())})
	near := start(t, Config{Found: u.found, Left: u.left, Identity: wire.Identity{Version: wire.Version}})
	near.Attach(far.Address())
	link := u.ready(t, far.Address())
	long := slices.Repeat([]int32{1 << 24}, 2<<20)
	for i := range uint32(3) {
		link.Submit(&wire.Request{Ref: wire.Ref{Slot: i, Epoch: 1}, Prompt: long})
	}
	for i := range uint32(3) {
		ref := wire.Ref{Slot: i, Epoch: 1}
		u.ended(t, ref)
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	for _, o := range u.outputs {
		if o.Fault == nil || o.Fault.Kind != wire.Refused || !o.Fault.TooLong {
			t.Errorf("%+v, %+v", o, o.Fault)
		}
	}
}

// A node that is closed has no connection left, nor a goroutine that would make one again.
func TestClosedIsGone(t *testing.T) {
	t.Parallel()
	u, net := newUser(), newRelay(t)
	net.to = free(t)
	start(t, Config{Listen: net.to, Engine: openEngine(t, toy.New()), Advertise: net.l.Addr().String()})
	near := start(t, Config{Found: u.found, Left: u.left, Identity: wire.Identity{Version: wire.Version}})
	near.Attach(net.l.Addr().String())
	u.ready(t, net.l.Addr().String())
	near.Close()
	u.until(t, "its connection is closed", net.unused)
}
