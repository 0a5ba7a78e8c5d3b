package streams

import (
	"bufio"
	"context"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// Sample is what the server says of itself at one time.
type Sample struct {
	At           time.Time
	User, System time.Duration // processor time
	Resident     int64         // bytes
	Heap         int64         // bytes in use
	Goroutines   int
	Open         int // requests
	PagesUsed    int
	Delivered    int64              // tokens written
	Delivery     map[string]float64 // buckets: tokens by their upper bound, in seconds; cumulative
}

// watch reads a server's /metrics, over one connection.
type watch struct {
	url    string
	client *http.Client
	heard  func(Sample)
}

func newWatch(url string, heard func(Sample)) *watch {
	return &watch{url: url, client: &http.Client{Transport: &http.Transport{}, Timeout: 30 * time.Second}, heard: heard}
}

func (w *watch) close() { w.client.CloseIdleConnections() }

func (w *watch) scrape(ctx context.Context) (s Sample, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, w.url, nil)
	if err != nil {
		return s, err
	}
	resp, err := w.client.Do(req)
	if err != nil {
		return s, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return s, fmt.Errorf("%s answered %s", w.url, resp.Status)
	}
	s.At, s.Delivery = time.Now(), map[string]float64{}
	values := map[string]float64{}
	lines := bufio.NewScanner(resp.Body)
	for lines.Scan() {
		name, value, _ := strings.Cut(lines.Text(), " ")
		x, err := strconv.ParseFloat(value, 64)
		if err != nil {
			continue // a comment
		}
		values[name] = x
		if bound, is := strings.CutPrefix(name, `troupe_token_delivery_seconds_bucket{le="`); is {
			s.Delivery[strings.TrimSuffix(bound, `"}`)] = x
		}
	}
	if _, there := values["process_cpu_user_seconds_total"]; !there {
		return s, fmt.Errorf("%s does not say what processor time the server used", w.url)
	}
	seconds := func(name string) time.Duration { return time.Duration(values[name] * float64(time.Second)) }
	s.User, s.System = seconds("process_cpu_user_seconds_total"), seconds("process_cpu_system_seconds_total")
	s.Resident, s.Heap = int64(values["process_resident_memory_bytes"]), int64(values["go_memstats_heap_inuse_bytes"])
	s.Goroutines, s.Open = int(values["go_goroutines"]), int(values["troupe_num_requests_open"])
	s.PagesUsed = int(values[`troupe_kv_pages{state="used"}`])
	s.Delivered = int64(values["troupe_token_delivery_seconds_count"])
	return s, lines.Err()
}

type scraped struct {
	Sample
	err error
}

// every samples at once, then every so often, and once more when stopped,
// after which the channel is closed.
func (w *watch) every(ctx context.Context, period time.Duration) (samples <-chan scraped, stop func()) {
	out, end, ended := make(chan scraped, 1<<16), make(chan struct{}), make(chan struct{})
	sample := func() {
		s, err := w.scrape(ctx)
		out <- scraped{s, err}
		if err == nil && w.heard != nil {
			w.heard(s)
		}
	}
	sample()
	go func() {
		defer close(ended)
		defer close(out)
		tick := time.NewTicker(period)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				sample()
			case <-end:
				sample()
				return
			}
		}
	}()
	return out, func() { close(end); <-ended }
}
