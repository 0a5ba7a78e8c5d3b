package main

import (
	"cmp"
	"fmt"
	"net"
	"os"
	"strings"

	"github.com/troupe-llm/troupe/actors"
)

// Cluster has several hosts serve a model together.
type Cluster struct {
	Name        string   `flag:"cluster" value:"NAME" help:"serve together with other hosts whose --cluster is this: requests that any of them takes are computed by all of them, and go on elsewhere when one is lost"`
	Listen      string   `flag:"cluster-listen" value:"HOST:PORT" help:"the address of this host, and a port, by which others of the cluster reach it"`
	Advertise   string   `flag:"cluster-advertise" value:"HOST:PORT" help:"by which others reach this host, where that is not --cluster-listen: behind a translation of addresses, in a container, or when it listens on all addresses"`
	Join        []string `flag:"join" value:"HOST:PORT,…" help:"--cluster-listen of others, of which this host learns who else there is; a name stands for all the addresses that it has, and is looked up time and again; may be repeated"`
	JoinCommand string   `flag:"join-command" value:"COMMAND" help:"a program that prints the addresses of others, a line each, for as long as it runs; it is given this host's as its last argument, and ends when its standard input does"`
	Secret      string   `flag:"cluster-secret" value:"SECRET|@FILE" secret:"true" help:"what all hosts of the cluster know, and nobody else: connections between them are encrypted, and refused to who does not know it; @FILE reads it from a file; 16 bytes or more, best random ones"`
	EngineOnly  bool     `flag:"engine-only" help:"compute requests of other hosts, and take none: --port serves /health, /ready, /metrics and /stats alone"`
	UntilEOF    bool     `flag:"until-eof" help:"end when standard input does, as on SIGTERM: for a program that starts this one and may end without a word"`
	FrontOnly   bool     `flag:"front-only" help:"take requests, and have other hosts compute them: of --model the configuration and the tokenizer are needed, no device and no weights; given several times, requests are taken for each, and a request's model says for which"`
}

// joins are the addresses of --join, of which one may be several.
func (c *Cluster) joins() (all []string) {
	for _, several := range c.Join {
		for one := range strings.SplitSeq(several, ",") {
			if one = strings.TrimSpace(one); one != "" {
				all = append(all, one)
			}
		}
	}
	return all
}

// check adds what no single flag of these can tell.
func (c *Cluster) check(all *Config, found *faults) {
	c.Secret = readSecret("cluster-secret", c.Secret, found)
	if c.Name == "" {
		for _, f := range []struct {
			name  string
			given bool
		}{{"cluster-listen", c.Listen != ""}, {"cluster-advertise", c.Advertise != ""}, {"join", len(c.Join) > 0}, {"join-command", c.JoinCommand != ""}, {"cluster-secret", c.Secret != ""}, {"engine-only", c.EngineOnly}, {"front-only", c.FrontOnly}} {
			if f.given {
				found.add("--%s needs --cluster: the name of the cluster", f.name)
			}
		}
		return
	}
	if c.EngineOnly && c.FrontOnly {
		found.add("--engine-only and --front-only exclude each other; without either this host is both")
	}
	if c.Listen == "" {
		found.add("--cluster needs --cluster-listen: the address and port by which other hosts reach this one")
	} else if err := actors.CheckListen(c.Listen, c.Advertise); err != nil {
		found.add("--cluster-listen: %w", err)
	}
	if n := len(c.Secret); n < actors.LeastSecret {
		had := ""
		if _, err := os.Stat(c.Secret); n > 0 && err == nil {
			had = fmt.Sprintf("; a file's name has an @ before it: @%s", c.Secret)
		} else if n > 0 {
			had = fmt.Sprintf("; it has %d", n)
		}
		found.add("--cluster needs --cluster-secret, of %d bytes or more, such as @FILE with what openssl rand -hex 32 prints%s", actors.LeastSecret, had)
	}
	for _, at := range c.joins() {
		if host, port, err := net.SplitHostPort(at); err != nil || host == "" || port == "" {
			found.add("--join is %q; it must be an address and a port, such as 10.0.0.2:7946", at)
		}
	}
	if _, port, _ := net.SplitHostPort(cmp.Or(c.Advertise, c.Listen)); c.JoinCommand != "" && port == "0" {
		found.add("--join-command needs a port in --cluster-listen: the program is told where others reach this host")
	}
	if all.Engine.DP > 1 {
		found.add("--dp is %d; a host of a cluster has one engine, so far: serve each device by a process of its own, all with the same --cluster", all.Engine.DP)
	}
	if c.EngineOnly && all.Access.AdminListen != "" {
		found.add("--admin-listen and --engine-only: what an operator asks for is all that --port serves then")
	}
}

// actors is the same for the system that serves the model; nil: there is one host.
func (c *Cluster) actors() *actors.Cluster {
	if c.Name == "" {
		return nil
	}
	return &actors.Cluster{Name: c.Name, Listen: c.Listen, Advertise: c.Advertise, Join: c.joins(), Secret: c.Secret, FrontOnly: c.FrontOnly, EngineOnly: c.EngineOnly}
}
