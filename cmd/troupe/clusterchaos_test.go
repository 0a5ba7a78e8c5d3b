//go:build unix

package main

import (
	"bufio"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"net"
	nethttp "net/http"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// How long and how hard it is made for a cluster; the defaults are for every day.
var (
	chaosEvery   = flag.Duration("chaos.every", 3*time.Second, "how often one is")
	chaosStreams = flag.Int("chaos.streams", 40, "streams that are open meanwhile")
	chaosEngines = flag.Int("chaos.engines", 3, "engines, of which one is lost at a time")
	chaosDevice  = flag.String("chaos.device", "sim:h200,speed=0.008", "what they run on")
	chaosHow     = flag.String("chaos.how", "kill,stop,drop", "in which ways, one after the other")
	chaosLength  = flag.Int("chaos.length", 100, "tokens of a stream")
	chaosLog     = flag.String("chaos.log", "error", "--log-level of the front")
)

// chaosRequests is how many different ones there are.
const chaosRequests = 12

func chaosRequest(i int) string {
	return fmt.Sprintf(`{"prompt": "Once upon a time there were %d foxes", "max_tokens": %d, "ignore_eos": true, "seed": %d, "temperature": 1, "stream": true}`, i, *chaosLength, i)
}

// victim is an engine that is lost time and again, behind a relay whose connections can be dropped.
type victim struct {
	*served
	relay  *dropper
	listen string
}

// dropper carries connections to an address until they are dropped.
type dropper struct {
	net.Listener
	mu   sync.Mutex
	open map[net.Conn]bool
}

func newDropper(t *testing.T, to string) *dropper {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	d := &dropper{Listener: l, open: map[net.Conn]bool{}}
	t.Cleanup(func() { l.Close(); d.drop() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			o, err := net.Dial("tcp", to)
			if err != nil {
				c.Close()
				continue
			}
			d.mu.Lock()
			d.open[c], d.open[o] = true, true
			d.mu.Unlock()
			go d.pour(c, o)
			go d.pour(o, c)
		}
	}()
	return d
}

func (d *dropper) pour(to, from net.Conn) {
	_, _ = io.Copy(to, from) // until either is closed
	to.Close()
	from.Close()
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.open, from)
}

func (d *dropper) drop() {
	d.mu.Lock()
	defer d.mu.Unlock()
	for c := range d.open {
		c.Close()
	}
}

// audience is the streams, and what they saw.
type audience struct {
	url    string
	texts  []string // as they should be
	closed atomic.Bool

	mu     sync.Mutex
	losses []time.Time     // guarded by mu
	pauses []time.Duration // guarded by mu: from a loss to a stream's next token
	ended  int             // guarded by mu: streams, as they should
	faults []string        // guarded by mu
}

// lost notes that an engine is.
func (a *audience) lost() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.losses = append(a.losses, time.Now())
}

// came notes that a token did, for a stream that has had one since so many losses.
func (a *audience) came(since int) int {
	a.mu.Lock()
	defer a.mu.Unlock()
	if since < len(a.losses) {
		a.pauses = append(a.pauses, time.Since(a.losses[since]))
	}
	return len(a.losses)
}

// watch has streams one after the other.
func (a *audience) watch(first int) {
	a.mu.Lock()
	seen := len(a.losses)
	a.mu.Unlock()
	for i := first; !a.closed.Load(); i++ {
		text, err := streamTo(a.url, chaosRequest(i%chaosRequests), func() { seen = a.came(seen) })
		a.mu.Lock()
		switch {
		case err != nil:
			a.faults = append(a.faults, fmt.Sprintf("after %q: %v", text, err))
		case text != a.texts[i%chaosRequests]:
			a.faults = append(a.faults, fmt.Sprintf("%q is not %q", text, a.texts[i%chaosRequests]))
		default:
			a.ended++
		}
		a.mu.Unlock()
	}
}

// streamTo reads a stream to its end.
func streamTo(url, body string, came func()) (text string, err error) {
	resp, err := nethttp.Post(url+"/completions", "application/json", strings.NewReader(body))
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	finished := false
	for lines := bufio.NewScanner(resp.Body); lines.Scan(); {
		data, is := strings.CutPrefix(lines.Text(), "data: ")
		switch {
		case !is:
			continue
		case data == "[DONE]":
			if !finished {
				return text, io.ErrUnexpectedEOF
			}
			return text, nil
		}
		var chunk struct {
			Choices []struct {
				Text   string
				Finish *string `json:"finish_reason"`
			}
			Error any
		}
		if err := json.Unmarshal([]byte(data), &chunk); err != nil {
			return text, fmt.Errorf("%s: %w", data, err)
		}
		if chunk.Error != nil || len(chunk.Choices) != 1 {
			return text, fmt.Errorf("an event that is no token: %s", data)
		}
		came()
		text += chunk.Choices[0].Text
		finished = chunk.Choices[0].Finish != nil && *chunk.Choices[0].Finish == "length"
	}
	return text, io.ErrUnexpectedEOF
}

// Engines are killed, stopped for a while and cut off, or end as they should, one at a time, under streams: none of these is
// lost, each says what it says undisturbed, and pauses for seconds at most.
func TestClusterUnderLosses(t *testing.T) {
	t.Parallel() // it mostly waits
	alone := start(t, "--device", *chaosDevice, "--max-seq-len", "1024", "--num-pages", "2048", "--log-level", "error")
	a := &audience{texts: make([]string, chaosRequests)}
	var undisturbed sync.WaitGroup
	for i := range a.texts {
		undisturbed.Go(func() {
			var err error
			if a.texts[i], err = streamTo(alone.url, chaosRequest(i), func() {}); err != nil {
				t.Error(err)
			}
		})
	}
	undisturbed.Wait()
	alone.signal(syscall.SIGKILL)

	secret, front := secretFile(t, strings.Repeat("only among us ", 3)), freeAddress(t)
	var victims []*victim
	for range *chaosEngines {
		v := &victim{listen: freeAddress(t)}
		v.relay = newDropper(t, v.listen)
		victims = append(victims, v)
		v.start(t, secret, front)
	}
	server := member(t, secret, front, victims[0].relay.Addr().String(), "--front-only", "--log-level", *chaosLog)
	go func() { _, _ = io.Copy(os.Stderr, server.logs) }()
	a.url = server.url
	var watching sync.WaitGroup
	for i := range *chaosStreams {
		watching.Go(func() { a.watch(i) })
	}
	every := time.NewTicker(*chaosEvery)
	defer every.Stop()
	how := strings.Split(*chaosHow, ",")
	for n, until := 0, time.Now().Add(*chaosFor); time.Now().Before(until); n++ {
		<-every.C
		a.lost()
		victims[n%len(victims)].lose(t, how[n%len(how)], secret, front)
	}
	a.closed.Store(true)
	watching.Wait()
	a.report(t)
	server.signal(syscall.SIGTERM)
	server.end(0)
}

func (v *victim) start(t *testing.T, secret, join string) {
	t.Helper()
	// Each has its share of the cores, as children of --dp have: with all of them they take them from one another, waiting.
	share := []string{fmt.Sprint("GOMAXPROCS=", max(1, runtime.NumCPU() / *chaosEngines))}
	v.served = memberIn(t, share, secret, v.listen, join, "--engine-only", "--cluster-advertise", v.relay.Addr().String(), "--device", *chaosDevice,
		"--num-pages", "4096", "--max-running-requests", "256") // as many as there are, when others are lost
}

// lose has the engine be lost, and come back.
func (v *victim) lose(t *testing.T, how, secret, front string) {
	t.Helper()
	switch how {
	case "kill":
		v.signal(syscall.SIGKILL)
		_ = v.cmd.Wait()
		v.start(t, secret, front)
	case "stop":
		v.signal(syscall.SIGSTOP)
		time.AfterFunc(*chaosEvery*3/4, func() { _ = v.cmd.Process.Signal(syscall.SIGCONT) })
	case "drop":
		v.relay.drop()
	case "drain":
		v.signal(syscall.SIGTERM)
		v.end(0)
		v.start(t, secret, front)
	default:
		t.Fatalf("there is no way %q to lose an engine", how)
	}
}

// report says what was seen, and complains.
func (a *audience) report(t *testing.T) {
	t.Helper()
	a.mu.Lock()
	defer a.mu.Unlock()
	for i, fault := range a.faults {
		if i == 5 {
			break
		}
		t.Error(fault)
	}
	if len(a.losses) == 0 || len(a.pauses) == 0 || a.ended < *chaosStreams {
		t.Errorf("%d losses, %d pauses, %d streams: there was nothing to see", len(a.losses), len(a.pauses), a.ended)
		return
	}
	slices.Sort(a.pauses)
	at := func(share float64) time.Duration {
		return a.pauses[int(share*float64(len(a.pauses)-1))].Round(time.Millisecond)
	}
	t.Logf("%d losses, %d streams as they should be, %d not; from a loss to a stream's next token: median %v, 90%% %v, 99%% %v, at most %v",
		len(a.losses), a.ended, len(a.faults), at(0.5), at(0.9), at(0.99), at(1))
}
