package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"time"

	"github.com/hashicorp/consul/api"
)

const (
	consulTTL   = 15 * time.Second // after which a host that does not say that it is there is critical
	consulTell  = consulTTL / 3
	consulLeave = time.Minute // after which a critical one is taken out, which is the least
)

// consul has a service of the cluster's name, with an instance for each host.
type consul struct {
	client *api.Client
	name   string
}

func openConsul(at, name string) (*consul, error) {
	cfg := api.DefaultConfig() // with what its variables say
	cfg.Address = cmp.Or(at, cfg.Address)
	client, err := api.NewClient(cfg)
	return &consul{client, name}, err
}

func (c *consul) serve(ctx context.Context, self string, found func(string)) error {
	id, check := c.name+"@"+self, "service:"+c.name+"@"+self
	if err := c.enter(ctx, id, self); err != nil {
		return fmt.Errorf("entering %s into Consul: %w", self, err)
	}
	defer func() { _ = c.client.Agent().ServiceDeregister(id) }() // also when ctx has ended
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	go func() {
		for {
			if err := c.client.Agent().UpdateTTLOpts(check, "", api.HealthPassing, (&api.QueryOptions{}).WithContext(ctx)); err != nil {
				cancel(err)
				return
			}
			select {
			case <-time.After(consulTell):
			case <-ctx.Done():
				return
			}
		}
	}()
	for since := uint64(0); ; {
		all, meta, err := c.client.Health().Service(c.name, "", false, (&api.QueryOptions{WaitIndex: since}).WithContext(ctx))
		if err != nil {
			return errors.Join(err, context.Cause(ctx))
		}
		for _, one := range all {
			found(net.JoinHostPort(cmp.Or(one.Service.Address, one.Node.Address), strconv.Itoa(one.Service.Port)))
		}
		if since = meta.LastIndex; since == 0 { // Consul says to begin anew
			return errors.New("Consul told no index of its state")
		}
	}
}

// enter registers the host with the agent.
func (c *consul) enter(ctx context.Context, id, self string) error {
	host, service, err := net.SplitHostPort(self)
	if err != nil {
		return err
	}
	port, err := strconv.Atoi(service)
	if err != nil {
		return err
	}
	return c.client.Agent().ServiceRegisterOpts(&api.AgentServiceRegistration{
		ID: id, Name: c.name, Address: host, Port: port,
		Check: &api.AgentServiceCheck{TTL: consulTTL.String(), DeregisterCriticalServiceAfter: consulLeave.String()},
	}, api.ServiceRegisterOpts{}.WithContext(ctx))
}
