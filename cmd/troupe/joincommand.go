package main

import (
	"bufio"
	"cmp"
	"io"
	"maps"
	"net"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/rs/zerolog"
)

// joiner has a program say which hosts there are: one that looks into etcd or Consul, or whatever an operator
// has. So this one needs the libraries of none of them. It is run for as long as this one, with this host's
// address as its last argument, prints addresses, a line each, and is to end when its standard input does.
type joiner struct {
	args   []string
	stderr io.Writer
	log    zerolog.Logger

	mu    sync.Mutex
	known map[string]struct{} // guarded by mu: what it has printed
}

// joinAgain is after how long it is run again when it has ended.
const joinAgain = 5 * time.Second

// startJoiner runs it until this process ends.
func startJoiner(c *Cluster, stderr io.Writer, log zerolog.Logger) *joiner {
	j := &joiner{args: append(strings.Fields(c.JoinCommand), cmp.Or(c.Advertise, c.Listen)), stderr: stderr, log: log, known: map[string]struct{}{}}
	go func() {
		for {
			err := j.run()
			log.Warn().Err(err).Str("command", c.JoinCommand).Dur("again", joinAgain).Msg("the program that says which hosts there are has ended")
			time.Sleep(joinAgain)
		}
	}()
	return j
}

// run runs it once, until it ends.
func (j *joiner) run() error {
	cmd := exec.Command(j.args[0], j.args[1:]...)
	cmd.Stderr, cmd.Env = j.stderr, handedOn(os.Environ())
	in, err := cmd.StdinPipe()
	if err != nil {
		return err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	j.read(out)
	_ = in.Close() // it has nothing more to say
	return cmd.Wait()
}

// read takes the addresses that it prints.
func (j *joiner) read(from io.Reader) {
	for lines := bufio.NewScanner(from); lines.Scan(); {
		at := strings.TrimSpace(lines.Text())
		if host, port, err := net.SplitHostPort(at); err != nil || host == "" || port == "" {
			j.log.Warn().Str("line", at).Msg("the program that says which hosts there are printed something else than an address and a port")
			continue
		}
		j.mu.Lock()
		j.known[at] = struct{}{}
		j.mu.Unlock()
	}
}

// hosts are those that it has said there are.
func (j *joiner) hosts() []string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return slices.Collect(maps.Keys(j.known))
}
