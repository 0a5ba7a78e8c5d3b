package main

import (
	"bufio"
	"cmp"
	"crypto/rand"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"reflect"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/rs/zerolog"
	"github.com/spf13/cobra"

	"github.com/troupe-llm/troupe/actors"
	"github.com/troupe-llm/troupe/gpu"
)

// children are the engines of --dp, each in a process of its own: a fault in a kernel ends CUDA for its
// process, and whatever else ends one, the others go on with its requests. They are what --engine-only
// makes of a program, in a cluster of this host's alone, whose secret is drawn for it.
//
// Each is started again when it has ended, and ends when this process does, as its standard input
// then ends.
type children struct {
	program string
	env     []string
	stderr  io.Writer
	log     zerolog.Logger
	failed  chan error    // one that ended before it was ready, the first time
	stop    chan struct{} // closed when they are to end

	mu      sync.Mutex
	closing bool // guarded by mu
	running map[*exec.Cmd]io.Closer
	done    sync.WaitGroup
}

// A child that lived for shortLife is started again at once, another one after a while that grows.
const longestPause = 30 * time.Second

// startChildren starts --dp processes, and returns the cluster that they are with this one.
func startChildren(cmd *cobra.Command, cfg *Config, log zerolog.Logger) (*children, *actors.Cluster, error) {
	program, err := os.Executable()
	if err != nil {
		return nil, nil, err
	}
	devices, err := shares(gpu.Resolve(cfg.Engine.Device), cfg.Engine.TP, cfg.Engine.DP)
	if err != nil {
		return nil, nil, err
	}
	cluster := &actors.Cluster{Name: "children-" + rand.Text(), Listen: "127.0.0.1:0", Secret: rand.Text() + rand.Text(), FrontOnly: true}
	c := &children{program: program, env: childEnv(os.Environ(), cluster.Secret), stderr: cmd.ErrOrStderr(), log: log, failed: make(chan error, len(devices)), stop: make(chan struct{}), running: map[*exec.Cmd]io.Closer{}}
	common := append(given(cmd, &cfg.Engine, &cfg.Schedule, &cfg.Log), "--engine-only", "--until-eof", "--port=0", "--cluster="+cluster.Name)
	if !strings.HasPrefix(devices[0], "cuda") { // they share one memory, and the cores
		r := cmp.Or(cfg.Schedule.MemoryRatio, 0.5) / float64(len(devices))
		common = append(common, "--memory-ratio="+strconv.FormatFloat(r, 'g', -1, 64))
		c.env = append(c.env, "GOMAXPROCS="+strconv.Itoa(max(1, runtime.GOMAXPROCS(0)/len(devices))))
	}
	for i, device := range devices {
		at, err := unused()
		if err != nil {
			c.close()
			return nil, nil, err
		}
		cluster.Join = append(cluster.Join, at)
		args := slices.Concat([]string{"serve"}, common, []string{"--device=" + device, "--cluster-listen=" + at})
		c.done.Go(func() { c.keep(i, args) })
	}
	cluster.Failed = c.failed
	return c, cluster, nil
}

// shares are the devices of so many engines, each of tp: "cuda" are the first GPUs, a list of
// them is shared out in its order, and all else is the same for each.
func shares(device string, tp, dp int) (all []string, err error) {
	kind, list, named := strings.Cut(device, ":")
	if kind != "cuda" {
		return slices.Repeat([]string{device}, dp), nil
	}
	gpus := strings.Split(list, ",")
	if !named {
		gpus = nil
		for i := range dp * max(1, tp) {
			gpus = append(gpus, strconv.Itoa(i))
		}
	}
	each := len(gpus) / dp
	if len(gpus)%dp != 0 || each == 0 || tp > 0 && each != tp {
		return nil, fmt.Errorf("--dp is %d and --device %q: %d GPUs cannot be shared out among %d engines of %d", dp, device, len(gpus), dp, max(1, tp))
	}
	for some := range slices.Chunk(gpus, each) {
		all = append(all, "cuda:"+strings.Join(some, ","))
	}
	return all, nil
}

// given are flags for what was set of some sections, wherever that was, but for what each child has of its own.
func given(cmd *cobra.Command, sections ...any) (args []string) {
	for _, fields := range sections {
		t := reflect.TypeOf(fields).Elem()
		for i := range t.NumField() {
			name, _, _ := strings.Cut(t.Field(i).Tag.Get("flag"), ",")
			f := cmd.Flags().Lookup(name)
			if slices.Contains([]string{"dp", "device", "memory-ratio"}, name) || f == nil || !f.Changed && f.Value.String() == f.DefValue {
				continue
			}
			if name == "tp" && strings.HasPrefix(cmd.Flags().Lookup("device").Value.String(), "cuda") { // as many as the device says
				continue
			}
			args = append(args, "--"+name+"="+f.Value.String())
		}
	}
	return args
}

// childEnv is the environment of a child: what this process was told by it has been handed on as flags.
func childEnv(env []string, secret string) []string {
	return append(handedOn(env), envPrefix+"CLUSTER_SECRET="+secret)
}

// handedOn is what of this process's environment one that it starts is given: nothing that is for this one, its
// secrets among that, and nothing of who started it.
func handedOn(env []string) []string {
	return slices.DeleteFunc(slices.Clone(env), func(e string) bool {
		name, _, _ := strings.Cut(e, "=")
		return strings.HasPrefix(name, envPrefix) || slices.Contains([]string{"NOTIFY_SOCKET", "LISTEN_FDS", "LISTEN_PID"}, name)
	})
}

// unused is an address of this host's alone that nobody listens on.
func unused() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	return l.Addr().String(), l.Close()
}

// keep runs a child, time and again.
func (c *children) keep(i int, args []string) {
	pause := time.Duration(0)
	for first := true; ; first = false {
		began := time.Now()
		ready, err := c.run(i, args)
		if c.isClosing() {
			return
		}
		if first && !ready {
			c.failed <- fmt.Errorf("engine %d of --dp has ended before it was ready: %w", i, err)
			return
		}
		if pause = min(max(2*pause, time.Second), longestPause); time.Since(began) > shortLife {
			pause = 0
		}
		c.log.Error().Err(err).Int("engine", i).Stringer("again_in", pause).Msg("the process of an engine has ended")
		select {
		case <-time.After(pause):
		case <-c.stop:
			return
		}
	}
}

// run runs a child until it ends, and reports whether it was ready.
func (c *children) run(i int, args []string) (ready bool, err error) {
	cmd := exec.Command(c.program, args...)
	cmd.Env, cmd.Stderr = c.env, c.stderr
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return false, err
	}
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return false, err
	}
	c.mu.Lock()
	if c.closing {
		c.mu.Unlock()
		return false, nil
	}
	if err := cmd.Start(); err != nil {
		c.mu.Unlock()
		return false, err
	}
	c.running[cmd] = stdin
	c.mu.Unlock()
	lines := bufio.NewScanner(stdout)
	for lines.Scan() {
		if !ready && strings.HasPrefix(lines.Text(), "Ready: ") {
			ready = true
			c.log.Info().Int("engine", i).Int("pid", cmd.Process.Pid).Msg("an engine is ready")
		}
	}
	err = cmd.Wait()
	c.mu.Lock()
	delete(c.running, cmd)
	c.mu.Unlock()
	return ready, err
}

func (c *children) isClosing() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.closing
}

// close ends all children: they are told, and killed when they take too long.
func (c *children) close() {
	c.mu.Lock()
	if c.closing {
		c.mu.Unlock()
		return
	}
	c.closing = true
	close(c.stop)
	for _, stdin := range c.running {
		stdin.Close()
	}
	c.mu.Unlock()
	late := time.AfterFunc(5*time.Second, func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		for cmd := range c.running {
			_ = cmd.Process.Kill()
		}
	})
	defer late.Stop()
	c.done.Wait()
}

// untilEOF ends this process, as SIGTERM does, when its standard input has ended.
func untilEOF(stdin io.Reader) {
	_, _ = io.Copy(io.Discard, stdin)
	if self, err := os.FindProcess(os.Getpid()); err != nil || self.Signal(syscall.SIGTERM) != nil {
		os.Exit(1)
	}
}
