package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"go.etcd.io/etcd/client/pkg/v3/transport"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
)

const (
	etcdLease = 10 // seconds that an entry stays when its host does not say that it is there
	patience  = 5 * time.Second
)

// etcd has a key for each host, /troupe/NAME/ADDRESS, which is there as long as its lease.
type etcd struct {
	client *clientv3.Client
	prefix string
}

func openEtcd(endpoints []string, name string, env func(string) string) (*etcd, error) {
	cfg := clientv3.Config{Endpoints: endpoints, DialTimeout: patience, Logger: zap.NewNop()}
	if tls := (transport.TLSInfo{TrustedCAFile: env("ETCDCTL_CACERT"), CertFile: env("ETCDCTL_CERT"), KeyFile: env("ETCDCTL_KEY")}); cmp.Or(tls.TrustedCAFile, tls.CertFile) != "" {
		config, err := tls.ClientConfig()
		if err != nil {
			return nil, err
		}
		cfg.TLS = config
	}
	cfg.Username, cfg.Password, _ = strings.Cut(env("ETCDCTL_USER"), ":")
	client, err := clientv3.New(cfg)
	return &etcd{client, "/troupe/" + name + "/"}, err
}

var errEtcd = errors.New("etcd is not there any more")

func (e *etcd) serve(ctx context.Context, self string, found func(string)) error {
	defer e.client.Close()
	lease, alive, err := e.enter(ctx, self)
	if err != nil {
		return fmt.Errorf("entering %s into etcd: %w", self, err)
	}
	defer func() { // also when ctx has ended
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		_, _ = e.client.Revoke(ctx, lease)
	}()
	all, err := e.client.Get(ctx, e.prefix, clientv3.WithPrefix())
	if err != nil {
		return err
	}
	for _, kv := range all.Kvs {
		found(strings.TrimPrefix(string(kv.Key), e.prefix))
	}
	changes := e.client.Watch(ctx, e.prefix, clientv3.WithPrefix(), clientv3.WithRev(all.Header.Revision+1))
	for {
		select {
		case _, ok := <-alive:
			if !ok {
				return cmp.Or(ctx.Err(), errEtcd)
			}
		case some, ok := <-changes:
			if err := some.Err(); err != nil || !ok {
				return cmp.Or(ctx.Err(), err, errEtcd)
			}
			for _, ev := range some.Events {
				if ev.Type == clientv3.EventTypePut {
					found(strings.TrimPrefix(string(ev.Kv.Key), e.prefix))
				}
			}
		}
	}
}

// enter writes the host's key, for as long as what it returns tells.
func (e *etcd) enter(ctx context.Context, self string) (clientv3.LeaseID, <-chan *clientv3.LeaseKeepAliveResponse, error) {
	within, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	lease, err := e.client.Grant(within, etcdLease)
	if err != nil {
		return 0, nil, err
	}
	if _, err := e.client.Put(within, e.prefix+self, "", clientv3.WithLease(lease.ID)); err != nil {
		return 0, nil, err
	}
	alive, err := e.client.KeepAlive(ctx, lease.ID)
	return lease.ID, alive, err
}
