// Command troupe-members says which hosts there are, for troupe serve --join-command: it enters a host's address into etcd or
// Consul, and prints those of all others that are there, and those that come, a line each. What becomes of a host troupe
// finds out itself: addresses are all that it is told.
//
//	troupe serve --cluster home --join-command "troupe-members etcd://10.0.0.5:2379,10.0.0.6:2379/home" …
//	troupe serve --cluster home --join-command "troupe-members consul://127.0.0.1:8500/home" …
//
// How etcd and Consul are spoken to (TLS, passwords, tokens) is said by the variables that etcdctl and consul read:
// ETCDCTL_CACERT, ETCDCTL_CERT, ETCDCTL_KEY, ETCDCTL_USER, CONSUL_HTTP_TOKEN and others.
//
// It is a module of its own, so that a program that serves one host has none of their libraries.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"os"
	"os/signal"
	"strings"
	"sync"
	"syscall"
)

func main() {
	ctx, cancel := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer cancel()
	go func() { // who started it ends: this does, too
		_, _ = io.Copy(io.Discard, os.Stdin)
		cancel()
	}()
	if err := run(ctx, os.Args[1:], os.Stdout); err != nil && ctx.Err() == nil {
		fmt.Fprintln(os.Stderr, "troupe-members:", err)
		os.Exit(1)
	}
}

// registry is where hosts are entered.
type registry interface {
	// serve keeps a host entered until the context ends, and says of others that are.
	serve(ctx context.Context, self string, found func(address string)) error
}

var errUsage = errors.New("usage: troupe-members etcd://HOST:PORT[,HOST:PORT…]/NAME | consul://[HOST:PORT]/NAME  ADDRESS:PORT")

// run prints the others until the context ends, or something fails: who runs it runs it again.
func run(ctx context.Context, args []string, out io.Writer) error {
	if len(args) != 2 {
		return errUsage
	}
	self := args[1]
	if _, port, err := net.SplitHostPort(self); err != nil || port == "0" {
		return fmt.Errorf("address %q: it must be an address and a port, by which others reach this host\n%w", self, errUsage)
	}
	r, err := open(args[0], os.Getenv)
	if err != nil {
		return err
	}
	return r.serve(ctx, self, once(self, out))
}

// open is the registry of a URL.
func open(where string, env func(string) string) (registry, error) {
	u, err := url.Parse(where)
	if err != nil {
		return nil, err
	}
	name := strings.Trim(u.Path, "/")
	if name == "" {
		return nil, fmt.Errorf("%s names no cluster\n%w", where, errUsage)
	}
	switch {
	case u.Scheme == "etcd" && u.Host != "":
		return openEtcd(strings.Split(u.Host, ","), name, env)
	case u.Scheme == "consul":
		return openConsul(u.Host, name)
	}
	return nil, fmt.Errorf("%s is neither etcd:// nor consul://\n%w", where, errUsage)
}

// once prints each address but this host's, once.
func once(self string, out io.Writer) func(string) {
	var mu sync.Mutex
	known := map[string]bool{self: true}
	return func(at string) {
		mu.Lock()
		defer mu.Unlock()
		if !known[at] {
			known[at] = true
			fmt.Fprintln(out, at)
		}
	}
}
