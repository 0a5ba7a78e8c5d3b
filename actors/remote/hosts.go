package remote

import (
	"context"
	"net"
	"slices"
	"time"
)

// Names that stand for hosts may come to stand for others: a headless service of Kubernetes, or a name in
// Consul's DNS, has the addresses of those that there are. So names are looked up time and again.

const (
	lookUpEvery = 2 * time.Second
	lookUpFor   = 5 * time.Second // at most
)

// directory finds the hosts of a cluster by what is known of them to begin with.
type directory struct {
	names  []hostPort
	hosts  func() []string // Config.Hosts; may be nil
	lookUp func(context.Context, string) ([]string, error)
}

type hostPort struct{ host, port string }

// newDirectory takes Config.Join apart: addresses of machines are known at once, names are looked up.
func newDirectory(cfg *Config) (d *directory, addresses []string) {
	d = &directory{hosts: cfg.Hosts, lookUp: cfg.lookUp}
	if d.lookUp == nil {
		d.lookUp = net.DefaultResolver.LookupHost
	}
	for _, at := range cfg.Join {
		host, port, err := net.SplitHostPort(at)
		if err != nil || net.ParseIP(host) != nil {
			addresses = append(addresses, at)
			continue
		}
		d.names = append(d.names, hostPort{host, port})
	}
	return d, addresses
}

// find are the hosts that there are said to be. A name that has no address now is nobody's.
func (d *directory) find(ctx context.Context) (all []string) {
	for _, name := range d.names {
		ctx, cancel := context.WithTimeout(ctx, lookUpFor)
		found, _ := d.lookUp(ctx, name.host)
		cancel()
		for _, ip := range found {
			all = append(all, net.JoinHostPort(ip, name.port))
		}
	}
	if d.hosts != nil {
		all = append(all, d.hosts()...)
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// run says which are found, until it is stopped.
func (d *directory) run(stop <-chan struct{}, found func([]string)) {
	if len(d.names) == 0 && d.hosts == nil {
		return
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	go func() { // a lookup under way ends then, too
		<-stop
		cancel()
	}()
	every := time.NewTicker(lookUpEvery)
	defer every.Stop()
	for {
		found(d.find(ctx))
		select {
		case <-every.C:
		case <-stop:
			return
		}
	}
}
